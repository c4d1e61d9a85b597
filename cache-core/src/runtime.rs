//! The path of a call: the only place that branches on hit, stale and miss.
//!
//! Generated code calls [`function`] (or [`handler`](crate::serve::handler)) with a description
//! of the function, and then `run` with the computation. What happens in between is ordinary code.

use std::future::Future;
#[cfg(feature = "axum")]
use std::future::poll_fn;
use std::panic::resume_unwind;
#[cfg(feature = "axum")]
use std::panic::{AssertUnwindSafe, catch_unwind};
#[cfg(feature = "axum")]
use std::pin::{Pin, pin};
use std::sync::Arc;
#[cfg(feature = "axum")]
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(feature = "axum")]
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::access::Access;
use crate::drive::{Desk, Driven, Outcome, Spare, boxed};
use crate::engine::{Engine, Found, Locked, Look, Terms, Ticket, Times, Validity, times_of};
use crate::flight::{Landing, Leading, Seat, Shared, Start, Turn, current, enter};
use crate::key::{DynKeyBuilder, Key, KeyContext, KeyWriter};
use crate::lease::Lease;
use crate::local::AnyEntry;
use crate::policy::{Aging, Staleness, Verdict};
use crate::refresh::Refreshing;
use crate::registry::{Cache, with_current};
use crate::site::Site;
use crate::stats::Origin;
use crate::tags::TagList;
use crate::value::Shape;

/// Makes the key builder that a function names.
pub type MakeKeyBuilder = fn() -> Arc<dyn DynKeyBuilder>;

/// Looks up a call of a cached function.
///
/// A fresh value in this process is found here, before anything is awaited or allocated. `write_key`
/// writes the arguments that count.
#[inline]
pub fn function<S: Shape>(
    site: &'static Site,
    _shape: S,
    access: Access<S::Stored>,
    builder: Option<MakeKeyBuilder>,
    write_key: impl FnOnce(&mut KeyWriter),
) -> Call<S> {
    let mut found = None;
    let lookup = with_current(|cache| {
        look_up(cache, site, builder, write_key, |engine, entry, _| {
            (access.local)(engine, site, entry, &mut found);
            found.is_some().then_some(())
        })
    });
    Call {
        found,
        lookup: lookup.unwrap_or_else(|| uninitialized(site)),
        access,
    }
}

/// Prepares a call of a cached function that computes, whatever is stored, and stores what it gives.
pub fn renewal<S: Shape>(
    site: &'static Site,
    _shape: S,
    access: Access<S::Stored>,
    builder: Option<MakeKeyBuilder>,
    write_key: impl FnOnce(&mut KeyWriter),
) -> Call<S> {
    let lookup = with_current(|cache| look_up(cache, site, builder, write_key, |_, _, _| None));
    let mut lookup = lookup.unwrap_or_else(|| uninitialized(site));
    if let Lookup::Miss(miss) = &mut lookup {
        miss.renews = true;
    }
    Call {
        found: None,
        lookup,
        access,
    }
}

/// A call of a cached function that has been looked up.
#[must_use = "a call does nothing until it is run"]
pub struct Call<S: Shape> {
    /// The value of a hit. It is not in the lookup, since each enum that a value is moved into takes it
    /// apart, and costs as much as a part of the way to it.
    found: Option<S::Stored>,
    lookup: Lookup<()>,
    access: Access<S::Stored>,
}

impl<S: Shape> Call<S> {
    /// Writes the tags that the value gets if it is computed.
    #[inline]
    pub fn tags(mut self, write: impl FnOnce(&mut TagList)) -> Self {
        if let Lookup::Miss(miss) = &mut self.lookup {
            write(&mut miss.tags);
        }
        self
    }

    /// Sets how long the call may take, which bounds how long it waits for others.
    #[inline]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if let Lookup::Miss(miss) = &mut self.lookup {
            miss.end_after(timeout);
        }
        self
    }

    /// Gives the value that was found, or awaits the future that `make` makes and stores what `rules` let it.
    pub fn run<M, F, R>(
        self,
        make: M,
        rules: R,
    ) -> Answer<S::Returned, impl Future<Output = S::Returned>>
    where
        M: FnOnce() -> F,
        F: Future<Output = S::Returned>,
        R: FnOnce(&S::Stored) -> Verdict,
    {
        if let Some(value) = self.found {
            return Answer::Ready(S::join(value));
        }
        let (miss, access) = (self.lookup.into_miss(), self.access);
        let cache = miss.as_ref().map(|miss| miss.cache.clone());
        Answer::Pending(Driven::borrowed(cache, boxed(make), |desk| {
            compute::<S, R>(miss, access, desk, rules)
        }))
    }

    /// As [`run`](Self::run), for a computation that can outlive the caller: where there is a value to
    /// serve meanwhile, and when the caller leaves, it goes on in the background.
    pub fn run_owned<M, F, R>(
        self,
        make: M,
        rules: R,
    ) -> Answer<S::Returned, impl Future<Output = S::Returned>>
    where
        S: 'static,
        S::Stored: Send + Sync + 'static,
        S::Returned: Send,
        M: FnOnce() -> F,
        F: Future<Output = S::Returned> + Send + 'static,
        R: FnOnce(&S::Stored) -> Verdict + Send + 'static,
    {
        if let Some(value) = self.found {
            return Answer::Ready(S::join(value));
        }
        let (miss, access) = (self.lookup.into_miss(), self.access);
        let cache = miss.as_ref().map(|miss| miss.cache.clone());
        Answer::Pending(Driven::owned(cache, boxed(make), |desk| {
            compute_owned::<S, R>(miss, access, desk, rules)
        }))
    }
}

