//! `ChaosBackend`: it does what its odds say, and again from the same seed.

use std::time::Duration;

use bytes::Bytes;
use fast_cache::testing::ChaosBackend;
use fast_cache::{Backend, Cache, Config, Error, TieredBackend, cache};

use crate::support::{Hub, Remote};

const VALUE: Bytes = Bytes::from_static(b"a value that is longer than a tombstone");

/// What some reads give.
async fn trace(seed: u64) -> Vec<Result<Option<Bytes>, String>> {
    let chaos = ChaosBackend::new(Remote::default(), seed)
        .fail(0.2)
        .fail_after(0.1)
        .lose(0.2)
        .corrupt(0.3)
        .delay(0.5, Duration::from_secs(1));
    let text = |error: Error| error.to_string();
    let mut trace = Vec::new();
    for _ in 0..50 {
        let set = chaos.set("key", VALUE, None).await;
        trace.push(set.map(|()| None).map_err(text));
        trace.push(chaos.get("key").await.map_err(text));
    }
    trace
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_faults() {
    assert_eq!(trace(7).await, trace(7).await);
    assert_ne!(trace(7).await, trace(8).await);
}

#[tokio::test(start_paused = true)]
async fn odds_of_one_always_hit_and_odds_of_zero_never() {
    let chaos = |remote: &Remote| ChaosBackend::new(remote.clone(), 1);
    let remote = Remote::default();
    let calm = chaos(&remote);
    calm.set("key", VALUE, None).await.unwrap();
    for _ in 0..1_000 {
        assert_eq!(calm.get("key").await.unwrap(), Some(VALUE));
    }
    assert!(
        chaos(&remote)
            .fail(1.0)
            .set("other", VALUE, None)
            .await
            .is_err()
    );
    assert_eq!(remote.read("other"), None);
    let lost = chaos(&remote).fail_after(1.0);
    assert!(lost.replace("other", None, VALUE, None).await.is_err());
    assert_eq!(remote.read("other"), Some(VALUE));
    assert_eq!(chaos(&remote).lose(1.0).get("key").await.unwrap(), None);
    for seed in 0..100 {
        let corrupt = ChaosBackend::new(remote.clone(), seed).corrupt(1.0);
        let read = corrupt.get("key").await.unwrap().unwrap();
        assert!(read.len() <= 40.max(VALUE.len()));
    }
    assert_eq!(remote.read("key"), Some(VALUE));

    let began = tokio::time::Instant::now();
    let slow = chaos(&remote).delay(1.0, Duration::from_secs(1));
    slow.get("key").await.unwrap();
    assert!(began.elapsed() > Duration::ZERO && began.elapsed() <= Duration::from_secs(2));
}

#[tokio::test]
async fn an_outage_begins_and_ends() {
    let chaos = ChaosBackend::new(Remote::default(), 1);
    let same = chaos.clone();
    same.outage(true);
    assert!(chaos.get("key").await.is_err());
    assert!(chaos.clear("").await.is_err());
    same.outage(false);
    assert_eq!(chaos.get("key").await.unwrap(), None);

    let chaos = ChaosBackend::new(Remote::default(), 1).fail(1.0);
    chaos.calm(true);
    assert_eq!(chaos.get("key").await.unwrap(), None);
    chaos.calm(false);
    assert!(chaos.get("key").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn messages_are_lost_and_overtaken() {
    let hub = Hub::default();
    let remote = Remote::default().with_bus(&hub);
    let chaos = ChaosBackend::new(remote.clone(), 3).bus_lose(0.3);
    let chaos = chaos.bus_delay(0.5, Duration::from_secs(1));
    let bus = chaos.bus().unwrap();
    let mut subscription = bus.subscribe("channel").await.unwrap();
    for number in 0..100_u8 {
        let message = Bytes::copy_from_slice(&[number]);
        bus.publish("channel", message).await.unwrap();
    }
    let mut came = Vec::new();
    while let Ok(message) = tokio::time::timeout(Duration::from_secs(2), subscription.next()).await
    {
        came.push(message.unwrap()[0]);
    }
    assert!((50..90).contains(&came.len()), "{}", came.len());
    assert!(!came.is_sorted());
}

#[tokio::test]
async fn an_outage_ends_subscriptions() {
    let chaos = ChaosBackend::new(Remote::default().with_bus(&Hub::default()), 1);
    let bus = chaos.bus().unwrap();
    let mut subscription = bus.subscribe("channel").await.unwrap();
    bus.publish("channel", VALUE).await.unwrap();
    assert_eq!(subscription.next().await.unwrap(), VALUE);
    chaos.outage(true);
    assert!(subscription.next().await.is_err());
    assert!(bus.subscribe("channel").await.is_err());
    chaos.outage(false);
    assert!(bus.subscribe("channel").await.is_ok());
}

#[cache(expire = 60, tags("double:{n}"), lock)]
async fn double(n: u64) -> u64 {
    n * 2
}

#[tokio::test(start_paused = true)]
async fn cached_functions_stay_right_whatever_the_store_does() {
    for seed in 0..20 {
        let hub = Hub::default();
        let chaos = ChaosBackend::new(Remote::default().with_bus(&hub), seed)
            .fail(0.3)
            .fail_after(0.3)
            .lose(0.3)
            .corrupt(0.3)
            .delay(0.3, Duration::from_secs(1));
        let chaos = chaos.bus_lose(0.3).bus_delay(0.3, Duration::from_secs(1));
        let caches = [
            Cache::new(Config::new(chaos.clone())),
            Cache::new(Config::new(TieredBackend::new(chaos))),
        ];
        for cache in caches {
            for n in 0..50 {
                assert_eq!(cache.scope(double(n % 10)).await, n % 10 * 2, "seed {seed}");
                if n % 7 == 0 {
                    let _ = cache.clear_tag("double:3").await;
                }
            }
        }
    }
}
