//! Storing only over what was seen.

use std::time::Duration;

use bytes::Bytes;
use fast_cache::{Backend, ErrorKind, RedisBackend};
use futures_util::future;

use super::server::{self, Certificates, Server};
use super::{connect, is_skipped, keeps_the_contract, options};

const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

/// What `replace` promises, whatever the backend is connected to. The keys start with `prefix`.
async fn replaces(backend: &RedisBackend, prefix: &str) {
    let key = format!("{prefix}:replaced");
    one_replaces(backend, &key, None).await;
    one_replaces(backend, &key, Some(b"one")).await;
    let replace = async |seen, value, expire| {
        let value = Bytes::from_static(value);
        backend.replace(&key, seen, value, expire).await.unwrap()
    };
    assert!(!replace(None, b"late", None).await);
    assert!(!replace(Some(b"one"), b"late", None).await);
    assert!(!replace(Some(b"two by many, and more"), b"late", None).await);
    // Every value begins with nothing.
    assert!(replace(Some(b""), b"three", Some(Duration::ZERO)).await);
    while backend.get(&key).await.unwrap().is_some() {}
    assert!(replace(Some(b"three"), b"", MINUTE).await);
    assert!(!replace(Some(b"three"), b"late", MINUTE).await);
    assert!(replace(Some(b""), b"four", Some(Duration::MAX)).await);
    assert_eq!(backend.get(&key).await.unwrap().unwrap(), "four");
    super::remove(backend, &key).await;
}

/// Of 64 callers that have seen the same, one stores a value, and the value is there.
async fn one_replaces(backend: &RedisBackend, key: &str, seen: Option<&[u8]>) {
    let start = if seen.is_none() { "one" } else { "two" };
    let replace = async |n: u64| {
        let value = Bytes::from(format!("{start} by {n}"));
        let is_stored = backend.replace(key, seen, value.clone(), MINUTE).await?;
        Ok::<_, fast_cache::Error>(is_stored.then_some(value))
    };
    let stored = future::try_join_all((0..64).map(replace)).await.unwrap();
    let stored: Vec<_> = stored.into_iter().flatten().collect();
    assert_eq!(stored.len(), 1, "{stored:?}");
    assert_eq!(backend.get(key).await.unwrap().as_ref(), stored.first());
}

#[tokio::test]
async fn one_of_many_replaces_on_a_server_and_through_a_sentinel() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&[]);
    replaces(&connect(&server).await, "test").await;
    let sentinel = Server::start_sentinel(&server);
    let watched = options().connect_sentinel([sentinel.url()], "cache").await;
    replaces(&watched.unwrap(), "test").await;
}

#[tokio::test]
async fn one_of_many_replaces_on_a_cluster() {
    if is_skipped() {
        return;
    }
    let servers = server::cluster().await;
    let backend = options().connect_cluster([servers[0].url()]).await.unwrap();
    for n in 0..10 {
        replaces(&backend, &format!("test{n}")).await;
    }
}

#[tokio::test]
async fn one_of_many_replaces_through_tls() {
    if is_skipped() {
        return;
    }
    let certificates = Certificates::make();
    let server = Server::start_tls(&certificates, &["--requirepass", "secret"]);
    let options = options().ca_certificate(certificates.authority());
    let url = format!("rediss://:secret@{}", server.address());
    replaces(&options.connect(&url).await.unwrap(), "test").await;
}

#[tokio::test]
async fn valkey_keeps_the_contract() {
    let Ok(url) = std::env::var("FAST_CACHE_TEST_VALKEY") else {
        assert!(
            std::env::var_os("CI").is_none(),
            "FAST_CACHE_TEST_VALKEY must be set on CI"
        );
        eprintln!("SKIPPED, NOT TESTED: set FAST_CACHE_TEST_VALKEY=redis://.. to test Valkey");
        return;
    };
    let backend = options().connect(&url).await.unwrap();
    let prefix = format!("fast-cache-test-{}", std::process::id());
    keeps_the_contract(&backend, &prefix).await;
    replaces(&backend, &prefix).await;
}

#[tokio::test]
async fn what_is_no_string_is_not_replaced() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&[]);
    let backend = connect(&server).await;
    server.command::<()>(&["RPUSH", "a", "one"]).await;
    let value = Bytes::from_static(b"two");
    assert!(
        !backend
            .replace("a", None, value.clone(), None)
            .await
            .unwrap()
    );
    let seen = backend
        .replace("a", Some(b"one"), value.clone(), None)
        .await;
    assert_eq!(seen.unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(server.command::<String>(&["TYPE", "a"]).await, "list");
    backend.set("a", value.clone(), None).await.unwrap();
    assert_eq!(backend.get("a").await.unwrap(), Some(value));
}
