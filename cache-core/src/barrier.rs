//! Barriers: how a namespace, a tag or a whole cache is invalidated in one step, for every process.
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
//!
//! Tags are too many to be read again and again, and those of a value may be known only when it has
//! been computed. So there is one more barrier, the epoch, which changes whenever a tag is
//! invalidated, before and after the tag's own generation does. What is known of tags is forgotten when
//! the epoch has changed. And a value is stored under tags only if the epoch, read after their
//! generations, is still the one from before the computation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures_lite::future;
use tokio::time::Instant;

use crate::backend::DynBackend;
use crate::entry::{Generations, Record, new_barrier};
use crate::error::{Error, ErrorKind};
use crate::key::{cache_prefix, key_prefix, name_digest};
use crate::timer::sleep;

/// The barriers of one cache.
#[derive(Debug)]
pub(crate) struct Barriers {
    prefix: String,
    delay: Duration,
    cache: Barrier,
    /// Those of the namespaces that functions of this process name.
    namespaces: RwLock<HashMap<&'static str, Arc<Barrier>>>,
    epoch: Barrier,
    tags: Mutex<KnownTags>,
}

/// The generations of tags that were read in an epoch.
#[derive(Debug, Default)]
struct KnownTags {
    epoch: u64,
    generations: HashMap<String, u64>,
}

/// How many generations of tags are remembered.
const MOST_TAGS: usize = 10_000;

/// How long a tag's barrier is kept, so that tags that are no longer used do not fill the store. What
/// is under the tag is a miss afterwards. Memcached takes longer lifetimes for dates.
const TAG_LIFETIME: Duration = Duration::from_secs(28 * 24 * 60 * 60);

#[derive(Debug)]
struct Barrier {
    key: String,
    lifetime: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The generation that was read last, and when that reading began.
    known: Option<(u64, Instant)>,
    /// How often a new generation was put in place, as far as this process knows. A reading that began
    /// before the last time may have come too early to see it.
    raised: u64,
}

impl State {
    fn known_since(&self, since: Option<Instant>) -> Option<u64> {
        let (generation, read_at) = self.known?;
        let is_recent = since.is_none_or(|since| read_at > since);
        is_recent.then_some(generation)
    }
}

