//! A request and its cache: what is stored of the responses that come, and where.

use std::sync::Arc;
use std::time::Duration;

use axum_core::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG};
use http::{HeaderMap, HeaderValue, Response, StatusCode, response};
use http_body::Body as _;
use tokio::runtime::Handle;

use crate::access::Access;
use crate::body::{Gathered, gather};
use crate::engine::{Engine, Found, Look, Terms, Ticket, Times};
use crate::entry::unique;
use crate::hit_headers::HitHeaders;
use crate::http::{Forward, entity_tag, freshened, moment, sort_names};
use crate::key::Key;
use crate::registry::Cache;
use crate::runtime::{End, Path, detach};
use crate::tags::TagList;
use crate::value::RegistryCoder;

use super::Settings;
use super::asked::Asked;
use super::fill::{Fill, Filling, Outcome};
use super::place::{Place, variant_key};
use super::plan::{Arrival, MOST_NAMES, Plan, Planner};
use super::reply::{COLLAPSED, Replies, forwarded};
use super::stored::{Merit, Stored, StoredResponse, Variants};

/// How long others wait for a body whose length is not known, and for something to come of one whose length
/// is.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request that was not answered at once, and its cache.
pub(super) struct Pending {
    pub(super) cache: Cache,
    pub(super) layer: Arc<Settings>,
    pub(super) asked: Asked,
    /// None: responses are found again by their namespace.
    tags: TagList,
}

/// What becomes of a request at one place.
pub(super) enum Turn {
    Reply(Box<Response<Body>>),
    /// It is to look elsewhere.
    Elsewhere(Place),
}

/// The same, with what others may share of it.
pub(super) struct Answered {
    pub(super) turn: Turn,
    pub(super) stored: Option<Stored>,
}

impl Answered {
    /// What is for nobody else.
    pub(super) fn alone(turn: Turn) -> (Self, End) {
        let stored = None;
        (Self { turn, stored }, End::Alone)
    }

    pub(super) fn shared(reply: Response<Body>, stored: StoredResponse) -> Self {
        Self {
            turn: Turn::reply(reply),
            stored: Some(Stored::Response(Box::new(stored))),
        }
    }
}

impl Turn {
    pub(super) fn reply(reply: Response<Body>) -> Self {
        Self::Reply(Box::new(reply))
    }
}

/// What came back from the service, and where it belongs.
#[derive(Clone, Copy)]
pub(super) struct Fetched<'a> {
    pub(super) place: &'a Place,
    /// From before the service was asked.
    pub(super) ticket: Ticket,
    pub(super) arrival: Arrival,
    /// Why the service was asked.
    pub(super) reason: Forward,
}

impl Pending {
    pub(super) fn new(cache: Cache, layer: Arc<Settings>, asked: Asked) -> Arc<Self> {
        Arc::new(Self {
            cache,
            layer,
            asked,
            tags: TagList::default(),
        })
    }

    pub(super) fn engine(&self) -> &Engine {
        self.cache.engine()
    }

    pub(super) fn path<'a>(&'a self, key: &'a Key) -> Path<'a, Stored> {
        let access = Access::new::<RegistryCoder>();
        Path::new(self.engine(), access, self.layer.site, key, &self.tags)
    }

    pub(super) fn replies<'a>(&'a self, place: &'a Place) -> Replies<'a> {
        Replies {
            cache: &self.cache,
            layer: &self.layer,
            asked: &self.asked,
            key: &place.key,
        }
    }

    /// What a stored value is good for. A response that stands in for an origin that fails does so without
    /// asking, where that has failed just now.
    pub(super) fn merit(&self, place: &Place, found: &Found<Stored>) -> Merit {
        let Stored::Response(stored) = &found.value else {
            return Merit::Foreign;
        };
        match stored.merit(&self.asked, found.times) {
            Merit::Validated { stands_in: true } if self.engine().refreshes().rests(&place.key) => {
                Merit::ServedStale
            }
            merit => merit,
        }
    }

    /// Where else a request is to look, if the responses of its resource differ.
    pub(super) fn elsewhere(
        &self,
        place: &Place,
        found: &Found<Stored>,
        ticket: Ticket,
    ) -> Option<Place> {
        let Stored::Variants(variants) = &found.value else {
            return None;
        };
        let rest = found.times.remaining;
        let is_index = place.index.is_none();
        is_index.then(|| place.variant(variants, &self.asked, ticket, rest))
    }

    /// Brings a stored response up to date, which its origin has said to be current.
    pub(super) async fn freshen(
        &self,
        fetched: &Fetched<'_>,
        stored: &StoredResponse,
        update: HeaderMap,
    ) -> (Answered, End) {
        let place = fetched.place;
        let headers = freshened(&stored.headers, update, moment(fetched.arrival.at));
        let mut status = forwarded(fetched.reason, false);
        status.forward_status = Some(StatusCode::NOT_MODIFIED.as_u16());
        let Some(plan) = self.plan(stored.status, &headers, fetched.arrival) else {
            self.forget(place).await;
            let current = StoredResponse {
                headers,
                ..stored.clone()
            };
            let reply = self.replies(place).miss(&current, None, status);
            return Answered::alone(Turn::reply(reply));
        };
        let current = stored.updated(&plan, &self.asked);
        let end = self.store(fetched, &current, plan.retention).await;
        status.stored = matches!(end, End::Valid(..));
        let reply = self
            .replies(place)
            .miss(&current, plan.age.as_ref(), status);
        (Answered::shared(reply, current), end)
    }

