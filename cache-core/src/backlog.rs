//! Invalidations that did not reach the shared store.
//!
//! What they cover is not read from there any more, and they are repeated until they have reached it:
//! so what a process has invalidated does not come back to it with a store that was away.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::key::key_prefix;
use crate::registry::WeakCache;
use crate::tier::Change;

/// How many are remembered one by one. Beyond, everything is invalidated instead.
const MOST: usize = 1000;

/// How long to wait before they are repeated, at first.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// And at most.
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What is to be invalidated in the shared store.
pub(crate) struct Backlog {
    prefix: String,
    changes: Mutex<HashSet<Change>>,
    is_empty: AtomicBool,
    is_running: AtomicBool,
}

impl Backlog {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            changes: Mutex::default(),
            is_empty: AtomicBool::new(true),
            is_running: AtomicBool::new(false),
        }
    }

    /// To be called before an invalidation is tried, so that nothing is read in between.
    pub(crate) fn add(&self, change: Change) {
        let mut changes = self.lock();
        if changes.len() >= MOST {
            changes.clear();
            changes.insert(Change::Cache);
        } else {
            changes.insert(change);
        }
        self.is_empty.store(false, Ordering::Release);
    }

    /// An invalidation has reached the shared store.
    pub(crate) fn remove(&self, change: &Change) {
        let mut changes = self.lock();
        changes.remove(change);
        self.is_empty.store(changes.is_empty(), Ordering::Release);
    }

    /// Whether a value may have been invalidated that the shared store still has.
    pub(crate) fn covers<'a>(&self, printed: &str, tags: impl Iterator<Item = &'a str>) -> bool {
        if self.is_empty.load(Ordering::Acquire) {
            return false;
        }
        let changes = self.lock();
        let mut tags = tags;
        tags.any(|tag| changes.contains(&Change::Tag(tag.to_owned())))
            || changes.iter().any(|change| match change {
                Change::Key(key) => key == printed,
                Change::Namespace(namespace) => {
                    printed.starts_with(&key_prefix(&self.prefix, namespace))
                }
                Change::Tag(_) => false,
                Change::Cache => true,
            })
    }

    /// Repeats what is left in the background, until nothing is, or the cache is gone.
    pub(crate) fn work_off(&self, cache: WeakCache) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.is_running.swap(true, Ordering::AcqRel) {
            runtime.spawn(repeat(cache));
        }
    }

    fn changes(&self) -> Vec<Change> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The repetition is running, until this is dropped, also by a runtime that ends.
struct Running(WeakCache);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(cache) = self.0.upgrade() {
            let backlog = cache.engine().backlog();
            backlog.is_running.store(false, Ordering::Release);
        }
    }
}

async fn repeat(cache: WeakCache) {
    let running = Running(cache.clone());
    let mut retry = FIRST_RETRY;
    loop {
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(LAST_RETRY);
        let Some(strong) = cache.upgrade() else {
            return;
        };
        let backlog = strong.engine().backlog();
        for change in backlog.changes() {
            if strong.engine().repeat(&change).await.is_err() {
                break;
            }
        }
        if backlog.changes().is_empty() {
            drop(running);
            // One that was added meanwhile has found this running.
            if !backlog.changes().is_empty() {
                backlog.work_off(cache);
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(backlog: &Backlog, printed: &str, tags: &[&str]) -> bool {
        backlog.covers(printed, tags.iter().copied())
    }

    #[test]
    fn what_waits_covers_what_it_is_about() {
        let backlog = Backlog::new("shop");
        assert!(!covers(&backlog, "shop:users:1", &["user"]));
        let key = Change::Key("shop:users:1".to_owned());
        let namespace = Change::Namespace("orders".to_owned());
        let tag = Change::Tag("user".to_owned());
        for change in [&key, &namespace, &tag] {
            backlog.add(change.clone());
        }
        assert!(covers(&backlog, "shop:users:1", &[]));
        assert!(!covers(&backlog, "shop:users:2", &[]));
        assert!(covers(&backlog, "shop:orders:9", &[]));
        assert!(!covers(&backlog, "shop:orders2:9", &[]));
        assert!(covers(&backlog, "shop:users:2", &["user"]));
        for change in [&key, &namespace, &tag] {
            backlog.remove(change);
        }
        assert!(!covers(&backlog, "shop:users:1", &["user"]));
    }

    #[test]
    fn too_many_become_one_for_everything() {
        let backlog = Backlog::new("shop");
        for number in 0..=MOST {
            backlog.add(Change::Key(number.to_string()));
        }
        assert!(covers(&backlog, "shop:users:1", &[]));
        assert_eq!(backlog.changes(), [Change::Cache]);
    }
}