/// Between the way of a call of a function, and its computation.
type FunctionDesk<S> = Desk<<S as Shape>::Returned, <S as Shape>::Returned>;

/// Answers a call whose computation borrows: it runs here, or not at all.
async fn compute<S, R>(
    miss: Option<Box<Miss>>,
    access: Access<S::Stored>,
    desk: Arc<FunctionDesk<S>>,
    rules: R,
) -> S::Returned
where
    S: Shape,
    R: FnOnce(&S::Stored) -> Verdict,
{
    let Some(miss) = miss else {
        return unwound(desk.computed(false).await);
    };
    let renews = miss.renews;
    let asked = miss.resolve().await;
    if renews {
        return Box::pin(asked.path(access).renew::<S, R>(&desk, rules)).await;
    }
    match asked.path(access).first_look(join::<S>).await {
        First::Answer(returned) => returned,
        // In a box of its own, since a hit in a shared store has no use for its room.
        First::Due(_, due) | First::Miss(due) => {
            Box::pin(finish::<S, R>(&asked, access, due, &desk, rules)).await
        }
    }
}

/// Answers a call whose computation can outlive it.
async fn compute_owned<S, R>(
    miss: Option<Box<Miss>>,
    access: Access<S::Stored>,
    desk: Arc<FunctionDesk<S>>,
    rules: R,
) -> S::Returned
where
    S: Shape,
    R: FnOnce(&S::Stored) -> Verdict,
{
    let Some(miss) = miss else {
        return unwound(desk.computed(false).await);
    };
    let renews = miss.renews;
    let asked = miss.resolve().await;
    let path = asked.path(access);
    if renews {
        return Box::pin(path.renew::<S, R>(&desk, rules)).await;
    }
    let due = match path.first_look(join::<S>).await {
        First::Answer(returned) => return returned,
        First::Due(returned, due) => {
            desk.answer(returned, path.window(&due)).await;
            due
        }
        First::Miss(due) => {
            path.leave_spare(&desk, &due, join::<S>);
            due
        }
    };
    Box::pin(finish::<S, R>(&asked, access, due, &desk, rules)).await
}

/// Computes what is due, together with others, and stores it.
async fn finish<S, R>(
    asked: &AskedFor,
    access: Access<S::Stored>,
    due: Due<S::Stored>,
    desk: &FunctionDesk<S>,
    rules: R,
) -> S::Returned
where
    S: Shape,
    R: FnOnce(&S::Stored) -> Verdict,
{
    let path = asked.path(access);
    let purpose = due.purpose();
    let Due {
        start,
        look,
        refreshing: _refreshing,
        ..
    } = due;
    let answer = |first, rules| path.answer::<S, R>(first, &purpose, desk, rules);
    let together = path.together(start, Some(look), rules, answer, S::split, join::<S>);
    together.await
}

/// What a computation gives; its panic goes on.
pub(crate) fn unwound<O>(outcome: Outcome<O>) -> O {
    match outcome {
        Ok(output) => output,
        Err(payload) => resume_unwind(payload),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "a handler may refuse what was found"
)]
fn join<S: Shape>(found: Found<S::Stored>) -> Option<S::Returned> {
    Some(S::join(found.value))
}

/// Lets work go on in the background, under the same cache; gives it back where there is no runtime to
/// run it.
#[cfg(feature = "axum")]
pub(crate) fn detach<W>(cache: &Cache, work: Pin<Box<W>>) -> Result<(), Pin<Box<W>>>
where
    W: Future<Output: Send> + Send + 'static,
{
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return Err(work);
    };
    let cache = cache.clone();
    runtime.spawn(async move {
        cache.scope(work).await;
    });
    Ok(())
}

/// Those who wait for a computation, besides the call that runs it.
#[cfg(feature = "axum")]
pub(crate) struct Company {
    cache: Cache,
    site: &'static Site,
    key: Key,
    /// Whether the call has begun to compute.
    has_begun: Arc<AtomicBool>,
}

#[cfg(feature = "axum")]
impl Company {
    /// Those of a call. `has_begun` is set when it begins to compute.
    pub(crate) fn of(
        cache: &Cache,
        site: &'static Site,
        key: &Key,
        has_begun: Arc<AtomicBool>,
    ) -> Self {
        Self {
            cache: cache.clone(),
            site,
            key: key.clone(),
            has_begun,
        }
    }

