//! One computation per key.
//!
//! The call that misses first leads a flight, and those that come meanwhile wait for it. A leader that is dropped leaves
//! the flight to the next call that waits, which computes; so does one that is stuck, which was woken and is not polled.
//! One that panics sends all on at once. A call that would wait for itself does not join. A flight is forgotten when no
//! call is in it any more.

mod cycle;
#[cfg(all(test, shuttle))]
mod model;
mod pulse;

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::future::{Future, poll_fn};
use std::hash::BuildHasher as _;
use std::pin::{Pin, pin};
use std::ptr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
#[cfg(not(shuttle))]
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use foldhash::quality::RandomState;
#[cfg(shuttle)]
use shuttle::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::engine::{Times, Validity};
use crate::invalidation::Moment;
use crate::key::Key;
use crate::site::Site;
use crate::timer::{Sleep, sleep};

use cycle::Link;
use pulse::Sign;
pub(crate) use pulse::{Entered, Pulse, current, enter};

/// The flights of one cache.
pub(crate) struct Flights {
    shards: [Shard; SHARDS],
    hasher: RandomState,
    /// A leader that was woken is polled within this time, unless it is stuck.
    patience: Duration,
}

/// Enough that threads that miss on different keys seldom meet.
const SHARDS: usize = 16;

type Shard = Mutex<Table>;

/// The function that computes, by its address, and the key. Functions may share a key, and one of them may call
/// another.
type Place = (usize, Key);

fn place(site: &'static Site, key: &Key) -> Place {
    (ptr::from_ref(site).addr(), key.clone())
}

#[derive(Default)]
struct Table {
    flights: HashMap<Place, Arc<Flight>>,
    /// How many have landed.
    landed: u64,
}

struct Flight {
    number: u64,
    /// When it began, in the order of invalidations.
    began: Moment,
    /// When it began, in time.
    at: Instant,
    state: Mutex<State>,
    /// How many seats are taken. It changes under the lock of the table alone.
    passengers: AtomicUsize,
}

#[derive(Default)]
struct State {
    leader: Option<Arc<Pulse>>,
    landing: Option<Arc<Landing>>,
    /// The calls that wait, in the order in which they came.
    waiting: BTreeMap<u64, Waker>,
    /// How many have come.
    came: u64,
}

/// How a flight ended.
pub(crate) enum Landing {
    /// The value, for all who wait.
    Shared(Shared),
    /// The value was invalidated meanwhile: those who wait look again.
    Invalidated,
    /// The value is for nobody else: an error, a panic, or what the function keeps out of the cache. Those
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
    flights: &'a Flights,
    place: Place,
    flight: Arc<Flight>,
    /// How many flights had landed when this place was taken.
    landed: u64,
    /// For a call that another computation makes.
    _link: Option<Link>,
}

/// What a seat comes to.
pub(crate) enum Turn<'a> {
    /// This call computes for all.
    Lead(Leading<'a>),
    /// Another one has.
    Landed(Arc<Landing>),
    /// That takes too long.
    Late,
}

/// When a call began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// What was valid before then may have been invalidated before the call.
    pub(crate) at: Instant,
    landed: u64,
}