    /// Passes a response on, and stores it if that may be. `replaces` says whether an older one is stored.
    pub(super) async fn admit(
        self: &Arc<Self>,
        fetched: &Fetched<'_>,
        response: Response<Body>,
        replaces: bool,
    ) -> (Answered, End) {
        let place = fetched.place;
        let limit = self.cache.http().max_body;
        let least = usize::try_from(response.body().size_hint().lower());
        let plan = self.plan(response.status(), response.headers(), fetched.arrival);
        let plan = plan.filter(|_| least.is_ok_and(|least| least <= limit));
        let Some(plan) = plan else {
            if replaces {
                self.forget(place).await;
            }
            let reply = self.replies(place).unstored(response, fetched.reason);
            return Answered::alone(Turn::reply(reply));
        };
        let (mut parts, body) = response.into_parts();
        let mut current = StoredResponse::announced(parts.status, &plan, &self.asked);
        let age = plan.age.as_ref();
        match gather(body, limit).await {
            Gathered::Whole(body) if current.is_whole(&body) => {
                current.take_body(body);
                let end = self.store(fetched, &current, plan.retention).await;
                let status = forwarded(fetched.reason, matches!(end, End::Valid(..)));
                let mut reply = self.replies(place).miss(&current, age, status);
                *reply.extensions_mut() = parts.extensions;
                (Answered::shared(reply, current), end)
            }
            Gathered::Whole(body) | Gathered::Short(body) => {
                let response = Response::from_parts(parts, Body::from(body));
                let reply = self.replies(place).unstored(response, fetched.reason);
                Answered::alone(Turn::reply(reply))
            }
            // There is nobody who could read it in the background.
            Gathered::Streaming(body) if Handle::try_current().is_err() => {
                let response = Response::from_parts(parts, body);
                let reply = self.replies(place).unstored(response, fetched.reason);
                Answered::alone(Turn::reply(reply))
            }
            Gathered::Streaming(body) => {
                let status = forwarded(fetched.reason, true);
                let mut reply = self.replies(place).miss(&current, age, status);
                std::mem::swap(reply.extensions_mut(), &mut parts.extensions);
                // A client that is told that it has the body already reads nothing of it.
                let is_read = reply.status() != StatusCode::NOT_MODIFIED;
                let own = self.stream(fetched, current, body, plan.retention, is_read);
                if is_read {
                    *reply.body_mut() = own;
                }
                Answered::alone(Turn::reply(reply))
            }
        }
    }

