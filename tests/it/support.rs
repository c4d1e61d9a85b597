//! What the tests share.
#![allow(dead_code, reason = "each feature set uses a part of it")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fast_cache::{Backend, Error, TOMBSTONE_BYTES};

/// Counts how often a function was computed.
#[derive(Debug, Default)]
pub(crate) struct Calls(AtomicU64);

impl Calls {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one call, and gives its number, from 1.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Runs a future with a cache of its own.
#[cfg(feature = "memory")]
pub(crate) async fn cached<F: Future>(future: F) -> F::Output {
    fast_cache::Cache::new(fast_cache::InMemoryBackend::new())
        .scope(future)
        .await
}

/// Stores bytes in a map that the test can reach into, and fails on demand. It knows no time: the
/// engine checks lifetimes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remote(Arc<State>);

#[derive(Debug, Default)]
struct State {
    map: Mutex<HashMap<String, Bytes>>,
    is_down: std::sync::atomic::AtomicBool,
    gets: AtomicU64,
}

impl Remote {
    pub(crate) fn fail(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::SeqCst);
    }

    pub(crate) fn gets(&self) -> u64 {
        self.0.gets.load(Ordering::SeqCst)
    }

    /// The keys of entries; those of barriers begin with a tilde.
    pub(crate) fn keys(&self) -> Vec<String> {
        let map = self.0.map.lock().unwrap();
        let keys = map.keys().filter(|key| !key.starts_with('~'));
        let mut keys: Vec<_> = keys.cloned().collect();
        keys.sort();
        keys
    }

    pub(crate) fn read(&self, key: &str) -> Option<Bytes> {
        self.0.map.lock().unwrap().get(key).cloned()
    }

    pub(crate) fn write(&self, key: &str, value: impl Into<Bytes>) {
        self.0
            .map
            .lock()
            .unwrap()
            .insert(key.to_owned(), value.into());
    }

    fn check(&self) -> Result<(), Error> {
        if self.0.is_down.load(Ordering::SeqCst) {
            return Err(Error::backend("connection refused"));
        }
        Ok(())
    }
}

impl Backend for Remote {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.check()?;
        self.0.gets.fetch_add(1, Ordering::SeqCst);
        Ok(self.read(key))
    }

    async fn set(&self, key: &str, value: Bytes, _: Option<Duration>) -> Result<(), Error> {
        self.check()?;
        self.write(key, value);
        Ok(())
    }

    async fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        _: Option<Duration>,
    ) -> Result<bool, Error> {
        self.check()?;
        let mut map = self.0.map.lock().unwrap();
        let is_seen = |there: &Bytes| seen.is_some_and(|seen| there.starts_with(seen));
        let stores = map.get(key).is_none_or(is_seen);
        if stores {
            map.insert(key.to_owned(), value);
        }
        Ok(stores)
    }

    async fn clear(&self, prefix: &str) -> Result<u64, Error> {
        self.check()?;
        let mut map = self.0.map.lock().unwrap();
        let freed = map.extract_if(|key, _| key.starts_with(prefix));
        Ok(freed
            .filter(|(_, value)| value.len() > TOMBSTONE_BYTES)
            .count() as u64)
    }
}

/// Remembers the warnings that are logged while it is in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// Runs a future, and gives what it logged.
    pub(crate) async fn of<F: Future>(future: F) -> (F::Output, String) {
        use tracing::instrument::WithSubscriber as _;

        let logs = Self::default();
        let writer = logs.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        let output = future.with_subscriber(subscriber).await;
        let text = String::from_utf8(logs.0.lock().unwrap().clone()).unwrap();
        (output, text)
    }
}

impl std::io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
