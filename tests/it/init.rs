//! The cache of the process. This test alone touches it, in a process of its own where nextest
//! runs it, and otherwise beside tests that all have a scope or count nothing.

use std::time::Duration;

use fast_cache::{Cache, Config, FastCache, InitError};

use crate::support::Remote;

#[test]
fn settings_can_be_read_back() {
    let config = Config::new(Remote::default())
        .prefix("shop")
        .expire(Duration::from_secs(9))
        .enable(false);
    let cache = Cache::new(config);
    assert_eq!(cache.prefix(), "shop");
    assert_eq!(cache.expire(), Some(Duration::from_secs(9)));
    assert!(!cache.is_enabled());
    cache.set_enabled(true);
    assert!(cache.is_enabled());
    assert!(cache.key_builder().is_none());
    #[cfg(feature = "json")]
    assert_eq!(cache.coder().id(), "json");
    #[cfg(feature = "axum")]
    assert_eq!(cache.cache_status_header(), "x-fastapi-cache");
}

#[cfg(feature = "axum")]
#[test]
fn a_status_header_that_is_none_is_an_error() {
    let config = Config::new(Remote::default()).cache_status_header("not a header");
    let error = Cache::try_new(config).unwrap_err();
    assert_eq!(error, InitError::StatusHeader("not a header".to_owned()));
    assert!(error.to_string().contains("not a header"));
}

#[tokio::test]
async fn the_first_init_wins() {
    // In a process of its own, so that no other test sees a cache it did not make.
    if std::env::var_os("FAST_CACHE_TEST_INIT").is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "init::the_first_init_wins"])
            .env("FAST_CACHE_TEST_INIT", "1")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(
            status.status.success() && output.contains("1 passed"),
            "{output}"
        );
        return;
    }
    assert!(Cache::current().is_none());
    assert_eq!(
        (FastCache::prefix(), FastCache::is_enabled()),
        (String::new(), false)
    );
    assert!(FastCache::clear().await.is_err());

    FastCache::init(Config::new(Remote::default()).prefix("first")).unwrap();
    let second = FastCache::init(Config::new(Remote::default()).prefix("second"));
    assert_eq!(second, Err(InitError::AlreadyInitialized));
    assert_eq!(FastCache::prefix(), "first");
    assert!(FastCache::is_enabled() && FastCache::backend().is_some());
    assert_eq!(FastCache::clear().await.unwrap(), 0);

    let inner = Cache::new(Config::new(Remote::default()).prefix("inner"));
    let prefix = inner.scope(async { FastCache::prefix() }).await;
    assert_eq!(
        (prefix.as_str(), FastCache::prefix().as_str()),
        ("inner", "first")
    );
}
