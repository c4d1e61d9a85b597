//! `#[cache]` on functions and methods.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use fast_cache::cache;
use serde::{Deserialize, Serialize};

use crate::support::{Calls, cached};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
}

/// An error that is neither `Clone` nor `Serialize`.
#[derive(Debug)]
struct DbError;

type DbResult<T> = Result<T, DbError>;

#[tokio::test]
async fn the_second_call_is_a_hit() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60, namespace = "users")]
    async fn get_user(id: u64) -> Result<User, DbError> {
        CALLS.next();
        Ok(User {
            id,
            name: format!("user {id}"),
        })
    }

    cached(async {
        let first = get_user(1).await.unwrap();
        assert_eq!(get_user(1).await.unwrap(), first);
        assert_eq!(get_user(2).await.unwrap().id, 2);
        assert_eq!(CALLS.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn only_ok_is_stored_also_behind_an_alias() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn flaky(id: u64) -> DbResult<u64> {
        if CALLS.next() == 1 {
            Err(DbError)
        } else {
            Ok(id)
        }
    }

    cached(async {
        assert!(flaky(7).await.is_err());
        assert_eq!(flaky(7).await.unwrap(), 7);
        assert_eq!(flaky(7).await.unwrap(), 7);
        assert_eq!(CALLS.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn none_is_a_value() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn find(id: u64) -> Option<u64> {
        CALLS.next();
        (id > 10).then_some(id)
    }

    cached(async {
        assert_eq!(find(1).await, None);
        assert_eq!(find(1).await, None);
        assert_eq!(CALLS.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn cache_if_keeps_values_out() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60, cache_if = Option::is_some)]
    async fn find(id: u64) -> Option<u64> {
        CALLS.next();
        (id > 10).then_some(id)
    }

    #[cache(expire = 60, cache_if = |found: &Vec<u64>| !found.is_empty())]
    async fn search(n: u64) -> Result<Vec<u64>, DbError> {
        CALLS.next();
        Ok((0..n).collect())
    }

    cached(async {
        find(1).await;
        find(1).await;
        assert_eq!(CALLS.get(), 2);
        find(11).await;
        find(11).await;
        assert_eq!(CALLS.get(), 3);
        search(0).await.unwrap();
        search(0).await.unwrap();
        assert_eq!(CALLS.get(), 5);
        search(1).await.unwrap();
        search(1).await.unwrap();
        assert_eq!(CALLS.get(), 6);
    })
    .await;
}

#[tokio::test]
async fn lifetimes_come_from_the_value_the_function_and_the_registry() {
    #[cache(expire_with = |seconds| seconds.map(Duration::from_secs))]
    async fn by_value(seconds: Option<u64>) -> Option<u64> {
        seconds
    }

    #[cache(expire = "1500ms")]
    async fn by_function() -> u8 {
        1
    }

    #[cache(expire = 60 * SECOND)]
    async fn by_expression() -> u8 {
        2
    }

    const SECOND: Duration = Duration::from_secs(1);

    let config = fast_cache::Config::new(fast_cache::InMemoryBackend::new());
    let cache = fast_cache::Cache::new(config.expire(Duration::from_secs(9)));
    cache
        .scope(async {
            by_value(Some(100)).await;
            by_value(None).await;
            by_function().await;
            by_expression().await;
            let seconds = async |entry: fast_cache::CacheEntry<Option<u64>>| {
                entry.ttl().await.unwrap().unwrap().as_secs_f64()
            };
            assert!((99.0..=100.0).contains(&seconds(by_value::entry(Some(100))).await));
            assert!((8.0..=9.0).contains(&seconds(by_value::entry(None)).await));
            let ttl = by_function::entry().ttl().await.unwrap().unwrap();
            assert!(ttl > Duration::from_millis(500) && ttl <= Duration::from_millis(1500));
            let ttl = by_expression::entry().ttl().await.unwrap().unwrap();
            assert!(ttl > 59 * SECOND && ttl <= 60 * SECOND);
        })
        .await;
}

#[tokio::test]
async fn without_a_lifetime_a_value_does_not_expire() {
    #[cache]
    async fn forever() -> u8 {
        1
    }

    cached(async {
        assert_eq!(forever::entry().ttl().await.unwrap(), None);
        forever().await;
        assert_eq!(forever::entry().ttl().await.unwrap(), Some(Duration::MAX));
    })
    .await;
}

#[tokio::test]
async fn sync_functions_run_on_the_blocking_pool() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    fn checksum(text: String) -> (u64, String) {
        CALLS.next();
        let thread = format!("{:?}", std::thread::current().id());
        (text.bytes().map(u64::from).sum(), thread)
    }

    cached(async {
        let here = format!("{:?}", std::thread::current().id());
        let (sum, there) = checksum("ab".to_owned()).await;
        assert_eq!(sum, 195);
        assert_ne!(here, there);
        checksum("ab".to_owned()).await;
        assert_eq!(CALLS.get(), 1);
        assert_eq!(checksum::uncached("b".to_owned()).0, 98);
    })
    .await;
}

#[derive(Serialize)]
struct Shop {
    id: u64,
    #[serde(skip)]
    calls: Arc<Calls>,
}

impl Shop {
    #[cache(expire = 60)]
    async fn price(&self, product: &str) -> u64 {
        self.calls.next();
        self.id + product.len() as u64
    }

    #[cache(expire = 60, skip(self))]
    pub(crate) async fn shared(&self, product: &str) -> u64 {
        self.calls.next();
        product.len() as u64
    }
}

#[tokio::test]
async fn methods_are_keyed_by_self_unless_it_is_skipped() {
    cached(async {
        let calls = Arc::new(Calls::new());
        let one = Shop {
            id: 1,
            calls: Arc::clone(&calls),
        };
        let two = Shop {
            id: 2,
            calls: Arc::clone(&calls),
        };
        assert_eq!(one.price("tea").await, 4);
        assert_eq!(two.price("tea").await, 5);
        assert_eq!(one.price("tea").await, 4);
        assert_eq!(calls.get(), 2);

        one.shared("tea").await;
        two.shared("tea").await;
        assert_eq!(calls.get(), 3);

        assert!(one.price_entry("tea").invalidate().await.unwrap());
        one.price("tea").await;
        assert_eq!(calls.get(), 4);
        assert_eq!(one.price_uncached("tea").await, 4);
        assert_eq!(calls.get(), 5);
        assert!(Shop::shared_entry("tea").get().await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn type_arguments_are_part_of_the_key() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn parse<T>(text: &str) -> Option<T>
    where
        T: std::str::FromStr
            + Clone
            + Serialize
            + for<'de> Deserialize<'de>
            + Send
            + Sync
            + 'static,
    {
        CALLS.next();
        text.parse().ok()
    }

    #[cache(expire = 60)]
    async fn describe<T: Debug + Serialize + Sync, const N: usize>(value: &T) -> String {
        CALLS.next();
        format!("{value:?} {N}")
    }

    cached(async {
        assert_eq!(parse::<u8>("1").await, Some(1));
        assert_eq!(parse::<u16>("1").await, Some(1));
        parse::<u8>("1").await;
        assert_eq!(CALLS.get(), 2);
        assert_eq!(describe::<_, 1>(&3_u8).await, "3 1");
        assert_eq!(describe::<_, 2>(&3_u8).await, "3 2");
        assert_eq!(describe::<_, 2>(&3_u64).await, "3 2");
        assert_eq!(CALLS.get(), 5);
    })
    .await;
}

#[tokio::test]
async fn borrowed_shared_and_unordered_arguments_are_keyed_by_their_content() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn total(
        prices: &HashMap<String, u64>,
        tags: &HashSet<u32>,
        names: Arc<[String]>,
        limits: BTreeMap<u8, u8>,
        slice: &[u8],
    ) -> u64 {
        CALLS.next();
        prices.values().sum::<u64>()
            + (tags.len() + names.len() + limits.len() + slice.len()) as u64
    }

    cached(async {
        let call = |order: [u64; 8]| async move {
            let prices: HashMap<_, _> = order.iter().map(|n| (n.to_string(), *n)).collect();
            let tags: HashSet<u32> = order.iter().map(|n| *n as u32).collect();
            let names: Arc<[String]> = Arc::from(vec!["a".to_owned()]);
            total(&prices, &tags, names, BTreeMap::from([(1, 2)]), &[1]).await
        };
        let sum = call([1, 2, 3, 4, 5, 6, 7, 8]).await;
        for order in [[8, 7, 6, 5, 4, 3, 2, 1], [2, 1, 4, 3, 6, 5, 8, 7]] {
            assert_eq!(call(order).await, sum);
        }
        assert_eq!(CALLS.get(), 1);
    })
    .await;
}

#[tokio::test]
async fn functions_of_one_name_are_told_apart() {
    mod one {
        #[fast_cache::cache(expire = 60)]
        pub(super) async fn load(id: u64) -> u64 {
            id + 1
        }
    }
    mod two {
        #[fast_cache::cache(expire = 60)]
        pub(super) async fn load(id: u64) -> u64 {
            id + 2
        }
    }
    async fn first() -> u64 {
        #[cache(expire = 60)]
        async fn load(id: u64) -> u64 {
            id + 3
        }
        load(1).await
    }
    async fn second() -> u64 {
        #[cache(expire = 60)]
        async fn load(id: u64) -> u64 {
            id + 4
        }
        load(1).await
    }

    cached(async {
        for _ in 0..2 {
            assert_eq!(one::load(1).await, 2);
            assert_eq!(two::load(1).await, 3);
            assert_eq!(first().await, 4);
            assert_eq!(second().await, 5);
        }
    })
    .await;
}

#[tokio::test]
async fn a_panic_is_the_callers_and_stores_nothing() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn fragile() -> u64 {
        let call = CALLS.next();
        assert!(call > 1, "the first call panics");
        call
    }

    #[cache(expire = 60)]
    fn fragile_sync(n: u64) -> u64 {
        assert!(n > 0, "zero panics");
        n
    }

    cached(async {
        let cache = fast_cache::Cache::current().unwrap();
        let panic = tokio::spawn(cache.scope(async { fragile().await }))
            .await
            .unwrap_err();
        let message = panic.into_panic().downcast::<&str>().map(|text| *text);
        assert_eq!(message.unwrap(), "the first call panics");
        assert_eq!(fragile().await, 2);
        assert_eq!(fragile().await, 2);

        let panic = tokio::spawn(cache.scope(async { fragile_sync(0).await }))
            .await
            .unwrap_err();
        assert!(panic.is_panic());
        assert_eq!(fragile_sync(1).await, 1);
    })
    .await;
}

#[tokio::test]
async fn dates_times_and_decimals_are_arguments_and_values() {
    use chrono::{DateTime, NaiveDate, Utc};
    use rust_decimal::Decimal;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Quote {
        day: NaiveDate,
        at: DateTime<Utc>,
        stamp: jiff::Timestamp,
        price: Decimal,
    }

    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn quote(day: NaiveDate, price: Decimal, stamp: jiff::Timestamp) -> Quote {
        CALLS.next();
        let at = day.and_hms_milli_opt(1, 2, 3, 4).unwrap().and_utc();
        Quote {
            day,
            at,
            stamp,
            price,
        }
    }

    cached(async {
        let day = NaiveDate::from_ymd_opt(2026, 2, 28).unwrap();
        let stamp = "2026-02-28T12:00:00.000000001Z".parse().unwrap();
        let price = Decimal::new(1_990, 2);
        let computed = quote(day, price, stamp).await;
        assert_eq!(quote(day, price, stamp).await, computed);
        assert_eq!(CALLS.get(), 1);
        quote(day.succ_opt().unwrap(), price, stamp).await;
        assert_eq!(CALLS.get(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_task_takes_the_scope_along() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn once() -> u64 {
        CALLS.next()
    }

    cached(async {
        once().await;
        let cache = fast_cache::Cache::current().unwrap();
        let inside = tokio::spawn(cache.scope(once())).await.unwrap();
        assert_eq!(inside, 1);
    })
    .await;
}

#[tokio::test]
async fn switched_off_functions_just_run() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn count() -> u64 {
        CALLS.next()
    }

    cached(async {
        assert_eq!(count().await, 1);
        fast_cache::FastCache::set_enabled(false);
        assert!(!fast_cache::FastCache::is_enabled());
        assert_eq!(count().await, 2);
        fast_cache::FastCache::set_enabled(true);
        assert_eq!(count().await, 1);
    })
    .await;
}
