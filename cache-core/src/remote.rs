//! What the engine does in a shared store: read, store, invalidate.
//!
//! Three things keep a value from coming back after it was invalidated, in whichever process it is
//! being computed. A lookup remembers what it saw under the key, and the value that is computed
//! then is stored only where that still is. The invalidation of a key leaves a tombstone there,
//! which nobody has seen before. And values carry the generations of the barriers that cover them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future;

use crate::backend::DynBackend;
use crate::barrier::{Barriers, Raised};
use crate::breaker::{Breaker, BreakerState};
use crate::clock::{Clock, milliseconds};
use crate::config::Config;
use crate::entry::{
    Envelope, Generations, Record, SealedTags, Seen, Tags, Tombstone, foreign, seen,
};
use crate::error::{Error, ErrorKind};
use crate::join::join_all;
use crate::site::Site;

/// For how long a tombstone stays under a key, and after it what is stored over it: until then, an
/// empty place under a key says that the key was not invalidated.
const GUARD: Duration = Duration::from_secs(10 * 60);

/// For how long a value can be computed to be stored. The rest of [`GUARD`] is for clocks that
/// differ.
const LONGEST_COMPUTATION: Duration = Duration::from_secs(5 * 60);

/// Tells the other processes of a change, once the shared store has it.
pub(crate) trait Tell: Future<Output = Result<(), Error>> {}

impl<F: Future<Output = Result<(), Error>>> Tell for F {}

/// A store that other processes share.
pub(crate) struct Remote {
    backend: Arc<dyn DynBackend>,
    barriers: Barriers,
    breaker: Breaker,
    clock: Clock,
}

/// What a lookup read.
pub(crate) struct Reading {
    pub(crate) content: Content,
    pub(crate) observation: Observation,
}

/// What was under a key.
pub(crate) enum Content {
    /// No value, or one that was invalidated.
    Nothing,
    /// The record of a value, to be opened.
    Value(Bytes),
    /// Something that is not ours, and has been overwritten.
    Foreign(Error),
}

/// What a lookup saw, which the computation that follows must know to store its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observation {
    /// How what was under the key begins.
    seen: Option<Seen>,
    /// Until when the key must not be empty, in milliseconds since the Unix epoch.
    guarded_until: u64,
    pub(crate) generations: Generations,
    /// The epoch of the tags, for a function whose values may have some.
    epoch: Option<u64>,
    /// When the lookup began, by the clock that never runs backwards, which may stand still while the machine sleeps.
    began: u64,
    /// The same by the other clock, in milliseconds since the Unix epoch.
    began_wall: u64,
}

/// The barriers that cover the values of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cover {
    pub(crate) generations: Generations,
    /// The epoch of the tags, for a function whose values may have some.
    pub(crate) epoch: Option<u64>,
}

impl Remote {
    pub(crate) fn new(config: &Config) -> Self {
        let clock = config.clock.clone();
        let (failures, cooldown) = config.breaker;
        Self {
            backend: Arc::clone(&config.backend),
            barriers: Barriers::new(&config.prefix, config.invalidation_delay),
            breaker: Breaker::new(failures, cooldown, clock.clone()),
            clock,
        }
    }

    pub(crate) fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// Reads what is under a printed key, in one round trip.
    ///
    /// Only what becomes of this opens the breaker: every call begins with it, and a store that
    /// refuses to write may still be read.
    ///
    /// # Errors
    ///
    /// Of the kinds `Backend` and `BreakerOpen`, after which nothing is known.
    pub(crate) async fn read(&self, key: &str, site: &Site) -> Result<Reading, Error> {
        let pass = self.breaker.pass()?;
        let reading = self.look(key, site).await;
        pass.note(&reading);
        reading
    }

