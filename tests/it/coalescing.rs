//! One computation per key, however many ask at once.

use std::time::Duration;

use fast_cache::{Backend, Cache, Config, InMemoryBackend, TieredBackend, cache};
use tokio::task::JoinHandle;

use crate::support::{Calls, Gate, Hub, Remote, settle};

const CALLERS: u64 = 10_000;

#[cache(expire = 60, key = "{id}")]
async fn slow(id: u64, gate: &Gate) -> u64 {
    id + gate.pass().await
}

/// Has this many callers ask for one key, and waits until each has begun to.
async fn ask(cache: &Cache, gate: &Gate, callers: u64) -> Vec<JoinHandle<u64>> {
    let tasks = (0..callers).map(|_| {
        let (cache, gate) = (cache.clone(), gate.clone());
        tokio::spawn(async move { cache.scope(slow(0, &gate)).await })
    });
    let tasks = tasks.collect();
    settle().await;
    tasks
}

/// In this process, over a shared store, and over two tiers.
fn caches() -> [Cache; 3] {
    let tiered = TieredBackend::new(Remote::default().with_bus(&Hub::default()));
    [
        Cache::new(InMemoryBackend::new()),
        Cache::new(Remote::default()),
        Cache::new(tiered),
    ]
}

async fn one_call_for_all(backend: impl Backend) {
    let config = Config::new(backend).invalidation_delay(Duration::from_secs(60));
    let cache = Cache::new(config);
    let gate = Gate::new();
    let tasks = ask(&cache, &gate, CALLERS).await;
    assert_eq!(gate.calls.get(), 1);
    gate.open();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 1);
    }
    assert_eq!(gate.calls.get(), 1);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses), (CALLERS - 1, 1));
    assert_eq!((stats.coalesced, stats.stored), (CALLERS - 1, 1));
}

#[tokio::test]
async fn many_callers_share_one_call_in_memory() {
    one_call_for_all(InMemoryBackend::new()).await;
}

#[tokio::test]
async fn many_callers_share_one_call_over_a_shared_store() {
    let remote = Remote::default();
    one_call_for_all(remote.clone()).await;
    // Each looked for itself, so that a hit waits for nobody, and the leader went on from there.
    let barriers = 2;
    assert_eq!(remote.gets(), CALLERS + barriers);
}

#[tokio::test]
async fn many_callers_share_one_call_over_two_tiers() {
    let hub = Hub::default();
    one_call_for_all(TieredBackend::new(Remote::default().with_bus(&hub))).await;
}

#[tokio::test]
async fn many_callers_share_one_call_while_the_store_is_down() {
    let remote = Remote::default();
    remote.fail(true);
    let cache = Cache::new(remote);
    let gate = Gate::new();
    let tasks = ask(&cache, &gate, 100).await;
    gate.open();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 1);
    }
    let stats = cache.stats();
    assert_eq!((stats.backend_errors, stats.coalesced), (5, 99));
}

#[tokio::test]
async fn callers_that_are_dropped_strand_nobody() {
    for cache in caches() {
        let gate = Gate::new();
        let mut tasks = ask(&cache, &gate, CALLERS).await;
        let mut dropped = 0;
        let mut random = 88_172_645_463_325_252_u64;
        tasks.retain(|task| {
            // Marsaglia's xorshift: the same in every run.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let keep = dropped > 0 && random % 10 >= 3;
            if !keep {
                task.abort();
                dropped += 1;
            }
            keep
        });
        settle().await;
        // The leader was among them, and one other took over.
        assert_eq!(gate.calls.get(), 2);
        gate.open();
        for task in tasks {
            assert_eq!(task.await.unwrap(), 2);
        }
        assert_eq!(gate.calls.get(), 2);
        assert!((2000..4000).contains(&dropped), "{dropped}");
    }
}

#[tokio::test]
async fn a_panic_is_its_own_callers_and_the_others_compute() {
    #[cache(expire = 60, key = "fragile")]
    async fn fragile(gate: &Gate) -> u64 {
        let call = gate.pass().await;
        assert_ne!(call, 1, "the first one breaks");
        call
    }

    for cache in caches() {
        let gate = Gate::new();
        let tasks: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (cache, gate) = (cache.clone(), gate.clone());
                tokio::spawn(async move { cache.scope(fragile(&gate)).await })
            })
            .collect();
        settle().await;
        assert_eq!(gate.calls.get(), 1);
        gate.open();
        let mut panics = 0;
        for task in tasks {
            match task.await {
                Ok(value) => assert_ne!(value, 1),
                Err(error) => panics += u64::from(error.is_panic()),
            }
        }
        assert_eq!((panics, gate.calls.get()), (1, CALLERS));
    }
}

