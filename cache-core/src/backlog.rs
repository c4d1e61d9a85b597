//! Invalidations that have not reached the shared store.
//!
//! The values that they cover are not read from the store any more. Failed invalidations are repeated until they have
//! reached it: so a value that a process has invalidated does not come back to it with a store that was away.
//!
//! An invalidation that is being tried holds its place by itself, whatever the number, and gives it up when it has
//! succeeded. Only those that have failed are counted, and become one for everything when they are too many; which is
//! repeated like any other, and then is over.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::join::join_all;
use crate::key::key_prefix;
use crate::registry::WeakCache;
use crate::tier::Change;
use crate::timer::sleep;

/// How many that have failed are remembered one by one. Beyond, everything is invalidated instead.
const MOST: usize = 1000;

/// How long to wait before they are repeated, at first.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// And at most.
const LAST_RETRY: Duration = Duration::from_secs(10);

/// How many are repeated at a time.
const AT_ONCE: usize = 32;

/// What is to be invalidated in the shared store.
pub(crate) struct Backlog {
    prefix: String,
    state: Mutex<State>,
    is_empty: AtomicBool,
    is_running: AtomicBool,
}

#[derive(Default)]
struct State {
    /// How many attempts have begun so far.
    begun: u64,
    /// How many attempts are on their way, by what they invalidate.
    tried: HashMap<Change, usize>,
    /// Those that have failed, and the number of the last attempt that did.
    failed: HashMap<Change, u64>,
}

/// An invalidation that is being tried. Dropped, it has failed.
pub(crate) struct Attempt<'a> {
    backlog: &'a Backlog,
    change: Change,
    number: u64,
    has_succeeded: bool,
}

impl Backlog {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            state: Mutex::default(),
            is_empty: AtomicBool::new(true),
            is_running: AtomicBool::new(false),
        }
    }

    /// To be called before an invalidation is tried, so that nothing is read in between.
    pub(crate) fn attempt(&self, change: &Change) -> Attempt<'_> {
        let mut state = self.lock();
        state.begun += 1;
        *state.tried.entry(change.clone()).or_default() += 1;
        self.is_empty.store(false, Ordering::Release);
        Attempt {
            backlog: self,
            change: change.clone(),
            number: state.begun,
            has_succeeded: false,
        }
    }

    /// Notes an invalidation that is to be repeated.
    pub(crate) fn add(&self, change: &Change) {
        drop(self.attempt(change));
    }

    /// Whether a value may have been invalidated that the shared store still has.
    pub(crate) fn covers<'a>(&self, printed: &str, tags: impl Iterator<Item = &'a str>) -> bool {
        if self.is_empty.load(Ordering::Acquire) {
            return false;
        }
        let state = self.lock();
        let has =
            |change: &Change| state.tried.contains_key(change) || state.failed.contains_key(change);
        let mut tags = tags;
        has(&Change::Cache)
            || has(&Change::Key(printed.to_owned()))
            || tags.any(|tag| has(&Change::Tag(tag.to_owned())))
            || state.changes().any(|change| match change {
                Change::Namespace(namespace) => {
                    printed.starts_with(&key_prefix(&self.prefix, namespace))
                }
                _ => false,
            })
    }

    /// Repeats what has failed in the background, until all has succeeded, or the cache is gone.
    pub(crate) fn work_off(&self, cache: WeakCache) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.is_running.swap(true, Ordering::AcqRel) {
            runtime.spawn(repeat(cache));
        }
    }

    fn failed(&self) -> Vec<Change> {
        self.lock().failed.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn changes(&self) -> impl Iterator<Item = &Change> {
        self.tried.keys().chain(self.failed.keys())
    }

    /// Notes a failure. Too many become one for everything.
    fn fail(&mut self, change: Change, number: u64) {
        if let Some(last) = self.failed.get_mut(&Change::Cache) {
            *last = number;
            return;
        }
        if self.failed.len() >= MOST && !self.failed.contains_key(&change) {
            self.failed.clear();
            self.failed.insert(Change::Cache, number);
            return;
        }
        self.failed.insert(change, number);
    }

    /// Forgets the failures that an attempt has made up for: those of earlier attempts at the same, or at anything if it
    /// has invalidated everything.
    fn succeed(&mut self, change: &Change, number: u64) {
        let is_over = |failed: &Change, last: u64| {
            last <= number && (*change == Change::Cache || failed == change)
        };
        self.failed.retain(|failed, last| !is_over(failed, *last));
    }
}