impl Barriers {
    pub(crate) fn new(prefix: &str, delay: Duration) -> Self {
        Self {
            cache: Barrier::new(cache_prefix(prefix)),
            prefix: prefix.to_owned(),
            delay,
            namespaces: RwLock::default(),
            epoch: Barrier::new(format!("{}#tags", cache_prefix(prefix))),
            tags: Mutex::default(),
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

    /// The generations in force, if they were read at most the delay ago.
    pub(crate) fn known(&self, namespace: &'static str) -> Option<Generations> {
        let since = Instant::now().checked_sub(self.delay);
        Some(Generations {
            cache: self.cache.known(since)?,
            namespace: self.of_namespace(namespace).known(since)?,
        })
    }

    /// The epoch, if it was read at most the delay ago.
    pub(crate) fn known_epoch(&self) -> Option<u64> {
        self.epoch.known(Instant::now().checked_sub(self.delay))
    }

    /// The epoch, as it was at most the delay ago.
    pub(crate) async fn epoch(&self, backend: &dyn DynBackend) -> Result<u64, Error> {
        let since = Instant::now().checked_sub(self.delay);
        self.epoch.current(backend, since).await
    }

    /// The epoch as it is now.
    pub(crate) async fn epoch_now(&self, backend: &dyn DynBackend) -> Result<u64, Error> {
        self.epoch.current(backend, Some(Instant::now())).await
    }

    /// The generation of a tag, in an epoch that was read before.
    pub(crate) async fn tag(
        &self,
        backend: &dyn DynBackend,
        tag: &str,
        epoch: u64,
    ) -> Result<u64, Error> {
        match self.known_tag(tag, epoch) {
            Some(generation) => Ok(generation),
            None => self.tag_anew(backend, tag, epoch).await,
        }
    }

    /// Whether a tag has this generation still. What is known of it says only that it has: its barrier may have been evicted
    /// and made anew in one epoch, and then the processes that have known the old one would reject what the others store.
    pub(crate) async fn holds_tag(
        &self,
        backend: &dyn DynBackend,
        tag: &str,
        generation: u64,
        epoch: u64,
    ) -> Result<bool, Error> {
        if self.known_tag(tag, epoch) == Some(generation) {
            return Ok(true);
        }
        Ok(self.tag_anew(backend, tag, epoch).await? == generation)
    }

    fn known_tag(&self, tag: &str, epoch: u64) -> Option<u64> {
        let tags = self.tags();
        let known = tags.generations.get(tag).copied();
        known.filter(|_| tags.epoch == epoch)
    }

    /// The same, as it is stored now.
    async fn tag_anew(
        &self,
        backend: &dyn DynBackend,
        tag: &str,
        epoch: u64,
    ) -> Result<u64, Error> {
        let generation = self.tag_barrier(tag).read(backend).await?;
        let mut tags = self.tags();
        if tags.epoch != epoch || tags.generations.len() >= MOST_TAGS {
            tags.generations.clear();
            tags.epoch = epoch;
        }
        tags.generations.insert(tag.to_owned(), generation);
        Ok(generation)
    }

    /// Invalidates a tag. Other processes notice within the delay.
    pub(crate) async fn raise_tag(
        &self,
        backend: &dyn DynBackend,
        tag: &str,
    ) -> Result<Raised, Error> {
        self.epoch.raise(backend).await?;
        self.tag_barrier(tag).raise(backend).await?;
        self.epoch.raise(backend).await?;
        Ok(Raised::now(self.delay))
    }

    /// Forgets what is known, since it may have changed.
    pub(crate) fn forget(&self) {
        let namespaces = self
            .namespaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let all = namespaces.values().map(|barrier| &**barrier);
        for barrier in all.chain([&self.cache, &self.epoch]) {
            barrier.forget();
        }
    }

    fn tag_barrier(&self, tag: &str) -> Barrier {
        let prefix = cache_prefix(&self.prefix);
        let name = format!("{prefix}#tag:{}", name_digest([tag.as_bytes()]));
        Barrier {
            lifetime: Some(TAG_LIFETIME),
            ..Barrier::new(name)
        }
    }

    fn tags(&self) -> MutexGuard<'_, KnownTags> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
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
            sleep(rest).await;
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
    /// The barrier of the keys that start with `name`, or of what else has this name. No key of an
    /// entry starts with a tilde, and the name of a namespace or a cache ends with a colon.
    fn new(name: String) -> Self {
        Self {
            key: format!("~{name}"),
            lifetime: None,
            state: Mutex::default(),
        }
    }

    /// The generation as it was read since then.
    fn known(&self, since: Option<Instant>) -> Option<u64> {
        self.state().known_since(since)
    }

    /// The generation as it was read since then, or a reading now.
    async fn current(
        &self,
        backend: &dyn DynBackend,
        since: Option<Instant>,
    ) -> Result<u64, Error> {
        let raised = {
            let state = self.state();
            if let Some(generation) = state.known_since(since) {
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
            .replace(&self.key, None, record.clone(), self.lifetime)
            .await?
        {
            return Ok(generation);
        }
        if let Some(generation) = self.stored(backend).await? {
            return Ok(generation);
        }
        // Foreign bytes are in the way.
        backend.set(&self.key, record, self.lifetime).await?;
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
        let result = backend.set(&self.key, record, self.lifetime).await;
        // Also after an error, since it is unknown then whether the barrier was stored.
        self.forget();
        result
    }

    fn forget(&self) {
        let mut state = self.state();
        state.raised += 1;
        state.known = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
