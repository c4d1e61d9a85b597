//! The stores behind a cache, and what is done to them: find and store. What ends values is in `changes`.

mod changes;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::access::Access;
use crate::backend::DynBackend;
use crate::backlog::Backlog;
use crate::clock::{Clock, milliseconds};
use crate::coder::RegisteredCoder;
use crate::config::Config;
use crate::entry::{Envelope, Expected, Generations, Record, Tags, fingerprint};
use crate::error::{Error, ErrorKind};
use crate::flight::{Flights, Seat, Shared, Start};
use crate::invalidation::{Invalidations, Moment, Scope};
use crate::key::{Key, hash_printed};
use crate::lease::{Lease, Patience};
use crate::local::{AnyEntry, LocalEntry, LocalKey, later};
use crate::policy::{Aging, Policy, is_early};
use crate::refresh::Refreshes;
use crate::registry::WeakCache;
use crate::remote::{Content, Cover, Observation, Remote};
use crate::site::{self, Site};
use crate::stats::{Counters, FunctionCounters, Origin, Stats};
use crate::tier::{Change, Wire};
#[cfg(feature = "axum")]
use crate::unstorable::Unstorable;
use crate::value::{Codec, CoderChoice, Payload};

/// What an entry of the local store takes beside its value and its key, in bytes: the key's and
/// the value's allocations, and their rows in the tables.
const OVERHEAD: usize = 192;

/// Everything about a cache that does not depend on who asks.
pub(crate) struct Engine {
    backend: Arc<dyn DynBackend>,
    prefix: String,
    prefix_number: u32,
    expire: Option<Duration>,
    coder: RegisteredCoder,
    clock: Clock,
    policy: Policy,
    invalidations: Arc<Invalidations>,
    /// What other processes have said that they changed. It ends what is about to be held here; what
    /// goes into the shared store is checked there.
    heard: Invalidations,
    remote: Remote,
    /// For two tiers whose remote one has a bus.
    wire: Option<Wire>,
    backlog: Backlog,
    cache: WeakCache,
    flights: Flights,
    refreshes: Arc<Refreshes>,
    #[cfg(feature = "axum")]
    unstorable: Unstorable,
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
            epoch: self.ticket.epoch(),
        }
    }
}

/// What a computation must know about the time before it began, to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    moment: Moment,
    heard: Moment,
    basis: Basis,
}

/// Up to when a value is known not to have been invalidated, and by which barriers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Validity {
    at: Instant,
    /// `None` where there are no barriers, or none that can be read.
    generations: Option<Generations>,
    /// The epoch of the tags, for a function whose values may have some.
    epoch: Option<u64>,
}

/// What is known about a shared store.
#[derive(Clone, Copy, Debug)]
enum Basis {
    /// Nothing: no value can be stored there.
    Unknown,
    /// What was under the key.
    Observed(Observation),
    /// The value comes from the caller, and goes over whatever there is.
    Override(Cover),
}

/// A value that was found, fresh or stale.
pub(crate) struct Found<T> {
    pub(crate) value: T,
    pub(crate) times: Times,
    pub(crate) origin: Origin,
}

/// How old a value is and how long it stays fresh, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) age: u64,
    /// How long it stays fresh; `None` if it does not expire, and 0 if it is stale.
    pub(crate) remaining: Option<u64>,
    /// How long it has been stale; 0 if it is fresh.
    pub(crate) stale: u64,
    /// How long its computation took.
    pub(crate) took: u64,
}

impl Times {
    /// The times of a value that is new.
    pub(crate) fn new(lifetime: Option<Duration>) -> Self {
        Self {
            age: 0,
            remaining: lifetime.map(milliseconds),
            stale: 0,
            took: 0,
        }
    }

    /// `fresh_until` is `None` if it does not expire.
    #[inline]
    fn at(now: u64, made_at: u64, fresh_until: Option<u64>, took: u64) -> Self {
        Self {
            age: now.saturating_sub(made_at),
            remaining: fresh_until.map(|until| until.saturating_sub(now)),
            stale: fresh_until.map_or(0, |until| now.saturating_sub(until)),
            took,
        }
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.remaining == Some(0)
    }
}