    fn is_there(&self) -> bool {
        let flights = self.cache.engine().flights();
        self.has_begun.load(Ordering::Relaxed) && flights.has_company(self.site, &self.key)
    }
}

/// Awaits work that goes on in the background if its caller leaves while others wait for it. `afterwards` is what is
/// then done with what it gives.
#[cfg(feature = "axum")]
pub(crate) async fn go_on_for<W, D>(
    company: Company,
    work: Pin<Box<W>>,
    afterwards: fn(W::Output) -> D,
) -> W::Output
where
    W: Future<Output: Send> + Send + 'static,
    D: Future<Output = ()> + Send + 'static,
{
    let mut work = GoesOn {
        work: Some(work),
        company,
        afterwards,
    };
    poll_fn(|context| work.poll(context)).await
}

#[cfg(feature = "axum")]
struct GoesOn<W, D>
where
    W: Future<Output: Send> + Send + 'static,
    D: Future<Output = ()> + Send + 'static,
{
    /// `None` when it is over, and while it is polled, so that work that panics is not polled again.
    work: Option<Pin<Box<W>>>,
    company: Company,
    afterwards: fn(W::Output) -> D,
}

#[cfg(feature = "axum")]
impl<W, D> GoesOn<W, D>
where
    W: Future<Output: Send> + Send + 'static,
    D: Future<Output = ()> + Send + 'static,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<W::Output> {
        let Some(mut work) = self.work.take() else {
            return Poll::Pending;
        };
        let poll = work.as_mut().poll(context);
        if poll.is_pending() {
            self.work = Some(work);
        }
        poll
    }
}

#[cfg(feature = "axum")]
impl<W, D> Drop for GoesOn<W, D>
where
    W: Future<Output: Send> + Send + 'static,
    D: Future<Output = ()> + Send + 'static,
{
    fn drop(&mut self) {
        let afterwards = self.afterwards;
        if let Some(work) = self.work.take()
            && self.company.is_there()
        {
            let work = Box::pin(async move { afterwards(work.await).await });
            // Without a runtime, one of those who wait takes over.
            let _ = detach(&self.company.cache, work);
        }
    }
}

/// A call that was not answered at once, under its key.
pub(crate) struct AskedFor {
    pub(crate) cache: Cache,
    pub(crate) site: &'static Site,
    pub(crate) key: Key,
    pub(crate) tags: TagList,
    is_early: bool,
    deadline: Option<Instant>,
}

impl AskedFor {
    pub(crate) fn path<T>(&self, access: Access<T>) -> Path<'_, T> {
        Path {
            engine: self.cache.engine(),
            access,
            site: self.site,
            key: &self.key,
            tags: &self.tags,
            is_early: self.is_early,
            patience: None,
            deadline: self.deadline,
        }
    }
}

/// The path of a call that was not answered at once.
pub(crate) struct Path<'a, T> {
    pub(crate) engine: &'a Engine,
    pub(crate) access: Access<T>,
    pub(crate) site: &'static Site,
    pub(crate) key: &'a Key,
    pub(crate) tags: &'a TagList,
    /// Whether a fresh value was found that is to be computed anew already.
    is_early: bool,
    /// For how long a computation of another call is waited for; `None` for as long as that takes.
    patience: Option<Duration>,
    /// When the call has to be over.
    deadline: Option<Instant>,
}

/// What a call finds before it joins others.
pub(crate) enum First<R, T> {
    /// An answer.
    Answer(R),
    /// An answer, and the call is to see to it that the next one is better.
    Due(R, Due<T>),
    /// No answer.
    Miss(Due<T>),
}

/// What a computation has to know that is due.
pub(crate) struct Due<T> {
    pub(crate) start: Start,
    /// When the call looked, in milliseconds of the clock.
    began: u64,
    /// What was found stands in if the computation fails.
    pub(crate) look: Look<T>,
    /// `None` if there is nobody who was served what was found.
    pub(crate) refreshing: Option<Refreshing>,
}

impl<'a, T> Path<'a, T> {
    /// The path of a call whose key is known.
    #[cfg(feature = "axum")]
    pub(crate) fn new(
        engine: &'a Engine,
        access: Access<T>,
        site: &'static Site,
        key: &'a Key,
        tags: &'a TagList,
    ) -> Self {
        Self {
            engine,
            access,
            site,
            key,
            tags,
            is_early: false,
            patience: None,
            deadline: None,
        }
    }