    /// Reads a body in the background, stores it when it is complete, and gives it to whoever reads along: to
    /// the client that it was made for, through what this returns, if that reads it.
    fn stream(
        self: &Arc<Self>,
        fetched: &Fetched<'_>,
        head: StoredResponse,
        body: Body,
        retention: Duration,
        is_read: bool,
    ) -> Body {
        let fill = Fill::new(&body);
        let own = fill.own_reader();
        let Fetched {
            ticket,
            arrival,
            reason,
            ..
        } = *fetched;
        let filling = Arc::new(Filling {
            head,
            fill: Arc::clone(&fill),
            ticket,
            since: self.engine().now(),
        });
        let place = fetched.place.clone();
        self.cache.fills().insert(&place.key, &filling);
        let this = Arc::clone(self);
        let limit = self.cache.http().max_body;
        let work = async move {
            let listed = Listed {
                pending: &this,
                key: &place.key,
                filling: &filling,
            };
            if let Outcome::Complete(body) = fill.pump(body, limit, is_read).await
                && filling.head.is_whole(&body)
            {
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
        // It has been asked for a runtime.
        let _ = detach(&self.cache, Box::pin(work));
        own
    }

    /// Reads along with another request for the same, if there is one.
    pub(super) async fn follow(&self, place: &Place, now: Ticket) -> Option<Response<Body>> {
        let filling = self.cache.fills().get(&place.key)?;
        let times = || Times {
            age: self.engine().now().saturating_sub(filling.since),
            ..Times::new(None)
        };
        let is_usable = || {
            let merit = filling.head.merit(&self.asked, times());
            let ticket = filling.ticket;
            merit == Merit::Served && self.engine().is_still_valid(ticket, now, &place.key)
        };
        if !is_usable() {
            return None;
        }
        if filling.fill.is_open() {
            let _ = tokio::time::timeout(PATIENCE, filling.fill.ended()).await;
            if !is_usable() {
                return None;
            }
        }
        let body = filling.fill.shared_reader(PATIENCE)?;
        let mut reply = self.replies(place).hit(&filling.head, times(), COLLAPSED);
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
        let value = Stored::Response(Box::new(response.clone()));
        let is_one_of_many = !response.names.is_empty() || self.asked.has_extra();
        if !is_one_of_many && place.index.is_none() {
            return self.path(&place.key).store_on(ticket, &value, &terms).await;
        }
        let known = place.index.as_deref();
        let mut names = response.names.clone();
        names.extend(known.iter().flat_map(|index| index.variants.names.clone()));
        sort_names(&mut names);
        if names.len() > MOST_NAMES {
            return End::Alone;
        }
        let same = known.filter(|index| index.variants.names == names);
        let variants = Variants {
            id: same.map_or_else(unique, |index| index.variants.id),
            names,
        };
        let (index_key, index_ticket) = match known {
            Some(index) => (&index.key, index.ticket),
            None => (&place.key, ticket),
        };
        // The index has to be there for as long as what it leads to.
        let lasts = same.is_some_and(|index| {
            let rest = index.rest.map(Duration::from_millis);
            rest.is_none_or(|rest| rest >= retention)
        });
        if !lasts {
            let index = Stored::Variants(variants.clone());
            let path = self.path(index_key);
            let end = path.store_on(index_ticket, &index, &terms).await;
            if !matches!(end, End::Valid(..)) {
                return end;
            }
        }
        let key = variant_key(index_key, &variants, &self.asked);
        let ticket = match same {
            Some(_) => ticket,
            None => ticket.for_new_key(),
        };
        self.path(&key).store_on(ticket, &value, &terms).await
    }

    /// Brings a stored response up to date by a response to HEAD, or ends it if that is not of the same (RFC
    /// 9111 section 4.3.5).
    pub(super) async fn compare(&self, place: &Place, look: &Look<Stored>, head: &response::Parts) {
        let Some(stored) = response_of(look).filter(|stored| stored.status == head.status) else {
            return;
        };
        if !stored.agrees_with(&head.headers) {
            return self.forget(place).await;
        }
        let arrival = Arrival {
            at: self.engine().wall(),
            took: 0,
        };
        let update = head.headers.clone();
        let headers = freshened(&stored.headers, update, moment(arrival.at));
        if let Some(plan) = self.plan(stored.status, &headers, arrival) {
            let fetched = Fetched {
                place,
                ticket: look.ticket,
                arrival,
                reason: Forward::Stale,
            };
            let current = stored.updated(&plan, &self.asked);
            self.store(&fetched, &current, plan.retention).await;
        }
    }

    /// Ends what is stored at a place.
    async fn forget(&self, place: &Place) {
        if let Err(error) = self.engine().remove(&place.key).await {
            self.engine().report(self.layer.site, &error);
        }
    }

    fn plan(&self, status: StatusCode, headers: &HeaderMap, arrival: Arrival) -> Option<Plan> {
        let engine = self.engine();
        let planner = Planner {
            asked: &self.asked,
            layer: &self.layer,
            aging: engine.aging(self.layer.site),
            default: self.layer.expire.or(engine.expire()),
        };
        planner.plan(status, headers, arrival)
    }
}

/// The response that was found, if it is one.
pub(super) fn response_of(look: &Look<Stored>) -> Option<&StoredResponse> {
    match &look.found.as_ref()?.value {
        Stored::Response(stored) => Some(stored),
        Stored::Variants(_) => None,
    }
}

/// Takes a response off the list of those that are on their way, when it has come or is given up.
struct Listed<'a> {
    pending: &'a Pending,
    key: &'a Key,
    filling: &'a Arc<Filling>,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.pending.cache.fills().remove(self.key, self.filling);
    }
}

impl StoredResponse {
    /// A response whose body has not come yet.
    fn announced(status: StatusCode, plan: &Plan, asked: &Asked) -> Self {
        Self {
            status,
            headers: plan.headers.clone(),
            body: Bytes::new(),
            is_on_its_way: true,
            etag: None,
            freshness: plan.freshness,
            variant: asked.variant(&plan.names),
            names: plan.names.clone(),
            hit_headers: HitHeaders::default(),
        }
    }

    /// The same response with newer headers.
    fn updated(&self, plan: &Plan, asked: &Asked) -> Self {
        Self {
            body: self.body.clone(),
            is_on_its_way: false,
            etag: self.etag.clone(),
            ..Self::announced(self.status, plan, asked)
        }
    }

    /// Whether a body is all that was announced (RFC 9111 section 3.3).
    fn is_whole(&self, body: &[u8]) -> bool {
        let announced = self.headers.get(CONTENT_LENGTH);
        announced.is_none_or(|announced| *announced == HeaderValue::from(body.len()))
    }

    /// Takes its body, and a tag if it has none.
    fn take_body(&mut self, body: Bytes) {
        if !self.headers.contains_key(ETAG) && self.status == StatusCode::OK {
            self.etag = Some(entity_tag(&body));
        }
        self.body = body;
        self.is_on_its_way = false;
    }
}
