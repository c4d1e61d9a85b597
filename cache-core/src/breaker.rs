//! A circuit breaker: a shared store that keeps failing is left alone for a while.
//!
//! Without it, every call would wait for the store's timeout before it computes. The states and
//! their names are those of Nygard's "Release It!": closed, open, half-open.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, milliseconds};
use crate::error::{Error, ErrorKind};

/// Whether calls reach a shared store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// They do.
    #[default]
    Closed,
    /// They do not: it failed several times in a row. They compute, as if there were no cache.
    Open,
    /// It has been left alone for a while, and one call tries whether it is back.
    HalfOpen,
}

/// Counts failures in a row, and says whom to let through.
#[derive(Debug)]
pub(crate) struct Breaker {
    /// How many failures in a row open it; 0 for never.
    failures: u32,
    cooldown: Duration,
    clock: Clock,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    failures: u32,
    /// While it is open or half-open: when the next call may try, by the clock.
    try_at: Option<u64>,
    is_trying: bool,
}

/// The permission to use the store, to be returned with what came of it. One that is dropped leaves
/// the way to the next.
#[derive(Debug)]
#[must_use = "what came of it has to be told"]
pub(crate) struct Pass<'a> {
    breaker: &'a Breaker,
    is_trial: bool,
}

impl Breaker {
    pub(crate) fn new(failures: u32, cooldown: Duration, clock: Clock) -> Self {
        Self {
            failures,
            cooldown,
            clock,
            counts: Mutex::default(),
        }
    }

    /// Lets a call through, or says that the store is left alone.
    pub(crate) fn pass(&self) -> Result<Pass<'_>, Error> {
        let mut counts = self.counts();
        let is_trial = match counts.try_at {
            None => false,
            Some(at) if counts.is_trying || self.clock.now() < at => return Err(open()),
            Some(_) => true,
        };
        counts.is_trying = is_trial;
        Ok(Pass {
            breaker: self,
            is_trial,
        })
    }

    pub(crate) fn state(&self) -> BreakerState {
        let counts = self.counts();
        match counts.try_at {
            None => BreakerState::Closed,
            Some(at) if counts.is_trying || at <= self.clock.now() => BreakerState::HalfOpen,
            Some(_) => BreakerState::Open,
        }
    }

    fn fail(&self, counts: &mut Counts) {
        counts.failures = counts.failures.saturating_add(1);
        if self.failures == 0 || counts.failures < self.failures {
            return;
        }
        if counts.try_at.is_none() {
            tracing::warn!(
                failures = counts.failures,
                "the backend keeps failing: it is left alone for a while"
            );
        }
        let now = self.clock.now();
        counts.try_at = Some(now.saturating_add(milliseconds(self.cooldown)));
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Notes what came of it. An entry that cannot be used is the work of a store that answers.
    pub(crate) fn note<T>(self, result: &Result<T, Error>) {
        let mut counts = self.breaker.counts();
        match result {
            Err(error) if error.kind() == ErrorKind::Backend => self.breaker.fail(&mut counts),
            _ => close(&mut counts),
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.counts().is_trying = false;
        }
    }
}

fn close(counts: &mut Counts) {
    if counts.try_at.is_some() {
        tracing::info!("the backend answers again");
    }
    *counts = Counts::default();
}

fn open() -> Error {
    Error::new(
        ErrorKind::BreakerOpen,
        "the backend has kept failing and is left alone for a while",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const COOLDOWN: Duration = Duration::from_secs(1);

    fn breaker() -> (Breaker, ManualClock) {
        let clock = ManualClock::new();
        let breaker = Breaker::new(3, COOLDOWN, Clock::from(clock.clone()));
        (breaker, clock)
    }

    fn failure() -> Result<(), Error> {
        Err(Error::backend("connection refused"))
    }

    fn fail(breaker: &Breaker) {
        breaker.pass().unwrap().note(&failure());
    }

    #[test]
    fn it_opens_after_failures_in_a_row_alone() {
        let (breaker, _) = breaker();
        for _ in 0..10 {
            fail(&breaker);
            fail(&breaker);
            breaker.pass().unwrap().note(&Ok(()));
        }
        let undecodable: Result<(), _> = Err(Error::new(ErrorKind::Decode, "it is foreign"));
        fail(&breaker);
        fail(&breaker);
        breaker.pass().unwrap().note(&undecodable);
        assert_eq!(breaker.state(), BreakerState::Closed);
        for _ in 0..3 {
            fail(&breaker);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.pass().unwrap_err().kind(), ErrorKind::BreakerOpen);
    }

    #[test]
    fn one_call_tries_after_the_cooldown() {
        let (breaker, clock) = breaker();
        for _ in 0..3 {
            fail(&breaker);
        }
        clock.advance(COOLDOWN - Duration::from_millis(1));
        assert!(breaker.pass().is_err());
        clock.advance(Duration::from_millis(1));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        let trial = breaker.pass().unwrap();
        assert!(breaker.pass().is_err());
        trial.note(&failure());
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.pass().is_err());

        clock.advance(COOLDOWN);
        breaker.pass().unwrap().note(&Ok(()));
        assert_eq!(breaker.state(), BreakerState::Closed);
        fail(&breaker);
        assert!(breaker.pass().is_ok());
    }

    #[test]
    fn a_trial_that_is_dropped_leaves_the_way_to_the_next() {
        let (breaker, clock) = breaker();
        for _ in 0..3 {
            fail(&breaker);
        }
        clock.advance(COOLDOWN);
        drop(breaker.pass().unwrap());
        breaker.pass().unwrap().note(&Ok(()));
        assert!(breaker.pass().is_ok());
    }

    #[test]
    fn without_a_limit_it_stays_closed() {
        let breaker = Breaker::new(0, COOLDOWN, Clock::system());
        for _ in 0..100 {
            fail(&breaker);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
