//! Whether a value is stored, for how long, and what becomes of it when it is stale.

use std::time::Duration;

use crate::clock::milliseconds;
use crate::entry::unique;

/// What the attribute's options say about one value.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    store: bool,
    expire: Option<Duration>,
}

impl Verdict {
    /// Store it, for as long as the registry says.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "generated code alone makes one")]
    pub const fn new() -> Self {
        Self {
            store: true,
            expire: None,
        }
    }

    /// Sets the lifetime (`expire = ..`).
    #[must_use]
    pub const fn expire(mut self, expire: Duration) -> Self {
        self.expire = Some(expire);
        self
    }

    /// Sets the lifetime of this value, if it has one of its own (`expire_with = ..`).
    #[must_use]
    pub const fn expire_with(mut self, expire: Option<Duration>) -> Self {
        if expire.is_some() {
            self.expire = expire;
        }
        self
    }

    /// Stores the value only if `store` is true (`cache_if = ..`).
    #[must_use]
    pub const fn only_if(mut self, store: bool) -> Self {
        self.store = store;
        self
    }

    pub(crate) fn stores(&self) -> bool {
        self.store
    }

    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.expire
    }
}

/// Asks a closure about a value. The value comes first, so that the closure's parameter needs no
/// type.
pub fn ask<T: ?Sized, A>(value: &T, question: impl FnOnce(&T) -> A) -> A {
    question(value)
}

/// How values age: what a function says, or what the registry says for those that do not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) stale_while_revalidate: Option<Duration>,
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) jitter: Option<f64>,
    pub(crate) early_refresh: Option<bool>,
    pub(crate) soft_timeout: Option<Duration>,
}

impl Policy {
    /// Says nothing.
    pub(crate) const NONE: Self = Self {
        stale_while_revalidate: None,
        stale_if_error: None,
        jitter: None,
        early_refresh: None,
        soft_timeout: None,
    };

    /// What this policy says, and where it is silent, what `defaults` say.
    pub(crate) fn over(&self, defaults: &Self) -> Aging {
        let stale_while_revalidate = self
            .stale_while_revalidate
            .or(defaults.stale_while_revalidate);
        let stale_if_error = self.stale_if_error.or(defaults.stale_if_error);
        let jitter = self.jitter.or(defaults.jitter).unwrap_or_default();
        Aging {
            stale_while_revalidate: stale_while_revalidate.unwrap_or_default(),
            stale_if_error: stale_if_error.unwrap_or_default(),
            jitter: jitter.clamp(0.0, 1.0),
            soft_timeout: self.soft_timeout.or(defaults.soft_timeout),
        }
    }
}

/// How the values of one function age.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aging {
    /// For how long a stale value is served while it is computed anew; zero for not at all.
    pub(crate) stale_while_revalidate: Duration,
    /// For how long a stale value stands in for a computation that fails; zero for not at all.
    pub(crate) stale_if_error: Duration,
    /// By which part of itself a lifetime is cut short at most.
    pub(crate) jitter: f64,
    /// After how long a stale value stands in for a computation that goes on.
    pub(crate) soft_timeout: Option<Duration>,
}

impl Aging {
    /// For how long a value is of use after it was fresh.
    pub(crate) fn stale(&self) -> Duration {
        self.stale_while_revalidate.max(self.stale_if_error)
    }

    /// Cuts a lifetime short by a random part, so that values that were stored together do not expire
    /// together. It is never made longer: nobody is served what has expired.
    pub(crate) fn spread(&self, lifetime: Duration) -> Duration {
        if self.jitter == 0.0 {
            return lifetime;
        }
        lifetime.mul_f64(1.0 - self.jitter * draw())
    }

    /// What a value that has been stale for so many milliseconds is good for.
    pub(crate) fn use_of_stale(&self, stale: u64) -> Staleness {
        if stale < milliseconds(self.stale_while_revalidate) {
            Staleness::Served
        } else if stale < milliseconds(self.stale_if_error) {
            Staleness::OnError
        } else {
            Staleness::Over
        }
    }
}

/// What a stale value is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Staleness {
    /// To be served while it is computed anew.
    Served,
    /// To be served if the computation fails.
    OnError,
    /// Nothing any more.
    Over,
}

/// Whether to compute a value anew now, although it is fresh for so many milliseconds more and took
/// so many to compute: the nearer its end and the longer its computation, the likelier.
///
/// This is the optimal probabilistic method, XFetch with a beta of 1 (Vattani, Chierichetti and
/// Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015).
pub(crate) fn is_early(remaining: u64, took: u64) -> bool {
    // A draw beyond this comes once in five hundred million, and most hits need none.
    const FARTHEST: u64 = 20;
    if remaining > took.saturating_mul(FARTHEST) {
        return false;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "these are milliseconds of one lifetime"
    )]
    let (remaining, took) = (remaining as f64, took as f64);
    -(1.0 - draw()).ln() * took >= remaining
}

/// A random number from 0 to 1, without 1.
fn draw() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "so many bits fit")]
    let bits = (unique() >> 11) as f64;
    bits / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_function_speaks_before_the_registry() {
        let defaults = Policy {
            stale_while_revalidate: Some(SECOND),
            stale_if_error: Some(2 * SECOND),
            jitter: Some(3.0),
            ..Policy::NONE
        };
        let own = Policy {
            stale_while_revalidate: Some(Duration::ZERO),
            ..Policy::NONE
        };
        let aging = own.over(&defaults);
        assert_eq!(aging.stale_while_revalidate, Duration::ZERO);
        assert_eq!(aging.stale(), 2 * SECOND);
        assert!((aging.jitter - 1.0).abs() < f64::EPSILON);
        assert_eq!(aging.use_of_stale(0), Staleness::OnError);
        assert_eq!(aging.use_of_stale(2000), Staleness::Over);
        assert_eq!(
            Policy::NONE.over(&defaults).use_of_stale(999),
            Staleness::Served
        );
    }

    #[test]
    fn jitter_shortens_lifetimes_by_at_most_its_part() {
        let aging = Policy {
            jitter: Some(0.1),
            ..Policy::NONE
        }
        .over(&Policy::NONE);
        let spread: Vec<Duration> = (0..1000).map(|_| aging.spread(100 * SECOND)).collect();
        assert!(
            spread
                .iter()
                .all(|one| *one > 89 * SECOND && *one <= 100 * SECOND)
        );
        let (least, most) = (spread.iter().min(), spread.iter().max());
        assert!(most > least.map(|least| *least + 5 * SECOND).as_ref());
    }

    #[test]
    fn the_nearer_the_end_the_likelier_is_an_early_refresh() {
        let count = |remaining| (0..10_000).filter(|_| is_early(remaining, 100)).count();
        // The probability is e^(-remaining / took).
        let expected = [(1, 9900), (100, 3679), (300, 498)];
        for (remaining, expected) in expected {
            // Ten standard deviations and more.
            assert!(count(remaining).abs_diff(expected) < 600, "at {remaining}");
        }
        assert_eq!(count(2001), 0);
        assert!(!is_early(1, 0));
    }
}
