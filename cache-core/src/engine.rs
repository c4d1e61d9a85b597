//! The stores behind a cache, and what is done to them: find, store, remove.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::access::Access;
use crate::backend::DynBackend;
use crate::clock::{Clock, milliseconds};
use crate::coder::RegisteredCoder;
use crate::config::Config;
use crate::entry::{Envelope, Expected, Generations, Record, Tags, fingerprint};
use crate::error::{Error, ErrorKind};
use crate::flight::{Flights, Seat, Shared, Start};
use crate::invalidation::{Invalidations, Moment, Scope};
use crate::key::{Key, cache_prefix, hash_printed, key_prefix, print_stored, split_space};
use crate::lease::{Lease, Patience};
use crate::local::{AnyEntry, LocalEntry, LocalKey, LocalStore};
use crate::remote::{Content, Observation, Remote};
use crate::site::{self, Site};
use crate::stats::{Counters, Stats};
use crate::value::{Codec, CoderChoice, Payload};

/// What an entry of the local store takes beside its value and its key, in bytes: the key's and
/// the value's allocations, and their rows in the tables.
const OVERHEAD: usize = 160;

/// Everything about a cache that does not depend on who asks.
pub(crate) struct Engine {
    backend: Arc<dyn DynBackend>,
    prefix: String,
    prefix_number: u32,
    expire: Option<Duration>,
    coder: RegisteredCoder,
    clock: Clock,
    invalidations: Arc<Invalidations>,
    remote: Remote,
    flights: Flights,
    coalesce: bool,
    lock: bool,
    lease: Duration,
    counters: Counters,
}

/// What a lookup gives: a value, or what must be known to store one.
pub(crate) struct Sought<T> {
    pub(crate) found: Result<Option<Found<T>>, Error>,
    pub(crate) ticket: Ticket,
}

/// The same, where what went wrong has been told.
pub(crate) struct Look<T> {
    pub(crate) found: Option<Found<T>>,
    pub(crate) ticket: Ticket,
    began: Instant,
}

impl<T> Look<T> {
    /// Up to when what was found is known to be valid.
    pub(crate) fn validity(&self) -> Validity {
        Validity {
            at: self.began,
            generations: self.ticket.generations(),
        }
    }
}

/// What a computation must know about the time before it began, to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    moment: Moment,
    basis: Basis,
}

/// Up to when a value is known not to have been invalidated, and by which barriers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validity {
    at: Instant,
    /// `None` where there are no barriers, or none that can be read.
    generations: Option<Generations>,
}

/// What is known about a shared store.
#[derive(Clone, Copy, Debug)]
enum Basis {
    /// Nothing: no value can be stored there.
    Unknown,
    /// What was under the key.
    Observed(Observation),
    /// The value comes from the caller, and goes over whatever there is.
    Override(Generations),
}

/// A value that was found.
pub(crate) struct Found<T> {
    pub(crate) value: T,
    pub(crate) times: Times,
}

/// How old a value is, and how long it stays fresh, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    #[cfg(feature = "axum")]
    pub(crate) age: u64,
    /// `None` if it does not expire.
    pub(crate) remaining: Option<u64>,
}

impl Times {
    /// The times of a value that is new.
    pub(crate) fn new(lifetime: Option<Duration>) -> Self {
        Self {
            #[cfg(feature = "axum")]
            age: 0,
            remaining: lifetime.map(milliseconds),
        }
    }
}

impl Engine {
    pub(crate) fn new(config: Config) -> Self {
        let mut invalidations = Arc::default();
        if let Some(local) = config.backend.local() {
            local.use_clock(config.clock.clone());
            invalidations = local.invalidations();
        }
        let remote = Remote::new(&config);
        Self {
            remote,
            prefix_number: site::prefix(&config.prefix),
            backend: config.backend,
            prefix: config.prefix,
            expire: config.expire,
            coder: config.coder,
            clock: config.clock,
            invalidations,
            flights: Flights::new(),
            coalesce: config.coalesce,
            lock: config.lock,
            lease: config.lease,
            counters: Counters::default(),
        }
    }

