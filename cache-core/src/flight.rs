//! One computation per key.
//!
//! Whoever misses first leads a flight, and those who come meanwhile wait for it. A leader that is
//! dropped or panics leaves the flight to the next waiter, who computes; this is what
//! [`OnceCell`] does with whoever initializes it. Nobody waits for a timer, and a flight is
//! forgotten when nobody is in it any more.

use std::any::Any;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hash::BuildHasher as _;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
#[cfg(not(shuttle))]
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(shuttle)]
use shuttle::sync::{Arc, Mutex, MutexGuard};
#[cfg(shuttle)]
use std::sync::PoisonError;
use std::task::Poll;
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until};

use crate::engine::{Times, Validity};
use crate::invalidation::Moment;
use crate::key::Key;

/// The flights of one cache.
pub(crate) struct Flights {
    shards: [Shard; SHARDS],
    hasher: RandomState,
}

/// Enough that threads that miss on different keys seldom meet.
const SHARDS: usize = 16;

type Shard = Mutex<Table>;

#[derive(Default)]
struct Table {
    flights: HashMap<Key, Arc<Flight>>,
    /// How many have landed.
    landed: u64,
}

struct Flight {
    /// When it began, in the order of invalidations.
    began: Moment,
    /// When it began, in time.
    at: Instant,
    landing: OnceCell<Landing>,
    /// How many seats are taken. It changes under the lock of the table alone.
    passengers: AtomicUsize,
}

/// How a flight ended.
pub(crate) enum Landing {
    /// The value, for all who wait.
    Shared(Shared),
    /// The value was invalidated meanwhile: those who wait look again.
    Invalidated,
    /// The value is for nobody else: an error, or what the function keeps out of the cache. Those
    /// who wait compute their own, at once, since each could wait for the one before it forever.
    Alone,
}

/// A value that a leader shares.
pub(crate) struct Shared {
    pub(crate) value: Arc<dyn Any + Send + Sync>,
    pub(crate) times: Times,
    pub(crate) validity: Validity,
}

/// A place in a flight.
pub(crate) struct Seat<'a> {
    shard: &'a Shard,
    key: Key,
    flight: Arc<Flight>,
    /// How many flights had landed when this place was taken.
    landed: u64,
}

/// When a call began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// What was valid before then may have been invalidated before the call.
    pub(crate) at: Instant,
    landed: u64,
}

impl Flights {
    pub(crate) fn new() -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::default(),
        }
    }

    /// To be called before the store is looked into; see [`Seat::is_news`].
    pub(crate) fn start(&self, key: &Key) -> Start {
        Start {
            landed: lock(self.shard(key)).landed,
            at: Instant::now(),
        }
    }

    /// Joins the flight of a key, or begins one at this moment. A flight is not joined unless `is_current` says,
    /// of when it began, that the key was not invalidated since and that it has not taken too long.
    pub(crate) fn join(
        &self,
        key: &Key,
        now: Moment,
        is_current: impl FnOnce(Moment, Instant) -> bool,
    ) -> Seat<'_> {
        let shard = self.shard(key);
        let mut table = lock(shard);
        let joined = table
            .flights
            .get(key)
            .filter(|flight| is_current(flight.began, flight.at))
            .cloned();
        let flight = joined.unwrap_or_else(|| {
            let flight = Arc::new(Flight {
                began: now,
                at: Instant::now(),
                landing: OnceCell::new(),
                passengers: AtomicUsize::new(0),
            });
            table.flights.insert(key.clone(), Arc::clone(&flight));
            flight
        });
        flight.passengers.fetch_add(1, Ordering::Relaxed);
        Seat {
            shard,
            key: key.clone(),
            flight,
            landed: table.landed,
        }
    }

    /// Whether others wait for what is computed under a key, besides the call that computes it.
    #[cfg(feature = "axum")]
    pub(crate) fn has_company(&self, key: &Key) -> bool {
        let table = lock(self.shard(key));
        let flight = table.flights.get(key);
        flight.is_some_and(|flight| flight.passengers.load(Ordering::Relaxed) > 1)
    }

    fn shard(&self, key: &Key) -> &Shard {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    /// How many flights there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| lock(shard).flights.len()).sum()
    }
}

