//! Shared stores whose connections break, hang and come back, while functions are called.

use std::time::Duration;

use fast_cache::{Backend, Cache, Config, Stats, cache};
use futures_util::future;

use crate::proxy::{Fault, Proxy};

/// How long a call may take in all, with patience for a machine that does other things.
const BUDGET: Duration = Duration::from_secs(5);

#[cache(expire = 60, namespace = "doubles", key = "{n}")]
async fn double(n: u64) -> u64 {
    n * 2
}

/// Calls a function for many keys at once, and checks every answer.
async fn call_all(cache: &Cache) {
    let calls = (0..64).map(|n| cache.scope(async move { assert_eq!(double(n).await, n * 2) }));
    tokio::time::timeout(BUDGET, future::join_all(calls))
        .await
        .expect("the calls took longer than their budget");
}

/// Calls until everything is a hit again.
async fn recovers(cache: &Cache, fault: Fault) {
    let recovering = async {
        loop {
            let before = cache.stats();
            call_all(cache).await;
            if cache.stats().hits - before.hits == 64 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), recovering)
        .await
        .unwrap_or_else(|_| panic!("after {fault:?}, it did not recover"));
}

/// Breaks the way to a store in every way, and checks that calls answer correctly, within their
/// budget, and hit again afterwards.
async fn survives(backend: impl Backend, proxy: &Proxy) {
    let prefix = format!("faults{}", std::process::id());
    let cache = Cache::new(Config::new(backend).prefix(prefix));
    call_all(&cache).await;
    let cut = [0, 1, 4, 5, 30, 60, 110, 5000];
    let faults = cut
        .iter()
        .flat_map(|&after| [Fault::Reset(after), Fault::Close(after)])
        .chain([Fault::Delay(Duration::from_millis(150)), Fault::Silence]);
    for fault in faults {
        proxy.set(fault);
        for _ in 0..3 {
            call_all(&cache).await;
        }
        proxy.set(Fault::None);
        recovers(&cache, fault).await;
    }
    let Stats {
        backend_errors,
        decode_errors,
        skipped,
        ..
    } = cache.stats();
    assert!(backend_errors > 0, "nothing was broken");
    assert!(
        skipped > 0,
        "a store that does not answer was asked every time"
    );
    assert_eq!(decode_errors, 0, "half an answer passed for an entry");
    cache.clear().await.unwrap();
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn redis_behind_a_way_that_breaks() {
    let Some(url) = crate::redis::server_url() else {
        return;
    };
    let server = url.strip_prefix("redis://").unwrap();
    let proxy = Proxy::start(server).await;
    let options = fast_cache::RedisOptions::new().response_timeout(Duration::from_millis(100));
    let url = format!("redis://{}", proxy.address());
    survives(options.connect(&url).await.unwrap(), &proxy).await;
}

#[cfg(feature = "memcached")]
#[tokio::test]
async fn memcached_behind_a_way_that_breaks() {
    let Some(server) = crate::memcached::server_address() else {
        return;
    };
    let proxy = Proxy::start(&server).await;
    let options = fast_cache::MemcachedOptions::new()
        .response_timeout(Duration::from_millis(100))
        .max_connections(64);
    let backend = options.connect(&proxy.address()).await.unwrap();
    survives(backend, &proxy).await;
}

/// Kills a server while functions are called, and starts it again.
async fn survives_its_death<B, S>(backend: B, mut server: S, kill: fn(&mut S), restart: fn(&mut S))
where
    B: Backend,
{
    let cache = Cache::new(backend);
    for _ in 0..3 {
        call_all(&cache).await;
        let calling = async {
            for _ in 0..10 {
                call_all(&cache).await;
            }
        };
        let dying = async {
            tokio::task::yield_now().await;
            kill(&mut server);
        };
        future::join(calling, dying).await;
        restart(&mut server);
        recovers(&cache, Fault::None).await;
    }
    assert!(cache.stats().backend_errors > 0, "nobody noticed");
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn redis_that_is_killed_while_it_is_asked() {
    use crate::redis::server::Server;

    if crate::redis::server_url().is_none() {
        return;
    }
    let server = Server::start(&[]);
    let options = fast_cache::RedisOptions::new();
    let backend = options.connect(&server.url()).await.unwrap();
    survives_its_death(backend, server, Server::kill, |server| server.restart(&[])).await;
}

#[cfg(feature = "memcached")]
#[tokio::test]
async fn memcached_that_is_killed_while_it_is_asked() {
    use crate::memcached::Server;

    if crate::memcached::server_address().is_none() {
        return;
    }
    let server = Server::start(&[]);
    let options = fast_cache::MemcachedOptions::new();
    let backend = options.connect(&server.address()).await.unwrap();
    survives_its_death(backend, server, Server::kill, Server::restart).await;
}