    /// Lets the call wait for another one no longer than this.
    #[cfg(feature = "axum")]
    pub(crate) fn with_patience(self, patience: Duration) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }

    pub(crate) fn aging(&self) -> Aging {
        self.engine.aging(self.site)
    }

    /// A copy of what was found when a computation became due.
    pub(crate) fn copy_of(&self, due: &Due<T>) -> Option<Found<T>> {
        let found = due.look.found.as_ref()?;
        Some(Found {
            value: (self.access.operations().copy)(&found.value),
            ..*found
        })
    }

    /// Looks into the stores before the call joins others: a hit waits for nobody.
    pub(crate) async fn look(&self) -> Due<T> {
        Due {
            start: self.engine.start(self.key),
            began: self.engine.now(),
            look: self.engine.find(self.access, self.site, self.key).await,
            refreshing: None,
        }
    }

    /// As [`look`](Self::look), where `accept` makes an answer of what is found, or turns it down.
    pub(crate) async fn first_look<R>(
        &self,
        accept: impl Fn(Found<T>) -> Option<R>,
    ) -> First<R, T> {
        let mut due = self.look().await;
        let Some(found) = &due.look.found else {
            return First::Miss(due);
        };
        let is_due = match self.merit(found.times) {
            Merit::Fresh => self.is_early(found),
            Merit::Stale => true,
            Merit::StandIn => return First::Miss(due),
        };
        let (origin, times) = (found.origin, found.times);
        let Some(answer) = self.copy_of(&due).and_then(accept) else {
            return First::Miss(due);
        };
        self.hit(origin, times);
        if is_due {
            let window = self.window(&due);
            due.refreshing = self.engine.refreshes().begin(self.key, window);
        }
        match due.refreshing {
            Some(_) => First::Due(answer, due),
            None => First::Answer(answer),
        }
    }

    /// Answers a call together with the others of its key: by `answer`, or by what another call
    /// shares, if `accept` makes something of it. `stored` finds in an answer what to share.
    ///
    /// `first` is what the call has seen in the store since its start. Whoever leads goes on from
    /// there, unless another flight has landed meanwhile. A call waits for another one no longer than its patience;
    /// after that, one of those who wait takes over, and the others wait for that one.
    pub(crate) async fn together<C, R, A>(
        &self,
        start: Start,
        mut first: Option<Look<T>>,
        call: C,
        answer: impl FnOnce(Option<Look<T>>, C) -> A,
        stored: impl Fn(&R) -> Option<&T> + Copy,
        accept: impl Fn(Found<T>) -> Option<R>,
    ) -> R
    where
        A: Future<Output = (R, End)>,
    {
        for _ in 0..MOST_FLIGHTS {
            let Some(seat) = self.engine.join(self.site, self.key, self.patience) else {
                break;
            };
            match seat.turn(self.until(&seat)).await {
                Turn::Lead(leading) => {
                    let first = first.take().filter(|_| !seat.is_news(start));
                    let work = self.lead(&leading, &seat, answer(first, call), stored);
                    return leading.run(work).await;
                }
                Turn::Landed(landing) => match &*landing {
                    Landing::Shared(shared) => {
                        let found = self.engine.share(self.access, self.site, shared, start);
                        if let Some(found) = found.await {
                            let (origin, times) = (found.origin, found.times);
                            if let Some(answer) = accept(found) {
                                self.hit(origin, times);
                                return answer;
                            }
                        }
                    }
                    Landing::Invalidated => {}
                    Landing::Alone => break,
                },
                Turn::Late if self.is_over() => break,
                Turn::Late => {}
            }
        }
        answer(first, call).await.0
    }

    /// Answers the call that leads a flight, and ends that.
    async fn lead<R>(
        &self,
        leading: &Leading<'_>,
        seat: &Seat<'_>,
        answer: impl Future<Output = (R, End)>,
        stored: impl Fn(&R) -> Option<&T>,
    ) -> R {
        let (answer, end) = answer.await;
        leading.land(self.land(seat, end, stored(&answer)));
        answer
    }

    /// Until when the computation of another call is waited for.
    fn until(&self, seat: &Seat<'_>) -> Option<Instant> {
        let patience = |patience| seat.began_at().checked_add(patience);
        let ends = [self.patience.and_then(patience), self.deadline];
        ends.into_iter().flatten().min()
    }

    /// Whether the time of the call is over.
    fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    /// For how long what was found is of use while it is computed anew.
    pub(crate) fn window(&self, due: &Due<T>) -> Duration {
        let Some(found) = &due.look.found else {
            return Duration::ZERO;
        };
        let aging = self.aging();
        let fresh = found
            .times
            .remaining
            .map_or(Duration::MAX, Duration::from_millis);
        let stale = Duration::from_millis(found.times.stale);
        let useful = fresh.saturating_add(aging.stale_while_revalidate);
        useful.saturating_sub(stale)
    }

    /// Leaves what was found for a caller whose computation takes too long, if `accept` makes an answer of it, and if the
    /// function has a soft timeout.
    pub(crate) fn leave_spare<O, R>(
        &self,
        desk: &Desk<O, R>,
        due: &Due<T>,
        accept: impl FnOnce(Found<T>) -> Option<R>,
    ) {
        let Some(patience) = self.aging().soft_timeout else {
            return;
        };
        let Some(found) = self.copy_of(due) else {
            return;
        };
        let (origin, times) = (found.origin, found.times);
        if let Some(answer) = accept(found) {
            desk.leave_spare(Spare {
                answer,
                patience,
                site: self.site,
                origin,
                times,
            });
        }
    }

    fn land(&self, seat: &Seat<'_>, end: End, stored: Option<&T>) -> Landing {
        match (end, stored) {
            (End::Alone, _) => Landing::Alone,
            (End::Valid(times, validity), Some(value)) if seat.has_company() => {
                Landing::Shared(Shared {
                    value: (self.access.operations().share)(value),
                    times,
                    validity,
                })
            }
            // Whoever joins at the last moment finds it in the store.
            _ => Landing::Invalidated,
        }
    }

    /// Answers a call from the store, or computes and stores. What was found before stands in for a
    /// computation that fails.
    async fn answer<S, R>(
        &self,
        first: Option<Look<T>>,
        purpose: &Purpose,
        desk: &FunctionDesk<S>,
        rules: R,
    ) -> (S::Returned, End)
    where
        S: Shape<Stored = T>,
        R: FnOnce(&T) -> Verdict,
    {
        let Settled {
            look,
            answers,
            lease: _lease,
        } = self.settle(first, purpose).await;
        let validity = look.validity();
        if answers && let Some(found) = look.found {
            self.serve(purpose, &found);
            let end = End::Valid(found.times, validity);
            return (S::join(found.value), end);
        }
        let before = self.tags_before(&look).await;
        let computed = desk.computed(look.found.is_some());
        let computed = self.compute(purpose, computed).await;
        let stored = match &computed.outcome {
            Ok(returned) => S::split(returned),
            Err(_) => None,
        };
        if let Some(value) = stored {
            let stored = self.store(look.ticket, &before, value, rules(value), computed.took);
            let end = stored.await;
            return (unwound(computed.outcome), end);
        }
        if let Some(found) = look.found {
            self.stand_in(purpose, &found);
            let end = End::Valid(found.times, validity);
            return (S::join(found.value), end);
        }
        (unwound(computed.outcome), End::Alone)
    }

    /// Computes and stores, while other calls are served what is stored. It shares no computation that has begun before.
    async fn renew<S, R>(&self, desk: &FunctionDesk<S>, rules: R) -> S::Returned
    where
        S: Shape<Stored = T>,
        R: FnOnce(&T) -> Verdict,
    {
        let due = self.look().await;
        let purpose = Purpose {
            is_refresh: true,
            began: due.began,
        };
        let before = self.tags_before(&due.look).await;
        let computed = self.compute(&purpose, desk.computed(false)).await;
        let returned = unwound(computed.outcome);
        if let Some(value) = S::split(&returned) {
            let verdict = rules(value);
            let took = computed.took;
            self.store(due.look.ticket, &before, value, verdict, took)
                .await;
        }
        returned
    }

    /// Runs a computation.
    pub(crate) async fn compute<O>(
        &self,
        purpose: &Purpose,
        computed: impl Future<Output = Outcome<O>>,
    ) -> Computed<O> {
        let counters = self.engine.counters(self.site);
        match purpose.is_refresh {
            true => counters.refresh(),
            false => counters.miss(),
        }
        counters.compute();
        let began = self.engine.now();
        let outcome = computed.await;
        Computed {
            outcome,
            took: self.engine.now().saturating_sub(began),
        }
    }

    /// Notes that a computation has failed, and that what was found stands in for it.
    pub(crate) fn stand_in(&self, purpose: &Purpose, found: &Found<T>) {
        self.engine.refreshes().failed(self.key);
        self.serve(purpose, found);
    }

    /// Notes that a value answers the call. Whoever is refreshed for has been answered before.
    pub(crate) fn serve(&self, purpose: &Purpose, found: &Found<T>) {
        if !purpose.is_refresh {
            self.hit(found.origin, found.times);
        }
    }

    /// Looks into the store, unless that was done, and again under the lock that other processes
    /// respect, if there is one.
    pub(crate) async fn settle(&self, first: Option<Look<T>>, purpose: &Purpose) -> Settled<T> {
        let answers = |found: &Found<T>| match purpose.is_refresh {
            true => !found.times.is_stale() && self.is_newer(found, purpose),
            false => self.merit(found.times) != Merit::StandIn,
        };
        self.settle_by(first, purpose, answers).await
    }

    /// Whether a value is newer than what was served meanwhile.
    pub(crate) fn is_newer(&self, found: &Found<T>, purpose: &Purpose) -> bool {
        found.times.age < self.engine.now().saturating_sub(purpose.began)
    }

    /// As [`settle`](Self::settle), where `answers` says what answers the call.
    pub(crate) async fn settle_by(
        &self,
        first: Option<Look<T>>,
        purpose: &Purpose,
        answers: impl Fn(&Found<T>) -> bool + Copy,
    ) -> Settled<T> {
        let look = match first {
            Some(look) => look,
            None => self.engine.find(self.access, self.site, self.key).await,
        };
        if look.found.as_ref().is_some_and(answers) {
            return Settled::answer(look);
        }
        if !self.engine.locks(self.site, &look) {
            return Settled::computation(look, None);
        }
        let waits = !purpose.is_refresh;
        let lock = self
            .engine
            .lock(self.access, self.site, self.key, look, waits, answers);
        match Box::pin(lock).await {
            Locked::Taken(look, lease) => Settled::computation(look, Some(lease)),
            Locked::Alone(look) => Settled::computation(look, None),
            Locked::Found(look) | Locked::Busy(look) => Settled::answer(look),
        }
    }

    /// What a value is good for at its age.
    fn merit(&self, times: Times) -> Merit {
        if !times.is_stale() {
            return Merit::Fresh;
        }
        match self.aging().use_of_stale(times.stale) {
            Staleness::Served => Merit::Stale,
            // It has been tried just now.
            Staleness::OnError if self.engine.refreshes().rests(self.key) => Merit::Stale,
            _ => Merit::StandIn,
        }
    }

    /// Whether a fresh value is to be computed anew already. A draw was made for what the first lookup
    /// found in this process.
    fn is_early(&self, found: &Found<T>) -> bool {
        match found.origin {
            Origin::Local => self.is_early,
            _ => self.engine.is_due_early(self.site, || found.times),
        }
    }

    pub(crate) fn hit(&self, origin: Origin, times: Times) {
        self.engine.hit(self.site, origin, times);
    }

    /// The generations of the tags that are known from the arguments, before the computation begins.
    pub(crate) async fn tags_before(&self, look: &Look<T>) -> Vec<u64> {
        self.engine
            .tags_before(look.ticket, self.tags.as_slice())
            .await
    }

    async fn store(
        &self,
        ticket: Ticket,
        before: &[u64],
        value: &T,
        verdict: Verdict,
        took: u64,
    ) -> End {
        if !verdict.stores() {
            return End::Alone;
        }
        let lifetime = verdict.lifetime().or_else(|| self.engine.expire());
        let aging = self.aging();
        let terms = Terms {
            fresh: lifetime.map(|lifetime| aging.spread(lifetime)),
            stale: aging.stale(),
            took,
            tags: self.tags.as_slice(),
            before,
        };
        self.store_on(ticket, value, &terms).await
    }

    /// Ends what is stored, which a newer computation has turned out not to be.
    #[cfg(feature = "axum")]
    pub(crate) async fn end(&self) {
        if let Err(error) = self.engine.remove(self.key).await {
            self.engine.report(self.site, &error);
        }
    }

    /// Stores a value, and says what it is to others.
    pub(crate) async fn store_on(&self, ticket: Ticket, value: &T, terms: &Terms<'_>) -> End {
        if terms.are_over() {
            return End::Alone;
        }
        let validity = self
            .engine
            .store(self.access, ticket, self.site, self.key, value, terms)
            .await;
        #[cfg(feature = "axum")]
        self.engine.unstorable().forget(self.key);
        validity.map_or(End::Invalidated, |validity| {
            End::Valid(Times::new(terms.fresh), validity)
        })
    }
}