impl Seat<'_> {
    /// Waits for the flight to land; `lead` lands it if nobody else does.
    pub(crate) async fn landing(&self, lead: impl Future<Output = Landing>) -> &Landing {
        self.flight.landing.get_or_init(|| lead).await
    }

    /// As [`landing`](Self::landing), for so long at most where another call leads; `None` if that takes longer.
    pub(crate) async fn landing_within(
        &self,
        patience: Duration,
        leads: &AtomicBool,
        lead: impl Future<Output = Landing>,
    ) -> Option<&Landing> {
        let mut landing = pin!(self.landing(lead));
        let deadline = self.flight.at.checked_add(patience);
        let mut timer = pin!(None);
        poll_fn(|context| {
            if let Poll::Ready(landing) = landing.as_mut().poll(context) {
                return Poll::Ready(Some(landing));
            }
            if leads.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            if timer.is_none() && Handle::try_current().is_ok() {
                timer.set(deadline.map(sleep_until));
            }
            let timer = timer.as_mut().as_pin_mut();
            timer.map_or(Poll::Pending, |timer| timer.poll(context).map(|()| None))
        })
        .await
    }

    /// Whether a flight, of this key or another, may have landed since a call began: what the call
    /// has seen in the store may be news by now.
    pub(crate) fn is_news(&self, start: Start) -> bool {
        self.landed != start.landed
    }

    /// Whether somebody waits for what the leader of this flight computes.
    pub(crate) fn has_company(&self) -> bool {
        self.flight.passengers.load(Ordering::Relaxed) > 1
    }
}

impl Drop for Seat<'_> {
    /// A flight that has landed is of no use to whoever comes later, and neither is one without
    /// passengers.
    fn drop(&mut self) {
        let mut table = lock(self.shard);
        let has_landed = self.flight.landing.initialized();
        let is_empty = self.flight.passengers.fetch_sub(1, Ordering::Relaxed) == 1;
        let current = table.flights.get(&self.key);
        let is_current = current.is_some_and(|current| Arc::ptr_eq(current, &self.flight));
        if is_current && (has_landed || is_empty) {
            table.flights.remove(&self.key);
        }
        table.landed += u64::from(has_landed);
    }
}