    async fn look(&self, key: &str, site: &Site) -> Result<Reading, Error> {
        let (began, began_wall) = (self.clock.now(), self.clock.wall());
        let (cover, bytes) = match self.known_cover(site) {
            Some(cover) => (Ok(cover), self.backend.get(key).await),
            None => Box::pin(future::zip(self.cover(site), self.backend.get(key))).await,
        };
        let Cover { generations, epoch } = cover?;
        let observation = Observation {
            seen: None,
            guarded_until: 0,
            generations,
            epoch,
            began,
            began_wall,
        };
        match bytes {
            Ok(Some(bytes)) => self.recognize(key, bytes, observation).await,
            Ok(None) => Ok(Reading::nothing(observation)),
            Err(error) if error.kind() == ErrorKind::Decode => {
                Box::pin(self.overwrite(key, error, observation)).await
            }
            Err(error) => Err(error),
        }
    }

    /// What is in force for the values of a function, if it was read a short time ago.
    fn known_cover(&self, site: &Site) -> Option<Cover> {
        Some(Cover {
            generations: self.barriers.known(site.namespace_name())?,
            epoch: match site.is_tagged() {
                true => Some(self.barriers.known_epoch()?),
                false => None,
            },
        })
    }

    /// What is in force for the values of a function.
    pub(crate) async fn cover(&self, site: &Site) -> Result<Cover, Error> {
        let generations = self.barriers.current(&*self.backend, site.namespace_name());
        let epoch = async {
            match site.is_tagged() {
                true => self.barriers.epoch(&*self.backend).await.map(Some),
                false => Ok(None),
            }
        };
        let (generations, epoch) = future::try_zip(generations, epoch).await?;
        Ok(Cover { generations, epoch })
    }

    /// The generations in force, unless the store is left alone.
    pub(crate) async fn generations_if_closed(
        &self,
        namespace: &'static str,
    ) -> Result<Generations, Error> {
        drop(self.breaker.pass()?);
        self.barriers.current(&*self.backend, namespace).await
    }

    /// The epoch of the tags, unless the store is left alone.
    pub(crate) async fn epoch_if_closed(&self) -> Result<u64, Error> {
        drop(self.breaker.pass()?);
        self.barriers.epoch(&*self.backend).await
    }