/// What a value is good for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Merit {
    /// To be served.
    Fresh,
    /// To be served while it is computed anew.
    Stale,
    /// To stand in for a computation that fails.
    StandIn,
}

/// What a computation is for.
pub(crate) struct Purpose {
    /// Whether there is somebody who was served what was found.
    pub(crate) is_refresh: bool,
    /// When the call looked, in milliseconds of the clock.
    began: u64,
}

impl<T> Due<T> {
    pub(crate) fn purpose(&self) -> Purpose {
        Purpose {
            is_refresh: self.refreshing.is_some(),
            began: self.began,
        }
    }
}

/// What became of a computation, and how many milliseconds it took.
pub(crate) struct Computed<O> {
    pub(crate) outcome: Outcome<O>,
    pub(crate) took: u64,
}

/// What a call knows before it computes, or instead.
pub(crate) struct Settled<T> {
    pub(crate) look: Look<T>,
    /// Whether what was found answers the call. Else it stands in for a computation that fails.
    pub(crate) answers: bool,
    /// Held during the computation.
    pub(crate) lease: Option<Lease>,
}

impl<T> Settled<T> {
    pub(crate) fn answer(look: Look<T>) -> Self {
        Self {
            look,
            answers: true,
            lease: None,
        }
    }

    pub(crate) fn computation(look: Look<T>, lease: Option<Lease>) -> Self {
        Self {
            look,
            answers: false,
            lease,
        }
    }
}

