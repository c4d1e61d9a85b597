//! What ends values: changes that this process makes, and those that it hears of.

use std::time::Duration;

use tokio::runtime::Handle;

use crate::backlog::{Attempt, Backlog};
use crate::error::Error;
use crate::invalidation::Scope;
use crate::key::{Key, cache_prefix, hash_printed, key_prefix, print_stored, split_space};
use crate::local::LocalStore;
use crate::site;
use crate::tier::Change;
use crate::timer::within;

use super::Engine;

/// How long a caller waits for the count of what is freed.
const FREED_WITHIN: Duration = Duration::from_millis(100);

impl Engine {
    /// Removes one entry, and tells whether there was one.
    pub(crate) async fn remove(&self, key: &Key) -> Result<bool, Error> {
        Ok(self.clear_key(&key.printed(&self.prefix)).await? > 0)
    }

    pub(crate) async fn clear_key(&self, printed: &str) -> Result<u64, Error> {
        if !printed.starts_with(&cache_prefix(&self.prefix)) {
            return Ok(0);
        }
        self.invalidate(Change::Key(printed.to_owned())).await
    }

    /// Invalidates what a change covers, and counts what the store that others see had of it.
    ///
    /// After an error it is repeated in the background until it succeeds, and meanwhile nothing that it
    /// covers is served by this process.
    pub(crate) async fn invalidate(&self, change: Change) -> Result<u64, Error> {
        let scope = self.scope(&change);
        self.invalidations.record(scope.clone());
        let local = self.backend.local();
        let counted = local.map_or(0, |local| self.forget(local, &change));
        if !self.is_shared() {
            return Ok(counted);
        }
        let removed = self.repeat(&change).await?;
        Ok(removed.max(self.free(&change).await))
    }

    /// Invalidates what a change covers where others see it. A call that is dropped before the store has answered leaves
    /// this to the background, as one that fails does.
    pub(crate) async fn repeat(&self, change: &Change) -> Result<u64, Error> {
        let attempt = Tried {
            engine: self,
            attempt: Some(self.backlog.attempt(change)),
        };
        let tell = self.tell(change);
        let removed = match change {
            Change::Key(printed) => {
                let removed = self.remote.invalidate(printed, tell).await;
                removed.map(u64::from)
            }
            Change::Namespace(namespace) => self.remote.clear_namespace(namespace, tell).await,
            Change::Tag(tag) => self.remote.clear_tag(tag, tell).await,
            Change::Cache => self.remote.clear(tell).await,
        }?;
        // A lookup that began in between may have found the old value still in the shared store.
        self.invalidations.record(self.scope(change));
        if let Some(local) = self.backend.local() {
            self.forget(local, change);
        }
        attempt.succeeded();
        Ok(removed)
    }

    /// Frees the memory of what was invalidated at once by a barrier, and counts it, for so long as the caller would not
    /// notice; then it goes on in the background. If it fails, the store frees it as it expires.
    async fn free(&self, change: &Change) -> u64 {
        let prefix = match change {
            Change::Namespace(namespace) => key_prefix(&self.prefix, namespace),
            Change::Cache => cache_prefix(&self.prefix),
            Change::Key(_) | Change::Tag(_) => return 0,
        };
        let backend = self.backend();
        let freeing = async move { backend.clear(&prefix).await };
        let freed = match Handle::try_current() {
            Ok(runtime) => {
                let freeing = runtime.spawn(freeing);
                within(FREED_WITHIN, freeing).await.and_then(Result::ok)
            }
            Err(_) => Some(freeing.await),
        };
        match freed {
            Some(Ok(freed)) => freed,
            Some(Err(error)) => {
                tracing::debug!(%error, "what was invalidated takes memory until it expires");
                0
            }
            None => 0,
        }
    }

    fn scope(&self, change: &Change) -> Scope {
        match change {
            Change::Key(printed) => Scope::Key(printed.clone()),
            Change::Namespace(namespace) => Scope::Prefix(key_prefix(&self.prefix, namespace)),
            Change::Tag(tag) => Scope::Tag(cache_prefix(&self.prefix), tag.clone()),
            Change::Cache => Scope::Prefix(cache_prefix(&self.prefix)),
        }
    }

    /// Drops what a change covers from the local store, and counts it.
    fn forget(&self, local: &LocalStore, change: &Change) -> u64 {
        match change {
            Change::Key(printed) => u64::from(local.remove_printed(hash_printed(printed), |key| {
                self.owns(key.space())
                    && print_stored(&self.prefix, key).is_some_and(|key| key == *printed)
            })),
            Change::Namespace(namespace) => {
                let owners = site::in_namespace(namespace);
                local.remove_where(|key| {
                    let (_, owner) = split_space(key.space());
                    self.owns(key.space()) && owners.binary_search(&owner).is_ok()
                })
            }
            Change::Tag(tag) => local.end_tag(self.prefix_number, tag),
            Change::Cache => local.remove_where(|key| self.owns(key.space())),
        }
    }

    /// Tells the other processes of a change, if they hold values of their own.
    pub(super) async fn tell(&self, change: &Change) -> Result<(), Error> {
        match &self.wire {
            Some(wire) => wire.tell(change).await,
            None => Ok(()),
        }
    }

    /// Tells the other processes that there is a newer value, while the call goes on. What they hold
    /// was not invalidated, so that nothing is lost if they are not told.
    pub(super) fn tell_later(&self, printed: &str) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.wire.is_none() {
            return;
        }
        let (cache, change) = (self.cache.clone(), Change::Key(printed.to_owned()));
        runtime.spawn(async move {
            if let Some(cache) = cache.upgrade() {
                let _ = cache.engine().tell(&change).await;
            }
        });
    }

    /// Another process has changed something.
    pub(crate) fn notice(&self, change: &Change) {
        let Some(local) = self.backend.local() else {
            return;
        };
        self.remote.forget();
        self.heard.record(self.scope(change));
        self.forget(local, change);
    }

    /// Messages of other processes come from now on, and those before may have been missed.
    pub(crate) fn find_touch(&self) {
        self.notice(&Change::Cache);
        if let Some(wire) = &self.wire {
            wire.beat();
        }
    }

    /// Messages of other processes have come so far, and still do.
    pub(crate) fn keep_touch(&self) {
        if let Some(wire) = &self.wire {
            wire.beat();
        }
    }

    /// Messages of other processes do not come any more.
    pub(crate) fn lose_touch(&self) {
        if let Some(wire) = &self.wire {
            wire.stop();
        }
    }

    /// Leaves an invalidation to the background.
    pub(super) fn leave_for_later(&self, change: &Change) {
        self.backlog.add(change);
        self.backlog.work_off(self.cache.clone());
    }

    pub(crate) fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// Counts and logs an invalidation that has failed, each: while it is repeated, other processes serve
    /// what was changed.
    pub(crate) fn report_eviction(&self, error: &Error) {
        self.counters.failed();
        tracing::error!(kind = %error.kind(), %error, "an eviction failed, and is tried again");
    }

    fn owns(&self, space: u64) -> bool {
        split_space(space).0 == self.prefix_number
    }
}

/// An invalidation that is being tried. Dropped, it is left to the background.
struct Tried<'a> {
    engine: &'a Engine,
    attempt: Option<Attempt<'a>>,
}

impl Tried<'_> {
    fn succeeded(mut self) {
        if let Some(attempt) = self.attempt.take() {
            attempt.succeeded();
        }
    }
}

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        if let Some(failed) = self.attempt.take() {
            drop(failed);
            self.engine.backlog.work_off(self.engine.cache.clone());
        }
    }
}
