//! The path of a request that the layer answers.

use std::any::Any;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum_core::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use tower_service::Service;

use crate::engine::{Found, Look, Times, times_of};
use crate::http::{CacheStatus, Forward, Target, make_complete, selects, stands_in_for};
use crate::key::Key;
use crate::local::AnyEntry;
use crate::registry::Cache;
use crate::runtime::{Company, Due, End, Purpose, catch_if, detach, go_on_for};
use crate::stats::Origin;
use crate::tier::Change;
use crate::timer::within;

use super::Settings;
use super::asked::{Asked, key_of};
use super::pending::{Answered, Fetched, Pending, Turn, response_of};
use super::place::{Place, variant_key};
use super::plan::Arrival;
use super::stored::{Stored, StoredResponse, Usability};

/// How often a request looks in another place, before it is passed on.
const MOST_TURNS: usize = 4;

/// How long a refresh may take, after which another one may begin.
const REFRESHED: Duration = Duration::from_secs(60);

/// Answers a request by what is fresh in this process, without waiting.
pub(super) fn find_local(
    cache: &Cache,
    layer: &Settings,
    asked: &Asked,
    key: &Key,
) -> Option<Response<Body>> {
    let engine = cache.engine();
    let serve = |stored: &StoredResponse, entry: &AnyEntry, now: u64| {
        let times = times_of(entry, now);
        if stored.usability(asked, times) != Usability::Served {
            return None;
        }
        engine.local_hit(layer.site);
        let replies = layer.replies(cache.http(), asked);
        Some(replies.hit(&stored.response, stored.facts(times), CacheStatus::HIT))
    };
    let (entry, now) = engine.find_local(key.local())?;
    let variants = match engine.downcast::<Stored>(layer.site, &entry)? {
        Stored::Response(stored) => return serve(stored, &entry, now),
        Stored::Variants(variants) => variants,
    };
    let key = variant_key(key, variants, asked);
    let (entry, now) = engine.find_local(key.local())?;
    match engine.downcast::<Stored>(layer.site, &entry)? {
        Stored::Response(stored) => serve(stored, &entry, now),
        Stored::Variants(_) => None,
    }
}

/// Ends what is stored of a resource.
pub(super) async fn invalidate(cache: &Cache, layer: &Settings, target: &Target) {
    let engine = cache.engine();
    let Some(key) = key_of(target, engine.prefix_number(), layer) else {
        return;
    };
    let change = Change::Key(key.printed(engine.prefix()));
    if let Err(error) = engine.invalidate(change).await {
        engine.report_eviction(&error);
    }
}

/// A request that was not answered at once, and the service that can answer it.
pub(super) struct Exchange<S, Q> {
    pending: Arc<Pending>,
    inner: Mutex<Inner<S>>,
    /// Whether the service has been asked.
    has_begun: Arc<AtomicBool>,
    body: PhantomData<fn() -> Q>,
}

struct Inner<S> {
    /// The service that has said that it is ready.
    ready: Option<S>,
    unready: S,
}

impl<S, Q, B> Exchange<S, Q>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    Q: Default + Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum_core::BoxError>,
{
    pub(super) fn new(ready: S, pending: Arc<Pending>) -> Arc<Self> {
        let inner = Inner {
            unready: ready.clone(),
            ready: Some(ready),
        };
        Arc::new(Self {
            pending,
            inner: Mutex::new(inner),
            has_begun: Arc::default(),
            body: PhantomData,
        })
    }

    /// Answers the request, beginning under the key of its resource.
    pub(super) async fn respond(self: Arc<Self>, key: Key) -> Result<Response<Body>, S::Error> {
        let mut place = Place::of(key);
        for _ in 0..MOST_TURNS {
            match self.turn(&place).await? {
                Turn::Reply(reply) => return Ok(*reply),
                Turn::Elsewhere(next) => place = next,
            }
        }
        self.pass(Forward::Bypass).await
    }

