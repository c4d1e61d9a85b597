//! What was invalidated stays so: no value computed from before an invalidation is stored after it
//! by this process.

use std::collections::VecDeque;
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
}

impl Scope {
    fn covers(&self, printed: &str) -> bool {
        match self {
            Self::Key(key) => key == printed,
            Self::Prefix(prefix) => printed.starts_with(prefix.as_str()),
        }
    }
}

/// The most recent invalidations of one cache, in order.
#[derive(Debug, Default)]
pub(crate) struct Invalidations(RwLock<Log>);

#[derive(Debug, Default)]
struct Log {
    /// How many invalidations there have been.
    count: u64,
    recent: VecDeque<Scope>,
}

/// The moment a computation began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(u64);

/// While it lives, no invalidation takes place.
#[derive(Debug)]
pub(crate) struct Permit<'a>(
    #[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'a, Log>,
);

impl Invalidations {
    /// To be called before a computation reads anything.
    pub(crate) fn begin(&self) -> Moment {
        Moment(self.read().count)
    }

    /// To be called before anything is removed: a store that looks later finds the invalidation,
    /// and one that looked earlier has stored what is about to be removed.
    pub(crate) fn record(&self, scope: Scope) {
        let mut log = self.0.write().unwrap_or_else(PoisonError::into_inner);
        log.count += 1;
        if log.recent.len() == REMEMBERED {
            log.recent.pop_front();
        }
        log.recent.push_back(scope);
    }

    /// Permits to store a value under `printed`, unless it was invalidated since then.
    pub(crate) fn permit(&self, moment: Moment, printed: &str) -> Option<Permit<'_>> {
        let log = self.read();
        let since = usize::try_from(log.count - moment.0).unwrap_or(usize::MAX);
        if since > log.recent.len() {
            return None;
        }
        let invalidated = log
            .recent
            .iter()
            .rev()
            .take(since)
            .any(|scope| scope.covers(printed));
        (!invalidated).then_some(Permit(log))
    }

    fn read(&self) -> RwLockReadGuard<'_, Log> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
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
        assert!(log.permit(ticket, "shop:users:1").is_some());

        log.record(Scope::Key("shop:users:2".to_owned()));
        log.record(Scope::Prefix("shop:users2:".to_owned()));
        assert!(log.permit(ticket, "shop:users:1").is_some());

        log.record(Scope::Prefix("shop:users:".to_owned()));
        assert!(log.permit(ticket, "shop:users:1").is_none());
        assert!(log.permit(log.begin(), "shop:users:1").is_some());
    }

    #[test]
    fn a_computation_that_outlives_the_memory_is_not_stored() {
        let log = Invalidations::default();
        let ticket = log.begin();
        for number in 0..REMEMBERED {
            log.record(Scope::Key(format!("other:{number}")));
        }
        assert!(log.permit(ticket, "key").is_some());
        log.record(Scope::Key("one more".to_owned()));
        assert!(log.permit(ticket, "key").is_none());
    }
}
