//! The path of a request that the layer answers.

use std::any::Any;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum_core::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use tower_service::Service;

use crate::engine::{Found, Look, Times, times_of};
use crate::http::{Forward, Target, has_validator, make_complete};
use crate::key::Key;
use crate::local::AnyEntry;
use crate::registry::Cache;
use crate::runtime::{Due, End, Purpose, detach};
use crate::stats::Origin;
use crate::tier::Change;

use super::Settings;
use super::asked::{Asked, key_of};
use super::pending::{Answered, Fetched, Pending, Turn, response_of};
use super::place::{Place, variant_key};
use super::plan::Arrival;
use super::reply::{COLLAPSED, HIT, Replies, forwarded, not_stored};
use super::stored::{Merit, Stored, StoredResponse};

/// How often a request looks in another place, before it is passed on.
const MOST_TURNS: usize = 4;

/// Answers a request by what is fresh in this process, without waiting.
pub(super) fn find_local(
    cache: &Cache,
    layer: &Settings,
    asked: &Asked,
    key: &Key,
) -> Option<Response<Body>> {
    let engine = cache.engine();
    let serve = |key: &Key, stored: &StoredResponse, entry: &AnyEntry, now: u64| {
        let times = times_of(entry, now);
        if stored.merit(asked, times) != Merit::Served {
            return None;
        }
        engine.local_hit(layer.site);
        let replies = Replies {
            cache,
            layer,
            asked,
            key,
        };
        Some(replies.hit(stored, times, HIT))
    };
    let (entry, now) = engine.find_local(key.local())?;
    let variants = match engine.downcast::<Stored>(layer.site, &entry)? {
        Stored::Response(stored) => return serve(key, stored, &entry, now),
        Stored::Variants(variants) => variants,
    };
    let key = variant_key(key, variants, asked);
    let (entry, now) = engine.find_local(key.local())?;
    match engine.downcast::<Stored>(layer.site, &entry)? {
        Stored::Response(stored) => serve(&key, stored, &entry, now),
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
        let asked = &pending.asked;
        if asked.directives.only_if_cached {
            return Ok(Turn::reply(not_stored()));
        }
        if asked.is_head {
            let (head, body) = self.pass(self.reason(&due.look)).await?.into_parts();
            pending.compare(place, &due.look, &head).await;
            return Ok(Turn::reply(Response::from_parts(head, body)));
        }
        let stored = response_of(&due.look);
        let can_validate = stored.is_some_and(|stored| has_validator(&stored.headers));
        if asked.is_ranged && !can_validate {
            return self.pass(Forward::Partial).await.map(Turn::reply);
        }
        self.finish(place, due, ended).await
    }

    /// Answers the request by what was found at first. What is of no use is forgotten.
    fn by_first_look(&self, place: &Place, due: &mut Due<Stored>) -> Option<Turn> {
        let pending = &self.pending;
        let found = due.look.found.as_ref()?;
        if let Some(next) = pending.elsewhere(place, found, due.look.ticket) {
            return Some(Turn::Elsewhere(next));
        }
        let merit = pending.merit(place, found);
        if let Stored::Response(stored) = &found.value
            && matches!(merit, Merit::Served | Merit::ServedStale)
        {
            let reply = pending.replies(place).hit(stored, found.times, HIT);
            pending.path(&place.key).hit(found.origin, found.times);
            // What answers HEAD is not stored.
            if merit == Merit::ServedStale && !pending.asked.is_head {
                due.refreshing = pending.engine().refreshes().begin(&place.key);
            }
            return Some(Turn::reply(reply));
        }
        if merit == Merit::Foreign {
            due.look.found = None;
        }
        None
    }

    /// Fetches the response in the background.
    async fn refresh(self: &Arc<Self>, place: Place, due: Due<Stored>, ended: u64) {
        let this = Arc::clone(self);
        let work = async move {
            if let Ok(Turn::Reply(reply)) = this.finish(&place, due, ended).await {
                drain(reply.into_body()).await;
            }
        };
        if let Err(work) = detach(&self.pending.cache, Box::pin(work)) {
            work.await;
        }
    }

    /// Fetches the response, together with others if they can use it. `ended` is how many responses had come
    /// before the first look.
    async fn finish(
        &self,
        place: &Place,
        mut due: Due<Stored>,
        ended: u64,
    ) -> Result<Turn, S::Error> {
        let pending = &self.pending;
        let purpose = due.purpose();
        let Due {
            start,
            look,
            refreshing: _refreshing,
            ..
        } = due;
        if !pending.asked.may_be_answered() {
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
            Stored::Response(_) => match pending.merit(place, found) {
                Merit::Served => !purpose.is_refresh || path.is_newer(found, purpose),
                Merit::ServedStale => !purpose.is_refresh,
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
                let reply = pending.replies(place).hit(stored, found.times, HIT);
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
        let merit = look.found.as_ref().map(|found| pending.merit(place, found));
        if merit == Some(Merit::Foreign) {
            look.found = None;
        }
        let stands_in = matches!(
            merit,
            Some(Merit::ServedStale | Merit::Validated { stands_in: true })
        );
        let stored = response_of(&look);
        let validated = stored.filter(|stored| has_validator(&stored.headers));
        let asking = self.ask(validated.map(|stored| &stored.headers));
        let computed = path.compute(purpose, stands_in, asking).await;
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
            Ok(Ok(response)) if !is_failure(response.status()) => {
                let status = response.status();
                return of(match validated {
                    Some(stored) if status == StatusCode::NOT_MODIFIED => {
                        let update = response.into_parts().0.headers;
                        pending.freshen(&fetched, stored, update).await
                    }
                    _ => pending.admit(&fetched, response, stored.is_some()).await,
                });
            }
            Ok(Ok(response)) => Failure::Response(response),
            Ok(Err(error)) => Failure::Error(error),
            Err(payload) => Failure::Panic(payload),
        };
        if stands_in && let (Some(found), Some(stored)) = (&look.found, stored) {
            path.stand_in(purpose, found);
            let mut status = forwarded(reason, false);
            status.forward_status = failure.status();
            let reply = pending.replies(place).hit(stored, found.times, status);
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
        let merit = self.pending.merit(place, found);
        matches!(merit, Merit::Served | Merit::ServedStale).then(|| {
            let replies = self.pending.replies(place);
            let reply = replies.hit(stored, found.times, COLLAPSED);
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
        Ok(self.pending.layer.passed_on(response, reason))
    }

    /// Asks the service for the complete response, or whether the stored one is current.
    async fn ask(&self, stored: Option<&HeaderMap>) -> Result<Response<Body>, S::Error> {
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

/// Whether a stored response may stand in for one of this status (RFC 5861 section 4).
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Reads a body to its end.
async fn drain(mut body: Body) {
    while let Some(Ok(_)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {}
}
