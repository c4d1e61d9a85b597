//! `InMemoryBackend` as a store of bytes, so that values are encoded.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fast_cache::{Backend, Error, InMemoryBackend};

/// Hides the typed store, and remembers the keys.
#[derive(Default)]
pub(crate) struct BytesOnly {
    store: InMemoryBackend,
    keys: Mutex<Vec<String>>,
}

impl BytesOnly {
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: LazyLock<Arc<BytesOnly>> = LazyLock::new(Arc::default);
        Arc::clone(&SHARED)
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Keys that begin with a tilde are the cache's own, for clearing namespaces.
    fn remember(&self, key: &str) {
        if key.starts_with('~') {
            return;
        }
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
    }
}

impl Backend for BytesOnly {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.store.get(key).await
    }

    async fn set(&self, key: &str, value: Bytes, expire: Option<Duration>) -> Result<(), Error> {
        self.remember(key);
        self.store.set(key, value, expire).await
    }

    async fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> Result<bool, Error> {
        self.remember(key);
        self.store.replace(key, seen, value, expire).await
    }

    async fn clear(&self, prefix: &str) -> Result<u64, Error> {
        self.store.clear(prefix).await
    }
}