impl Flights {
    /// Those of a cache whose leaders are stuck when they are not polled for so long.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::default(),
            patience,
        }
    }

    /// To be called before the store is looked into; see [`Seat::is_news`].
    pub(crate) fn start(&self, key: &Key) -> Start {
        Start {
            landed: lock(self.shard(key)).landed,
            at: Instant::now(),
        }
    }

    /// Joins the flight of a function and a key, or begins one at this moment. A flight is not joined unless
    /// `is_current` says, of when it began, that the key was not invalidated since and that it has not taken too long.
    ///
    /// `None` if the flight waits for the call itself, or for the computation that makes it.
    pub(crate) fn join(
        &self,
        site: &'static Site,
        key: &Key,
        now: Moment,
        is_current: impl FnOnce(Moment, Instant) -> bool,
    ) -> Option<Seat<'_>> {
        let place = place(site, key);
        let mut table = lock(self.shard(key));
        let joined = table
            .flights
            .get(&place)
            .filter(|flight| is_current(flight.began, flight.at))
            .cloned();
        let flight = joined.unwrap_or_else(|| Flight::new(now));
        let link = match current() {
            None => None,
            Some(leader) => Some(cycle::link(leader.flight(), flight.number)?),
        };
        if flight.passengers.fetch_add(1, Ordering::Relaxed) == 0 {
            table.flights.insert(place.clone(), Arc::clone(&flight));
        }
        let landed = table.landed;
        drop(table);
        Some(Seat {
            flights: self,
            place,
            flight,
            landed,
            _link: link,
        })
    }

    /// Whether others wait for what is computed under a key, besides the call that computes it.
    #[cfg(feature = "axum")]
    pub(crate) fn has_company(&self, site: &'static Site, key: &Key) -> bool {
        let table = lock(self.shard(key));
        let flight = table.flights.get(&place(site, key));
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

impl Flight {
    fn new(began: Moment) -> Arc<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);

        Arc::new(Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            began,
            at: Instant::now(),
            state: Mutex::default(),
            passengers: AtomicUsize::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_landed(&self) -> bool {
        self.state().landing.is_some()
    }

    /// Ends the flight, unless another call has, and wakes all who wait. A leader that was passed over only gives what is
    /// good for all.
    fn land(&self, leader: &Arc<Pulse>, landing: Landing) {
        let woken = {
            let mut state = self.state();
            let leads = state.leader.as_ref();
            let is_current = leads.is_some_and(|leads| Arc::ptr_eq(leads, leader));
            if !is_current && !matches!(landing, Landing::Shared(_)) {
                return;
            }
            state.landing.get_or_insert_with(|| Arc::new(landing));
            state.leader = None;
            std::mem::take(&mut state.waiting)
        };
        woken.into_values().for_each(Waker::wake);
    }
}

impl Seat<'_> {
    /// Waits until the flight has landed, or until this call is the one to compute: since no other one does, or since
    /// the one that does is stuck. `until` is for how long another one is waited for.
    pub(crate) async fn turn(&self, until: Option<Instant>) -> Turn<'_> {
        let mut waiting = Waiting::new(self, until);
        poll_fn(|context| waiting.poll(context)).await
    }

    /// When the flight began.
    pub(crate) fn began_at(&self) -> Instant {
        self.flight.at
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
    /// A flight that has landed is of no use to calls that come later, and neither is one without
    /// passengers.
    fn drop(&mut self) {
        let has_landed = self.flight.has_landed();
        let mut table = lock(self.flights.shard(&self.place.1));
        let is_empty = self.flight.passengers.fetch_sub(1, Ordering::Relaxed) == 1;
        let current = table.flights.get(&self.place);
        let is_current = current.is_some_and(|current| Arc::ptr_eq(current, &self.flight));
        let mut removed = None;
        if is_current && (has_landed || is_empty) {
            removed = table.flights.remove_entry(&self.place);
        }
        table.landed += u64::from(has_landed);
        drop(table);
        // What was shared is the function's own, and is not dropped under the lock.
        drop(removed);
    }
}

/// A call that waits in its seat.
struct Waiting<'a> {
    seat: &'a Seat<'a>,
    until: Option<Instant>,
    /// Its place in the order; `None` while it is not in it.
    number: Option<u64>,
    /// When the leader is looked at next, and what it looked like last.
    watch: Option<Watch>,
    limit: Option<Sleep>,
}

