//! Where the cache reads the time from.

mod ticker;

#[cfg(any(test, feature = "testing"))]
use std::sync::{Arc, Mutex};
use std::sync::{Condvar, LazyLock, MutexGuard, PoisonError, Weak};
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

    /// Whether a test moves it.
    pub(crate) fn is_manual(&self) -> bool {
        !matches!(self.0, Source::System)
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

    /// As [`now`](Self::now), for lookups: one load where the time is asked for so often that a thread keeps
    /// it, and then late by a millisecond or two.
    #[inline]
    pub(crate) fn recent(&self) -> u64 {
        match &self.0 {
            Source::System => ticker::recent(),
            #[cfg(any(test, feature = "testing"))]
            Source::Manual(clock) => milliseconds(clock.elapsed()),
        }
    }

    /// Compares [`recent`](Self::recent) with the system's time, once in a thousand calls; `count` counts them.
    #[inline]
    pub(crate) fn check_now_and_then(&self, count: u64) {
        if count.is_multiple_of(1024)
            && let Source::System = self.0
        {
            ticker::check();
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
            Source::Manual(clock) => {
                ManualClock::START.saturating_add(milliseconds(clock.elapsed()))
            }
        }
    }

    /// Has `sleeper` woken whenever this clock is moved by hand; the system's clock never is.
    pub(crate) fn wake_when_moved(&self, sleeper: Weak<dyn Wake>) {
        match &self.0 {
            Source::System => drop(sleeper),
            #[cfg(any(test, feature = "testing"))]
            Source::Manual(clock) => lock(&clock.0.sleepers).push(sleeper),
        }
    }

    /// Waits on `changed` until this clock shows `deadline` or `changed` is notified, which may
    /// also happen for no reason. By a manual clock, whoever waits has to be notified by
    /// [`wake_when_moved`](Self::wake_when_moved).
    pub(crate) fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        changed: &Condvar,
        deadline: u64,
    ) -> MutexGuard<'a, T> {
        match &self.0 {
            Source::System => {
                let remaining = Duration::from_millis(deadline.saturating_sub(self.now()));
                let waited = changed.wait_timeout(guard, remaining);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            #[cfg(any(test, feature = "testing"))]
            Source::Manual(clock) if milliseconds(clock.elapsed()) < deadline => {
                changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
            }
            #[cfg(any(test, feature = "testing"))]
            Source::Manual(_) => guard,
        }
    }
}

/// Someone who waits for a time to come.
pub(crate) trait Wake: Send + Sync {
    /// Has the sleeper look at the clock again. A sleeper that has looked and does not wait yet
    /// must not miss it.
    fn wake(&self);
}

/// The moment from which [`Clock::now`] counts.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A duration in whole milliseconds. One that is too long to count lasts as long as can be counted,
/// which is still not the `u64::MAX` that stands for no end.
#[inline]
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1000);
    seconds
        .saturating_add(u64::from(duration.subsec_millis()))
        .min(u64::MAX - 1)
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
pub struct ManualClock(Arc<Manual>);

#[cfg(any(test, feature = "testing"))]
#[derive(Debug, Default)]
struct Manual {
    elapsed: Mutex<Duration>,
    sleepers: Mutex<Vec<Weak<dyn Wake>>>,
}

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
        let mut elapsed = lock(&self.0.elapsed);
        *elapsed = elapsed.saturating_add(by);
        drop(elapsed);
        // A sleeper reads this clock while it holds its own lock, so that none of ours may be held
        // while it is woken.
        for sleeper in self.sleepers() {
            sleeper.wake();
        }
    }

    /// Those who still wait; the others are forgotten.
    fn sleepers(&self) -> Vec<Arc<dyn Wake>> {
        let mut sleepers = lock(&self.0.sleepers);
        sleepers.retain(|sleeper| sleeper.strong_count() > 0);
        sleepers.iter().filter_map(Weak::upgrade).collect()
    }

    fn elapsed(&self) -> Duration {
        *lock(&self.0.elapsed)
    }
}

#[cfg(any(test, feature = "testing"))]
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[derive(Default)]
    struct Sleeper {
        is_done: Mutex<bool>,
        changed: Condvar,
    }

    impl Wake for Sleeper {
        fn wake(&self) {
            drop(lock(&self.is_done));
            self.changed.notify_all();
        }
    }

    #[test]
    fn moving_a_manual_clock_wakes_who_waits_for_it() {
        let manual = ManualClock::new();
        let clock = Clock::from(manual.clone());
        let sleeper = Arc::new(Sleeper::default());
        let weak: Weak<dyn Wake> = Arc::<Sleeper>::downgrade(&sleeper);
        clock.wake_when_moved(weak);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut is_done = lock(&sleeper.is_done);
                while clock.now() < 1000 {
                    is_done = clock.wait_until(is_done, &sleeper.changed, 1000);
                }
                *is_done = true;
            });
            manual.advance(Duration::from_millis(400));
            manual.advance(Duration::from_millis(600));
        });
        assert!(*lock(&sleeper.is_done));
    }

    #[test]
    fn a_sleeper_that_is_gone_is_forgotten() {
        let manual = ManualClock::new();
        let weak: Weak<dyn Wake> = Arc::<Sleeper>::downgrade(&Arc::default());
        Clock::from(manual.clone()).wake_when_moved(weak);
        manual.advance(Duration::from_millis(1));
        assert!(lock(&manual.0.sleepers).is_empty());
    }

    #[test]
    fn the_system_clock_waits_until_its_deadline() {
        let (clock, mutex, changed) = (Clock::system(), Mutex::new(()), Condvar::new());
        let deadline = clock.now() + 5;
        let mut guard = lock(&mutex);
        while clock.now() < deadline {
            guard = clock.wait_until(guard, &changed, deadline);
        }
        assert!(clock.now() >= deadline);
    }
}