/// On which terms a value is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    /// For how long it is fresh; `None` for good.
    pub(crate) fresh: Option<Duration>,
    /// For how long it is of use after that.
    pub(crate) stale: Duration,
    /// How long its computation took, in milliseconds.
    pub(crate) took: u64,
    pub(crate) tags: &'a [String],
    /// The generations that the first of the tags had before the computation began, as many as were known then.
    pub(crate) before: &'a [u64],
}

impl Terms<'_> {
    /// Whether the value is gone as soon as it is there.
    pub(crate) fn are_over(&self) -> bool {
        self.fresh
            .is_some_and(|fresh| fresh < Duration::from_millis(1))
    }

    /// For how long the value is of use.
    fn useful(&self) -> Option<Duration> {
        self.fresh.map(|fresh| fresh.saturating_add(self.stale))
    }
}

impl Engine {
    /// The engine of a cache.
    pub(crate) fn new(config: Config, cache: WeakCache) -> Self {
        let mut invalidations = Arc::default();
        if let Some(local) = config.backend.local() {
            local.use_clock(config.clock.clone());
            invalidations = local.invalidations();
        }
        let remote = Remote::new(&config);
        let has_two_tiers = config.backend.local().is_some() && config.backend.is_shared();
        let bus = config.backend.bus().filter(|_| has_two_tiers);
        Self {
            remote,
            wire: bus.map(|bus| Wire::new(bus, &config.prefix, config.clock.clone())),
            backlog: Backlog::new(&config.prefix),
            cache,
            prefix_number: site::prefix(&config.prefix),
            backend: config.backend,
            prefix: config.prefix,
            expire: config.expire,
            coder: config.coder,
            refreshes: Refreshes::new(
                config.max_refreshes,
                config.retry_delay,
                config.clock.clone(),
            ),
            #[cfg(feature = "axum")]
            unstorable: Unstorable::new(config.clock.clone()),
            clock: config.clock,
            policy: config.policy,
            invalidations,
            heard: Invalidations::default(),
            flights: Flights::new(config.patience),
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

    #[inline]
    pub(crate) fn prefix_number(&self) -> u32 {
        self.prefix_number
    }

    pub(crate) fn expire(&self) -> Option<Duration> {
        self.expire
    }

    pub(crate) fn coder(&self) -> &RegisteredCoder {
        &self.coder
    }

    #[inline]
    pub(crate) fn counters(&self, site: &Site) -> &FunctionCounters {
        self.counters.of(site)
    }

    /// Counts a call that a value in this process answers at once.
    #[inline]
    pub(crate) fn local_hit(&self, site: &Site) {
        let before = self.counters(site).local_hit();
        self.clock.check_now_and_then(before);
    }

    /// Counts a call that a value answers.
    pub(crate) fn hit(&self, site: &Site, origin: Origin, times: Times) {
        let counters = self.counters(site);
        counters.hit(origin);
        if times.is_stale() {
            counters.stale();
        }
    }

    pub(crate) fn refreshes(&self) -> &Arc<Refreshes> {
        &self.refreshes
    }

    /// The keys whose responses turned out not to be storable.
    #[cfg(feature = "axum")]
    pub(crate) fn unstorable(&self) -> &Unstorable {
        &self.unstorable
    }

    /// How the values of a function age.
    pub(crate) fn aging(&self, site: &Site) -> Aging {
        site.policy().over(&self.policy)
    }

    /// The time, in milliseconds since some moment in the past.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
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
            heard: self.heard.begin(),
            basis: Basis::Unknown,
        }
    }

    /// Looks into the local store for a value that is fresh, and gives the entry with the time. The
    /// value in it is cloned by the caller, when no lock is held any more.
    #[inline(always)]
    pub(crate) fn find_local(&self, key: LocalKey<'_>) -> Option<(AnyEntry, u64)> {
        let local = self.backend.local()?;
        let now = self.clock.recent();
        let entry = local.get(key, now)?;
        match self.relies_on(&entry, now) {
            true => Some((entry, now)),
            false => None,
        }
    }

    /// Whether a value in this process can be served without a look elsewhere.
    #[inline]
    fn relies_on(&self, entry: &AnyEntry, now: u64) -> bool {
        let is_up = self.wire.as_ref().is_none_or(|wire| wire.is_up(now));
        // No clock ever shows the number that stands for no end.
        is_up && now < entry.relied_until
    }

