//! Clearing by key, by namespace and as a whole, and that it is final.

use std::sync::Arc;

use fast_cache::{Cache, Config, FastCache, InMemoryBackend, cache};
use tokio::sync::Notify;

use crate::support::{Calls, cached};

static CALLS: Calls = Calls::new();

#[cache(expire = 60, namespace = "users")]
async fn user(id: u64) -> u64 {
    CALLS.next();
    id
}

#[cache(expire = 60, namespace = "users2")]
async fn user2(id: u64) -> u64 {
    id
}

#[cache(expire = 60, namespace = "users:admin", key = "{id}")]
async fn admin(id: u64) -> u64 {
    id
}

#[cache(expire = 60)]
async fn plain(id: u64) -> u64 {
    id
}

async fn fill() {
    for id in 0..3 {
        user(id).await;
        user2(id).await;
        admin(id).await;
        plain(id).await;
    }
}

async fn is_stored(id: u64) -> [bool; 4] {
    [
        user::entry(id).get().await.unwrap().is_some(),
        user2::entry(id).get().await.unwrap().is_some(),
        admin::entry(id).get().await.unwrap().is_some(),
        plain::entry(id).get().await.unwrap().is_some(),
    ]
}

async fn clears_exactly_what_is_named() {
    fill().await;
    assert_eq!(FastCache::clear_namespace("users").await.unwrap(), 3);
    assert_eq!(is_stored(1).await, [false, true, true, true]);
    assert_eq!(FastCache::clear_namespace("nobody").await.unwrap(), 0);
    assert_eq!(FastCache::clear_namespace("").await.unwrap(), 3);
    assert_eq!(is_stored(1).await, [false, true, true, false]);

    let key = user2::entry(1).key();
    assert_eq!(FastCache::clear_key(&key).await.unwrap(), 1);
    assert_eq!(FastCache::clear_key(&key).await.unwrap(), 0);
    assert_eq!(is_stored(1).await, [false, false, true, false]);
    assert_eq!(is_stored(2).await, [false, true, true, false]);
    assert_eq!(
        FastCache::clear_key(&admin::entry(1).key()).await.unwrap(),
        1
    );
    assert_eq!(FastCache::clear().await.unwrap(), 4);
    assert_eq!(is_stored(2).await, [false; 4]);
}

#[tokio::test]
async fn clearing_is_exact_in_memory() {
    let config = Config::new(InMemoryBackend::new()).prefix("shop");
    Cache::new(config)
        .scope(clears_exactly_what_is_named())
        .await;
}

#[cfg(feature = "json")]
#[tokio::test]
async fn clearing_is_exact_in_a_store_of_bytes() {
    let config = Config::new(crate::support::Remote::default()).prefix("shop");
    Cache::new(config)
        .scope(clears_exactly_what_is_named())
        .await;
}

#[tokio::test]
async fn caches_that_share_a_store_keep_to_their_prefix() {
    let store = Arc::new(InMemoryBackend::new());
    let one = Cache::new(Config::new(Arc::clone(&store)).prefix("one"));
    let two = Cache::new(Config::new(store).prefix("two"));
    one.scope(plain(1)).await;
    assert_eq!(two.clear().await.unwrap(), 0);
    assert_eq!(two.clear_namespace("").await.unwrap(), 0);
    let key = one.scope(async { plain::entry(1).key() }).await;
    assert_eq!(two.clear_key(&key).await.unwrap(), 0);
    assert!(
        one.scope(async { plain::entry(1).get().await })
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(one.clear().await.unwrap(), 1);
}

/// Runs `invalidate` while a computation is under way, and tells whether its value was stored.
async fn stored_in_spite_of<F: AsyncFnOnce()>(invalidate: F) -> bool {
    static STARTED: Notify = Notify::const_new();
    static GO_ON: Notify = Notify::const_new();
    static LOCK: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    #[cache(expire = 60, namespace = "slow")]
    async fn slow(n: u64) -> u64 {
        STARTED.notify_one();
        GO_ON.notified().await;
        n
    }

    let _alone = LOCK.lock().await;
    let (value, ()) = tokio::join!(slow(1), async {
        STARTED.notified().await;
        invalidate().await;
        GO_ON.notify_one();
    });
    assert_eq!(value, 1);
    slow::entry(1).get().await.unwrap().is_some()
}

async fn is_final() {
    assert!(stored_in_spite_of(async || ()).await);
    FastCache::clear().await.unwrap();
    assert!(!stored_in_spite_of(async || assert_eq!(FastCache::clear().await.unwrap(), 0)).await);
    let namespace = async || assert_eq!(FastCache::clear_namespace("slow").await.unwrap(), 0);
    assert!(!stored_in_spite_of(namespace).await);
    let other = async || assert_eq!(FastCache::clear_namespace("slow2").await.unwrap(), 0);
    assert!(stored_in_spite_of(other).await);
    assert_eq!(FastCache::clear().await.unwrap(), 1);
    assert_eq!(FastCache::stats().invalidated, 2);
}

#[tokio::test]
async fn a_value_from_before_an_invalidation_is_not_stored_after_it() {
    cached(is_final()).await;
    #[cfg(feature = "json")]
    Cache::new(crate::support::Remote::default())
        .scope(is_final())
        .await;
}

#[tokio::test]
async fn an_entry_set_by_hand_outlives_a_computation_that_began_before() {
    static STARTED: Notify = Notify::const_new();
    static GO_ON: Notify = Notify::const_new();

    #[cache(expire = 60)]
    async fn slow() -> u64 {
        STARTED.notify_one();
        GO_ON.notified().await;
        1
    }

    cached(async {
        tokio::join!(slow(), async {
            STARTED.notified().await;
            slow::entry().set(2).await.unwrap();
            GO_ON.notify_one();
        });
        assert_eq!(slow().await, 2);
    })
    .await;
}
