//! Barriers: how a namespace or a whole cache is invalidated in one step, for every process.
//!
//! A barrier is a random number under a key of its own, its generation. Every value carries the
//! generations that were in force before its computation began, and is a miss as soon as one of
//! them is another. To invalidate is to put a new generation in place: nothing has to be found or
//! deleted, and no clocks are compared.
//!
//! A barrier that is not there, because it never was or because the store evicted it, is made anew
//! by whoever looks for it. The new generation equals no older one, so what was stored before is a
//! miss: losing a barrier loses hits, and brings nothing back.
//!
//! A process relies on what it has read of a barrier for a short time, the delay. An invalidation
//! takes as long, so that when it is over, every process has noticed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_lite::future;
use tokio::time::Instant;

use crate::backend::DynBackend;
use crate::entry::{Generations, Record, new_barrier};
use crate::error::{Error, ErrorKind};
use crate::key::{cache_prefix, key_prefix};

/// The barriers of one cache.
#[derive(Debug)]
pub(crate) struct Barriers {
    prefix: String,
    delay: Duration,
    cache: Barrier,
    /// Those of the namespaces that functions of this process name.
    namespaces: RwLock<HashMap<&'static str, Arc<Barrier>>>,
}

#[derive(Debug)]
struct Barrier {
    key: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The generation that was read last, and when that reading began.
    known: Option<(u64, Instant)>,
    /// How often this process has put a new generation in place. A reading that began before the
    /// last one may have come too early to see it.
    raised: u64,
}

impl Barriers {
    pub(crate) fn new(prefix: &str, delay: Duration) -> Self {
        Self {
            cache: Barrier::new(cache_prefix(prefix)),
            prefix: prefix.to_owned(),
            delay,
            namespaces: RwLock::default(),
        }
    }

    /// The generations in force, as they were at most the delay ago. Reads those that are not
    /// known, in one round trip.
    pub(crate) async fn current(
        &self,
        backend: &dyn DynBackend,
        namespace: &'static str,
    ) -> Result<Generations, Error> {
        let barrier = self.of_namespace(namespace);
        let since = Instant::now().checked_sub(self.delay);
        let (cache, namespace) = future::try_zip(
            self.cache.current(backend, since),
            barrier.current(backend, since),
        )
        .await?;
        Ok(Generations { cache, namespace })
    }

    /// The generations that are stored now for a printed key; `None` if there are none, so that no
    /// value is covered.
    pub(crate) async fn stored(
        &self,
        backend: &dyn DynBackend,
        key: &str,
    ) -> Result<Option<Generations>, Error> {
        let namespace = Barrier::new(namespace_of(key).to_owned());
        let (cache, namespace) =
            future::try_zip(self.cache.stored(backend), namespace.stored(backend)).await?;
        let pair = cache.zip(namespace);
        Ok(pair.map(|(cache, namespace)| Generations { cache, namespace }))
    }

    /// Invalidates the whole cache. Other processes notice within the delay.
    pub(crate) async fn raise_cache(&self, backend: &dyn DynBackend) -> Result<Raised, Error> {
        self.cache.raise(backend).await?;
        Ok(Raised::now(self.delay))
    }

    /// Invalidates a namespace. Other processes notice within the delay.
    pub(crate) async fn raise_namespace(
        &self,
        backend: &dyn DynBackend,
        namespace: &str,
    ) -> Result<Raised, Error> {
        match self.known_namespace(namespace) {
            Some(barrier) => barrier.raise(backend).await?,
            None => {
                let barrier = Barrier::new(key_prefix(&self.prefix, namespace));
                barrier.raise(backend).await?;
            }
        }
        Ok(Raised::now(self.delay))
    }

    fn of_namespace(&self, namespace: &'static str) -> Arc<Barrier> {
        if let Some(barrier) = self.known_namespace(namespace) {
            return barrier;
        }
        let mut namespaces = self
            .namespaces
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let barrier = namespaces
            .entry(namespace)
            .or_insert_with(|| Arc::new(Barrier::new(key_prefix(&self.prefix, namespace))));
        Arc::clone(barrier)
    }

    fn known_namespace(&self, namespace: &str) -> Option<Arc<Barrier>> {
        let namespaces = self
            .namespaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        namespaces.get(namespace).cloned()
    }
}

/// A barrier has been put in place.
#[derive(Debug)]
#[must_use = "other processes have not noticed yet"]
pub(crate) struct Raised(Instant, Duration);

impl Raised {
    fn now(delay: Duration) -> Self {
        Self(Instant::now(), delay)
    }

    /// Waits until every process has noticed.
    pub(crate) async fn noticed(self) {
        let rest = self.1.saturating_sub(self.0.elapsed());
        if !rest.is_zero() {
            tokio::time::sleep(rest).await;
        }
    }
}

/// The `{prefix}:{namespace}:` of a printed key.
fn namespace_of(key: &str) -> &str {
    let mut colons = key.match_indices(':').skip(1);
    match colons.next() {
        Some((at, _)) => &key[..=at],
        None => key,
    }
}

impl Barrier {
    /// The barrier of the keys that start with `prefix`. No key of an entry starts with a tilde.
    fn new(prefix: String) -> Self {
        Self {
            key: format!("~{prefix}"),
            state: Mutex::default(),
        }
    }

    /// The generation as it was read since then, or a reading now.
    async fn current(
        &self,
        backend: &dyn DynBackend,
        since: Option<Instant>,
    ) -> Result<u64, Error> {
        let raised = {
            let state = self.state();
            if let Some((generation, read_at)) = state.known
                && since.is_none_or(|since| read_at > since)
            {
                return Ok(generation);
            }
            state.raised
        };
        let began = Instant::now();
        let generation = self.read(backend).await?;
        let mut state = self.state();
        let is_newer = state.known.is_none_or(|(_, read_at)| read_at < began);
        if state.raised == raised && is_newer {
            state.known = Some((generation, began));
        }
        Ok(generation)
    }

    /// Reads the generation, and makes one where there is none.
    ///
    /// Two processes may both find none. The later one to write wins, and what the other stored
    /// under its own is a miss; a computation begins after the generation has been written, so one
    /// that overwrites an invalidation's can only cover what came after.
    async fn read(&self, backend: &dyn DynBackend) -> Result<u64, Error> {
        if let Some(generation) = self.stored(backend).await? {
            return Ok(generation);
        }
        let (generation, record) = new_barrier();
        if backend
            .replace(&self.key, None, record.clone(), None)
            .await?
        {
            return Ok(generation);
        }
        if let Some(generation) = self.stored(backend).await? {
            return Ok(generation);
        }
        // Foreign bytes are in the way.
        backend.set(&self.key, record, None).await?;
        Ok(generation)
    }

    async fn stored(&self, backend: &dyn DynBackend) -> Result<Option<u64>, Error> {
        let bytes = match backend.get(&self.key).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Decode => None,
            Err(error) => return Err(error),
        };
        match bytes.as_deref().map(Record::read) {
            Some(Ok(Record::Barrier(generation))) => Ok(Some(generation)),
            _ => Ok(None),
        }
    }

    async fn raise(&self, backend: &dyn DynBackend) -> Result<(), Error> {
        let (_, record) = new_barrier();
        let result = backend.set(&self.key, record, None).await;
        // Also after an error, since it is unknown then whether the barrier was stored.
        let mut state = self.state();
        state.raised += 1;
        state.known = None;
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