    /// Whether a fresh value is to be computed anew already.
    #[inline]
    pub(crate) fn is_due_early(&self, site: &Site, times: impl FnOnce() -> Times) -> bool {
        let early = site.policy().early_refresh.or(self.policy.early_refresh);
        early == Some(true) && {
            let times = times();
            let is_early = |remaining| is_early(remaining, times.took);
            times.remaining.is_some_and(is_early)
        }
    }

    /// Takes the value out of a local entry. One of another type is none, and is counted: two
    /// functions share a key and return different types.
    #[inline]
    pub(crate) fn downcast<'a, T: 'static>(
        &self,
        site: &Site,
        entry: &'a AnyEntry,
    ) -> Option<&'a T> {
        let value = entry.value.downcast_ref::<T>();
        if value.is_none() {
            self.counters.error(site, ErrorKind::Decode);
        }
        value
    }

    /// Whether other processes share the values.
    pub(crate) fn is_shared(&self) -> bool {
        self.backend.is_shared()
    }

    /// Looks into the stores, and gives what it found with what a computation that begins then has to
    /// know.
    pub(crate) async fn try_find<T: Payload, C: CoderChoice>(
        &self,
        site: &'static Site,
        key: &Key,
    ) -> Sought<T> {
        let ticket = self.begin();
        let kept = self.find_kept::<T>(key);
        if !self.is_shared() || kept.as_ref().is_some_and(|kept| kept.is_relied_on) {
            let found = Ok(kept.map(|kept| kept.found));
            return Sought { found, ticket };
        }
        if let Some(wire) = &self.wire {
            wire.listen(|| self.cache.clone());
        }
        let sought = self.find_shared::<T, C>(site, key, ticket).await;
        match (sought.found, kept) {
            // While the shared store is out of reach, what is kept here serves on. A record that cannot be read is there, and
            // something newer.
            (Err(error), Some(kept)) if error.kind().is_out_of_reach() => {
                self.report(site, &error);
                let found = Ok(Some(kept.found));
                Sought { found, ..sought }
            }
            (found, _) => Sought { found, ..sought },
        }
    }

    /// Looks for a value in this process, fresh or stale.
    fn find_kept<T: Payload>(&self, key: &Key) -> Option<Kept<T>> {
        let now = self.clock.now();
        let entry = self.backend.local()?.get(key.local(), now)?;
        // One of another type has been counted by the look before.
        let value = entry.value.downcast_ref::<T>()?.clone();
        Some(Kept {
            found: Found {
                value,
                times: times_of(&entry, now),
                origin: Origin::Local,
            },
            is_relied_on: self.relies_on(&entry, now),
        })
    }

    async fn find_shared<T: Payload, C: CoderChoice>(
        &self,
        site: &'static Site,
        key: &Key,
        ticket: Ticket,
    ) -> Sought<T> {
        let printed = key.printed(&self.prefix);
        if self.backlog.covers(&printed, std::iter::empty()) {
            let found = Ok(None);
            return Sought { found, ticket };
        }
        let reading = match self.remote.read(&printed, site).await {
            Ok(reading) => reading,
            Err(error) => {
                return Sought {
                    found: Err(error),
                    ticket,
                };
            }
        };
        let observation = reading.observation;
        let ticket = Ticket {
            basis: Basis::Observed(observation),
            ..ticket
        };
        let found = match reading.content {
            Content::Nothing => Ok(None),
            Content::Value(bytes) => {
                let place = Place {
                    site,
                    key,
                    printed: &printed,
                };
                self.open::<T, C>(place, &bytes, &observation, ticket).await
            }
            Content::Foreign(error) => Err(error),
        };
        Sought { found, ticket }
    }

    /// As [`try_find`](Self::try_find), where an error is a miss that is counted and logged.
    pub(crate) async fn find<T>(
        &self,
        access: Access<T>,
        site: &'static Site,
        key: &Key,
    ) -> Look<T> {
        let began = Instant::now();
        let sought = (access.operations().find)(self, site, key).await;
        let found = sought.found.unwrap_or_else(|error| {
            self.report(site, &error);
            None
        });
        let stale = milliseconds(self.aging(site).stale());
        let is_useful = |found: &Found<T>| !found.times.is_stale() || found.times.stale < stale;
        Look {
            found: found.filter(is_useful),
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
        terms: &Terms<'_>,
    ) -> Option<Validity> {
        let before = Validity {
            at: Instant::now(),
            generations: ticket.generations(),
            epoch: ticket.epoch(),
        };
        match (access.operations().store)(self, ticket, site, key, value, terms).await {
            Ok(Stored::Yes) => return Some(before),
            Ok(Stored::Invalidated) => return None,
            Ok(Stored::Unknown) => {}
            Err(error) => self.report(site, &error),
        }
        // While the store is out of reach, callers share on the word of this process alone.
        let printed = key.printed(&self.prefix);
        let heard = self.heard.permit(ticket.heard, &printed, terms.tags);
        let is_valid = heard.is_some() && self.is_current(ticket.moment, &printed, terms.tags);
        is_valid.then(|| Validity {
            at: Instant::now(),
            generations: None,
            epoch: None,
        })
    }

    #[cfg(feature = "axum")]
    pub(crate) fn flights(&self) -> &Flights {
        &self.flights
    }

    /// The start of a call that is about to look into the store.
    pub(crate) fn start(&self, key: &Key) -> Start {
        self.flights.start(key)
    }

    /// Joins the other calls of a function that miss on a key, or leads them; `None` where each computes alone, or where
    /// the call would wait for itself. A computation that began longer ago than `patience` is not joined.
    pub(crate) fn join(
        &self,
        site: &'static Site,
        key: &Key,
        patience: Option<Duration>,
    ) -> Option<Seat<'_>> {
        if !site.coalesces().unwrap_or(self.coalesce) {
            return None;
        }
        let is_current = |began: Moment, at: Instant| {
            patience.is_none_or(|patience| at.elapsed() < patience)
                && self.is_current(began, &key.printed(&self.prefix), &[])
        };
        let now = self.invalidations.begin();
        self.flights.join(site, key, now, is_current)
    }

    /// Whether nothing has ended, before the second ticket was taken, the value that is being computed
    /// under the first.
    #[cfg(feature = "axum")]
    pub(crate) fn is_still_valid(&self, computing: Ticket, now: Ticket, key: &Key) -> bool {
        computing.agrees_with(&now)
            && self.is_current(computing.moment, &key.printed(&self.prefix), &[])
    }

    /// The time, in milliseconds since the Unix epoch.
    #[cfg(feature = "axum")]
    pub(crate) fn wall(&self) -> u64 {
        self.clock.wall()
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
        // If a tag was cleared meanwhile, the store knows whether it was one of this value's.
        if let Some(epoch) = shared.validity.epoch
            && self.remote.epoch_if_closed().await.ok()? != epoch
        {
            return None;
        }
        let value = (access.operations().take_share)(&shared.value)?;
        Some(Found {
            value,
            times: shared.times,
            origin: Origin::Flight,
        })
    }

    /// The generations of tags, to be read before a computation begins whose value gets them; none where there is no
    /// shared store to read them from.
    pub(crate) async fn tags_before(&self, ticket: Ticket, tags: &[String]) -> Vec<u64> {
        let Basis::Observed(observation) = ticket.basis else {
            return Vec::new();
        };
        if tags.is_empty() {
            return Vec::new();
        }
        // If they cannot be read, it is tried again when the value is stored.
        let generations = self.remote.generations_of(tags, observation.cover().epoch);
        generations.await.unwrap_or_default()
    }

    /// Whether other processes are to wait for what becomes of a miss.
    pub(crate) fn locks<T>(&self, site: &Site, miss: &Look<T>) -> bool {
        let is_shared = matches!(miss.ticket.basis, Basis::Observed(_));
        is_shared && site.locks().unwrap_or(self.lock)
    }

    /// After a miss that [locks](Self::locks): takes the lease of a key, or waits for a value of whoever
    /// has it that `answers`. Where there is a value to serve meanwhile, nobody waits.
    pub(crate) async fn lock<T>(
        &self,
        access: Access<T>,
        site: &'static Site,
        key: &Key,
        miss: Look<T>,
        waits: bool,
        answers: impl Fn(&Found<T>) -> bool,
    ) -> Locked<T> {
        let printed = key.printed(&self.prefix);
        let mut patience = Patience::new(self.lease);
        loop {
            let lease = match Lease::take(self.backend(), &printed, self.lease).await {
                Ok(lease) => lease,
                Err(error) => {
                    self.report(site, &error);
                    return Locked::Alone(miss);
                }
            };
            if lease.is_none() {
                if !waits {
                    return Locked::Busy(miss);
                }
                if patience.is_new() {
                    self.counters(site).lock_wait();
                }
                if !patience.wait().await {
                    return Locked::Alone(miss);
                }
            }
            // Somebody may have stored a value since the last look.
            let look = self.find(access, site, key).await;
            let is_lost = matches!(look.ticket.basis, Basis::Unknown);
            if look.found.as_ref().is_some_and(&answers) {
                return Locked::Found(look);
            }
            if is_lost {
                return Locked::Alone(look);
            }
            if let Some(lease) = lease {
                return Locked::Taken(look, lease);
            }
        }
    }

    /// Whether nothing that covers a key, or one of some tags, was invalidated since then.
    fn is_current(&self, moment: Moment, printed: &str, tags: &[String]) -> bool {
        self.invalidations.permit(moment, printed, tags).is_some()
    }

    /// As [`store`](Self::store), and says what went wrong.
    pub(crate) async fn try_store<T: Payload, C: CoderChoice>(
        &self,
        ticket: Ticket,
        site: &'static Site,
        key: &Key,
        value: &T,
        terms: &Terms<'_>,
    ) -> Result<Stored, Error> {
        if terms.are_over() {
            return Ok(Stored::Invalidated);
        }
        let printed = key.printed(&self.prefix);
        let place = Place {
            site,
            key,
            printed: &printed,
        };
        let mut stored = Ok(Stored::Unknown);
        if self.is_shared() {
            stored = self.store_shared::<T, C>(ticket, place, value, terms).await;
        }
        if stored.is_err() && matches!(ticket.basis, Basis::Override(_)) {
            // The shared store has an older value, if it has one.
            self.leave_for_later(&Change::Key(printed.clone()));
        }
        // What could not be stored where others see it serves here, for as long as it is relied on.
        if !matches!(stored, Ok(Stored::Invalidated)) {
            let times = KeptTimes::new(self.clock.now(), terms);
            let is_kept = self.keep(ticket, place, value, times, terms.tags);
            if !self.is_shared() {
                stored = Ok(match is_kept {
                    Some(true) => Stored::Yes,
                    _ => Stored::Invalidated,
                });
            }
        }
        match stored {
            Ok(Stored::Yes) => self.counters(site).stored(),
            Ok(Stored::Invalidated) => self.counters(site).invalidated(),
            _ => {}
        }
        stored
    }

    /// Ends what is being computed for a key, whose value is about to be set by hand.
    pub(crate) async fn supersede(&self, site: &'static Site, key: &Key) -> Result<Ticket, Error> {
        self.invalidations
            .record(Scope::Key(key.printed(&self.prefix)));
        let ticket = self.begin();
        if !self.is_shared() {
            return Ok(ticket);
        }
        let cover = self.remote.cover(site).await?;
        Ok(Ticket {
            basis: Basis::Override(cover),
            ..ticket
        })
    }

    /// Counts an error that a call survives, and logs it: the first of its kind and then ever
    /// fewer. The cause stays out of the log, since a decoder's message may quote the value.
    pub(crate) fn report(&self, site: &Site, error: &Error) {
        if self.counters.error(site, error.kind()) {
            tracing::warn!(
                function = %site,
                kind = %error.kind(),
                %error,
                "the cache was passed over"
            );
        }
    }

    /// Puts a value into the local store, and tells whether its key was valid then; `None` if there is
    /// no such store.
    fn keep<T: Payload>(
        &self,
        ticket: Ticket,
        place: Place<'_>,
        value: &T,
        times: KeptTimes,
        tags: &[String],
    ) -> Option<bool> {
        let local = self.backend.local()?;
        let Place { key, printed, .. } = place;
        let size = OVERHEAD + key.local().bytes.len() + value.size();
        let mut entry = LocalEntry::new(times.made_at, None, size, value.clone());
        let reliance = later(self.clock.now(), local.reliance());
        entry.fresh_until = times.fresh_until;
        entry.relied_until = times.fresh_until.min(reliance);
        entry.expires_at = times.expires_at;
        entry.took = times.took;
        entry.order = ticket.moment.order;
        let permits = (
            self.invalidations.permit(ticket.moment, printed, tags),
            self.heard.permit(ticket.heard, printed, tags),
        );
        let (Some(permit), Some(heard)) = permits else {
            return Some(false);
        };
        entry.tags = local.tag(self.prefix_number, tags);
        let displaced = local.insert(key.local(), hash_printed(printed), Arc::new(entry));
        drop((permit, heard));
        drop(displaced);
        Some(true)
    }

    async fn store_shared<T: Payload, C: CoderChoice>(
        &self,
        ticket: Ticket,
        place: Place<'_>,
        value: &T,
        terms: &Terms<'_>,
    ) -> Result<Stored, Error> {
        let printed = place.printed;
        if !self.is_current(ticket.moment, printed, terms.tags) {
            return Ok(Stored::Invalidated);
        }
        let (cover, guarded_until) = match ticket.basis {
            Basis::Unknown => return Ok(Stored::Unknown),
            Basis::Override(cover) => (cover, self.remote.new_guard()),
            Basis::Observed(observation) => (observation.cover(), self.remote.guard(&observation)),
        };
        let tags = self.remote.tag(terms.tags, terms.before, cover.epoch);
        let Some(tags) = tags.await? else {
            return Ok(Stored::Invalidated);
        };
        let sealing = Sealing {
            terms,
            tags: tags.as_tags(),
            generations: cover.generations,
            guarded_until,
        };
        let record = self.seal::<T, C>(place, value, &sealing)?;
        let lifetime = terms.useful();
        let Basis::Observed(observation) = ticket.basis else {
            self.remote.put(printed, record, lifetime).await?;
            self.tell(&Change::Key(printed.to_owned())).await?;
            return Ok(Stored::Yes);
        };
        let stored = self.remote.store(&observation, printed, record, lifetime);
        if !stored.await? {
            return Ok(Stored::Invalidated);
        }
        if observation.saw_something() {
            self.tell_later(printed);
        }
        Ok(Stored::Yes)
    }

    fn seal<T: Payload, C: CoderChoice>(
        &self,
        place: Place<'_>,
        value: &T,
        sealing: &Sealing<'_>,
    ) -> Result<Bytes, Error> {
        let codec = C::resolve(&self.coder);
        let payload = value.encode(&codec)?;
        let made_at = self.clock.wall();
        let end = |lifetime: Duration| made_at.saturating_add(milliseconds(lifetime));
        let envelope = Envelope {
            guarded_until: sealing.guarded_until,
            made_at,
            fresh_until: sealing.terms.fresh.map(end),
            useful_until: sealing.terms.useful().map(end),
            took: sealing.terms.took,
            generations: sealing.generations,
            fingerprint: fingerprint::<T>(place.printed),
            version: place.site.version_number(),
            coder: codec.id(),
            tags: sealing.tags,
        };
        Ok(envelope.seal(&payload))
    }

    async fn open<T: Payload, C: CoderChoice>(
        &self,
        place: Place<'_>,
        bytes: &Bytes,
        observation: &Observation,
        ticket: Ticket,
    ) -> Result<Option<Found<T>>, Error> {
        let Record::Value(envelope, payload) = Record::read(bytes)? else {
            return Ok(None);
        };
        let tags = envelope.tags.iter().map(|(tag, _)| tag);
        if !observation.admits(&envelope) || self.backlog.covers(place.printed, tags) {
            return Ok(None);
        }
        let now = self.clock.wall();
        if envelope.useful_until.is_some_and(|until| until <= now) {
            return Ok(None);
        }
        if envelope.made_at > now.saturating_add(MOST_SKEW) {
            return Err(ahead(envelope.made_at - now));
        }
        envelope.check(&Expected {
            fingerprint: fingerprint::<T>(place.printed),
            version: place.site.version_number(),
            coder: C::resolve(&self.coder).id(),
        })?;
        let has_tags = !envelope.tags.is_empty();
        if has_tags && !Box::pin(self.remote.holds(&envelope.tags, observation)).await? {
            return Ok(None);
        }
        let value = T::decode(&C::resolve(&self.coder), payload)?;
        if self.backend.local().is_some() {
            let times = KeptTimes::of(&envelope, now, self.clock.now());
            let tags: Vec<String> = envelope
                .tags
                .iter()
                .map(|(tag, _)| tag.to_owned())
                .collect();
            self.keep(ticket, place, &value, times, &tags);
        }
        let times = Times::at(now, envelope.made_at, envelope.fresh_until, envelope.took);
        Ok(Some(Found {
            value,
            times,
            origin: Origin::Remote,
        }))
    }
}

