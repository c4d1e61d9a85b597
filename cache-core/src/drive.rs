//! A call that was not answered at once: the way that it takes, and its computation, polled side by side.
//!
//! The way asks for the computation over a desk between the two, and is not polled while that runs. So what is on the
//! stack under a computation does not grow with the way, and the computation itself is on the heap: a function that
//! calls itself goes as deep with a cache as without, within a small factor.
//!
//! ```text
//! way:          look -> join -> desk.computed() ............ -> store -> land -> answer
//! computation:                  poll, poll, poll -> outcome
//! ```

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::engine::Times;
use crate::flight::{Entered, Pulse, current, enter};
use crate::registry::Cache;
use crate::site::Site;
use crate::stats::Origin;
use crate::timer::{Sleep, sleep, within};

/// For how long a computation goes on that no caller waits for any more.
const GOES_ON: Duration = Duration::from_secs(60);

/// The outcome of a computation: the value that it returns, or the payload of its panic.
pub(crate) type Outcome<O> = Result<O, Box<dyn Any + Send>>;

/// Where the way of a call and its computation, which gives an `O`, leave things for each other, and for the caller,
/// who wants an `R`.
pub(crate) struct Desk<O, R>(Mutex<Papers<O, R>>);

struct Papers<O, R> {
    order: Option<Order>,
    outcome: Option<Outcome<O>>,
    early: Option<Early<R>>,
    spare: Option<Spare<R>>,
}

/// The computation is to begin.
struct Order {
    /// The leader of the flight that it is for, if it is for one.
    leader: Option<Arc<Pulse>>,
    /// Whether a panic is an outcome.
    catches: bool,
}

/// An answer that is there before the way has ended, which goes on in the background.
struct Early<R> {
    answer: R,
    /// For how long.
    window: Duration,
}

/// A stale answer for a call whose computation takes too long.
pub(crate) struct Spare<R> {
    pub(crate) answer: R,
    /// For how long the computation is waited for.
    pub(crate) patience: Duration,
    pub(crate) site: &'static Site,
    pub(crate) origin: Origin,
    pub(crate) times: Times,
}

impl<O, R> Desk<O, R> {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Papers {
            order: None,
            outcome: None,
            early: None,
            spare: None,
        })))
    }

    /// Has the computation run, and gives what it comes to. Its panic is the caller's unless it `catches`.
    pub(crate) async fn computed(&self, catches: bool) -> Outcome<O> {
        poll_fn(|_| {
            let mut papers = self.papers();
            if let Some(outcome) = papers.outcome.take() {
                return Poll::Ready(outcome);
            }
            papers.order = Some(Order {
                leader: current(),
                catches,
            });
            Poll::Pending
        })
        .await
    }

    /// Gives the caller its answer. What comes after this goes on in the background, for a `window` at most, where there
    /// is a runtime; else the caller waits for it, and gets what it gives.
    pub(crate) async fn answer(&self, answer: R, window: Duration) {
        self.papers().early = Some(Early { answer, window });
        futures_lite::future::yield_now().await;
    }

    /// Leaves a stale answer, in case that the computation takes too long.
    pub(crate) fn leave_spare(&self, spare: Spare<R>) {
        self.papers().spare = Some(spare);
    }

    fn papers(&self) -> MutexGuard<'_, Papers<O, R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way of a call, and its computation. It is as small as can be, since its caller keeps it.
pub(crate) struct Driven<W, F: Future, R>(
    /// `None` when it is over, or goes on elsewhere.
    Option<Box<Parts<W, F, R>>>,
);

struct Parts<W, F: Future, R> {
    /// `None` for a call that has nothing to do with a cache.
    cache: Option<Cache>,
    /// It is dropped before the way, in which the next call waits to take over.
    computation: Option<Pin<Box<F>>>,
    way: Pin<Box<W>>,
    desk: Arc<Desk<F::Output, R>>,
    order: Option<Order>,
    /// The waker that the computation is polled with.
    waker: Waker,
    /// Whether the computation has begun.
    has_begun: bool,
    soft: Option<(Sleep, Spare<R>)>,
    /// Lets the rest go on in the background; `None` where it borrows from the caller, or is there already.
    hand_on: Option<HandOn<W, F, R>>,
    /// Whether it is being polled. One that panics is never polled again.
    is_polled: bool,
}

type Rest<W, F, R> = Box<Parts<W, F, R>>;
type HandOn<W, F, R> = fn(Rest<W, F, R>, Duration) -> Result<(), Rest<W, F, R>>;

/// The result of one step of a call.
enum Step<R> {
    Over(Poll<R>),
    /// The computation is to be polled.
    Compute,
}

