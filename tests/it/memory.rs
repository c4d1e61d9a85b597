//! `InMemoryBackend`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fast_cache::testing::ManualClock;
use fast_cache::{Backend, Cache, Config, InMemoryBackend, cache};
use serde::{Deserialize, Deserializer, Serialize};

#[tokio::test]
async fn a_hit_clones_and_never_encodes_nor_decodes() {
    static CLONES: AtomicU64 = AtomicU64::new(0);

    #[derive(Serialize)]
    struct Cloned(u8);

    impl Clone for Cloned {
        fn clone(&self) -> Self {
            CLONES.fetch_add(1, Ordering::SeqCst);
            Self(self.0)
        }
    }

    impl<'de> Deserialize<'de> for Cloned {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("a local hit decodes nothing")
        }
    }

    #[cache(expire = 60)]
    async fn value(n: u8) -> Cloned {
        Cloned(n)
    }

    Cache::new(InMemoryBackend::new())
        .scope(async {
            assert_eq!(value(7).await.0, 7);
            let stored = CLONES.load(Ordering::SeqCst);
            assert_eq!(value(7).await.0, 7);
            assert_eq!(CLONES.load(Ordering::SeqCst) - stored, 1);
        })
        .await;
}

#[tokio::test]
async fn values_expire_to_the_millisecond_and_are_freed_unread() {
    #[cache(expire = "1500ms")]
    async fn short(n: u64) -> u64 {
        n
    }
    #[cache]
    async fn endless() -> u64 {
        0
    }

    let clock = ManualClock::new();
    let backend = Arc::new(InMemoryBackend::new());
    let cache = Cache::new(Config::new(Arc::clone(&backend)).clock(clock.clone()));
    cache
        .scope(async {
            for n in 0..100 {
                short(n).await;
            }
            endless().await;
            clock.advance(Duration::from_millis(1499));
            let entry = short::entry(0);
            assert_eq!(entry.ttl().await.unwrap(), Some(Duration::from_millis(1)));
            clock.advance(Duration::from_millis(1));
            assert_eq!(entry.get().await.unwrap(), None);
        })
        .await;
    clock.advance(Duration::from_secs(2));
    for _ in 0..10_000_000 {
        if backend.len() == 1 {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(backend.len(), 1);
}

#[tokio::test]
async fn the_store_is_bounded_by_entries_and_by_bytes() {
    #[cache]
    async fn text(n: u64) -> String {
        "x".repeat(1000 + n as usize % 10)
    }

    let backend = Arc::new(InMemoryBackend::new().max_entries(100));
    let cache = Cache::new(Arc::clone(&backend));
    cache
        .scope(async {
            for n in 0..1000 {
                text(n).await;
                assert!(backend.len() <= 100);
            }
        })
        .await;
    assert!(backend.len() >= 80, "{backend:?}");
    assert_eq!(cache.stats().evictions, 1000 - backend.len());

    let backend = Arc::new(InMemoryBackend::new().max_bytes(1 << 20));
    let cache = Cache::new(Arc::clone(&backend));
    cache
        .scope(async {
            for n in 0..5000 {
                text(n).await;
                assert!(backend.bytes() <= 1 << 20);
            }
        })
        .await;
    assert!(backend.bytes() >= 800 << 10, "{backend:?}");
    assert_eq!(
        (cache.stats().entries, cache.stats().bytes),
        (backend.len(), backend.bytes())
    );
}

#[tokio::test]
async fn it_is_a_store_of_bytes_as_well() {
    let backend = InMemoryBackend::new();
    backend
        .set("a:1", Bytes::from_static(b"one"), None)
        .await
        .unwrap();
    backend
        .set(
            "a:2",
            Bytes::from_static(b"two"),
            Some(Duration::from_secs(9)),
        )
        .await
        .unwrap();
    backend
        .set("b:1", Bytes::from_static(b"three"), Some(Duration::ZERO))
        .await
        .unwrap();
    assert_eq!(backend.get("a:1").await.unwrap().unwrap(), "one");
    assert_eq!(backend.get("b:1").await.unwrap(), None);
    // Neither what has expired nor what is as short as a tombstone is counted.
    assert_eq!(backend.clear("a:").await.unwrap(), 0);
    assert_eq!(backend.get("a:1").await.unwrap(), None);
    let long = Bytes::from(vec![7; fast_cache::TOMBSTONE_BYTES + 1]);
    backend.set("a:1", long, None).await.unwrap();
    assert_eq!(backend.clear("").await.unwrap(), 1);
}
