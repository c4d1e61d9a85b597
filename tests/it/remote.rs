//! Values in a store of bytes: coders, and entries that cannot be used.

#![cfg(any(feature = "json", feature = "msgpack", feature = "bincode"))]

use std::time::Duration;

use bytes::Bytes;
use fast_cache::{Cache, Coder, Config, Error, ErrorKind, cache};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::support::{Calls, Remote};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    day: chrono::NaiveDate,
    at: chrono::DateTime<chrono::Utc>,
    stamp: jiff::Timestamp,
    // The plain form asks the format what it holds, which compact formats cannot tell.
    #[serde(with = "rust_decimal::serde::str")]
    total: rust_decimal::Decimal,
    lines: Vec<(String, Option<u32>)>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Gift { note: String },
}

fn order(id: u64) -> Order {
    let day = chrono::NaiveDate::from_ymd_opt(2026, 2, 28).unwrap();
    Order {
        id,
        day,
        at: day.and_hms_milli_opt(1, 2, 3, 4).unwrap().and_utc(),
        stamp: "2026-02-28T12:00:00.000000001Z".parse().unwrap(),
        total: rust_decimal::Decimal::new(-1_990, 2),
        lines: vec![("tea".to_owned(), Some(2)), ("é".to_owned(), None)],
        kind: Kind::Gift {
            note: "for you".to_owned(),
        },
    }
}

/// Stores orders through the registry's coder, and reads them back as another process would.
async fn round_trip(config: Config) {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn load(id: u64) -> Result<Order, String> {
        CALLS.next();
        Ok(order(id))
    }

    let before = CALLS.get();
    let cache = Cache::new(config);
    for _ in 0..3 {
        assert_eq!(cache.scope(load(7)).await.unwrap(), order(7));
    }
    assert_eq!(CALLS.get() - before, 1);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.stored), (2, 1, 1));
    assert_eq!(stats.encode_errors + stats.decode_errors, 0);
}

#[tokio::test]
async fn every_coder_brings_values_back() {
    #[cfg(feature = "json")]
    round_trip(Config::new(Remote::default()).coder(fast_cache::Json)).await;
    #[cfg(feature = "msgpack")]
    round_trip(Config::new(Remote::default()).coder(fast_cache::MessagePack)).await;
    #[cfg(feature = "bincode")]
    round_trip(Config::new(Remote::default()).coder(fast_cache::Bincode)).await;
    round_trip(Config::new(Remote::default()).coder(Reversed)).await;
}

/// A custom coder: some other coder's bytes, backwards.
struct Reversed;

#[cfg(feature = "json")]
type Inner = fast_cache::Json;
#[cfg(all(feature = "msgpack", not(feature = "json")))]
type Inner = fast_cache::MessagePack;
#[cfg(not(any(feature = "json", feature = "msgpack")))]
type Inner = fast_cache::Bincode;

impl Coder for Reversed {
    const ID: &'static str = "reversed";

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
        let mut bytes = Inner::encode(value)?;
        bytes.reverse();
        Ok(bytes)
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
        let bytes: Vec<u8> = bytes.iter().rev().copied().collect();
        Inner::decode(&bytes)
    }
}

#[cache(expire = 60, namespace = "orders", coder = Reversed, key = "{id}")]
async fn named(id: u64) -> Order {
    order(id)
}

#[tokio::test]
async fn foreign_and_damaged_entries_are_misses_that_are_overwritten() {
    let remote = Remote::default();
    let cache = Cache::new(Config::new(remote.clone()).prefix("shop"));
    let key = "shop:orders:7";
    cache.scope(named(7)).await;
    assert_eq!(remote.keys(), [key]);
    let good = remote.read(key).unwrap();

    let flipped = |at: usize| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    let mut bad = vec![
        Bytes::new(),
        Bytes::from_static(b"garbage"),
        good.slice(..good.len() - 1),
    ];
    // The magic, the format version, the type, the function's version, the coder's name.
    bad.extend([0, 4, 77, 85, 87].map(flipped));
    for (number, bytes) in (1..).zip(bad) {
        remote.write(key, bytes);
        assert_eq!(cache.scope(named(7)).await, order(7));
        assert_eq!(cache.stats().misses, number + 1, "case {number}");
        assert_eq!(cache.stats().decode_errors, number);
        assert_eq!(cache.scope(named(7)).await, order(7));
        assert_eq!(
            cache.stats().hits,
            number,
            "case {number} was not overwritten"
        );
    }

    remote.write(key, "garbage");
    let error = cache
        .scope(async { named::entry(7).get().await })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
}