#[tokio::test]
async fn an_error_is_its_own_callers_and_the_others_compute_at_once() {
    #[cache(expire = 60, key = "failing")]
    async fn failing(gate: &Gate) -> Result<u64, u64> {
        Err(gate.pass().await)
    }

    let cache = Cache::new(InMemoryBackend::new());
    let gate = Gate::new();
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let (cache, gate) = (cache.clone(), gate.clone());
            tokio::spawn(async move { cache.scope(failing(&gate)).await })
        })
        .collect();
    settle().await;
    assert_eq!(gate.calls.get(), 1);
    gate.open();
    let mut errors = Vec::new();
    for task in tasks {
        errors.push(task.await.unwrap().unwrap_err());
    }
    errors.sort_unstable();
    assert_eq!(errors, (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn whoever_comes_after_an_invalidation_does_not_get_a_value_from_before_it() {
    for backend in [true, false] {
        let cache = match backend {
            true => Cache::new(InMemoryBackend::new()),
            false => Cache::new(Remote::default()),
        };
        let (old, new) = (Gate::new(), Gate::new());
        let before = ask(&cache, &old, 3).await;
        cache
            .scope(async { slow::entry(0).invalidate().await })
            .await
            .unwrap();
        new.calls.next();
        let after = ask(&cache, &new, 3).await;
        assert_eq!((old.calls.get(), new.calls.get()), (1, 2));
        // The older computation ends last.
        new.open();
        for task in after {
            assert_eq!(task.await.unwrap(), 2);
        }
        old.open();
        for task in before {
            assert!(task.await.is_ok());
        }
        assert_eq!(cache.scope(slow(0, &new)).await, 2);
    }
}

#[tokio::test]
async fn a_value_that_another_process_invalidated_is_not_shared() {
    let remote = Remote::default();
    let (one, two) = (Cache::new(remote.clone()), Cache::new(remote));
    for clear_all in [false, true] {
        let (old, new) = (Gate::new(), Gate::new());
        let leader = ask(&one, &old, 1).await;
        match clear_all {
            true => drop(two.clear().await.unwrap()),
            false => {
                two.scope(async { slow::entry(0).invalidate().await })
                    .await
                    .unwrap();
            }
        }
        // This process has not heard of it, and joins.
        new.calls.next();
        let waiter = ask(&one, &new, 1).await;
        assert_eq!((old.calls.get(), new.calls.get()), (1, 1));
        new.open();
        old.open();
        for task in leader {
            assert_eq!(task.await.unwrap(), 1);
        }
        for task in waiter {
            assert_eq!(task.await.unwrap(), 2);
        }
        two.clear().await.unwrap();
    }
}

#[tokio::test]
async fn a_function_and_a_cache_can_decide_against_it() {
    #[cache(expire = 60, key = "own", coalesce = false)]
    async fn own(gate: &Gate) -> u64 {
        gate.pass().await
    }

    let together = Cache::new(InMemoryBackend::new());
    let alone = Cache::new(Config::new(InMemoryBackend::new()).coalesce(false));
    let gate = Gate::new();
    let tasks: Vec<_> = (0..5)
        .map(|_| {
            let (cache, gate) = (together.clone(), gate.clone());
            tokio::spawn(async move { cache.scope(own(&gate)).await })
        })
        .collect();
    settle().await;
    assert_eq!(gate.calls.get(), 5);
    drop(ask(&alone, &gate, 5).await);
    assert_eq!(gate.calls.get(), 10);
    gate.open();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_sync_function_is_called_once() {
    static CALLS: Calls = Calls::new();
    static GATE: std::sync::LazyLock<std::sync::Barrier> =
        std::sync::LazyLock::new(|| std::sync::Barrier::new(2));

    #[cache(expire = 60)]
    fn heavy(n: u64) -> u64 {
        CALLS.next();
        GATE.wait();
        n
    }

    let cache = Cache::new(InMemoryBackend::new());
    let tasks: Vec<_> = (0..100)
        .map(|_| tokio::spawn(cache.scope(heavy(7))))
        .collect();
    settle().await;
    tokio::task::spawn_blocking(|| GATE.wait()).await.unwrap();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 7);
    }
    assert_eq!(CALLS.get(), 1);
}

#[tokio::test]
async fn functions_that_call_each_other_do_not_wait_for_themselves() {
    #[cache(expire = 60)]
    async fn sum(n: u64) -> u64 {
        match n {
            0 => 0,
            n => n + Box::pin(sum(n - 1)).await,
        }
    }

    let cache = Cache::new(InMemoryBackend::new());
    let tasks: Vec<_> = (0..50).map(|n| tokio::spawn(cache.scope(sum(n)))).collect();
    for (task, n) in tasks.into_iter().zip(0..) {
        assert_eq!(task.await.unwrap(), n * (n + 1) / 2);
    }
    assert_eq!(cache.stats().stored, 50);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn requests_to_a_handler_share_one_call() {
    use axum::Router;
    use axum::extract::State;
    use axum::routing::get;
    use tower::ServiceExt as _;

    #[cache(expire = 60)]
    async fn page(State(gate): State<Gate>) -> axum::Json<u64> {
        axum::Json(gate.pass().await)
    }

    let gate = Gate::new();
    let app = Router::new().route("/", get(page)).with_state(gate.clone());
    let cache = Cache::new(InMemoryBackend::new());
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let request = http::Request::new(axum::body::Body::empty());
            tokio::spawn(cache.scope(app.clone().oneshot(request)))
        })
        .collect();
    settle().await;
    gate.open();
    let mut statuses = Vec::new();
    for task in tasks {
        let reply = task.await.unwrap().unwrap();
        let status = reply.headers()["x-fastapi-cache"].clone();
        statuses.push(status);
        let body = http_body_util::BodyExt::collect(reply.into_body()).await;
        assert_eq!(body.unwrap().to_bytes(), "1");
    }
    statuses.sort();
    assert_eq!(
        statuses.iter().filter(|status| *status == "MISS").count(),
        1
    );
    assert_eq!(gate.calls.get(), 1);
    assert_eq!(cache.stats().coalesced, 99);
}