    pub(crate) fn backend(&self) -> Arc<dyn DynBackend> {
        Arc::clone(&self.backend)
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn prefix_number(&self) -> u32 {
        self.prefix_number
    }

    pub(crate) fn expire(&self) -> Option<Duration> {
        self.expire
    }

    pub(crate) fn coder(&self) -> &RegisteredCoder {
        &self.coder
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.counters.snapshot();
        stats.breaker = self.remote.breaker();
        if let Some(local) = self.backend.local() {
            stats.entries = local.len();
            stats.bytes = local.bytes();
            stats.evictions = local.evictions();
        }
        stats
    }

    /// To be called before a computation reads anything, where the store is local; see
    /// [`store`](Self::store).
    pub(crate) fn begin(&self) -> Ticket {
        Ticket {
            moment: self.invalidations.begin(),
            basis: Basis::Unknown,
        }
    }

    /// Looks into the local store, and gives the entry with its times. The value in it is cloned
    /// by the caller, when no lock is held any more.
    #[inline]
    pub(crate) fn find_local(&self, key: LocalKey<'_>) -> Option<(AnyEntry, Times)> {
        let local = self.backend.local()?;
        let now = self.clock.now();
        let entry = local.get(key, now)?;
        let times = Times {
            #[cfg(feature = "axum")]
            age: now.saturating_sub(entry.stored_at),
            remaining: (entry.expires_at != u64::MAX).then(|| entry.expires_at.saturating_sub(now)),
        };
        Some((entry, times))
    }

    /// Takes the value out of a local entry. One of another type is none, and is counted: two
    /// functions share a key and return different types.
    #[inline]
    pub(crate) fn downcast<'a, T: 'static>(&self, entry: &'a AnyEntry) -> Option<&'a T> {
        let value = entry.value.downcast_ref::<T>();
        if value.is_none() {
            self.counters.error(ErrorKind::Decode);
        }
        value
    }

    /// Whether values live in this process alone.
    pub(crate) fn is_local(&self) -> bool {
        self.backend.local().is_some()
    }

    /// Looks into the store, and gives what it found with what a computation that begins then has to
    /// know.
    pub(crate) async fn try_find<T: Payload, C: CoderChoice>(
        &self,
        site: &'static Site,
        key: &Key,
    ) -> Sought<T> {
        let ticket = self.begin();
        if self.is_local() {
            let found = self.find_local(key.local()).and_then(|(entry, times)| {
                // One of another type has been counted by the look before.
                let value = entry.value.downcast_ref::<T>()?.clone();
                Some(Found { value, times })
            });
            return Sought {
                found: Ok(found),
                ticket,
            };
        }
        let printed = key.printed(&self.prefix);
        let reading = match self.remote.read(&printed, site.namespace_name()).await {
            Ok(reading) => reading,
            Err(error) => {
                return Sought {
                    found: Err(error),
                    ticket,
                };
            }
        };
        let observation = reading.observation;
        let found = match reading.content {
            Content::Nothing => Ok(None),
            Content::Value(bytes) => self.open::<T, C>(site, &printed, &bytes, &observation),
            Content::Foreign(error) => Err(error),
        };
        Sought {
            found,
            ticket: Ticket {
                basis: Basis::Observed(observation),
                ..ticket
            },
        }
    }

    /// As [`try_find`](Self::try_find), where an error is a miss that is counted and logged.
    pub(crate) async fn find<T>(
        &self,
        access: Access<T>,
        site: &'static Site,
        key: &Key,
    ) -> Look<T> {
        let began = Instant::now();
        let sought = (access.find)(self, site, key).await;
        let found = sought.found.unwrap_or_else(|error| {
            self.report(site, &error);
            None
        });
        Look {
            found,
            ticket: sought.ticket,
            began,
        }
    }

    /// Stores a value for `lifetime`, unless its key was invalidated since the ticket was taken, and
    /// says whether the value may be shared with those who wait for it. An error is counted and
    /// logged: the call that the value is for goes on.
    pub(crate) async fn store<T>(
        &self,
        access: Access<T>,
        ticket: Ticket,
        site: &'static Site,
        key: &Key,
        value: &T,
        lifetime: Option<Duration>,
    ) -> Option<Validity> {
        let before = Validity {
            at: Instant::now(),
            generations: ticket.generations(),
        };
        match (access.store)(self, ticket, site, key, value, lifetime).await {
            Ok(Stored::Yes) => return Some(before),
            Ok(Stored::Invalidated) => return None,
            Ok(Stored::Unknown) => {}
            Err(error) => self.report(site, &error),
        }
        // While the store is out of reach, callers share on the word of this process alone.
        let printed = key.printed(&self.prefix);
        let is_valid = self.is_current(ticket.moment, &printed);
        is_valid.then(|| Validity {
            at: Instant::now(),
            generations: None,
        })
    }

    /// The start of a call that is about to look into the store.
    pub(crate) fn start(&self, key: &Key) -> Start {
        self.flights.start(key)
    }

    /// Joins the others who miss on a key, or leads them; `None` where everybody computes alone.
    pub(crate) fn join(&self, site: &Site, key: &Key) -> Option<Seat<'_>> {
        if !site.coalesces().unwrap_or(self.coalesce) {
            return None;
        }
        let is_current = |began| self.is_current(began, &key.printed(&self.prefix));
        Some(
            self.flights
                .join(key, self.invalidations.begin(), is_current),
        )
    }

    /// The value that the leader of a flight shares, unless it was invalidated before this call
    /// began.
    pub(crate) async fn share<T>(
        &self,
        access: Access<T>,
        site: &'static Site,
        shared: &Shared,
        start: Start,
    ) -> Option<Found<T>> {
        if shared.validity.at < start.at {
            return None;
        }
        if let Some(generations) = shared.validity.generations {
            let namespace = site.namespace_name();
            let current = self.remote.generations_if_closed(namespace).await;
            if current.ok()? != generations {
                return None;
            }
        }
        let value = (access.take_share)(&shared.value)?;
        self.counters.coalesced();
        Some(Found {
            value,
            times: shared.times,
        })
    }

    /// After a miss: takes the lease of a key, or waits for the value of whoever has it.
    pub(crate) async fn lock<T>(
        &self,
        access: Access<T>,
        site: &'static Site,
        key: &Key,
        miss: Look<T>,
    ) -> (Look<T>, Option<Lease>) {
        let is_shared = matches!(miss.ticket.basis, Basis::Observed(_));
        if !is_shared || !site.locks().unwrap_or(self.lock) {
            return (miss, None);
        }
        let printed = key.printed(&self.prefix);
        let mut patience = Patience::new(self.lease);
        loop {
            let lease = match Lease::take(self.backend(), &printed, self.lease).await {
                Ok(lease) => lease,
                Err(error) => {
                    self.report(site, &error);
                    return (miss, None);
                }
            };
            if lease.is_none() {
                if patience.is_new() {
                    self.counters.lock_wait();
                }
                if !patience.wait().await {
                    return (miss, None);
                }
            }
            // Somebody may have stored a value since the last look.
            let look = self.find(access, site, key).await;
            let is_lost = matches!(look.ticket.basis, Basis::Unknown);
            if look.found.is_some() || lease.is_some() || is_lost {
                return (look, lease);
            }
        }
    }

    fn is_current(&self, moment: Moment, printed: &str) -> bool {
        self.invalidations.permit(moment, printed).is_some()
    }

    /// As [`store`](Self::store), and says what went wrong.
    pub(crate) async fn try_store<T: Payload, C: CoderChoice>(
        &self,
        ticket: Ticket,
        site: &Site,
        key: &Key,
        value: &T,
        lifetime: Option<Duration>,
    ) -> Result<Stored, Error> {
        if lifetime.is_some_and(|lifetime| lifetime < Duration::from_millis(1)) {
            return Ok(Stored::Invalidated);
        }
        let printed = key.printed(&self.prefix);
        let stored = match self.backend.local() {
            Some(local) => self.store_local(local, ticket, key, &printed, value, lifetime),
            None => {
                self.store_remote::<T, C>(ticket, site, &printed, value, lifetime)
                    .await?
            }
        };
        match stored {
            Stored::Yes => self.counters.stored(),
            Stored::Invalidated => self.counters.invalidated(),
            Stored::Unknown => {}
        }
        Ok(stored)
    }

    /// Ends what is being computed for a key, whose value is about to be set by hand.
    pub(crate) async fn supersede(&self, site: &'static Site, key: &Key) -> Result<Ticket, Error> {
        self.invalidations
            .record(Scope::Key(key.printed(&self.prefix)));
        let ticket = self.begin();
        if self.is_local() {
            return Ok(ticket);
        }
        let generations = self.remote.generations(site.namespace_name()).await?;
        Ok(Ticket {
            basis: Basis::Override(generations),
            ..ticket
        })
    }

    /// Removes one entry, and tells whether there was one.
    pub(crate) async fn remove(&self, key: &Key) -> Result<bool, Error> {
        let printed = key.printed(&self.prefix);
        self.invalidations.record(Scope::Key(printed.clone()));
        match self.backend.local() {
            Some(local) => Ok(local.remove(key.local())),
            None => self.remote.invalidate(&printed).await,
        }
    }

    pub(crate) async fn clear_key(&self, printed: &str) -> Result<u64, Error> {
        if !printed.starts_with(&cache_prefix(&self.prefix)) {
            return Ok(0);
        }
        self.invalidations.record(Scope::Key(printed.to_owned()));
        let removed = match self.backend.local() {
            Some(local) => local.remove_printed(hash_printed(printed), |key| {
                self.owns(key.space)
                    && print_stored(&self.prefix, key).is_some_and(|key| key == printed)
            }),
            None => self.remote.invalidate(printed).await?,
        };
        Ok(u64::from(removed))
    }

    pub(crate) async fn clear_namespace(&self, namespace: &str) -> Result<u64, Error> {
        let prefix = key_prefix(&self.prefix, namespace);
        self.invalidations.record(Scope::Prefix(prefix.clone()));
        let Some(local) = self.backend.local() else {
            return self.remote.clear_namespace(namespace, &prefix).await;
        };
        let owners = site::in_namespace(namespace);
        Ok(local.remove_where(|key| {
            let (_, owner) = split_space(key.space);
            self.owns(key.space) && owners.binary_search(&owner).is_ok()
        }))
    }

    pub(crate) async fn clear(&self) -> Result<u64, Error> {
        let prefix = cache_prefix(&self.prefix);
        self.invalidations.record(Scope::Prefix(prefix.clone()));
        match self.backend.local() {
            Some(local) => Ok(local.remove_where(|key| self.owns(key.space))),
            None => self.remote.clear(&prefix).await,
        }
    }

    /// Counts an error that a call survives, and logs it: the first of its kind and then ever
    /// fewer. The cause stays out of the log, since a decoder's message may quote the value.
    pub(crate) fn report(&self, site: &Site, error: &Error) {
        if self.counters.error(error.kind()) {
            tracing::warn!(
                function = %site,
                kind = %error.kind(),
                %error,
                "the cache was passed over"
            );
        }
    }

    fn owns(&self, space: u64) -> bool {
        split_space(space).0 == self.prefix_number
    }

    fn store_local<T: Payload>(
        &self,
        local: &LocalStore,
        ticket: Ticket,
        key: &Key,
        printed: &str,
        value: &T,
        lifetime: Option<Duration>,
    ) -> Stored {
        let size = OVERHEAD + key.local().bytes.len() + value.size();
        let entry = LocalEntry::new(self.clock.now(), lifetime, size, value.clone());
        let entry = Arc::new(entry);
        let Some(permit) = self.invalidations.permit(ticket.moment, printed) else {
            return Stored::Invalidated;
        };
        let displaced = local.insert(key.local(), hash_printed(printed), entry);
        drop(permit);
        drop(displaced);
        Stored::Yes
    }

    async fn store_remote<T: Payload, C: CoderChoice>(
        &self,
        ticket: Ticket,
        site: &Site,
        printed: &str,
        value: &T,
        lifetime: Option<Duration>,
    ) -> Result<Stored, Error> {
        if self.invalidations.permit(ticket.moment, printed).is_none() {
            return Ok(Stored::Invalidated);
        }
        let seal = |generations, guarded_until| {
            self.seal::<T, C>(site, printed, value, lifetime, generations, guarded_until)
        };
        match ticket.basis {
            Basis::Unknown => Ok(Stored::Unknown),
            Basis::Override(generations) => {
                let record = seal(generations, self.remote.new_guard())?;
                self.remote.put(printed, record, lifetime).await?;
                Ok(Stored::Yes)
            }
            Basis::Observed(observation) => {
                let record = seal(observation.generations, self.remote.guard(&observation))?;
                let stored = self
                    .remote
                    .store(&observation, printed, record, lifetime)
                    .await?;
                Ok(if stored {
                    Stored::Yes
                } else {
                    Stored::Invalidated
                })
            }
        }
    }

    fn seal<T: Payload, C: CoderChoice>(
        &self,
        site: &Site,
        printed: &str,
        value: &T,
        lifetime: Option<Duration>,
        generations: Generations,
        guarded_until: u64,
    ) -> Result<Bytes, Error> {
        let codec = C::resolve(&self.coder);
        let payload = value.encode(&codec)?;
        let made_at = self.clock.wall();
        let fresh_until = lifetime.map(|lifetime| made_at.saturating_add(milliseconds(lifetime)));
        let envelope = Envelope {
            guarded_until,
            made_at,
            fresh_until,
            useful_until: fresh_until,
            generations,
            fingerprint: fingerprint::<T>(printed),
            version: site.version_number(),
            coder: codec.id(),
            etag: value.etag(),
            tags: Tags::NONE,
        };
        envelope.seal(&payload)
    }

    fn open<T: Payload, C: CoderChoice>(
        &self,
        site: &Site,
        printed: &str,
        bytes: &Bytes,
        observation: &Observation,
    ) -> Result<Option<Found<T>>, Error> {
        let codec = C::resolve(&self.coder);
        let Record::Value(envelope, payload) = Record::read(bytes)? else {
            return Ok(None);
        };
        if !observation.admits(&envelope) {
            return Ok(None);
        }
        let now = self.clock.wall();
        let times = Times {
            #[cfg(feature = "axum")]
            age: now.saturating_sub(envelope.made_at),
            remaining: envelope.fresh_until.map(|until| until.saturating_sub(now)),
        };
        if times.remaining == Some(0) {
            return Ok(None);
        }
        envelope.check(&Expected {
            fingerprint: fingerprint::<T>(printed),
            version: site.version_number(),
            coder: codec.id(),
        })?;
        let value = T::decode(&codec, envelope.etag, payload)?;
        Ok(Some(Found { value, times }))
    }
}

impl Ticket {
    fn generations(&self) -> Option<Generations> {
        match self.basis {
            Basis::Unknown => None,
            Basis::Observed(observation) => Some(observation.generations),
            Basis::Override(generations) => Some(generations),
        }
    }
}

/// What became of a value that was to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stored {
    Yes,
    /// Something newer is there: the value was invalidated, or another process stored one.
    Invalidated,
    /// The lookup failed, so that nobody knows whether the value may be stored.
    Unknown,
}