/// Awaits a future, and catches its panic if it is to be caught. Nothing of the future is seen again
/// after a panic.
#[cfg(feature = "axum")]
pub(crate) async fn catch_if<F: Future>(catches: bool, future: F) -> Outcome<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        let mut poll = || future.as_mut().poll(context);
        if !catches {
            return poll().map(Ok);
        }
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    })
    .await
}

/// How many flights a call joins, before it computes by itself: a key that is invalidated again and
/// again must not keep it waiting.
const MOST_FLIGHTS: usize = 3;

/// What the value of a call is to others.
pub(crate) enum End {
    Valid(Times, Validity),
    Invalidated,
    Alone,
}

/// What a lookup found without waiting.
pub(crate) enum Lookup<H, M = Box<Miss>> {
    /// The value, or what was made of it.
    Hit(H),
    /// Nothing so far.
    Miss(M),
    /// This call has nothing to do with the cache.
    Bypass,
}

impl<H, M> Lookup<H, M> {
    /// What the rest of the call needs, which is nothing for one that passes the cache by.
    pub(crate) fn into_miss(self) -> Option<M> {
        match self {
            Self::Miss(miss) => Some(miss),
            Self::Hit(_) | Self::Bypass => None,
        }
    }
}

/// What the rest of a call needs that was not answered at once.
pub(crate) struct Miss {
    pub(crate) cache: Cache,
    pub(crate) site: &'static Site,
    pub(crate) key: CallKey,
    pub(crate) tags: TagList,
    /// Whether there is a fresh value that is to be computed anew already.
    is_early: bool,
    /// When the call has to be over.
    deadline: Option<Instant>,
    /// Whether the call computes, whatever is stored.
    renews: bool,
}