/// Makes the future of a computation on the heap. The stack that it took for a moment is free when it is polled.
#[inline(never)]
pub(crate) fn boxed<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::pin(make())
}

impl<W, F, R> Driven<W, F, R>
where
    W: Future<Output = R>,
    F: Future,
{
    /// For a computation that borrows from the caller: it ends when the caller leaves.
    pub(crate) fn borrowed(
        cache: Option<Cache>,
        computation: Pin<Box<F>>,
        way: impl FnOnce(Arc<Desk<F::Output, R>>) -> W,
    ) -> Self {
        let desk = Desk::new();
        Self(Some(Box::new(Parts {
            cache,
            way: boxed(|| way(Arc::clone(&desk))),
            computation: Some(computation),
            desk,
            order: None,
            waker: Waker::noop().clone(),
            has_begun: false,
            soft: None,
            hand_on: None,
            is_polled: false,
        })))
    }

    /// For one that can outlive the caller: once begun, it goes on in the background when the caller leaves.
    pub(crate) fn owned(
        cache: Option<Cache>,
        computation: Pin<Box<F>>,
        way: impl FnOnce(Arc<Desk<F::Output, R>>) -> W,
    ) -> Self
    where
        W: Send + 'static,
        F: Future<Output: Send> + Send + 'static,
        R: Send + 'static,
    {
        let mut driven = Self::borrowed(cache, computation, way);
        if let Some(parts) = driven.0.as_mut().filter(|parts| parts.cache.is_some()) {
            parts.hand_on = Some(hand_on);
        }
        driven
    }

    /// Does all but to poll the computation. It is no part of the stack under that.
    #[inline(never)]
    fn step(&mut self, context: &mut Context<'_>) -> Step<R> {
        loop {
            let Some(parts) = &mut self.0 else {
                return Step::Over(Poll::Pending);
            };
            if parts.order.is_some() {
                parts.begin(context);
                return Step::Compute;
            }
            parts.is_polled = true;
            let poll = parts.way.as_mut().poll(context);
            parts.is_polled = false;
            if let Poll::Ready(answer) = poll {
                self.0 = None;
                return Step::Over(Poll::Ready(answer));
            }
            if let Some(Early { answer, window }) = parts.read() {
                if self.goes_on(window) {
                    return Step::Over(Poll::Ready(answer));
                }
            } else if parts.order.is_none() {
                return Step::Over(self.settle_for_less(context));
            }
        }
    }

    /// Takes what the computation has come to.
    #[inline(never)]
    fn take(
        &mut self,
        poll: Poll<Outcome<F::Output>>,
        context: &mut Context<'_>,
    ) -> Option<Poll<R>> {
        let Poll::Ready(outcome) = poll else {
            return Some(self.settle_for_less(context));
        };
        if let Some(parts) = &mut self.0 {
            (parts.order, parts.computation) = (None, None);
            parts.desk.papers().outcome = Some(outcome);
        }
        None
    }

    /// Lets the rest go on in the background, and tells whether it does.
    fn goes_on(&mut self, window: Duration) -> bool {
        let Some(rest) = self.0.take() else {
            return false;
        };
        self.0 = match rest.hand_on {
            Some(hand_on) => hand_on(rest, window).err(),
            None => Some(rest),
        };
        self.0.is_none()
    }

    /// Gives the stale answer, if there is one and the computation has taken too long. It goes on, unless the call merely
    /// waits for others.
    fn settle_for_less(&mut self, context: &mut Context<'_>) -> Poll<R> {
        let Some(parts) = &mut self.0 else {
            return Poll::Pending;
        };
        let Some((timer, _)) = &mut parts.soft else {
            return Poll::Pending;
        };
        if Pin::new(timer).poll(context).is_pending() {
            return Poll::Pending;
        }
        let (spare, cache) = (parts.soft.take(), parts.cache.clone());
        let Some((_, spare)) = spare else {
            return Poll::Pending;
        };
        if parts.has_begun {
            if !self.goes_on(GOES_ON) {
                return Poll::Pending;
            }
        } else {
            self.0 = None;
        }
        if let Some(cache) = cache {
            cache.engine().hit(spare.site, spare.origin, spare.times);
        }
        Poll::Ready(spare.answer)
    }
}

