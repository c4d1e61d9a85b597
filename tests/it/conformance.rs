//! Every backend keeps the same promises, and the suite notices those that do not.

#[cfg(all(feature = "dynamodb", feature = "memcached", feature = "redis"))]
mod servers;

use std::time::Duration;

use bytes::Bytes;
use fast_cache::testing::backend_conformance;
use fast_cache::{Backend, Error, InMemoryBackend};

#[tokio::test]
async fn values_in_memory() {
    let report = backend_conformance(InMemoryBackend::new()).await;
    println!("{report}");
    report.assert_passed();
}

#[tokio::test]
async fn bytes_in_memory() {
    let report = backend_conformance(Bent::default()).await;
    println!("{report}");
    report.assert_passed();
}

#[tokio::test]
async fn a_replace_that_does_not_look_is_noticed() {
    let broken = broken(Bent {
        replaces_always: true,
        ..Bent::default()
    });
    let expected = [
        "replace stores only over what was seen",
        "replace looks and stores in one step",
        "a value from before its invalidation is not served after it",
        "a value from before two invalidations is not served after a newer one expired",
        "a value that was set is not overwritten by an older one",
        "processes that lock make one computation",
    ];
    assert_eq!(broken.await, expected);
}

#[tokio::test]
async fn a_replace_in_two_steps_is_noticed() {
    let broken = broken(Bent {
        replaces_slowly: true,
        ..Bent::default()
    });
    assert_eq!(broken.await, ["replace looks and stores in one step"]);
}

#[tokio::test]
async fn a_clear_that_clears_more_is_noticed() {
    let broken = broken(Bent {
        clears_more: true,
        ..Bent::default()
    });
    let expected = [
        "clear frees what starts with a prefix, and nothing else",
        "a namespace is cleared in every process, and no other",
        "a cache is cleared in every process, and no other",
    ];
    assert_eq!(broken.await, expected);
}

/// The promises that a backend breaks.
async fn broken(backend: Bent) -> Vec<&'static str> {
    let report = backend_conformance(backend).await;
    assert!(!report.is_passed());
    let results = report.results();
    results
        .filter(|(_, result)| result.is_err())
        .map(|(promise, _)| promise)
        .collect()
}

/// `InMemoryBackend` as a store of bytes, with the faults that a test asks for.
#[derive(Default)]
struct Bent {
    store: InMemoryBackend,
    replaces_always: bool,
    replaces_slowly: bool,
    clears_more: bool,
}

impl Backend for Bent {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.store.get(key).await
    }

    async fn set(&self, key: &str, value: Bytes, expire: Option<Duration>) -> Result<(), Error> {
        self.store.set(key, value, expire).await
    }

    async fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> Result<bool, Error> {
        if self.replaces_always {
            self.store.set(key, value, expire).await?;
            return Ok(true);
        }
        if !self.replaces_slowly {
            return self.store.replace(key, seen, value, expire).await;
        }
        let there = self.store.get(key).await?;
        tokio::task::yield_now().await;
        let is_seen = |there: Bytes| seen.is_some_and(|seen| there.starts_with(seen));
        if !there.is_none_or(is_seen) {
            return Ok(false);
        }
        self.store.set(key, value, expire).await?;
        Ok(true)
    }

    async fn clear(&self, prefix: &str) -> Result<u64, Error> {
        let prefix = match self.clears_more {
            true => prefix.trim_end_matches(':'),
            false => prefix,
        };
        self.store.clear(prefix).await
    }
}
