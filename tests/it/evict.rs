//! `#[cache_evict]`: what a function has changed is evicted after it has succeeded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fast_cache::{Cache, Config, Error, InMemoryBackend, cache, cache_evict};
use serde::Serialize;

use crate::support::Remote;

#[derive(Clone, Default)]
struct Database(Arc<Mutex<HashMap<u64, String>>>);

impl Database {
    fn name(&self, id: u64) -> String {
        self.0.lock().unwrap().get(&id).cloned().unwrap_or_default()
    }

    fn rename(&self, id: u64, name: &str) {
        self.0.lock().unwrap().insert(id, name.to_owned());
    }
}

#[cache(
    expire = 60,
    namespace = "names",
    skip(database),
    tags("name:{id}", "names")
)]
async fn name(id: u64, database: &Database) -> String {
    database.name(id)
}

#[cache(expire = 60, namespace = "lengths", skip(database))]
async fn length(id: u64, database: &Database) -> u64 {
    database.name(id).len() as u64
}

#[cache_evict(tags("name:{id}"), entry = length(id))]
async fn rename(id: u64, new: &str, database: &Database) -> Result<(), String> {
    if new.is_empty() {
        return Err("a name has letters".to_owned());
    }
    let length = u8::try_from(new.len()).map_err(|error| error.to_string())?;
    assert!(length > 0);
    database.rename(id, new);
    Ok(())
}

#[cache_evict(namespace = "names", tags("names"))]
async fn forget(database: Database) {
    database.0.lock().unwrap().clear();
}

#[derive(Serialize)]
struct Shop {
    id: u64,
    #[serde(skip)]
    database: Database,
}

impl Shop {
    #[cache(expire = 60)]
    async fn price(&self, item: u64) -> String {
        self.database.name(self.id + item)
    }

    #[cache(expire = 60, skip(database))]
    async fn list(item: u64, database: &Database) -> String {
        let _: Option<&Self> = None;
        database.name(item)
    }

    #[cache_evict(entry = self.price(item))]
    async fn set_price(&self, item: u64, price: &str) {
        self.database.rename(self.id + item, price);
    }

    #[cache_evict(entry = Self::list(item))]
    async fn set_list(item: u64, database: &Database) -> Result<(), Error> {
        database.rename(item, "listed");
        Ok(())
    }
}

fn caches() -> [Cache; 2] {
    let remote = Config::new(Remote::default()).invalidation_delay(Duration::ZERO);
    [Cache::new(InMemoryBackend::new()), Cache::new(remote)]
}

#[tokio::test]
async fn success_evicts_what_is_named() {
    for cache in caches() {
        let test = async {
            let database = Database::default();
            assert_eq!(name(1, &database).await, "");
            assert_eq!(length(1, &database).await, 0);
            assert_eq!(length(2, &database).await, 0);
            database.rename(2, "changed behind its back");
            rename(1, "Ada", &database).await.unwrap();
            assert_eq!(name(1, &database).await, "Ada");
            assert_eq!(length(1, &database).await, 3);
            assert_eq!(length(2, &database).await, 0);

            forget(database.clone()).await;
            assert_eq!(name(1, &database).await, "");
            assert_eq!(length(1, &database).await, 3);
        };
        cache.scope(test).await;
    }
}

#[tokio::test]
async fn an_error_evicts_nothing() {
    for cache in caches() {
        let test = async {
            let database = Database::default();
            assert_eq!(name(1, &database).await, "");
            database.rename(1, "changed behind its back");
            rename(1, "", &database).await.unwrap_err();
            rename(1, &"x".repeat(300), &database).await.unwrap_err();
            assert_eq!(name(1, &database).await, "");
        };
        cache.scope(test).await;
    }
}

#[tokio::test]
async fn entries_of_methods_are_evicted() {
    for cache in caches() {
        let test = async {
            let shop = Shop {
                id: 10,
                database: Database::default(),
            };
            assert_eq!(shop.price(1).await, "");
            shop.set_price(1, "5").await;
            assert_eq!(shop.price(1).await, "5");
            assert_eq!(Shop::list(7, &shop.database).await, "");
            Shop::set_list(7, &shop.database).await.unwrap();
            assert_eq!(Shop::list(7, &shop.database).await, "listed");
        };
        cache.scope(test).await;
    }
}

#[tokio::test]
async fn without_a_cache_the_function_just_runs() {
    let database = Database::default();
    rename(1, "Ada", &database).await.unwrap();
    assert_eq!(database.name(1), "Ada");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_evicted_is_evicted_later() {
    let remote = Remote::default();
    let config = || Config::new(remote.clone()).breaker(0, Duration::ZERO);
    let (one, two) = (Cache::new(config()), Cache::new(config()));
    let database = Database::default();
    assert_eq!(two.scope(name(1, &database)).await, "");
    remote.fail(true);
    one.scope(rename(1, "Ada", &database)).await.unwrap();
    assert_eq!(one.stats().backend_errors, 2);
    remote.fail(false);
    // This process knows what it has changed; the other one has to wait until it is told.
    assert_eq!(one.scope(name(1, &database)).await, "Ada");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(two.scope(name(1, &database)).await, "Ada");
}
