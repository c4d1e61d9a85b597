//! The promises of a backend, each a scenario that can fail.

mod sharing;
mod storing;

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{Backend, BoxFuture, Cache, Config, DynBackend, Error};

/// How long a scenario may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Checks that a backend keeps the promises of [`Backend`], and that what the engine builds on them
/// holds: values are shared between processes, and what was invalidated in one of them is served
/// by none.
///
/// Every scenario uses keys of its own, so a store that is in use can be checked, and several
/// checks can run at once. Some values expire meanwhile, which takes seconds of real time. Two
/// caches on one backend stand for two processes. Run it on a runtime whose time is enabled.
///
/// ```
/// use fast_cache::{InMemoryBackend, testing::backend_conformance};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let report = backend_conformance(InMemoryBackend::new()).await;
/// println!("{report}");
/// report.assert_passed();
/// # }
/// ```
pub async fn backend_conformance(backend: impl Backend) -> ConformanceReport {
    let backend = Subject {
        backend: Arc::new(backend),
        prefix: format!("conformance{:016x}", RandomState::new().hash_one(0)),
    };
    let mut results = Vec::with_capacity(SCENARIOS.len());
    for (number, scenario) in SCENARIOS.iter().enumerate() {
        let subject = Subject {
            prefix: format!("{}-{number}", backend.prefix),
            ..backend.clone()
        };
        results.push((scenario.promise, scenario.play(subject).await));
    }
    ConformanceReport { results }
}

/// What [`backend_conformance`] found, scenario by scenario.
#[derive(Debug)]
#[must_use = "a report that nobody reads says nothing"]
pub struct ConformanceReport {
    results: Vec<(&'static str, Result<(), String>)>,
}

impl ConformanceReport {
    /// Every scenario: the promise that it checks, and why it failed if it did.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, Result<(), &str>)> {
        let results = self.results.iter();
        results.map(|(promise, result)| (*promise, result.as_ref().copied().map_err(|why| &**why)))
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.results.iter().all(|(_, result)| result.is_ok())
    }

    /// Fails a test unless every promise was kept.
    ///
    /// # Panics
    ///
    /// If a promise was broken, with the whole report.
    #[track_caller]
    pub fn assert_passed(&self) {
        assert!(self.is_passed(), "the backend breaks promises:\n{self}");
    }
}

impl fmt::Display for ConformanceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (promise, result) in self.results() {
            match result {
                Ok(()) => writeln!(f, "passed  {promise}")?,
                Err(why) => writeln!(f, "FAILED  {promise}: {why}")?,
            }
        }
        Ok(())
    }
}

macro_rules! scenarios {
    ($($promise:literal => $module:ident::$scenario:ident,)*) => {
        &[$(Scenario {
            promise: $promise,
            run: |subject| Box::pin($module::$scenario(subject)),
        }),*]
    };
}

const SCENARIOS: &[Scenario] = scenarios![
    "what is absent reads as nothing" => storing::absence,
    "every byte comes back as it was" => storing::bytes,
    "a write replaces the value and its lifetime" => storing::overwriting,
    "keys of 250 bytes and of every legal character are told apart" => storing::keys,
    "a large value is stored whole or refused" => storing::large_values,
    "values expire, and not before" => storing::expiry,
    "lifetimes of zero, of months and without end mean what they say" => storing::odd_lifetimes,
    "replace stores only over what was seen" => storing::replacing,
    "replace looks and stores in one step" => storing::replacing_at_once,
    "clear frees what starts with a prefix, and nothing else" => storing::clearing,
    "callers at once get their own answers" => storing::concurrency,
    "dropped calls leave answers to nobody else" => storing::dropped_calls,
    "a value is shared between processes" => sharing::one_value,
    "the remaining lifetime is exact in every process" => sharing::lifetimes,
    "an invalidated entry is gone in every process" => sharing::invalidated_entry,
    "a value from before its invalidation is not served after it" => sharing::late_value,
    "a value from before two invalidations is not served after a newer one expired"
        => sharing::late_value_after_a_short_one,
    "a value that was set is not overwritten by an older one" => sharing::value_set_by_hand,
    "a namespace is cleared in every process, and no other" => sharing::cleared_namespace,
    "a value from before its namespace was cleared is not served after it"
        => sharing::late_value_in_a_cleared_namespace,
    "what is under a tag ends in every process, and nothing else" => sharing::cleared_tag,
    "a value from before its tag was cleared is not served after it"
        => sharing::late_value_under_a_tag,
    "processes that lock make one computation" => sharing::one_computation,
    "a stale value stands in for an error, until it is invalidated" => sharing::stale_value,
    "a cache is cleared in every process, and no other" => sharing::cleared_cache,
    "a lost barrier brings nothing back" => sharing::lost_barrier,
    "foreign bytes under a key are overwritten" => sharing::foreign_bytes,
];

struct Scenario {
    promise: &'static str,
    run: fn(Subject) -> BoxFuture<'static, Outcome>,
}

impl Scenario {
    async fn play(&self, subject: Subject) -> Result<(), String> {
        // A task of its own, so that a backend that panics fails its scenario and no other.
        let mut task = tokio::spawn((self.run)(subject));
        match tokio::time::timeout(LIMIT, &mut task).await {
            Ok(Ok(outcome)) => outcome.map_err(|failure| failure.0),
            Ok(Err(_)) => Err("it panicked".to_owned()),
            Err(_) => {
                task.abort();
                Err(format!("it takes longer than {} seconds", LIMIT.as_secs()))
            }
        }
    }
}

type Outcome = Result<(), Failure>;

/// Why a promise counts as broken.
struct Failure(String);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(next) = cause {
            text += &format!(": {next}");
            cause = next.source();
        }
        Self(text)
    }
}

impl From<tokio::task::JoinError> for Failure {
    fn from(_: tokio::task::JoinError) -> Self {
        Self("a call panicked".to_owned())
    }
}

/// Fails the scenario unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(crate::testing::conformance::Failure(format!($($why)+)));
        }
    };
}
use ensure;

/// The backend under test, and what all keys of a scenario start with.
#[derive(Clone)]
struct Subject {
    backend: Arc<dyn DynBackend>,
    prefix: String,
}

impl Subject {
    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// A cache on the backend, as another process has one.
    fn process(&self) -> Cache {
        Cache::new(self.config())
    }

    fn config(&self) -> Config {
        Config::new(self.clone()).prefix(&self.prefix)
    }

    /// Waits until there is nothing under a key any more.
    async fn gone(&self, key: &str) -> Outcome {
        while DynBackend::get(&*self.backend, key).await?.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Backend for Subject {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.backend.get(key).await
    }

    async fn set(&self, key: &str, value: Bytes, expire: Option<Duration>) -> Result<(), Error> {
        self.backend.set(key, value, expire).await
    }

    async fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> Result<bool, Error> {
        self.backend.replace(key, seen, value, expire).await
    }

    async fn clear(&self, prefix: &str) -> Result<u64, Error> {
        self.backend.clear(prefix).await
    }

    fn local(&self) -> Option<&fast_cache_core::local::LocalStore> {
        self.backend.local()
    }
}
