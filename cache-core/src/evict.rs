//! What is evicted after a function has changed what cached values were made from.

use std::fmt::Display;
use std::future::Future;

use tokio::runtime::Handle;

use crate::backend::BoxFuture;
use crate::companion::CacheEntry;
use crate::error::{Error, ErrorKind};
use crate::join::join_all;
use crate::registry::Cache;
use crate::tier::Change;
use crate::value::Shape;

/// What is to be evicted, from the cache that is the current one when this is made.
#[derive(Default)]
pub struct Evictions {
    cache: Option<Cache>,
    changes: Vec<Change>,
    entries: Vec<BoxFuture<'static, Result<bool, Error>>>,
}

impl Evictions {
    /// Nothing so far.
    #[must_use]
    pub fn new() -> Self {
        Self {
            cache: Cache::current(),
            ..Self::default()
        }
    }

    /// Adds what is under a tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Display) -> Self {
        self.changes.push(Change::Tag(tag.to_string()));
        self
    }

    /// Adds a namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.changes.push(Change::Namespace(namespace.into()));
        self
    }

    /// Adds the entry of one call.
    #[must_use]
    pub fn entry<T: 'static>(mut self, entry: CacheEntry<T>) -> Self {
        self.entries
            .push(Box::pin(async move { entry.invalidate().await }));
        self
    }

    /// Evicts everything side by side, and tells of what failed: the caller has done its work, and goes
    /// on.
    async fn run(self) {
        let Some(cache) = self.cache else { return };
        let changes = self.changes.into_iter().map(|change| {
            let cache = cache.clone();
            let future = async move { cache.engine().invalidate(change).await.map(|_| true) };
            Box::pin(future) as BoxFuture<'static, Result<bool, Error>>
        });
        let all = changes.chain(self.entries).collect();
        for result in join_all(all).await {
            match result {
                Err(error) if error.kind() != ErrorKind::NotInitialized => {
                    cache.engine().report_eviction(&error);
                }
                _ => {}
            }
        }
    }
}

/// Awaits a function, and evicts if it has succeeded. From then on this goes on without the caller, where there is a
/// runtime: the change is made, and what was cached of it has to go.
pub async fn evict<S: Shape>(
    _shape: S,
    future: impl Future<Output = S::Returned>,
    evictions: Evictions,
) -> S::Returned {
    let returned = future.await;
    if S::split(&returned).is_none() {
        return returned;
    }
    match Handle::try_current() {
        Ok(runtime) => {
            let evicted = runtime.spawn(evictions.run());
            let _ = evicted.await;
        }
        Err(_) => evictions.run().await,
    }
    returned
}
