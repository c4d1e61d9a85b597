//! `entry` and `uncached`.

use std::time::Duration;

use fast_cache::{CacheEntry, ErrorKind, cache};

use crate::support::{Calls, cached};

#[tokio::test]
async fn an_entry_reads_writes_and_removes() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn square(n: u64) -> Result<u64, String> {
        CALLS.next();
        Ok(n * n)
    }

    cached(async {
        let entry: CacheEntry<u64> = square::entry(4);
        assert_eq!(entry.get().await.unwrap(), None);
        assert_eq!(entry.ttl().await.unwrap(), None);
        assert!(!entry.invalidate().await.unwrap());

        entry.set(17).await.unwrap();
        assert_eq!(square(4).await, Ok(17));
        assert_eq!(CALLS.get(), 0);
        let ttl = entry.ttl().await.unwrap().unwrap();
        assert!(ttl > Duration::from_secs(50) && ttl <= Duration::from_secs(60));

        assert!(entry.invalidate().await.unwrap());
        assert_eq!(square(4).await, Ok(16));
        assert_eq!(entry.get().await.unwrap(), Some(16));
        assert_eq!(square::uncached(5).await, Ok(25));
        assert_eq!(square::entry(5).get().await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn an_alias_of_a_result_has_an_entry_of_its_value() {
    struct Opaque;
    type Lookup = Result<Vec<u8>, Opaque>;

    #[cache(expire = 60)]
    async fn lookup(n: u8) -> Lookup {
        if n == 0 { Err(Opaque) } else { Ok(vec![n]) }
    }

    cached(async {
        assert!(lookup(0).await.is_err());
        assert!(lookup(1).await.is_ok());
        assert_eq!(lookup::entry(1).get().await.unwrap(), Some(vec![1]));
    })
    .await;
}

#[tokio::test]
async fn skipped_arguments_are_no_part_of_an_entry() {
    struct Db;

    #[cache(expire = 60, skip(db, trace))]
    async fn load(db: &Db, id: u64, trace: &str) -> u64 {
        let Db = db;
        id + trace.len() as u64
    }

    cached(async {
        assert_eq!(load(&Db, 1, "abc").await, 4);
        assert_eq!(load(&Db, 1, "").await, 4);
        assert_eq!(load::entry(1).get().await.unwrap(), Some(4));
    })
    .await;
}

struct Repository;

trait Load {
    async fn load(&self, id: u64) -> u64;
}

impl Load for Repository {
    #[cache(expire = 60, skip(self), companions = none)]
    async fn load(&self, id: u64) -> u64 {
        CALLS.next();
        id
    }
}

static CALLS: Calls = Calls::new();

impl Repository {
    #[cache(expire = 60, companions = methods)]
    async fn count(n: u64) -> u64 {
        n
    }
}

#[tokio::test]
async fn methods_of_traits_have_no_companions_and_associated_functions_do() {
    cached(async {
        assert_eq!(Repository.load(3).await, 3);
        assert_eq!(Repository.load(3).await, 3);
        assert_eq!(CALLS.get(), 1);
        assert_eq!(Repository::count(1).await, 1);
        assert_eq!(Repository::count_entry(1).get().await.unwrap(), Some(1));
        assert_eq!(Repository::count_uncached(2).await, 2);
    })
    .await;
}

#[tokio::test]
async fn without_a_cache_an_entry_says_so() {
    #[cache(expire = 60)]
    async fn alone(n: u64) -> u64 {
        n
    }

    let entry = alone::entry(1);
    assert_eq!(entry.key(), "");
    for error in [
        entry.get().await.unwrap_err(),
        entry.set(1).await.unwrap_err(),
        entry.invalidate().await.unwrap_err(),
        entry.ttl().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotInitialized);
        assert!(error.to_string().contains("FastCache::init"), "{error}");
    }
}