/// The clocks of two machines may differ by so many milliseconds.
const MOST_SKEW: u64 = 2000;

/// A value from the future would live longer than it may.
fn ahead(milliseconds: u64) -> Error {
    let seconds = milliseconds / 1000;
    Error::new(
        ErrorKind::Decode,
        format!(
            "the value was stored by a machine whose clock is {seconds} seconds ahead of this one's"
        ),
    )
}

/// Where a value belongs.
#[derive(Clone, Copy)]
struct Place<'a> {
    site: &'static Site,
    key: &'a Key,
    printed: &'a str,
}

/// What goes around a value into a shared store.
struct Sealing<'a> {
    terms: &'a Terms<'a>,
    tags: Tags<'a>,
    generations: Generations,
    guarded_until: u64,
}

/// A value in this process.
struct Kept<T> {
    found: Found<T>,
    /// Whether it can be served without a look elsewhere.
    is_relied_on: bool,
}

/// The times of a value in this process, in milliseconds of the local clock.
#[derive(Clone, Copy)]
struct KeptTimes {
    made_at: u64,
    fresh_until: u64,
    expires_at: u64,
    took: u64,
}

impl KeptTimes {
    fn new(now: u64, terms: &Terms<'_>) -> Self {
        Self {
            made_at: now,
            fresh_until: later(now, terms.fresh),
            expires_at: later(now, terms.useful()),
            took: terms.took,
        }
    }