impl Miss {
    /// Lets the call take so long at most.
    pub(crate) fn end_after(&mut self, timeout: Duration) {
        self.deadline = Instant::now().checked_add(timeout);
    }

    /// Makes the key.
    pub(crate) async fn resolve(self) -> AskedFor {
        AskedFor {
            key: self.key.resolve(&self.cache, self.site).await,
            cache: self.cache,
            site: self.site,
            tags: self.tags,
            is_early: self.is_early,
            deadline: self.deadline,
        }
    }
}

/// The key of a call, or what it will be made of.
pub(crate) enum CallKey {
    /// The key, which the local store has been asked for.
    Known(Key),
    /// A builder makes the text.
    Built(Box<Built>),
}

/// What a key builder needs.
pub(crate) struct Built {
    builder: Arc<dyn DynKeyBuilder>,
    writer: KeyWriter,
    /// What the request adds to the text; `None` for a function.
    #[cfg(feature = "axum")]
    pub(crate) suffix: Option<String>,
    #[cfg(feature = "axum")]
    pub(crate) request: Option<crate::CacheRequest>,
    #[cfg(feature = "axum")]
    pub(crate) response: Option<crate::CacheResponse>,
}

impl CallKey {
    /// The key, after the builder has run if there is one.
    pub(crate) async fn resolve(self, cache: &Cache, site: &'static Site) -> Key {
        match self {
            Self::Known(key) => key,
            Self::Built(built) => Box::pin(built.build(cache, site)).await,
        }
    }
}

impl Built {
    /// Lets the builder see a request to a handler, whose headers of these names join the key.
    #[cfg(feature = "axum")]
    pub(crate) fn answer(
        &mut self,
        request: &crate::CacheRequest,
        response: &crate::CacheResponse,
        names: &[&str],
    ) {
        self.suffix = Some(self.writer.suffix(request, names));
        self.request = Some(request.clone());
        self.response = Some(response.clone());
    }

    pub(crate) async fn build(&self, cache: &Cache, site: &'static Site) -> Key {
        let function = site.to_string();
        let context = KeyContext {
            function: &function,
            namespace: site.namespace_name(),
            args: self.writer.args(),
            #[cfg(feature = "axum")]
            request: self.request.as_ref(),
            #[cfg(feature = "axum")]
            response: self.response.as_ref(),
        };
        #[cfg_attr(
            not(feature = "axum"),
            expect(unused_mut, reason = "requests add to it")
        )]
        let mut text = self.builder.build(&context).await;
        #[cfg(feature = "axum")]
        match &self.suffix {
            Some(suffix) if suffix.is_empty() => {
                text.extend(crate::key::suffix_of_nothing(text.as_bytes()));
            }
            suffix => text.extend(suffix.as_deref()),
        }
        Key::from_text(cache.engine().prefix_number(), site, &text)
    }
}

/// Makes the key of a call and asks the local store for it; `accept` makes a hit of an entry, given the
/// time, or turns it down.
#[inline]
pub(crate) fn look_up<H>(
    cache: &Cache,
    site: &'static Site,
    builder: Option<MakeKeyBuilder>,
    write_key: impl FnOnce(&mut KeyWriter),
    accept: impl FnOnce(&Engine, &AnyEntry, u64) -> Option<H>,
) -> Lookup<H> {
    if !cache.is_enabled() {
        return Lookup::Bypass;
    }
    if builder.is_some() || cache.key_builder_ref().is_some() {
        let (mut write_key, mut accept) = (Some(write_key), Some(accept));
        return look_up_built(
            cache,
            site,
            builder,
            &mut |writer| {
                if let Some(write_key) = write_key.take() {
                    write_key(writer);
                }
            },
            &mut |engine, entry, now| accept.take()?(engine, entry, now),
        );
    }
    let mut writer = KeyWriter::default();
    write_key(&mut writer);
    let lookup = look_up_written(cache, site, &mut writer, accept);
    writer.discard();
    lookup
}