impl Attempt<'_> {
    /// The invalidation has reached the shared store.
    pub(crate) fn succeeded(mut self) {
        self.has_succeeded = true;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut state = self.backlog.lock();
        if let Some(tried) = state.tried.get_mut(&self.change) {
            *tried -= 1;
            if *tried == 0 {
                state.tried.remove(&self.change);
            }
        }
        match self.has_succeeded {
            true => state.succeed(&self.change, self.number),
            false => state.fail(self.change.clone(), self.number),
        }
        let is_empty = state.tried.is_empty() && state.failed.is_empty();
        self.backlog.is_empty.store(is_empty, Ordering::Release);
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
        sleep(retry).await;
        retry = (retry * 2).min(LAST_RETRY);
        let Some(strong) = cache.upgrade() else {
            return;
        };
        let backlog = strong.engine().backlog();
        // One whose place in the store is out of reach does not hold up the others.
        for some in backlog.failed().chunks(AT_ONCE) {
            join_all(
                some.iter()
                    .map(|change| Box::pin(strong.engine().repeat(change)))
                    .collect(),
            )
            .await;
        }
        if backlog.failed().is_empty() {
            drop(running);
            // One that has failed meanwhile has found this running.
            if !backlog.failed().is_empty() {
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
        let all = [&key, &namespace, &tag];
        let attempts = all.map(|change| backlog.attempt(change));
        assert!(covers(&backlog, "shop:users:1", &[]));
        assert!(!covers(&backlog, "shop:users:2", &[]));
        assert!(covers(&backlog, "shop:orders:9", &[]));
        assert!(!covers(&backlog, "shop:orders2:9", &[]));
        assert!(covers(&backlog, "shop:users:2", &["user"]));
        // All of them fail, and then succeed.
        drop(attempts);
        assert_eq!(backlog.failed().len(), 3);
        assert!(covers(&backlog, "shop:users:1", &["user"]));
        for change in all {
            backlog.attempt(change).succeeded();
        }
        assert!(!covers(&backlog, "shop:users:1", &["user"]));
    }

    #[test]
    fn a_success_makes_up_for_no_failure_that_came_later() {
        let backlog = Backlog::new("shop");
        let change = Change::Key("shop:users:1".to_owned());
        let first = backlog.attempt(&change);
        backlog.add(&change);
        first.succeeded();
        assert!(covers(&backlog, "shop:users:1", &[]));
        backlog.attempt(&Change::Cache).succeeded();
        assert!(!covers(&backlog, "shop:users:1", &[]));
    }

    #[test]
    fn any_number_that_succeeds_leaves_nothing() {
        let backlog = Backlog::new("shop");
        let changes: Vec<_> = (0..10 * MOST)
            .map(|number| Change::Key(number.to_string()))
            .collect();
        let attempts: Vec<_> = changes
            .iter()
            .map(|change| backlog.attempt(change))
            .collect();
        assert!(!covers(&backlog, "shop:users:1", &[]));
        attempts.into_iter().for_each(Attempt::succeeded);
        assert!(backlog.is_empty.load(Ordering::Acquire));
    }

    #[test]
    fn too_many_failures_become_one_for_everything() {
        let backlog = Backlog::new("shop");
        for number in 0..=MOST {
            backlog.add(&Change::Key(number.to_string()));
        }
        assert!(covers(&backlog, "shop:users:1", &[]));
        assert_eq!(backlog.failed(), [Change::Cache]);
        backlog.attempt(&Change::Cache).succeeded();
        assert!(!covers(&backlog, "shop:users:1", &[]));
    }
}