    async fn turn(self: &Arc<Self>, place: &Place) -> Result<Turn, S::Error> {
        let pending = &self.pending;
        let ended = pending.cache.fills().ended();
        let mut due = pending.path(&place.key).look().await;
        if let Some(turn) = self.by_first_look(place, &mut due) {
            if due.refreshing.is_some() {
                self.refresh(place.clone(), due, ended).await;
            }
            return Ok(turn);
        }
        let asks = &pending.asked.asks;
        if asks.directives.only_if_cached {
            let reply = pending.replies().not_stored(CacheStatus::default());
            return Ok(Turn::reply(reply));
        }
        if asks.form.is_head {
            let (head, body) = self.pass(self.reason(&due.look)).await?.into_parts();
            pending.compare(place, &due.look, &head).await;
            return Ok(Turn::reply(Response::from_parts(head, body)));
        }
        let stored = response_of(&due.look);
        let can_validate = stored.is_some_and(|stored| stored.response.can_be_validated());
        if asks.form.is_ranged && !can_validate {
            return self.pass(Forward::Partial).await.map(Turn::reply);
        }
        let (cache, site) = (&pending.cache, pending.layer.site);
        let company = Company::of(cache, site, &place.key, Arc::clone(&self.has_begun));
        let (this, place) = (Arc::clone(self), place.clone());
        let work = async move { this.finish(&place, due, ended).await };
        go_on_for(company, Box::pin(work), drain_turn).await
    }

    /// Answers the request by what was found at first. What is of no use is forgotten.
    fn by_first_look(&self, place: &Place, due: &mut Due<Stored>) -> Option<Turn> {
        let pending = &self.pending;
        let found = due.look.found.as_ref()?;
        if let Some(next) = pending.elsewhere(place, found, due.look.ticket) {
            return Some(Turn::Elsewhere(next));
        }
        let usability = pending.usability(place, found);
        if let Stored::Response(stored) = &found.value
            && matches!(usability, Usability::Served | Usability::ServedStale)
        {
            let reply = self.hit(stored, found.times, CacheStatus::HIT);
            pending.path(&place.key).hit(found.origin, found.times);
            // What answers HEAD is not stored.
            if usability == Usability::ServedStale && !pending.asked.asks.form.is_head {
                due.refreshing = pending.engine().refreshes().begin(&place.key, REFRESHED);
            }
            return Some(Turn::reply(reply));
        }
        if usability == Usability::Foreign {
            due.look.found = None;
        }
        None
    }

    fn hit(&self, stored: &StoredResponse, times: Times, status: CacheStatus) -> Response<Body> {
        let replies = self.pending.replies();
        replies.hit(&stored.response, stored.facts(times), status)
    }

    /// Fetches the response in the background.
    async fn refresh(self: &Arc<Self>, place: Place, due: Due<Stored>, ended: u64) {
        let this = Arc::clone(self);
        let work = async move { drain_turn(this.finish(&place, due, ended).await).await };
        let work = async move { within(REFRESHED, work).await.map(drop) };
        if let Err(work) = detach(&self.pending.cache, Box::pin(work)) {
            let _ = work.await;
        }
    }

    /// Fetches the response, together with others if they can use it. `ended` is how many responses had come
    /// before the first look.
    async fn finish(&self, place: &Place, due: Due<Stored>, ended: u64) -> Result<Turn, S::Error> {
        let pending = &self.pending;
        let purpose = due.purpose();
        let Due {
            start,
            look,
            refreshing: _refreshing,
            ..
        } = due;
        if !self.may_wait(place) {
            let (answered, _) = self.fetch(place, look, &purpose).await;
            return Ok(answered?.turn);
        }
        let answer = |first: Option<Look<Stored>>, ()| {
            let first = first.filter(|_| pending.cache.fills().ended() == ended);
            self.answer(place, first, &purpose)
        };
        let path = pending.path(&place.key);
        let accept = |found| self.accept(place, &found).map(Ok);
        let together = path.together(start, Some(look), (), answer, stored_of, accept);
        Ok(together.await?.turn)
    }