    /// Whether the tags of a value are still those that it was stored under.
    pub(crate) async fn holds(
        &self,
        tags: &Tags<'_>,
        observation: &Observation,
    ) -> Result<bool, Error> {
        let epoch = match observation.epoch {
            Some(epoch) => epoch,
            None => self.barriers.epoch(&*self.backend).await?,
        };
        let check = |(tag, generation)| {
            Box::pin(
                self.barriers
                    .holds_tag(&*self.backend, tag, generation, epoch),
            )
        };
        for holds in join_all(tags.iter().map(check).collect()).await {
            if !holds? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The tags of a value with the generations that were in force before its computation began; `before` are those that
    /// were read then. Of the others it has to be shown: `None` if some tag, of this value or another, was invalidated
    /// since the epoch was read.
    pub(crate) async fn tag(
        &self,
        tags: &[String],
        before: &[u64],
        epoch: Option<u64>,
    ) -> Result<Option<SealedTags>, Error> {
        let late = &tags[before.len().min(tags.len())..];
        if late.is_empty() {
            return SealedTags::new(tags, &before[..tags.len()]).map(Some);
        }
        let Some(epoch) = epoch else { return Ok(None) };
        let generations = self.generations_of(late, Some(epoch)).await?;
        if self.barriers.epoch_now(&*self.backend).await? != epoch {
            return Ok(None);
        }
        SealedTags::new(tags, &[before, &generations].concat()).map(Some)
    }

    /// The generations of tags, in their order.
    pub(crate) async fn generations_of(
        &self,
        tags: &[String],
        epoch: Option<u64>,
    ) -> Result<Vec<u64>, Error> {
        let backend = &*self.backend;
        let epoch = match epoch {
            Some(epoch) => epoch,
            None => self.barriers.epoch(backend).await?,
        };
        let reads = tags.iter().enumerate().map(|(at, tag)| {
            Box::pin(async move { Ok((at, self.barriers.tag(backend, tag, epoch).await?)) })
        });
        let read: Result<Vec<_>, Error> = join_all(reads.collect()).await.into_iter().collect();
        let mut read = read?;
        read.sort_unstable();
        Ok(read.into_iter().map(|(_, generation)| generation).collect())
    }

    /// Invalidates a tag; see [`Barriers`]. `tell` tells the other processes, as in all that invalidates.
    pub(crate) async fn clear_tag(&self, tag: &str, tell: impl Tell) -> Result<u64, Error> {
        let raised = self.barriers.raise_tag(&*self.backend, tag).await?;
        noticed(raised, tell).await
    }

    /// Forgets what is known of barriers, since they may have changed.
    pub(crate) fn forget(&self) {
        self.barriers.forget();
    }

    /// Stores a record for `lifetime` where what was observed still is, and tells whether it did.
    ///
    /// # Errors
    ///
    /// Those of the backend, and of the kind `Late` after a computation that took too long.
    pub(crate) async fn store(
        &self,
        observation: &Observation,
        key: &str,
        record: Bytes,
        lifetime: Option<Duration>,
    ) -> Result<bool, Error> {
        let took = self.clock.now().saturating_sub(observation.began);
        let took_wall = self.clock.wall().saturating_sub(observation.began_wall);
        if took.max(took_wall) > milliseconds(LONGEST_COMPUTATION) {
            return Err(late());
        }
        let lifetime = self.guarded(observation.guarded_until, lifetime);
        let seen = observation.seen.as_ref().map(|seen| &seen[..]);
        self.backend.replace(key, seen, record, lifetime).await
    }

    /// Stores a record for `lifetime`, whatever is there.
    pub(crate) async fn put(
        &self,
        key: &str,
        record: Bytes,
        lifetime: Option<Duration>,
    ) -> Result<(), Error> {
        let lifetime = self.guarded(self.new_guard(), lifetime);
        self.backend.set(key, record, lifetime).await
    }

    /// Leaves a tombstone under a printed key, and tells whether there was a value.
    pub(crate) async fn invalidate(&self, key: &str, tell: impl Tell) -> Result<bool, Error> {
        let stored = self.barriers.stored(&*self.backend, key);
        let (generations, bytes) = future::zip(stored, self.backend.get(key)).await;
        // What cannot be read is invalidated all the same.
        self.bury(key).await?;
        tell.await?;
        Ok(match (generations, bytes) {
            (Ok(Some(generations)), Ok(Some(bytes))) => self.is_live(&bytes, generations),
            _ => false,
        })
    }

    /// Invalidates a namespace; see [`Barriers`]. Nothing is freed.
    pub(crate) async fn clear_namespace(
        &self,
        namespace: &str,
        tell: impl Tell,
    ) -> Result<u64, Error> {
        let backend = &*self.backend;
        let raised = self.barriers.raise_namespace(backend, namespace).await?;
        noticed(raised, tell).await
    }

    /// Invalidates everything; see [`Barriers`]. Nothing is freed.
    pub(crate) async fn clear(&self, tell: impl Tell) -> Result<u64, Error> {
        let raised = self.barriers.raise_cache(&*self.backend).await?;
        noticed(raised, tell).await
    }

    /// Until when what is stored now over something unknown has to stay.
    pub(crate) fn new_guard(&self) -> u64 {
        self.clock.wall().saturating_add(milliseconds(GUARD))
    }

    /// Until when what is stored after this observation has to stay; 0 if it does not.
    pub(crate) fn guard(&self, observation: &Observation) -> u64 {
        if observation.guarded_until <= self.clock.wall() {
            return 0;
        }
        // Nobody's clock makes an entry stay for longer.
        observation.guarded_until.min(self.new_guard())
    }

    async fn recognize(
        &self,
        key: &str,
        bytes: Bytes,
        observation: Observation,
    ) -> Result<Reading, Error> {
        let observation = Observation {
            seen: seen(&bytes),
            ..observation
        };
        match Record::read(&bytes) {
            Ok(Record::Value(envelope, _)) => Ok(Reading {
                observation: Observation {
                    guarded_until: envelope.guarded_until,
                    ..observation
                },
                content: Content::Value(bytes),
            }),
            Ok(Record::Tombstone(tombstone)) => Ok(Reading::nothing(Observation {
                guarded_until: tombstone.guarded_until,
                ..observation
            })),
            Ok(Record::Barrier(_)) => {
                let error = foreign("it is a barrier");
                Box::pin(self.overwrite(key, error, observation)).await
            }
            Err(error) => Box::pin(self.overwrite(key, error, observation)).await,
        }
    }

    /// Puts a tombstone in the place of something that is not ours: what a computation saw can be
    /// told from anything else only if we wrote it. Callers put it in a box, since it is rare.
    async fn overwrite(
        &self,
        key: &str,
        error: Error,
        observation: Observation,
    ) -> Result<Reading, Error> {
        let (tombstone, guarded_until) = self.bury(key).await?;
        Ok(Reading {
            content: Content::Foreign(error),
            observation: Observation {
                seen: seen(&tombstone),
                guarded_until,
                ..observation
            },
        })
    }

    async fn bury(&self, key: &str) -> Result<(Bytes, u64), Error> {
        let guarded_until = self.new_guard();
        let tombstone = Tombstone { guarded_until }.seal();
        self.backend
            .set(key, tombstone.clone(), Some(GUARD))
            .await?;
        Ok((tombstone, guarded_until))
    }

    fn is_live(&self, bytes: &[u8], generations: Generations) -> bool {
        let Ok(Record::Value(envelope, _)) = Record::read(bytes) else {
            return false;
        };
        let now = self.clock.wall();
        envelope.generations == generations && envelope.useful_until.is_none_or(|until| now < until)
    }

    /// The lifetime of a record in the store, which is the entry's, or longer while it guards its
    /// place.
    fn guarded(&self, guarded_until: u64, lifetime: Option<Duration>) -> Option<Duration> {
        let guard = guarded_until.saturating_sub(self.clock.wall());
        lifetime.map(|lifetime| lifetime.max(Duration::from_millis(guard).min(GUARD)))
    }
}

impl Reading {
    fn nothing(observation: Observation) -> Self {
        Self {
            content: Content::Nothing,
            observation,
        }
    }
}

impl Observation {
    /// The same of a key under which there is nothing, and has never been.
    #[cfg(feature = "axum")]
    pub(crate) fn of_nothing(self) -> Self {
        Self {
            seen: None,
            guarded_until: 0,
            ..self
        }
    }

    /// Whether another lookup has seen the same, so that nothing was invalidated between the two.
    #[cfg(feature = "axum")]
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        self.seen == other.seen
            && self.generations == other.generations
            && self.epoch == other.epoch
    }

    /// Whether there was something of ours under the key, which other processes may hold.
    pub(crate) fn saw_something(&self) -> bool {
        self.seen.is_some()
    }

    /// Whether no barrier but those of tags has been raised since the computation of this value began.
    pub(crate) fn admits(&self, envelope: &Envelope<'_>) -> bool {
        self.generations == envelope.generations
    }

    pub(crate) fn cover(&self) -> Cover {
        Cover {
            generations: self.generations,
            epoch: self.epoch,
        }
    }
}

/// Tells the other processes, and waits until each has noticed.
async fn noticed(raised: Raised, tell: impl Tell) -> Result<u64, Error> {
    let told = tell.await;
    raised.noticed().await;
    told.map(|()| 0)
}

fn late() -> Error {
    Error::new(
        ErrorKind::Late,
        format!(
            "the value was not stored: its computation took longer than {} seconds, for which \
             invalidations are remembered",
            LONGEST_COMPUTATION.as_secs()
        ),
    )
}
