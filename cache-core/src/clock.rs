//! Where the cache reads the time from.

#[cfg(any(test, feature = "testing"))]
use std::sync::Arc;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The system's clock, or one that tests move. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    #[cfg(any(test, feature = "testing"))]
    Manual(ManualClock),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// Milliseconds since some moment in the past. They never run backwards.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match &self.0 {
            Source::System => milliseconds(ORIGIN.elapsed()),
            #[cfg(any(test, feature = "testing"))]
            Source::Manual(clock) => milliseconds(clock.elapsed()),
        }
    }

    /// Milliseconds since the Unix epoch, for what other machines read.
    pub(crate) fn wall(&self) -> u64 {
        match &self.0 {
            Source::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
                milliseconds(since_epoch.unwrap_or_default())
            }
            #[cfg(any(test, feature = "testing"))]
            Source::Manual(clock) => ManualClock::START.saturating_add(milliseconds(clock.elapsed())),
        }
    }

    /// Waits on `changed` until this clock shows `deadline`, or until it is notified. `None` waits
    /// for a notification alone.
    pub(crate) fn wait<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        changed: &Condvar,
        deadline: Option<u64>,
    ) -> MutexGuard<'a, T> {
        let Some(deadline) = deadline else {
            return changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        let remaining = Duration::from_millis(deadline.saturating_sub(self.now()));
        let (guard, _) = changed
            .wait_timeout(guard, self.real(remaining))
            .unwrap_or_else(PoisonError::into_inner);
        guard
    }

    /// How long to wait on the machine's clock for `remaining` on this one. A manual clock is looked
    /// at often, since it can be moved at any moment.
    fn real(&self, remaining: Duration) -> Duration {
        match &self.0 {
            Source::System => remaining,
            #[cfg(any(test, feature = "testing"))]
            Source::Manual(_) => remaining.min(Duration::from_millis(2)),
        }
    }
}

/// The moment from which [`Clock::now`] counts.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that stands still until it is moved. Clones show the same time.
///
/// It starts at 2026-01-01T00:00:00Z.
///
/// ```
/// use std::time::Duration;
/// use fast_cache_core::{Clock, testing::ManualClock};
///
/// let clock = ManualClock::new();
/// let for_the_cache = Clock::from(clock.clone());
/// clock.advance(Duration::from_secs(60));
/// ```
#[cfg(any(test, feature = "testing"))]
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<Mutex<Duration>>);

#[cfg(any(test, feature = "testing"))]
impl ManualClock {
    /// What a new clock shows, in milliseconds since the Unix epoch.
    const START: u64 = 1_767_225_600_000;

    /// A clock at its start.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let mut elapsed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *elapsed = elapsed.saturating_add(by);
    }

    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(any(test, feature = "testing"))]
impl From<ManualClock> for Clock {
    fn from(clock: ManualClock) -> Self {
        Self(Source::Manual(clock))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand_and_for_all_clones() {
        let manual = ManualClock::new();
        let clock = Clock::from(manual.clone());
        let (now, wall) = (clock.now(), clock.wall());
        assert_eq!((clock.now(), clock.wall()), (now, wall));
        manual.advance(Duration::from_millis(1500));
        assert_eq!((clock.now(), clock.wall()), (now + 1500, wall + 1500));
    }

    #[test]
    fn the_system_clock_does_not_run_backwards() {
        let clock = Clock::system();
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