    /// Whether the request waits for another one that fetches the same. It does not where that is of no use: where it
    /// wants an answer of its own, tells who sent it, or is for what could not be stored a moment ago.
    fn may_wait(&self, place: &Place) -> bool {
        let asked = &self.pending.asked;
        let is_storable = || !self.pending.engine().unstorable().knows(&place.key);
        asked.asks.may_be_answered() && !asked.is_personal && is_storable()
    }

    /// Answers by what has come meanwhile, or fetches.
    async fn answer(
        &self,
        place: &Place,
        first: Option<Look<Stored>>,
        purpose: &Purpose,
    ) -> (Result<Answered, S::Error>, End) {
        let pending = &self.pending;
        let path = pending.path(&place.key);
        let answers = |found: &Found<Stored>| match &found.value {
            Stored::Variants(_) => place.index.is_none(),
            Stored::Response(_) => match pending.usability(place, found) {
                Usability::Served => !purpose.is_refresh || path.is_newer(found, purpose),
                Usability::ServedStale => !purpose.is_refresh,
                _ => false,
            },
        };
        let settled = path.settle_by(first, purpose, answers).await;
        let look = settled.look;
        if settled.answers
            && let Some(found) = &look.found
        {
            if let Some(next) = pending.elsewhere(place, found, look.ticket) {
                return of(Answered::alone(Turn::Elsewhere(next)));
            }
            if let Stored::Response(stored) = &found.value {
                path.serve(purpose, found);
                let reply = self.hit(stored, found.times, CacheStatus::HIT);
                let end = End::Valid(found.times, look.validity());
                return of((Answered::shared(reply, (**stored).clone()), end));
            }
        }
        if let Some(reply) = pending.follow(place, look.ticket).await {
            path.hit(Origin::Flight, Times::new(None));
            return of(Answered::alone(Turn::reply(reply)));
        }
        self.fetch(place, look, purpose).await
    }

    /// Asks the service, and stores what it answers if that may be. What was found is validated, and stands in
    /// for an answer that fails.
    async fn fetch(
        &self,
        place: &Place,
        mut look: Look<Stored>,
        purpose: &Purpose,
    ) -> (Result<Answered, S::Error>, End) {
        let pending = &self.pending;
        let path = pending.path(&place.key);
        let reason = self.reason(&look);
        let found = look.found.as_ref();
        let usability = found.map(|found| pending.usability(place, found));
        if usability == Some(Usability::Foreign) {
            look.found = None;
        }
        let stands_in = matches!(
            usability,
            Some(Usability::ServedStale | Usability::Validated { stands_in: true })
        );
        let stored = response_of(&look);
        let validated = stored
            .filter(|stored| stored.response.can_be_validated())
            .map(|stored| stored.response.origin_headers());
        self.has_begun.store(true, Ordering::Relaxed);
        let asking = catch_if(stands_in, self.ask(validated.as_ref()));
        let computed = path.compute(purpose, asking).await;
        let fetched = Fetched {
            place,
            ticket: look.ticket,
            arrival: Arrival {
                at: pending.engine().wall(),
                took: computed.took,
            },
            reason,
        };
        let failure = match computed.outcome {
            Ok(Ok(answer)) => {
                let (response, is_current) = answer.into_parts();
                if let Some(stored) = stored.filter(|_| is_current) {
                    let update = response.into_parts().0.headers;
                    return of(pending.freshen(&fetched, stored, update).await);
                }
                if !stands_in_for(response.status()) {
                    return of(pending.admit(&fetched, response, stored.is_some()).await);
                }
                Failure::Response(response)
            }
            Ok(Err(error)) => Failure::Error(error),
            Err(payload) => Failure::Panic(payload),
        };
        if stands_in && let (Some(found), Some(stored)) = (&look.found, stored) {
            path.stand_in(purpose, found);
            let mut status = CacheStatus::forwarded(reason);
            status.forward_status = failure.status();
            let reply = self.hit(stored, found.times, status);
            let end = End::Valid(found.times, look.validity());
            return of((Answered::shared(reply, stored.clone()), end));
        }
        match failure {
            Failure::Response(response) => of(pending.admit(&fetched, response, false).await),
            Failure::Error(error) => (Err(error), End::Alone),
            Failure::Panic(payload) => resume_unwind(payload),
        }
    }