    /// Those of a record that was read at `wall`, which is `now` by the local clock.
    fn of(envelope: &Envelope<'_>, wall: u64, now: u64) -> Self {
        let until = |end: Option<u64>| {
            let rest = end.map(|end| Duration::from_millis(end.saturating_sub(wall)));
            later(now, rest)
        };
        Self {
            made_at: now.saturating_sub(wall.saturating_sub(envelope.made_at)),
            fresh_until: until(envelope.fresh_until),
            expires_at: until(envelope.useful_until),
            took: envelope.took,
        }
    }
}

/// The times of an entry, at a moment of the local clock.
#[inline]
pub(crate) fn times_of(entry: &AnyEntry, now: u64) -> Times {
    let fresh_until = (entry.fresh_until != u64::MAX).then_some(entry.fresh_until);
    Times::at(now, entry.made_at, fresh_until, entry.took)
}

/// How a call goes on that is about to compute.
pub(crate) enum Locked<T> {
    /// Under the lease.
    Taken(Look<T>, Lease),
    /// Without one, since there is none to be had.
    Alone(Look<T>),
    /// A value has come.
    Found(Look<T>),
    /// Another process computes.
    Busy(Look<T>),
}

impl Ticket {
    /// The ticket of a computation whose value goes under a key that nobody has known before.
    #[cfg(feature = "axum")]
    pub(crate) fn for_new_key(mut self) -> Self {
        if let Basis::Observed(observation) = self.basis {
            self.basis = Basis::Observed(observation.of_nothing());
        }
        self
    }

    /// Whether a shared store was the same when both were taken, as far as invalidations are concerned.
    #[cfg(feature = "axum")]
    fn agrees_with(&self, other: &Self) -> bool {
        match (self.basis, other.basis) {
            (Basis::Observed(one), Basis::Observed(other)) => one.agrees_with(&other),
            (Basis::Unknown, Basis::Unknown) => true,
            _ => false,
        }
    }

    fn epoch(&self) -> Option<u64> {
        match self.basis {
            Basis::Unknown => None,
            Basis::Observed(observation) => observation.cover().epoch,
            Basis::Override(cover) => cover.epoch,
        }
    }

    fn generations(&self) -> Option<Generations> {
        match self.basis {
            Basis::Unknown => None,
            Basis::Observed(observation) => Some(observation.generations),
            Basis::Override(cover) => Some(cover.generations),
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