impl<'a> Waiting<'a> {
    fn new(seat: &'a Seat<'a>, until: Option<Instant>) -> Self {
        Self {
            seat,
            until,
            number: None,
            watch: None,
            limit: None,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Turn<'a>> {
        let mut passes_over = false;
        loop {
            let sign = match self.look(context, passes_over) {
                Ok(turn) => return Poll::Ready(turn),
                Err(sign) => sign,
            };
            passes_over = self.is_stuck(sign, context);
            if !passes_over {
                break;
            }
        }
        match self.is_over(context) {
            true => Poll::Ready(Turn::Late),
            false => Poll::Pending,
        }
    }

    /// The turn of this call, if it has come; else it waits for the leader that it sees. It `passes_over` one that is
    /// stuck.
    fn look(&mut self, context: &Context<'_>, passes_over: bool) -> Result<Turn<'a>, Sign> {
        let task = context.waker().clone();
        let mut state = self.seat.flight.state();
        if let Some(landing) = &state.landing {
            return Ok(Turn::Landed(Arc::clone(landing)));
        }
        let Some(leader) = state.leader.as_ref().filter(|_| !passes_over) else {
            let leader = Pulse::new(self.seat.flight.number);
            let before = state.leader.replace(Arc::clone(&leader));
            drop(state);
            drop(before);
            return Ok(Turn::Lead(Leading {
                seat: self.seat,
                leader,
            }));
        };
        let sign = leader.sign();
        let number = *self.number.get_or_insert_with(|| {
            state.came += 1;
            state.came
        });
        let before = state.waiting.insert(number, task);
        drop(state);
        drop(before);
        Err(sign)
    }

    /// Whether the leader was woken, and not polled, since it showed the same sign some time ago.
    fn is_stuck(&mut self, sign: Sign, context: &mut Context<'_>) -> bool {
        let patience = self.seat.flights.patience;
        loop {
            let watch = self.watch.get_or_insert_with(|| Watch::new(patience, sign));
            if Pin::new(&mut watch.sleep).poll(context).is_pending() {
                return false;
            }
            let is_stuck = !watch.is_late(patience) && sign.is_stuck_since(watch.before);
            self.watch = None;
            if is_stuck {
                return true;
            }
        }
    }

    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let Some(until) = self.until else {
            return false;
        };
        let limit = self
            .limit
            .get_or_insert_with(|| sleep(until.saturating_duration_since(Instant::now())));
        Pin::new(limit).poll(context).is_ready()
    }
}

/// A look at the leader that is to come.
struct Watch {
    sleep: Sleep,
    due: Instant,
    /// What the leader looked like last.
    before: Sign,
}

impl Watch {
    fn new(patience: Duration, before: Sign) -> Self {
        Self {
            sleep: sleep(patience),
            due: Instant::now() + patience.min(LONGEST_PATIENCE),
            before,
        }
    }

    /// Whether the look comes too late to tell a leader that is stuck from one that waits for its turn as long as this call
    /// has: where all are late, passing over leaders would make a stampede.
    fn is_late(&self, patience: Duration) -> bool {
        let allowed = (patience / 4).max(Duration::from_millis(10));
        !cfg!(shuttle) && self.due.elapsed() > allowed
    }
}

/// Longer than any call waits.
const LONGEST_PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

impl Drop for Waiting<'_> {
    /// Gives up its place in the order. A call that was woken to compute, and does not, wakes the next one.
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut state = self.seat.flight.state();
        let own = state.waiting.remove(&number);
        let next = match state.leader.is_none() && state.landing.is_none() {
            true => state.waiting.pop_first(),
            false => None,
        };
        drop(state);
        drop(own);
        if let Some((_, next)) = next {
            next.wake();
        }
    }
}

/// A call that computes for all who are in its flight.
pub(crate) struct Leading<'a> {
    seat: &'a Seat<'a>,
    leader: Arc<Pulse>,
}

impl Leading<'_> {
    /// Awaits the work of the leader, so that the others see whether it is polled.
    pub(crate) async fn run<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|context| self.leader.poll(work.as_mut(), context)).await
    }

    /// Ends the flight.
    pub(crate) fn land(&self, landing: Landing) {
        self.seat.flight.land(&self.leader, landing);
    }
}

impl Drop for Leading<'_> {
    /// Without a landing, the next call takes over.
    fn drop(&mut self) {
        if self.leader.has_panicked() {
            return self.land(Landing::Alone);
        }
        let mut state = self.seat.flight.state();
        let leads = state.leader.as_ref();
        if !leads.is_some_and(|leader| Arc::ptr_eq(leader, &self.leader)) {
            return;
        }
        state.leader = None;
        let next = state.waiting.pop_first();
        drop(state);
        if let Some((_, next)) = next {
            next.wake();
        }
    }
}

