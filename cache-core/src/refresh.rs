//! Which keys are being computed anew while their old values are served, and which were tried in vain.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, milliseconds};
use crate::key::Key;

/// The refreshes of one cache.
#[derive(Debug)]
pub(crate) struct Refreshes {
    /// How many may run at a time.
    most: usize,
    /// How long a key rests after its computation has failed.
    rest: Duration,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<Key, Phase>,
    running: usize,
    /// How many have begun so far.
    begun: u64,
    /// How many keys there were when those that have rested were forgotten last.
    forgotten_at: usize,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The one with this number, which has to be over then, in milliseconds of the clock.
    Running(u64, u64),
    /// Until then, in milliseconds of the clock.
    Resting(u64),
}

/// A refresh that is running, until this is dropped.
#[derive(Debug)]
pub(crate) struct Refreshing {
    refreshes: Arc<Refreshes>,
    key: Key,
    number: u64,
}

impl Refreshes {
    pub(crate) fn new(most: usize, rest: Duration, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            most,
            rest,
            clock,
            state: Mutex::default(),
        })
    }

    /// Begins a refresh, which has to be over after `window`, unless there is one of this key, it rests, or there are too
    /// many. One that is not over in time counts as failed, wherever it is.
    pub(crate) fn begin(self: &Arc<Self>, key: &Key, window: Duration) -> Option<Refreshing> {
        let now = self.clock.now();
        let mut state = self.lock();
        let is_free = match state.keys.get(key) {
            None => true,
            Some(Phase::Running(_, until) | Phase::Resting(until)) => *until <= now,
        };
        if !is_free {
            return None;
        }
        if let Some(Phase::Running(..)) = state.keys.remove(key) {
            state.running -= 1;
        }
        if state.running >= self.most {
            state.forget_late(now);
        }
        if state.running >= self.most {
            return None;
        }
        state.running += 1;
        state.begun += 1;
        let number = state.begun;
        let until = now.saturating_add(milliseconds(window));
        state
            .keys
            .insert(key.clone(), Phase::Running(number, until));
        Some(Refreshing {
            refreshes: Arc::clone(self),
            key: key.clone(),
            number,
        })
    }

    /// Whether the computation of a key has failed so recently that it is not tried again while there
    /// is an old value.
    pub(crate) fn rests(&self, key: &Key) -> bool {
        let now = self.clock.now();
        matches!(self.lock().keys.get(key), Some(Phase::Resting(until)) if now < *until)
    }

    /// Notes that the computation of a key has failed.
    pub(crate) fn failed(&self, key: &Key) {
        let now = self.clock.now();
        let until = now.saturating_add(milliseconds(self.rest));
        let mut state = self.lock();
        if let Some(Phase::Running(..)) = state.keys.insert(key.clone(), Phase::Resting(until)) {
            state.running -= 1;
        }
        // Walking over all of them every time their number has doubled costs each one a step or two.
        if state.keys.len() > 2 * state.forgotten_at.max(64) {
            state
                .keys
                .retain(|_, phase| !matches!(phase, Phase::Resting(until) if *until <= now));
            state.forgotten_at = state.keys.len();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets the refreshes that should be over.
    fn forget_late(&mut self, now: u64) {
        self.keys
            .retain(|_, phase| !matches!(phase, Phase::Running(_, until) if *until <= now));
        let phases = self.keys.values();
        self.running = phases
            .filter(|phase| matches!(phase, Phase::Running(..)))
            .count();
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        let mut state = self.refreshes.lock();
        // A key whose refresh has failed rests, or has another refresh by now.
        if let Some(Phase::Running(number, _)) = state.keys.get(&self.key)
            && *number == self.number
        {
            state.keys.remove(&self.key);
            state.running -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::site::Site;

    static SITE: Site = Site::new("refresh", "tests", || "tests");

    const WINDOW: Duration = Duration::from_secs(10);

    fn key(number: usize) -> Key {
        Key::from_text(0, &SITE, &number.to_string())
    }

    fn refreshes(most: usize) -> (Arc<Refreshes>, ManualClock) {
        let clock = ManualClock::new();
        let rest = Duration::from_secs(1);
        (Refreshes::new(most, rest, clock.clone().into()), clock)
    }

    #[test]
    fn one_refresh_a_key_and_no_more_than_allowed() {
        let (refreshes, _) = refreshes(2);
        let first = refreshes.begin(&key(1), WINDOW);
        assert!(first.is_some());
        assert!(refreshes.begin(&key(1), WINDOW).is_none());
        let second = refreshes.begin(&key(2), WINDOW);
        assert!(refreshes.begin(&key(3), WINDOW).is_none());
        drop(second);
        assert!(refreshes.begin(&key(3), WINDOW).is_some());
        drop(first);
        assert_eq!(refreshes.lock().running, 0);
        assert!(refreshes.lock().keys.is_empty());
    }

    #[test]
    fn a_key_rests_after_a_failure() {
        let (refreshes, clock) = refreshes(2);
        let refreshing = refreshes.begin(&key(1), WINDOW);
        refreshes.failed(&key(1));
        drop(refreshing);
        assert!(refreshes.rests(&key(1)));
        assert!(refreshes.begin(&key(1), WINDOW).is_none());
        clock.advance(Duration::from_secs(1));
        assert!(!refreshes.rests(&key(1)));
        assert!(refreshes.begin(&key(1), WINDOW).is_some());
        assert_eq!(refreshes.lock().running, 0);
    }

    #[test]
    fn one_that_never_ends_holds_nothing_up() {
        let (refreshes, clock) = refreshes(1);
        let endless = refreshes.begin(&key(1), WINDOW);
        assert!(refreshes.begin(&key(1), WINDOW).is_none());
        clock.advance(WINDOW);
        let next = refreshes.begin(&key(1), WINDOW);
        assert!(next.is_some());
        // It has no say in what has taken its place.
        drop(endless);
        assert!(refreshes.begin(&key(2), WINDOW).is_none());
        clock.advance(WINDOW);
        assert!(refreshes.begin(&key(2), WINDOW).is_some());
        drop(next);
        assert_eq!(refreshes.lock().running, 0);
    }

    #[test]
    fn keys_that_have_rested_are_forgotten() {
        let (refreshes, clock) = refreshes(2);
        for number in 0..100_000 {
            refreshes.failed(&key(number));
            clock.advance(Duration::from_millis(10));
        }
        assert!(refreshes.lock().keys.len() < 1000);
    }
}
