//! The cache never breaks the call.

#[cfg(feature = "json")]
use std::time::Duration;

use fast_cache::{Cache, Config, Error, ErrorKind, cache};
use serde::{Serialize, Serializer};

use crate::support::{Calls, Logs, Remote};

#[cfg(feature = "json")]
#[tokio::test]
async fn a_backend_that_is_down_costs_hits_and_nothing_else() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn load(id: u64) -> u64 {
        CALLS.next();
        id
    }

    let remote = Remote::default();
    let cache = Cache::new(Config::new(remote.clone()).breaker(0, Duration::ZERO));
    let (_, logs) = Logs::of(cache.scope(async {
        remote.fail(true);
        for _ in 0..100 {
            assert_eq!(load(1).await, 1);
        }
        remote.fail(false);
        assert_eq!(load(1).await, 1);
        assert_eq!(load(1).await, 1);
        assert_eq!(CALLS.get(), 101);

        remote.fail(true);
        let error = load::entry(1).get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend);
        assert_eq!(cache.clear().await.unwrap_err().kind(), ErrorKind::Backend);
    }))
    .await;
    let stats = cache.stats();
    assert_eq!(
        (stats.hits, stats.misses, stats.backend_errors),
        (1, 101, 100)
    );
    let warnings = logs.lines().filter(|line| line.contains("WARN")).count();
    assert!((1..=16).contains(&warnings), "{logs}");
    assert!(logs.contains("load"), "{logs}");
}

#[cfg(all(feature = "json", feature = "testing"))]
#[tokio::test]
async fn a_backend_that_keeps_failing_is_left_alone() {
    use fast_cache::BreakerState;
    use fast_cache::testing::ManualClock;

    #[cache(expire = 60, key = "{id}")]
    async fn load(id: u64) -> u64 {
        id
    }

    let (clock, remote) = (ManualClock::new(), Remote::default());
    let config = Config::new(remote.clone()).clock(clock.clone());
    let cache = Cache::new(config.breaker(3, Duration::from_secs(10)));
    let state = || cache.stats().breaker;
    remote.fail(true);
    for id in 0..100 {
        assert_eq!(cache.scope(load(id)).await, id);
    }
    let stats = cache.stats();
    assert_eq!((stats.backend_errors, stats.skipped), (3, 97));
    assert_eq!(state(), BreakerState::Open);
    let error = cache.scope(async { load::entry(1).get().await }).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::BreakerOpen);

    // It is tried after the cooldown, once, and then left alone for as long again.
    clock.advance(Duration::from_secs(10));
    assert_eq!(state(), BreakerState::HalfOpen);
    for id in 0..10 {
        assert_eq!(cache.scope(load(id)).await, id);
    }
    assert_eq!(cache.stats().backend_errors, 4);

    // An invalidation is tried in any case.
    assert!(cache.clear().await.is_err());
    remote.fail(false);
    assert!(cache.clear().await.is_ok());
    clock.advance(Duration::from_secs(10));
    for _ in 0..2 {
        assert_eq!(cache.scope(load(1)).await, 1);
    }
    assert_eq!(state(), BreakerState::Closed);
    assert_eq!(cache.stats().hits, 1);
}

#[tokio::test]
async fn an_argument_that_does_not_serialize_costs_the_hit() {
    struct Secret;

    impl Serialize for Secret {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("locked"))
        }
    }

    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn open(secret: &Secret) -> u64 {
        let Secret = secret;
        CALLS.next()
    }

    let cache = Cache::new(Remote::default());
    let (_, logs) = Logs::of(cache.scope(async {
        assert_eq!(open(&Secret).await, 1);
        assert_eq!(open(&Secret).await, 2);
        let error: Error = open::entry(&Secret).get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Key);
        assert!(error.to_string().contains("`secret`"), "{error}");
    }))
    .await;
    assert_eq!(cache.stats().key_errors, 2);
    assert!(logs.contains("`secret`"), "{logs}");
}

#[tokio::test]
async fn before_init_functions_run_with_one_warning_each() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn forgotten() -> u64 {
        CALLS.next()
    }

    let (_, logs) = Logs::of(async {
        assert_eq!(forgotten().await, 1);
        assert_eq!(forgotten().await, 2);
    })
    .await;
    let warnings: Vec<_> = logs.lines().collect();
    assert_eq!(warnings.len(), 1, "{logs}");
    assert!(warnings[0].contains("forgotten") && warnings[0].contains("FastCache::init"));
}

#[test]
fn errors_show_no_secrets() {
    let error = Error::backend("connection refused");
    assert_eq!(error.to_string(), "the backend failed");
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "connection refused");
    let config = Config::new(Remote::default()).prefix("shop");
    assert!(format!("{config:?}").contains("shop"));
}