fn lock(shard: &Shard) -> MutexGuard<'_, Table> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::future::pending;
    use std::panic::AssertUnwindSafe;

    use futures_lite::future::{self, FutureExt as _, poll_once};
    use tokio::sync::Notify;

    use super::*;
    use crate::invalidation::Invalidations;
    use crate::site::Site;

    static SITE: Site = Site::new("flight", "tests", || "tests");

    fn key(number: usize) -> Key {
        Key::from_text(0, &SITE, &number.to_string())
    }

    const PATIENCE: Duration = Duration::from_secs(1);

    fn flights() -> Flights {
        Flights::new(PATIENCE)
    }

    fn join<'a>(flights: &'a Flights, key: &Key) -> Seat<'a> {
        let now = Invalidations::default().begin();
        flights.join(&SITE, key, now, |_, _| true).unwrap()
    }

    /// Waits for the flight to land, or lands it with what `lead` gives.
    async fn landing(seat: &Seat<'_>, lead: impl Future<Output = Landing>) -> Option<Arc<Landing>> {
        match seat.turn(None).await {
            Turn::Lead(leading) => {
                let landing = leading.run(lead).await;
                leading.land(landing);
                None
            }
            Turn::Landed(landing) => Some(landing),
            Turn::Late => unreachable!("there is no limit"),
        }
    }

    #[tokio::test]
    async fn one_of_many_leads_and_the_flight_is_forgotten() {
        let flights = flights();
        let led = AtomicUsize::new(0);
        let seats: Vec<_> = (0..100).map(|_| join(&flights, &key(1))).collect();
        assert_eq!(flights.len(), 1);
        assert!(seats[0].has_company());
        for seat in &seats {
            landing(seat, async {
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
        let flights = flights();
        let (leader, waiter) = (join(&flights, &key(1)), join(&flights, &key(1)));
        {
            let mut leading = pin!(landing(&leader, pending()));
            let mut waiting = pin!(landing(&waiter, async { Landing::Alone }));
            assert!(poll_once(&mut leading).await.is_none());
            assert!(poll_once(&mut waiting).await.is_none());
        }
        drop(leader);
        assert!(landing(&waiter, async { Landing::Alone }).await.is_none());
        drop(waiter);
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn a_panic_sends_all_on() {
        let flights = flights();
        let seats: Vec<_> = (0..3).map(|_| join(&flights, &key(1))).collect();
        let panics = async { panic!("the computation failed") };
        let panicked = AssertUnwindSafe(landing(&seats[0], panics))
            .catch_unwind()
            .await;
        assert!(panicked.is_err());
        for seat in &seats[1..] {
            let landed = landing(seat, pending()).await.unwrap();
            assert!(matches!(*landed, Landing::Alone));
        }
    }

    /// A leader that is polled once, and then left by its caller.
    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_woken_and_not_polled_is_passed_over() {
        let flights = flights();
        let seats: Vec<_> = (0..3).map(|_| join(&flights, &key(1))).collect();
        let event = Notify::new();
        let mut left = pin!(landing(&seats[0], async {
            event.notified().await;
            Landing::Alone
        }));
        assert!(poll_once(&mut left).await.is_none());
        let began = Instant::now();
        let mut others = pin!(future::or(
            landing(&seats[1], async { Landing::Invalidated }),
            landing(&seats[2], async { Landing::Invalidated }),
        ));
        // Slow is not stuck.
        let an_hour = Duration::from_secs(60 * 60);
        assert!(tokio::time::timeout(an_hour, &mut others).await.is_err());
        event.notify_one();
        assert!(others.await.is_none());
        assert!(began.elapsed() <= an_hour + 2 * PATIENCE);
        // It is too late to land, and has its own.
        assert!(left.await.is_none());
        let last = landing(&seats[2], pending()).await.unwrap();
        assert!(matches!(*last, Landing::Invalidated));
    }

    #[tokio::test]
    async fn a_computation_does_not_wait_for_itself() {
        let flights = flights();
        let outer = join(&flights, &key(1));
        let Turn::Lead(leading) = outer.turn(None).await else {
            panic!("there is no other call");
        };
        leading
            .run(async {
                let now = Invalidations::default().begin();
                let again = |number| flights.join(&SITE, &key(number), now, |_, _| true);
                assert!(again(1).is_none());
                let inner = again(2).unwrap();
                let Turn::Lead(leading) = inner.turn(None).await else {
                    panic!("there is no other call");
                };
                leading.run(async { assert!(again(1).is_none()) }).await;
            })
            .await;
        leading.land(Landing::Alone);
    }

    #[test]
    fn a_flight_from_before_an_invalidation_is_not_joined() {
        let flights = flights();
        let before = join(&flights, &key(1));
        let now = Invalidations::default().begin();
        let after = flights.join(&SITE, &key(1), now, |_, _| false).unwrap();
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
        let flights = flights();
        for number in 0..1_000_000_usize {
            let (one, two) = (join(&flights, &key(number)), join(&flights, &key(number)));
            // A third are dropped before they land, a third while another one waits.
            match number % 3 {
                0 => drop(one),
                1 => {
                    landing(&one, async { Landing::Alone }).await;
                    drop((one, two));
                }
                _ => {
                    drop(two);
                    landing(&one, async { Landing::Invalidated }).await;
                }
            }
        }
        assert_eq!(flights.len(), 0);
    }
}