    /// Makes the reply of what another request has fetched, if it is good for this one.
    fn accept(&self, place: &Place, found: &Found<Stored>) -> Option<Answered> {
        let Stored::Response(stored) = &found.value else {
            return None;
        };
        let usability = self.pending.usability(place, found);
        matches!(usability, Usability::Served | Usability::ServedStale).then(|| {
            let reply = self.hit(stored, found.times, CacheStatus::COLLAPSED);
            Answered::shared(reply, (**stored).clone())
        })
    }

    /// Why the service is asked.
    fn reason(&self, look: &Look<Stored>) -> Forward {
        match (&look.found, response_of(look)) {
            (None, _) => Forward::UriMiss,
            (Some(_), None) => Forward::VaryMiss,
            (Some(found), Some(stored)) => {
                let is_fresh = stored.freshness.rest(found.times) > 0;
                match is_fresh && !stored.freshness.must_validate {
                    true => Forward::Request,
                    false => Forward::Stale,
                }
            }
        }
    }

    /// Passes the request on as it came.
    async fn pass(&self, reason: Forward) -> Result<Response<Body>, S::Error> {
        let parts = self.pending.asked.parts.clone();
        let response = self.call(Request::from_parts(parts, Q::default())).await?;
        let http = self.pending.cache.http();
        Ok(self.pending.layer.passed_on(response, http, reason, None))
    }

    /// Asks the service for the complete response, or whether the stored one is current. An answer that speaks of another
    /// response than the stored one says nothing of that, and is of no use itself: the response is then asked for
    /// (RFC 9111 section 4.3.4).
    async fn ask(&self, stored: Option<&HeaderMap>) -> Result<Answer, S::Error> {
        let response = self.ask_once(stored).await?;
        let Some(stored) = stored.filter(|_| response.status() == StatusCode::NOT_MODIFIED) else {
            return Ok(Answer::New(response));
        };
        match selects(stored, response.headers()) {
            true => Ok(Answer::Current(response)),
            // An origin that answers 304 to this too has nothing to say of what is stored.
            false => Ok(Answer::New(self.ask_once(None).await?)),
        }
    }

    async fn ask_once(&self, stored: Option<&HeaderMap>) -> Result<Response<Body>, S::Error> {
        let mut parts = self.pending.asked.parts.clone();
        make_complete(&mut parts.headers, stored);
        self.call(Request::from_parts(parts, Q::default())).await
    }

    async fn call(&self, request: Request<Q>) -> Result<Response<Body>, S::Error> {
        let mut service = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.ready.take().unwrap_or_else(|| inner.unready.clone())
        };
        poll_fn(|context| service.poll_ready(context)).await?;
        Ok(service.call(request).await?.map(Body::new))
    }
}

/// What a service has answered.
enum Answer {
    /// That the response that it was asked about is current.
    Current(Response<Body>),
    New(Response<Body>),
}

impl Answer {
    /// The response, and whether the one that the service was asked about is current.
    fn into_parts(self) -> (Response<Body>, bool) {
        match self {
            Self::Current(response) => (response, true),
            Self::New(response) => (response, false),
        }
    }
}

/// How a service has failed.
enum Failure<E> {
    Response(Response<Body>),
    Error(E),
    Panic(Box<dyn Any + Send>),
}

impl<E> Failure<E> {
    fn status(&self) -> Option<u16> {
        match self {
            Self::Response(response) => Some(response.status().as_u16()),
            _ => None,
        }
    }
}

fn of<E>((answered, end): (Answered, End)) -> (Result<Answered, E>, End) {
    (Ok(answered), end)
}

fn stored_of<E>(answered: &Result<Answered, E>) -> Option<&Stored> {
    answered.as_ref().ok()?.stored.as_ref()
}

/// Reads a body to its end.
async fn drain(mut body: Body) {
    while let Some(Ok(_)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {}
}

/// Reads what was fetched to its end, so that it is stored.
async fn drain_turn<E>(turn: Result<Turn, E>) {
    if let Ok(Turn::Reply(reply)) = turn {
        drain(reply.into_body()).await;
    }
}
