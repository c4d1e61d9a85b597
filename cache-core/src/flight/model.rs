//! Flights under a model checker, which runs the tasks in thousands of orders, and lets another one go
//! on at every lock and at every await: `RUSTFLAGS="--cfg shuttle" cargo test -p fast-cache-core --lib
//! flight::model`.

use futures_lite::future;
use shuttle::future::{block_on, yield_now};
use shuttle::rand::{Rng as _, thread_rng};
use shuttle::thread;

use super::*;
use crate::invalidation::Invalidations;
use crate::site::Site;

static SITE: Site = Site::new("flight", "model", || "model");

const CALLERS: usize = 3;
const ORDERS: usize = 20_000;

/// Leaders that are stuck have a test of their own.
fn flights() -> Flights {
    Flights::new(Duration::MAX)
}

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

fn key(name: &str) -> Key {
    Key::from_text(0, &SITE, name)
}

/// Computes a key together with others, or alone if it would wait for itself.
async fn fly(flights: &Flights, name: &str, lead: impl Future<Output = ()>) {
    let now = Invalidations::default().begin();
    let Some(seat) = flights.join(&SITE, &key(name), now, |_, _| true) else {
        return lead.await;
    };
    if let Turn::Lead(leading) = seat.turn(None).await {
        leading.run(lead).await;
        leading.land(Landing::Alone);
    }
}

async fn fly_alone(flights: &Flights, seen: &Seen) {
    let lead = async {
        let leading = Leading::begin(seen);
        yield_now().await;
        yield_now().await;
        seen.computed.fetch_add(1, Ordering::SeqCst);
        drop(leading);
    };
    fly(flights, "key", lead).await;
    seen.answered.fetch_add(1, Ordering::SeqCst);
}

/// Goes on for a few polls, and then is dropped.
async fn give_up(flights: &Flights, seen: &Seen, polls: usize) {
    let mut flight = Box::pin(fly_alone(flights, seen));
    for _ in 0..polls {
        if future::poll_once(&mut flight).await.is_some() {
            return;
        }
        yield_now().await;
    }
}

fn all_end_and_leave_nothing(dropped: usize) {
    let (flights, seen) = (Arc::new(flights()), Arc::new(Seen::default()));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (flights, seen) = (Arc::clone(&flights), Arc::clone(&seen));
            thread::spawn(move || {
                block_on(async {
                    if caller < dropped {
                        let polls = thread_rng().gen_range(0..4);
                        give_up(&flights, &seen, polls).await;
                    } else {
                        fly_alone(&flights, &seen).await;
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

/// One caller polls its call a few times, and then leaves it where it is, for good.
#[test]
fn one_that_is_never_polled_again_strands_nobody() {
    let run = || {
        let flights = Arc::new(Flights::new(Duration::ZERO));
        let answered = Arc::new(AtomicUsize::new(0));
        let callers = (0..CALLERS).map(|caller| {
            let (flights, answered) = (Arc::clone(&flights), Arc::clone(&answered));
            thread::spawn(move || {
                block_on(async move {
                    let lead = async {
                        yield_now().await;
                        yield_now().await;
                    };
                    let mut flight = Box::pin(fly(&flights, "key", lead));
                    if caller > 0 {
                        flight.await;
                        answered.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    for _ in 0..thread_rng().gen_range(0..4) {
                        if future::poll_once(&mut flight).await.is_some() {
                            return;
                        }
                    }
                    std::mem::forget(flight);
                    // What it has borrowed stays, too.
                    std::mem::forget(flights);
                });
            })
        });
        let callers: Vec<_> = callers.collect();
        callers
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
        assert_eq!(answered.load(Ordering::SeqCst), CALLERS - 1);
    };
    // Time passes by turns, and only a fair order gives turns to all.
    shuttle::check_random(run, ORDERS);
}

/// Computations that call each other, as far as a circle and once around it.
#[test]
fn those_that_want_each_other_do_not_wait() {
    let run = || {
        let flights = Arc::new(flights());
        let callers = ["ab", "bc", "ca"].map(|names| {
            let flights = Arc::clone(&flights);
            thread::spawn(move || {
                let (outer, inner) = names.split_at(1);
                block_on(fly(&flights, outer, async {
                    yield_now().await;
                    let again = fly(&flights, outer, yield_now());
                    fly(&flights, inner, again).await;
                }));
            })
        });
        callers
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
        assert_eq!(flights.len(), 0, "a flight is left behind");
    };
    shuttle::check_random(run, ORDERS);
    shuttle::check_pct(run, ORDERS, 3);
}
