//! The path of a request that the layer answers.

use std::any::Any;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum_core::body::Body;
use bytes::Bytes;
use http::header::AGE;
use http::{HeaderMap, Request, Response, StatusCode, response};
use http_body::Body as HttpBody;
use tower_service::Service;

use crate::access::Access;
use crate::body::{Gathered, gather};
use crate::engine::{Found, Look, Terms, Ticket, Times};
use crate::entry::unique;
use crate::handler::Status;
use crate::http::{
    CacheStatus, Forward, Target, entity_tag, freshened, has_validator, make_complete, moment,
    not_modified, strip_for_not_modified,
};
use crate::key::Key;
use crate::registry::Cache;
use crate::runtime::{Due, End, Path, Purpose, detach};
use crate::stats::Origin;
use crate::tags::TagList;
use crate::tier::Change;
use crate::value::RegistryCoder;

use super::Settings;
use super::asked::{Asked, key_of};
use super::fill::{Fill, Filling, Outcome};
use super::plan::{Arrival, MOST_NAMES, Plan};
use super::stored::{Merit, Stored, StoredResponse, Variants, age_value};

/// How often a request looks in another place, before it is passed on.
const MOST_TURNS: usize = 4;

/// How long others wait for a body whose length is not known.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers a request by what is fresh in this process, without waiting.
pub(super) fn find_local(
    cache: &Cache,
    layer: &Settings,
    asked: &Asked,
    key: &Key,
) -> Option<Response<Body>> {
    let engine = cache.engine();
    let find = |key: &Key| engine.find_local(key.local());
    let (mut entry, mut times) = find(key)?;
    let mut place = key.clone();
    if let Stored::Variants(variants) = engine.downcast::<Stored>(layer.site, &entry)? {
        place = variant_key(key, variants, asked);
        (entry, times) = find(&place)?;
    }
    let Stored::Response(stored) = engine.downcast::<Stored>(layer.site, &entry)? else {
        return None;
    };
    if stored.merit(asked, times, false) != Merit::Served {
        return None;
    }
    engine.counters(layer.site).hit(Origin::Local);
    let reply = Reply {
        cache,
        layer,
        asked,
        key: &place,
    };
    Some(reply.hit(stored, times, None))
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

/// A request that was not answered at once.
pub(super) struct Exchange<S, Q> {
    inner: Mutex<Inner<S>>,
    cache: Cache,
    layer: Arc<Settings>,
    asked: Asked,
    tags: TagList,
    body: PhantomData<fn() -> Q>,
}

struct Inner<S> {
    /// The service that has said that it is ready.
    ready: Option<S>,
    unready: S,
}

/// Where a request looks.
#[derive(Clone)]
struct Place {
    key: Key,
    /// `None` for the key of the resource itself.
    index: Option<Index>,
}

/// What was found under the key of a resource whose responses differ.
#[derive(Clone)]
struct Index {
    key: Key,
    variants: Variants,
    ticket: Ticket,
    /// For how long it is there, in milliseconds; `None` for good.
    rest: Option<u64>,
}

/// What becomes of a request at one place.
enum Turn {
    Reply(Response<Body>),
    /// It is to look elsewhere.
    Elsewhere(Place),
}

/// The same, or the error of the service, with what others may share of it.
struct Answered<E> {
    outcome: Result<Turn, E>,
    stored: Option<Stored>,
}

impl<E> Answered<E> {
    /// What is for nobody else.
    fn alone(outcome: Result<Turn, E>) -> (Self, End) {
        let answered = Self {
            outcome,
            stored: None,
        };
        (answered, End::Alone)
    }

    fn stored(&self) -> Option<&Stored> {
        self.stored.as_ref()
    }

    fn reply(reply: Response<Body>, stored: StoredResponse) -> Self {
        Self {
            outcome: Ok(Turn::Reply(reply)),
            stored: Some(Stored::Response(stored)),
        }
    }
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
    pub(super) fn new(ready: S, cache: Cache, layer: Arc<Settings>, asked: Asked) -> Arc<Self> {
        let inner = Inner {
            unready: ready.clone(),
            ready: Some(ready),
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            cache,
            layer,
            asked,
            tags: TagList::default(),
            body: PhantomData,
        })
    }

    /// Answers the request, beginning under the key of its resource.
    pub(super) async fn respond(self: Arc<Self>, key: Key) -> Result<Response<Body>, S::Error> {
        let mut place = Place { key, index: None };
        for _ in 0..MOST_TURNS {
            match self.turn(&place).await? {
                Turn::Reply(reply) => return Ok(reply),
                Turn::Elsewhere(next) => place = next,
            }
        }
        self.pass(Forward::Bypass).await
    }

    async fn turn(self: &Arc<Self>, place: &Place) -> Result<Turn, S::Error> {
        let ended = self.cache.fills().ended();
        let mut due = self.path(place).look().await;
        if let Some(turn) = self.by_first_look(place, &mut due) {
            if due.refreshing.is_some() {
                self.refresh(place.clone(), due, ended).await;
            }
            return Ok(turn);
        }
        if self.asked.directives.only_if_cached {
            return Ok(Turn::Reply(gateway_timeout()));
        }
        let stored = response_of(&due.look);
        let can_validate = stored.is_some_and(|stored| has_validator(&stored.headers));
        if self.asked.is_head {
            let (head, body) = self.pass(self.reason(&due.look)).await?.into_parts();
            self.compare(place, due.look, &head).await;
            return Ok(Turn::Reply(Response::from_parts(head, body)));
        }
        if self.asked.is_ranged && !can_validate {
            return self.pass(Forward::Partial).await.map(Turn::Reply);
        }
        self.finish(place, due, ended).await
    }

    /// Answers the request by what was found at first. What is of no use is forgotten.
    fn by_first_look(&self, place: &Place, due: &mut Due<Stored>) -> Option<Turn> {
        let found = due.look.found.as_ref()?;
        if let Some(next) = self.elsewhere(place, found, due.look.ticket) {
            return Some(Turn::Elsewhere(next));
        }
        let path = self.path(place);
        let merit = self.merit(place, found);
        let Stored::Response(stored) = &found.value else {
            due.look.found = None;
            return None;
        };
        match merit {
            Merit::Served | Merit::ServedStale => {
                let reply = self.reply_at(place).hit(stored, found.times, None);
                path.hit(found.origin, found.times);
                // What answers HEAD is not stored.
                if merit == Merit::ServedStale && !self.asked.is_head {
                    due.refreshing = self.cache.engine().refreshes().begin(&place.key);
                }
                Some(Turn::Reply(reply))
            }
            Merit::Validated { .. } => None,
            Merit::Foreign => {
                due.look.found = None;
                None
            }
        }
    }

    /// Fetches the response in the background.
    async fn refresh(self: &Arc<Self>, place: Place, due: Due<Stored>, ended: u64) {
        let this = Arc::clone(self);
        let work = async move {
            if let Ok(Turn::Reply(reply)) = this.finish(&place, due, ended).await {
                drain(reply.into_body()).await;
            }
        };
        if let Err(work) = detach(&self.cache, Box::pin(work)) {
            work.await;
        }
    }

    /// Fetches the response, together with others if they can use it. `ended` is how many responses had come
    /// before the first look.
    async fn finish(
        self: &Arc<Self>,
        place: &Place,
        due: Due<Stored>,
        ended: u64,
    ) -> Result<Turn, S::Error> {
        let purpose = due.purpose();
        let Due {
            start,
            look,
            refreshing: _refreshing,
            ..
        } = due;
        if !self.asked.may_be_answered() {
            let fetched = self.fetch(place, look, &purpose).await;
            return fetched.0.outcome;
        }
        let path = self.path(place);
        let answer = |first: Option<Look<Stored>>, ()| {
            let first = first.filter(|_| self.cache.fills().ended() == ended);
            self.answer(place, first, &purpose)
        };
        let accept = |found| self.accept(place, found);
        let together = path.together(start, Some(look), (), answer, Answered::stored, accept);
        together.await.outcome
    }

    /// Answers by what has come meanwhile, or fetches.
    async fn answer(
        self: &Arc<Self>,
        place: &Place,
        first: Option<Look<Stored>>,
        purpose: &Purpose,
    ) -> (Answered<S::Error>, End) {
        let path = self.path(place);
        let answers = |found: &Found<Stored>| match &found.value {
            Stored::Variants(_) => place.index.is_none(),
            Stored::Response(_) => match self.merit(place, found) {
                Merit::Served => !purpose.is_refresh || path.is_newer(found, purpose),
                Merit::ServedStale => !purpose.is_refresh,
                _ => false,
            },
        };
        let settled = path.settle_by(first, purpose, answers).await;
        let validity = settled.look.validity();
        if settled.answers
            && let Some(found) = &settled.look.found
        {
            if let Some(next) = self.elsewhere(place, found, settled.look.ticket) {
                return Answered::alone(Ok(Turn::Elsewhere(next)));
            }
            if let Stored::Response(stored) = &found.value {
                path.serve(purpose, found);
                let reply = self.reply_at(place).hit(stored, found.times, None);
                let end = End::Valid(found.times, validity);
                return (Answered::reply(reply, stored.clone()), end);
            }
        }
        if let Some(reply) = self.follow(place, settled.look.ticket).await {
            path.hit(Origin::Flight, Times::new(None));
            return Answered::alone(Ok(Turn::Reply(reply)));
        }
        self.fetch(place, settled.look, purpose).await
    }

    /// Asks the service, and stores what it answers if that may be. What was found is validated, and stands in
    /// for an answer that fails.
    async fn fetch(
        self: &Arc<Self>,
        place: &Place,
        look: Look<Stored>,
        purpose: &Purpose,
    ) -> (Answered<S::Error>, End) {
        let path = self.path(place);
        let reason = self.reason(&look);
        let validity = look.validity();
        let ticket = look.ticket;
        let found = look
            .found
            .filter(|found| self.merit(place, found) != Merit::Foreign);
        let stands_in = found.as_ref().filter(|found| {
            let merit = self.merit(place, found);
            matches!(
                merit,
                Merit::ServedStale | Merit::Validated { stands_in: true }
            )
        });
        let stored = found.as_ref().and_then(|found| match &found.value {
            Stored::Response(stored) => Some((stored, found.times)),
            Stored::Variants(_) => None,
        });
        let validated = stored.filter(|(stored, _)| has_validator(&stored.headers));
        let condition = validated.map(|(stored, _)| &stored.headers);
        let asking = self.ask(condition);
        let computed = path.compute(purpose, stands_in.is_some(), asking).await;
        let arrival = Arrival {
            at: self.cache.engine().wall(),
            took: computed.took,
        };
        let failure = match computed.outcome {
            Ok(Ok(response)) if !is_failure(response.status()) => {
                if response.status() == StatusCode::NOT_MODIFIED
                    && let Some((stored, _)) = validated
                {
                    let fetched = Fetched {
                        place,
                        ticket,
                        arrival,
                        reason,
                    };
                    return self.freshen(&fetched, stored, response).await;
                }
                let fetched = Fetched {
                    place,
                    ticket,
                    arrival,
                    reason,
                };
                return self.admit(&fetched, response, stored.is_some()).await;
            }
            Ok(Ok(response)) => Failure::Response(response),
            Ok(Err(error)) => Failure::Error(error),
            Err(payload) => Failure::Panic(payload),
        };
        if let Some(found) = stands_in
            && let Stored::Response(stored) = &found.value
        {
            path.stand_in(purpose, found);
            let mut status = CacheStatus {
                forward: Some(reason),
                ..CacheStatus::default()
            };
            status.forward_status = failure.status();
            let reply = self.reply_at(place).hit(stored, found.times, Some(status));
            let end = End::Valid(found.times, validity);
            return (Answered::reply(reply, stored.clone()), end);
        }
        match failure {
            Failure::Response(response) => {
                let fetched = Fetched {
                    place,
                    ticket,
                    arrival,
                    reason,
                };
                self.admit(&fetched, response, false).await
            }
            Failure::Error(error) => Answered::alone(Err(error)),
            Failure::Panic(payload) => resume_unwind(payload),
        }
    }

    /// Brings a stored response up to date, which its origin has said to be current.
    async fn freshen(
        self: &Arc<Self>,
        fetched: &Fetched<'_>,
        stored: &StoredResponse,
        response: Response<Body>,
    ) -> (Answered<S::Error>, End) {
        let place = fetched.place;
        let update = response.into_parts().0.headers;
        let headers = freshened(&stored.headers, update, moment(fetched.arrival.at));
        let status = CacheStatus {
            forward: Some(fetched.reason),
            forward_status: Some(StatusCode::NOT_MODIFIED.as_u16()),
            ..CacheStatus::default()
        };
        let Some(plan) = self.plan(stored.status, &headers, fetched.arrival) else {
            self.forget(place).await;
            let current = StoredResponse {
                headers,
                ..stored.clone()
            };
            let reply = self.reply_at(place).miss(&current, None, status);
            return Answered::alone(Ok(Turn::Reply(reply)));
        };
        let current = StoredResponse {
            headers: plan.headers,
            freshness: plan.freshness,
            variant: self.asked.variant(&plan.names),
            names: plan.names,
            ..stored.clone()
        };
        let end = self.store(fetched, &current, plan.retention).await;
        let status = CacheStatus {
            stored: matches!(end, End::Valid(..)),
            ..status
        };
        let reply = self
            .reply_at(place)
            .miss(&current, plan.age.as_ref(), status);
        (Answered::reply(reply, current), end)
    }

    /// Passes a response on, and stores it if that may be. `replaces` says whether an older one is stored.
    async fn admit(
        self: &Arc<Self>,
        fetched: &Fetched<'_>,
        response: Response<Body>,
        replaces: bool,
    ) -> (Answered<S::Error>, End) {
        let place = fetched.place;
        let limit = self.cache.http().max_body;
        let fits =
            usize::try_from(response.body().size_hint().lower()).is_ok_and(|lower| lower <= limit);
        let plan = self.plan(response.status(), response.headers(), fetched.arrival);
        let Some(plan) = plan.filter(|_| fits) else {
            if replaces {
                self.forget(place).await;
            }
            let reply = self.unstored(response, fetched.reason);
            return Answered::alone(Ok(Turn::Reply(reply)));
        };
        let (parts, body) = response.into_parts();
        let mut current = StoredResponse {
            status: parts.status,
            headers: plan.headers,
            body: Bytes::new(),
            is_on_its_way: true,
            etag: None,
            freshness: plan.freshness,
            variant: self.asked.variant(&plan.names),
            names: plan.names,
        };
        let mut status = CacheStatus {
            forward: Some(fetched.reason),
            stored: true,
            ..CacheStatus::default()
        };
        let age = plan.age.as_ref();
        match gather(body, limit).await {
            Gathered::Whole(body) => {
                current.take_body(body);
                let end = self.store(fetched, &current, plan.retention).await;
                status.stored = matches!(end, End::Valid(..));
                let mut reply = self.reply_at(place).miss(&current, age, status);
                *reply.extensions_mut() = parts.extensions;
                (Answered::reply(reply, current), end)
            }
            Gathered::Short(body) => {
                let response = Response::from_parts(parts, Body::from(body));
                let reply = self.layer.passed_on(response, fetched.reason);
                Answered::alone(Ok(Turn::Reply(reply)))
            }
            Gathered::Streaming(body) => {
                let mut reply = self.reply_at(place).miss(&current, age, status);
                *reply.extensions_mut() = parts.extensions;
                let own = self.stream(fetched, current, body, plan.retention, &reply);
                if reply.status() != StatusCode::NOT_MODIFIED {
                    *reply.body_mut() = own;
                }
                Answered::alone(Ok(Turn::Reply(reply)))
            }
        }
    }

    /// Reads a body in the background, stores it when it is complete, and gives it to whoever reads along.
    fn stream(
        self: &Arc<Self>,
        fetched: &Fetched<'_>,
        head: StoredResponse,
        body: Body,
        retention: Duration,
        reply: &Response<Body>,
    ) -> Body {
        let fill = Fill::new(&body);
        let own = fill.own_reader();
        let filling = Arc::new(Filling {
            head,
            fill: Arc::clone(&fill),
            ticket: fetched.ticket,
            since: self.cache.engine().now(),
        });
        let place = fetched.place.clone();
        let Fetched {
            ticket,
            arrival,
            reason,
            ..
        } = *fetched;
        // A client that is told that it has the body already reads nothing.
        let may_give_up = reply.status() != StatusCode::NOT_MODIFIED;
        self.cache.fills().insert(&place.key, &filling);
        let this = Arc::clone(self);
        let limit = self.cache.http().max_body;
        let work = async move {
            let listed = Listed {
                cache: &this.cache,
                key: &place.key,
                filling: &filling,
            };
            if let Outcome::Complete(body) = fill.pump(body, limit, may_give_up).await {
                let mut whole = filling.head.clone();
                whole.take_body(body);
                let fetched = Fetched {
                    place: &place,
                    ticket,
                    arrival,
                    reason,
                };
                this.store(&fetched, &whole, retention).await;
            }
            drop(listed);
        };
        // A request is answered within a runtime, where its body is read too.
        let _ = detach(&self.cache, Box::pin(work));
        own
    }

    /// Reads along with another request for the same, if there is one.
    async fn follow(&self, place: &Place, now: Ticket) -> Option<Response<Body>> {
        let filling = self.cache.fills().get(&place.key)?;
        let engine = self.cache.engine();
        let times = || Times {
            age: engine.now().saturating_sub(filling.since),
            ..Times::new(None)
        };
        let is_usable = || {
            filling.head.merit(&self.asked, times(), false) == Merit::Served
                && engine.is_still_valid(filling.ticket, now, &place.key)
        };
        if !is_usable() {
            return None;
        }
        let mut body = filling.fill.shared_reader();
        if body.is_none() {
            let _ = tokio::time::timeout(PATIENCE, filling.fill.ended()).await;
            body = is_usable().then(|| filling.fill.shared_reader()).flatten();
        }
        let body = body?;
        let status = CacheStatus {
            forward: Some(Forward::UriMiss),
            collapsed: true,
            ..CacheStatus::default()
        };
        let mut reply = self
            .reply_at(place)
            .hit(&filling.head, times(), Some(status));
        if reply.status() != StatusCode::NOT_MODIFIED {
            *reply.body_mut() = body;
        }
        Some(reply)
    }

    /// Stores a response where requests like this one look, and says what it is to others.
    async fn store(
        &self,
        fetched: &Fetched<'_>,
        response: &StoredResponse,
        retention: Duration,
    ) -> End {
        let Fetched { place, ticket, .. } = *fetched;
        let terms = Terms {
            fresh: Some(retention),
            stale: Duration::ZERO,
            took: fetched.arrival.took,
            tags: &[],
        };
        let value = Stored::Response(response.clone());
        let is_one_of_many = !response.names.is_empty() || self.asked.has_extra();
        if !is_one_of_many && place.index.is_none() {
            return self.path(place).store_on(ticket, &value, &terms).await;
        }
        let known = place.index.as_ref();
        let mut names = response.names.clone();
        names.extend(
            known
                .iter()
                .flat_map(|index| index.variants.names.iter().cloned()),
        );
        crate::http::sort_names(&mut names);
        if names.len() > MOST_NAMES {
            return End::Alone;
        }
        let same = known.filter(|index| index.variants.names == names);
        let variants = Variants {
            id: same.map_or_else(unique, |index| index.variants.id),
            names,
        };
        let index_key = known.map_or(&place.key, |index| &index.key);
        let lasts = |index: &Index| {
            let rest = index.rest.map(Duration::from_millis);
            rest.is_none_or(|rest| rest >= retention)
        };
        if !same.is_some_and(lasts) {
            let index_ticket = known.map_or(ticket, |index| index.ticket);
            let index = Stored::Variants(variants.clone());
            let end = self
                .path_of(index_key)
                .store_on(index_ticket, &index, &terms)
                .await;
            if !matches!(end, End::Valid(..)) {
                return end;
            }
        }
        let key = variant_key(index_key, &variants, &self.asked);
        let ticket = match same {
            Some(_) => ticket,
            None => ticket.for_new_key(),
        };
        self.path_of(&key).store_on(ticket, &value, &terms).await
    }

    /// Makes of a response what this request wants, which was not asked of the service: whether the client has
    /// it already.
    fn unstored(&self, response: Response<Body>, reason: Forward) -> Response<Body> {
        let mut reply = self.layer.passed_on(response, reason);
        let is_asked = reply.status() == StatusCode::OK;
        if is_asked && not_modified(&self.asked.parts.headers, reply.headers()) {
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
            strip_for_not_modified(reply.headers_mut());
            *reply.body_mut() = Body::empty();
        }
        reply
    }

    /// Passes the request on as it came.
    async fn pass(&self, reason: Forward) -> Result<Response<Body>, S::Error> {
        let request = Request::from_parts(self.asked.parts.clone(), Q::default());
        let response = self.call(request).await?;
        Ok(self.layer.passed_on(response, reason))
    }

    /// Asks the service for the complete response, or whether the stored one is current.
    async fn ask(&self, stored: Option<&HeaderMap>) -> Result<Response<Body>, S::Error> {
        let mut parts = self.asked.parts.clone();
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

    /// What a response to HEAD says of the stored one (RFC 9111 section 4.3.5).
    async fn compare(&self, place: &Place, look: Look<Stored>, head: &response::Parts) {
        let ticket = look.ticket;
        let Some(Found {
            value: Stored::Response(stored),
            ..
        }) = look.found
        else {
            return;
        };
        if head.status != stored.status {
            return;
        }
        if !stored.agrees_with(&head.headers) {
            return self.forget(place).await;
        }
        let arrival = Arrival {
            at: self.cache.engine().wall(),
            took: 0,
        };
        let update = head.headers.clone();
        let headers = freshened(&stored.headers, update, moment(arrival.at));
        if let Some(plan) = self.plan(stored.status, &headers, arrival) {
            let current = StoredResponse {
                headers: plan.headers,
                freshness: plan.freshness,
                variant: self.asked.variant(&plan.names),
                names: plan.names,
                ..stored
            };
            let fetched = Fetched {
                place,
                ticket,
                arrival,
                reason: Forward::Stale,
            };
            self.store(&fetched, &current, plan.retention).await;
        }
    }

    /// Ends what is stored at a place.
    async fn forget(&self, place: &Place) {
        let engine = self.cache.engine();
        if let Err(error) = engine.remove(&place.key).await {
            engine.report(self.layer.site, &error);
        }
    }

    /// Makes the reply of what another request has fetched, if it is good for this one.
    fn accept(&self, place: &Place, found: Found<Stored>) -> Option<Answered<S::Error>> {
        let merit = self.merit(place, &found);
        let Stored::Response(stored) = found.value else {
            return None;
        };
        if !matches!(merit, Merit::Served | Merit::ServedStale) {
            return None;
        }
        let status = CacheStatus {
            forward: Some(Forward::UriMiss),
            collapsed: true,
            ..CacheStatus::default()
        };
        let reply = self.reply_at(place).hit(&stored, found.times, Some(status));
        Some(Answered::reply(reply, stored))
    }

    fn merit(&self, place: &Place, found: &Found<Stored>) -> Merit {
        let rests = || self.cache.engine().refreshes().rests(&place.key);
        match &found.value {
            Stored::Variants(_) => Merit::Foreign,
            Stored::Response(stored) => {
                let merit = stored.merit(&self.asked, found.times, false);
                match merit {
                    Merit::Validated { stands_in: true } if rests() => Merit::ServedStale,
                    merit => merit,
                }
            }
        }
    }

    /// Where else a request is to look, if the responses of its resource differ.
    fn elsewhere(&self, place: &Place, found: &Found<Stored>, ticket: Ticket) -> Option<Place> {
        let Stored::Variants(variants) = &found.value else {
            return None;
        };
        if place.index.is_some() {
            return None;
        }
        Some(Place {
            key: variant_key(&place.key, variants, &self.asked),
            index: Some(Index {
                key: place.key.clone(),
                variants: variants.clone(),
                ticket,
                rest: found.times.remaining,
            }),
        })
    }

    /// Why the service is asked.
    fn reason(&self, look: &Look<Stored>) -> Forward {
        match &look.found {
            None => Forward::UriMiss,
            Some(_) if !self.asked.may_be_answered() => Forward::Request,
            Some(Found {
                value: Stored::Response(stored),
                times,
                ..
            }) => match stored.freshness.rest(*times) > 0 {
                true => Forward::Request,
                false => Forward::Stale,
            },
            Some(_) => Forward::VaryMiss,
        }
    }

    fn plan(&self, status: StatusCode, headers: &HeaderMap, arrival: Arrival) -> Option<Plan> {
        let engine = self.cache.engine();
        let aging = engine.aging(self.layer.site);
        let default = engine.expire();
        Plan::of(
            status,
            headers,
            arrival,
            &self.asked,
            &self.layer,
            &aging,
            default,
        )
    }

    fn path<'a>(&'a self, place: &'a Place) -> Path<'a, Stored> {
        self.path_of(&place.key)
    }

    fn path_of<'a>(&'a self, key: &'a Key) -> Path<'a, Stored> {
        let access = Access::new::<RegistryCoder>();
        Path::new(
            self.cache.engine(),
            access,
            self.layer.site,
            key,
            &self.tags,
        )
    }

    fn reply_at<'a>(&'a self, place: &'a Place) -> Reply<'a> {
        Reply {
            cache: &self.cache,
            layer: &self.layer,
            asked: &self.asked,
            key: &place.key,
        }
    }
}

/// What came back from the service, and where it belongs.
#[derive(Clone, Copy)]
struct Fetched<'a> {
    place: &'a Place,
    ticket: Ticket,
    arrival: Arrival,
    reason: Forward,
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

/// Takes a response off the list of those that are on their way, when it has come or is given up.
struct Listed<'a> {
    cache: &'a Cache,
    key: &'a Key,
    filling: &'a Arc<Filling>,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.cache.fills().remove(self.key, self.filling);
    }
}

