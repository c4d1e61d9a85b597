//! What was invalidated stays so: no value computed from before an invalidation is stored after it
//! by this process.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// How many invalidations are remembered. A computation that outlives them all is not stored.
const REMEMBERED: usize = 4096;

/// What an invalidation covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One printed key.
    Key(String),
    /// A namespace: everything whose printed key starts so.
    Prefix(String),
    /// Everything under a tag of the cache whose printed keys start so.
    Tag(String, String),
}

impl Scope {
    fn covers(&self, printed: &str, tags: &[String]) -> bool {
        match self {
            Self::Key(key) => key == printed,
            Self::Prefix(prefix) => printed.starts_with(prefix.as_str()),
            Self::Tag(prefix, tag) => tags.contains(tag) && printed.starts_with(prefix.as_str()),
        }
    }
}

/// The most recent invalidations of one cache, in order.
#[derive(Debug, Default)]
pub(crate) struct Invalidations {
    log: RwLock<Log>,
    /// How many computations have begun.
    computations: AtomicU64,
}

#[derive(Debug, Default)]
struct Log {
    /// How many invalidations there have been.
    count: u64,
    recent: VecDeque<Scope>,
}

/// The moment a computation began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// How many invalidations there had been.
    invalidations: u64,
    /// How many computations had begun.
    pub(crate) order: u64,
}

/// While it lives, no invalidation takes place.
#[derive(Debug)]
pub(crate) struct Permit<'a>(
    #[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'a, Log>,
);

impl Invalidations {
    /// To be called before a computation reads anything.
    pub(crate) fn begin(&self) -> Moment {
        Moment {
            invalidations: self.read().count,
            order: self.computations.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// To be called before anything is removed: a store that looks later finds the invalidation,
    /// and one that looked earlier has stored what is about to be removed.
    pub(crate) fn record(&self, scope: Scope) {
        let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
        log.count += 1;
        if log.recent.len() == REMEMBERED {
            log.recent.pop_front();
        }
        log.recent.push_back(scope);
    }

    /// Permits to store a value under `printed` and under tags, unless it was invalidated since then.
    pub(crate) fn permit(
        &self,
        moment: Moment,
        printed: &str,
        tags: &[String],
    ) -> Option<Permit<'_>> {
        let log = self.read();
        let since = usize::try_from(log.count - moment.invalidations).unwrap_or(usize::MAX);
        if since > log.recent.len() {
            return None;
        }
        let invalidated = log
            .recent
            .iter()
            .rev()
            .take(since)
            .any(|scope| scope.covers(printed, tags));
        (!invalidated).then_some(Permit(log))
    }

    fn read(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_covers_the_key_and_came_later_forbids() {
        let log = Invalidations::default();
        log.record(Scope::Key("shop:users:1".to_owned()));
        let ticket = log.begin();
        assert!(log.permit(ticket, "shop:users:1", &[]).is_some());

        log.record(Scope::Key("shop:users:2".to_owned()));
        log.record(Scope::Prefix("shop:users2:".to_owned()));
        assert!(log.permit(ticket, "shop:users:1", &[]).is_some());

        log.record(Scope::Prefix("shop:users:".to_owned()));
        assert!(log.permit(ticket, "shop:users:1", &[]).is_none());
        assert!(log.permit(log.begin(), "shop:users:1", &[]).is_some());
    }

    #[test]
    fn a_tag_covers_what_is_under_it_in_its_own_cache() {
        let log = Invalidations::default();
        let ticket = log.begin();
        log.record(Scope::Tag("shop:".to_owned(), "user".to_owned()));
        let tags = ["user".to_owned()];
        assert!(log.permit(ticket, "shop:users:1", &tags).is_none());
        assert!(log.permit(ticket, "blog:users:1", &tags).is_some());
        assert!(
            log.permit(ticket, "shop:users:1", &["users".to_owned()])
                .is_some()
        );
    }

    #[test]
    fn a_computation_that_outlives_the_memory_is_not_stored() {
        let log = Invalidations::default();
        let ticket = log.begin();
        for number in 0..REMEMBERED {
            log.record(Scope::Key(format!("other:{number}")));
        }
        assert!(log.permit(ticket, "key", &[]).is_some());
        log.record(Scope::Key("one more".to_owned()));
        assert!(log.permit(ticket, "key", &[]).is_none());
    }
}