fn lock(shard: &Shard) -> MutexGuard<'_, Table> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use tokio::sync::Notify;

    use super::*;
    use crate::invalidation::Invalidations;
    use crate::site::Site;

    static SITE: Site = Site::new("flight", "tests", || "tests");

    fn key(number: usize) -> Key {
        Key::from_text(0, &SITE, &number.to_string())
    }

    fn join<'a>(flights: &'a Flights, key: &Key) -> Seat<'a> {
        flights.join(key, Invalidations::default().begin(), |_, _| true)
    }

    #[tokio::test]
    async fn one_of_many_leads_and_the_flight_is_forgotten() {
        let flights = Flights::new();
        let led = AtomicUsize::new(0);
        let seats: Vec<_> = (0..100).map(|_| join(&flights, &key(1))).collect();
        assert_eq!(flights.len(), 1);
        assert!(seats[0].has_company());
        for seat in &seats {
            seat.landing(async {
                led.fetch_add(1, Ordering::Relaxed);
                Landing::Alone
            })
            .await;
        }
        drop(seats);
        assert_eq!(led.into_inner(), 1);
        assert_eq!(flights.len(), 0);
        assert!(!join(&flights, &key(1)).has_company());
    }

    #[tokio::test]
    async fn the_next_one_leads_when_the_leader_is_dropped() {
        let flights = Flights::new();
        let (leader, waiter) = (join(&flights, &key(1)), join(&flights, &key(1)));
        let never = Notify::new();
        let leading = leader.landing(async {
            never.notified().await;
            Landing::Invalidated
        });
        assert!(futures_lite::future::poll_once(leading).await.is_none());
        drop(leader);
        let landing = waiter.landing(async { Landing::Alone }).await;
        assert!(matches!(landing, Landing::Alone));
        drop(waiter);
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn a_flight_from_before_an_invalidation_is_not_joined() {
        let flights = Flights::new();
        let before = join(&flights, &key(1));
        let now = Invalidations::default().begin();
        let after = flights.join(&key(1), now, |_, _| false);
        assert!(!Arc::ptr_eq(&before.flight, &after.flight));
        assert!(Arc::ptr_eq(&join(&flights, &key(1)).flight, &after.flight));
        // The old one does not take the new one along.
        drop(before);
        assert_eq!(flights.len(), 1);
        drop(after);
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn a_million_keys_leave_nothing_behind() {
        let flights = Flights::new();
        for number in 0..1_000_000_usize {
            let (one, two) = (join(&flights, &key(number)), join(&flights, &key(number)));
            // A third are dropped before they land, a third while another one waits.
            match number % 3 {
                0 => drop(one),
                1 => drop((one.landing(async { Landing::Alone }).await, two)),
                _ => {
                    drop(two);
                    one.landing(async { Landing::Invalidated }).await;
                }
            }
        }
        assert_eq!(flights.len(), 0);
    }
}

/// The same under a model checker, which runs the tasks in thousands of orders, and lets another one go
/// on at every lock and at every await: `RUSTFLAGS="--cfg shuttle" cargo test -p fast-cache-core --lib
/// flight::model`.
///
/// The locks are the checker's. What waiters wait on is Tokio's own cell, whose insides are checked where
/// they are written.
#[cfg(all(test, shuttle))]
mod model {
    use futures_lite::future;
    use shuttle::rand::{Rng as _, thread_rng};
    use shuttle::thread;

    use super::*;
    use crate::invalidation::Invalidations;
    use crate::site::Site;

    static SITE: Site = Site::new("flight", "model", || "model");

    const CALLERS: usize = 3;
    const ORDERS: usize = 20_000;

    #[derive(Default)]
    struct Seen {
        leading: AtomicUsize,
        computed: AtomicUsize,
        answered: AtomicUsize,
    }

    /// Counts who leads at a time, also when the leader is dropped or panics.
    struct Leading<'a>(&'a Seen);

    impl<'a> Leading<'a> {
        fn begin(seen: &'a Seen) -> Self {
            let others = seen.leading.fetch_add(1, Ordering::SeqCst);
            assert_eq!(others, 0, "two computations run at once");
            Self(seen)
        }
    }

    impl Drop for Leading<'_> {
        fn drop(&mut self) {
            self.0.leading.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn key() -> Key {
        Key::from_text(0, &SITE, "key")
    }

    async fn fly(flights: &Flights, seen: &Seen) {
        let seat = flights.join(&key(), Invalidations::default().begin(), |_, _| true);
        let lead = async {
            let leading = Leading::begin(seen);
            shuttle::future::yield_now().await;
            shuttle::future::yield_now().await;
            seen.computed.fetch_add(1, Ordering::SeqCst);
            drop(leading);
            Landing::Alone
        };
        seat.landing(lead).await;
        seen.answered.fetch_add(1, Ordering::SeqCst);
    }

    /// Goes on for a few polls, and then is dropped.
    async fn give_up(flights: &Flights, seen: &Seen, polls: usize) {
        let mut flight = Box::pin(fly(flights, seen));
        for _ in 0..polls {
            if future::poll_once(&mut flight).await.is_some() {
                return;
            }
            shuttle::future::yield_now().await;
        }
    }

    fn all_end_and_leave_nothing(dropped: usize) {
        let (flights, seen) = (Arc::new(Flights::new()), Arc::new(Seen::default()));
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (flights, seen) = (Arc::clone(&flights), Arc::clone(&seen));
                thread::spawn(move || {
                    shuttle::future::block_on(async {
                        if caller < dropped {
                            let polls = thread_rng().gen_range(0..4);
                            give_up(&flights, &seen, polls).await;
                        } else {
                            fly(&flights, &seen).await;
                        }
                    });
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        let answered = seen.answered.load(Ordering::SeqCst);
        assert!(answered >= CALLERS - dropped, "a caller was not answered");
        let computed = seen.computed.load(Ordering::SeqCst);
        assert!((1..=CALLERS).contains(&computed) || answered == 0);
        assert_eq!(flights.len(), 0, "a flight is left behind");
    }

    #[test]
    fn everybody_is_answered() {
        shuttle::check_random(|| all_end_and_leave_nothing(0), ORDERS);
    }

    #[test]
    fn one_who_gives_up_strands_nobody() {
        shuttle::check_random(|| all_end_and_leave_nothing(1), ORDERS);
        shuttle::check_pct(|| all_end_and_leave_nothing(1), ORDERS, 3);
    }

    #[test]
    fn all_but_one_give_up() {
        shuttle::check_random(|| all_end_and_leave_nothing(2), ORDERS);
        shuttle::check_pct(|| all_end_and_leave_nothing(2), ORDERS, 3);
    }

    #[test]
    fn when_all_give_up_nothing_is_left() {
        shuttle::check_random(|| all_end_and_leave_nothing(3), ORDERS);
    }
}