/// Makes replies of stored responses.
struct Reply<'a> {
    cache: &'a Cache,
    layer: &'a Settings,
    asked: &'a Asked,
    key: &'a Key,
}

impl Reply<'_> {
    /// The reply of a response that the service was not asked for, or that stands in for its answer, which
    /// `status` then tells.
    fn hit(
        &self,
        stored: &StoredResponse,
        times: Times,
        status: Option<CacheStatus>,
    ) -> Response<Body> {
        let mut headers = stored.common_headers(times);
        let (name, value) = age_value(stored.freshness.age(times));
        headers.insert(name, value);
        let status = status.unwrap_or(CacheStatus {
            hit: true,
            ..CacheStatus::default()
        });
        let ttl = stored.freshness.rest(times).div_euclid(1000);
        let status = CacheStatus {
            ttl: Some(ttl),
            ..status
        };
        self.finish(stored, headers, Status::Hit, status)
    }

    /// The reply of a response that the service has made or validated; `age` is what it says of its age.
    fn miss(
        &self,
        stored: &StoredResponse,
        age: Option<&http::HeaderValue>,
        status: CacheStatus,
    ) -> Response<Body> {
        let mut headers = stored.common_headers(Times::new(None));
        if let Some(age) = age {
            headers.insert(AGE, age.clone());
        }
        self.finish(stored, headers, Status::Miss, status)
    }

    fn finish(
        &self,
        stored: &StoredResponse,
        mut headers: HeaderMap,
        status: Status,
        cache_status: CacheStatus,
    ) -> Response<Body> {
        headers.insert(self.cache.http().status_header.clone(), status.value());
        if let Some(name) = &self.layer.cache_status {
            let key = self.key.printed(self.cache.prefix());
            cache_status.append(&mut headers, name, Some(&key));
        }
        stored.answer(self.asked, headers)
    }
}

impl StoredResponse {
    /// Takes its body, and a tag if it has none.
    fn take_body(&mut self, body: Bytes) {
        if !self.headers.contains_key(http::header::ETAG) && self.status == StatusCode::OK {
            self.etag = Some(entity_tag(&body));
        }
        self.body = body;
        self.is_on_its_way = false;
    }
}

/// The key of the response to a request, among those of its resource.
fn variant_key(index: &Key, variants: &Variants, asked: &Asked) -> Key {
    let variant = asked.variant(&variants.names);
    index.extended(&[&variants.id.to_be_bytes()[..], &variant].concat())
}

fn response_of(look: &Look<Stored>) -> Option<&StoredResponse> {
    match &look.found.as_ref()?.value {
        Stored::Response(stored) => Some(stored),
        Stored::Variants(_) => None,
    }
}

/// Whether a stored response may stand in for one of this status (RFC 5861 section 4).
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

fn gateway_timeout() -> Response<Body> {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    reply
}

/// Reads a body to its end.
async fn drain(mut body: Body) {
    while let Some(Ok(_)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {}
}