#[tokio::test]
async fn a_value_of_another_key_is_a_miss() {
    let remote = Remote::default();
    let cache = Cache::new(Config::new(remote.clone()).prefix("shop"));
    cache.scope(named(7)).await;
    // As a broken connection would answer, or somebody who renames keys.
    remote.write("shop:orders:8", remote.read("shop:orders:7").unwrap());
    assert_eq!(cache.scope(named(8)).await, order(8));
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.decode_errors), (0, 2, 1));
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn lifetimes_are_checked_even_where_the_store_keeps_longer() {
    let clock = fast_cache::testing::ManualClock::new();
    let remote = Remote::default();
    let cache = Cache::new(Config::new(remote.clone()).clock(clock.clone()));
    cache.scope(named(8)).await;
    clock.advance(Duration::from_millis(59_999));
    let ttl = || cache.scope(async { named::entry(8).ttl().await.unwrap() });
    assert_eq!(ttl().await, Some(Duration::from_millis(1)));
    clock.advance(Duration::from_millis(1));
    assert_eq!(ttl().await, None);
    assert_eq!(remote.keys().len(), 1);
}

#[tokio::test]
async fn a_hit_is_one_read() {
    let remote = Remote::default();
    let config = Config::new(remote.clone()).invalidation_delay(Duration::from_secs(60));
    let cache = Cache::new(config);
    cache.scope(named(9)).await;
    let before = remote.gets();
    cache.scope(named(9)).await;
    assert_eq!(remote.gets() - before, 1);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_response_comes_back_whole() {
    use axum::http::{HeaderMap, HeaderValue, StatusCode};
    use fast_cache::CachedResponse;

    #[cache(expire = 60, key = "page", handler)]
    async fn page() -> &'static str {
        "never called"
    }

    let mut configs = vec![Config::new(Remote::default()).coder(Reversed)];
    #[cfg(feature = "json")]
    configs.push(Config::new(Remote::default()).coder(fast_cache::Json));
    #[cfg(feature = "msgpack")]
    configs.push(Config::new(Remote::default()).coder(fast_cache::MessagePack));
    #[cfg(feature = "bincode")]
    configs.push(Config::new(Remote::default()).coder(fast_cache::Bincode));
    for config in configs {
        let mut headers = HeaderMap::new();
        headers.append("x-list", HeaderValue::from_static("one"));
        headers.append("x-list", HeaderValue::from_bytes(b"\xfftwo").unwrap());
        let body = Bytes::from_static(b"\x00\xff{\"id\":1}");
        let response = CachedResponse::new(StatusCode::OK, headers, body);
        Cache::new(config)
            .scope(async {
                page::entry().set(response.clone()).await.unwrap();
                assert_eq!(page::entry().get().await.unwrap(), Some(response));
            })
            .await;
    }
}

#[cfg(all(feature = "axum", feature = "json"))]
#[tokio::test]
async fn with_json_the_stored_bytes_are_the_body() {
    use axum::http::{HeaderMap, StatusCode};

    #[cache(expire = 60, key = "page", handler)]
    async fn page() -> &'static str {
        "never called"
    }

    let remote = Remote::default();
    Cache::new(remote.clone())
        .scope(async {
            let body = Bytes::from_static(b"{\"id\":1}");
            let response = fast_cache::CachedResponse::new(StatusCode::OK, HeaderMap::new(), body);
            page::entry().set(response).await.unwrap();
        })
        .await;
    let key = remote.keys().remove(0);
    assert!(remote.read(&key).unwrap().ends_with(b"{\"id\":1}"));
}