/// As [`look_up`], where a builder makes the key, or would if the function did not write a text.
#[cold]
fn look_up_built<H>(
    cache: &Cache,
    site: &'static Site,
    builder: Option<MakeKeyBuilder>,
    write_key: &mut dyn FnMut(&mut KeyWriter),
    accept: &mut dyn FnMut(&Engine, &AnyEntry, u64) -> Option<H>,
) -> Lookup<H> {
    let mut writer = KeyWriter::recording();
    write_key(&mut writer);
    if !writer.is_refused()
        && let Some(builder) = choose_builder(cache, builder, &writer)
    {
        return miss(cache, site, CallKey::build(builder, writer), false);
    }
    look_up_written(cache, site, &mut writer, accept)
}

/// Takes from the writer what a miss keeps, and leaves it where it is otherwise: a hit moves nothing.
#[inline]
fn look_up_written<H>(
    cache: &Cache,
    site: &'static Site,
    writer: &mut KeyWriter,
    accept: impl FnOnce(&Engine, &AnyEntry, u64) -> Option<H>,
) -> Lookup<H> {
    let engine = cache.engine();
    if writer.is_refused() {
        return refuse(engine, site, writer);
    }
    let prefix = engine.prefix_number();
    let Some(key) = writer.local(prefix, site) else {
        return Lookup::Bypass;
    };
    let mut is_early = false;
    if let Some((entry, now)) = engine.find_local(key) {
        is_early = engine.is_due_early(site, || times_of(&entry, now));
        if !is_early && let Some(hit) = accept(engine, &entry, now) {
            engine.local_hit(site);
            return Lookup::Hit(hit);
        }
    }
    match std::mem::take(writer).into_key(prefix, site) {
        Some(key) => miss(cache, site, CallKey::Known(key), is_early),
        None => Lookup::Bypass,
    }
}

/// There is no key to look under.
#[cold]
fn refuse<H>(engine: &Engine, site: &Site, writer: &mut KeyWriter) -> Lookup<H> {
    if let Some(error) = writer.take_error() {
        engine.report(site, &error);
    }
    Lookup::Bypass
}

impl CallKey {
    pub(crate) fn build(builder: Arc<dyn DynKeyBuilder>, writer: KeyWriter) -> Self {
        Self::Built(Box::new(Built {
            builder,
            writer,
            #[cfg(feature = "axum")]
            suffix: None,
            #[cfg(feature = "axum")]
            request: None,
            #[cfg(feature = "axum")]
            response: None,
        }))
    }
}

/// The function's own key comes before the registry's builder.
pub(crate) fn choose_builder(
    cache: &Cache,
    own: Option<MakeKeyBuilder>,
    writer: &KeyWriter,
) -> Option<Arc<dyn DynKeyBuilder>> {
    if let Some(make) = own {
        return Some(make());
    }
    if writer.is_text() {
        return None;
    }
    cache.key_builder()
}

#[cold]
fn miss<H>(cache: &Cache, site: &'static Site, key: CallKey, is_early: bool) -> Lookup<H> {
    // A function whose keys are texts has no number before it asks for one, and is counted by it.
    let _ = site.id();
    Lookup::Miss(Box::new(Miss {
        cache: cache.clone(),
        site,
        key,
        tags: TagList::default(),
        is_early,
        deadline: None,
        renews: false,
    }))
}

/// There is no cache: the call just runs, and says so once.
#[cold]
pub(crate) fn uninitialized<H, M>(site: &Site) -> Lookup<H, M> {
    if site.warn_once() {
        tracing::warn!(
            function = %site,
            "a cached function was called before `FastCache::init`: it runs uncached"
        );
    }
    Lookup::Bypass
}

/// What a call comes to: a value that is there already, or a computation, which is small and keeps the rest on the heap,
/// so that the caller's own future stays small.
///
/// It is no future itself: a value that is there is given as it is, and not kept where an `.await` could
/// find it again.
#[derive(Debug)]
pub enum Answer<T, F> {
    /// The value.
    Ready(T),
    /// The computation.
    Pending(F),
}

/// Does what a call does before it waits, in a frame of its own: what that takes of the stack is free when the call is
/// polled.
#[inline]
pub fn apart<A>(begin: impl FnOnce() -> A) -> A {
    begin()
}

/// Runs a sync function on the blocking pool, or here where there is no runtime.
///
/// # Panics
///
/// If the function does, with the same payload.
pub async fn blocking<T, F>(function: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return function();
    };
    let (cache, leader) = (Cache::current(), current());
    let task = runtime.spawn_blocking(move || {
        // What it calls belongs to the same computation.
        let _entered = enter(leader);
        match cache {
            Some(cache) => cache.enter(function),
            None => function(),
        }
    });
    match task.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => std::panic::resume_unwind(payload),
            Err(error) => panic!("the runtime shut down while a cached function ran: {error}"),
        },
    }
}