impl<W, F, R> Parts<W, F, R>
where
    W: Future<Output = R>,
    F: Future,
{
    /// Reads what the way has left on the desk.
    fn read(&mut self) -> Option<Early<R>> {
        let mut papers = self.desk.papers();
        let early = papers.early.take();
        if early.is_some() {
            return early;
        }
        if let Some(spare) = papers.spare.take() {
            self.soft = Some((sleep(spare.patience), spare));
        }
        let mut order = papers.order.take()?;
        drop(papers);
        // A leader that is the current one here is that of the computation which has made this call.
        let outer = current();
        let is_own = |leader: &Arc<Pulse>| !outer.is_some_and(|outer| Arc::ptr_eq(&outer, leader));
        order.leader = order.leader.filter(is_own);
        self.order = Some(order);
        self.has_begun = true;
        None
    }

    /// Prepares a poll of the computation, on behalf of the caller whose context this is.
    fn begin(&mut self, context: &Context<'_>) {
        let leader = self.order.as_ref().and_then(|order| order.leader.as_ref());
        self.waker = match leader {
            Some(leader) => leader.begin(context.waker()),
            None => context.waker().clone(),
        };
        self.is_polled = true;
    }
}

/// A poll of the computation, until this is dropped.
struct Polled<'a, W, F: Future, R> {
    parts: &'a mut Parts<W, F, R>,
    outer: Option<Entered>,
}

impl<'a, W, F: Future, R> Polled<'a, W, F, R> {
    #[inline(never)]
    fn new(driven: &'a mut Driven<W, F, R>) -> Option<Self> {
        let parts = driven.0.as_mut()?;
        let leader = parts.order.as_ref().and_then(|order| order.leader.clone());
        let outer = leader.map(|leader| enter(Some(leader)));
        Some(Self { parts, outer })
    }

    #[inline(never)]
    fn poll_and_catch(&mut self) -> Poll<Outcome<F::Output>> {
        let Parts {
            waker, computation, ..
        } = &mut *self.parts;
        let Some(computation) = computation else {
            return Poll::Pending;
        };
        let mut context = Context::from_waker(waker);
        // Nothing of the future is seen again after a panic.
        match catch_unwind(AssertUnwindSafe(|| computation.as_mut().poll(&mut context))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    }

    fn catches(&self) -> bool {
        self.parts.order.as_ref().is_some_and(|order| order.catches)
    }
}

impl<W, F: Future, R> Drop for Polled<'_, W, F, R> {
    #[inline(never)]
    fn drop(&mut self) {
        self.outer = None;
        if !thread::panicking() {
            self.parts.is_polled = false;
            return;
        }
        let leader = self
            .parts
            .order
            .as_ref()
            .and_then(|order| order.leader.as_ref());
        if let Some(leader) = leader {
            leader.panicked();
        }
    }
}

impl<W, F, R> Future for Driven<W, F, R>
where
    W: Future<Output = R>,
    F: Future,
{
    type Output = R;

    /// All that is on the stack under a computation, beside the caller's own.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        loop {
            if let Step::Over(poll) = self.step(context) {
                return poll;
            }
            let poll = {
                let Some(mut polled) = Polled::new(&mut self) else {
                    return Poll::Pending;
                };
                match polled.catches() {
                    true => polled.poll_and_catch(),
                    false => {
                        let Parts {
                            waker, computation, ..
                        } = &mut *polled.parts;
                        match computation {
                            Some(computation) => computation
                                .as_mut()
                                .poll(&mut Context::from_waker(waker))
                                .map(Ok),
                            None => Poll::Pending,
                        }
                    }
                }
            };
            if let Some(poll) = self.take(poll, context) {
                return poll;
            }
        }
    }
}

/// What it keeps is in boxes.
impl<W, F: Future, R> Unpin for Driven<W, F, R> {}

impl<W, F: Future, R> Drop for Driven<W, F, R> {
    fn drop(&mut self) {
        let rest = self.0.take_if(|parts| parts.has_begun && !parts.is_polled);
        if let Some(rest) = rest
            && let Some(hand_on) = rest.hand_on
        {
            // Without a runtime it ends here, and a call that waits for it takes over.
            let _ = hand_on(rest, GOES_ON);
        }
    }
}

fn hand_on<W, F, R>(mut rest: Rest<W, F, R>, window: Duration) -> Result<(), Rest<W, F, R>>
where
    W: Future<Output = R> + Send + 'static,
    F: Future<Output: Send> + Send + 'static,
    R: Send + 'static,
{
    let (Ok(runtime), Some(cache)) = (Handle::try_current(), rest.cache.clone()) else {
        return Err(rest);
    };
    rest.hand_on = None;
    if let Some(leader) = rest.order.as_ref().and_then(|order| order.leader.as_ref()) {
        leader.handed_on();
    }
    let rest = Driven(Some(rest));
    runtime.spawn(async move { within(window, cache.scope(rest)).await.map(drop) });
    Ok(())
}
