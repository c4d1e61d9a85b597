//! A request and its cache: what is stored of the responses that come, and where.

use std::sync::Arc;
use std::time::Duration;

use axum_core::body::Body;
use http::{HeaderMap, Response, StatusCode, response};
use http_body::Body as _;
use tokio::runtime::Handle;

use crate::access::Access;
use crate::engine::{Engine, Found, Look, Terms, Ticket, Times};
use crate::entry::unique;
use crate::http::{CacheStatus, Forward, Reason, freshened, moment, sort_names, stands_in_for};
use crate::key::Key;
use crate::registry::Cache;
use crate::response::{CachedResponse, Fill, Gathered, Outcome, Replies, gather};
use crate::runtime::{End, Path, detach};
use crate::tags::TagList;
use crate::value::RegistryCoder;

use super::Settings;
use super::asked::Asked;
use super::filling::Filling;
use super::place::{Place, variant_key};
use super::plan::{Arrival, MOST_NAMES, Plan, Planner};
use super::stored::{Stored, StoredResponse, Usability, Variants};

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
        let path = Path::new(self.engine(), access, self.layer.site, key, &self.tags);
        path.with_patience(self.cache.http().coalesce_timeout)
    }

    pub(super) fn replies(&self) -> Replies<'_> {
        self.layer.replies(self.cache.http(), &self.asked)
    }

    /// What a stored value is good for. A response that stands in for an origin that fails does so without
    /// asking, where that has failed just now.
    pub(super) fn usability(&self, place: &Place, found: &Found<Stored>) -> Usability {
        let Stored::Response(stored) = &found.value else {
            return Usability::Foreign;
        };
        let rests = || self.engine().refreshes().rests(&place.key);
        match stored.usability(&self.asked, found.times) {
            Usability::Validated { stands_in: true } if rests() => Usability::ServedStale,
            usability => usability,
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
        let headers = stored.response.origin_headers();
        let headers = freshened(&headers, update, moment(fetched.arrival.at));
        let status = CacheStatus::forwarded(fetched.reason).answered(StatusCode::NOT_MODIFIED);
        let plan = match self.plan(stored.response.status(), &headers, fetched.arrival) {
            Ok(plan) => plan,
            Err(reason) => {
                self.path(&fetched.place.key).end().await;
                let current = stored.response.with_headers(headers);
                let facts = stored.facts(Times::new(None));
                let status = status.because(Some(reason));
                let reply = self.replies().miss(&current, facts, None, status);
                return Answered::alone(Turn::reply(reply));
            }
        };
        let current = stored.updated(&plan, &self.asked);
        let end = self.store(fetched, &current, plan.retention).await;
        let reply = self.made(
            &current,
            &plan,
            status.stored(matches!(end, End::Valid(..))),
        );
        (Answered::shared(reply, current), end)
    }

    /// The reply of a response that has just come, or has been validated.
    fn made(&self, stored: &StoredResponse, plan: &Plan, status: CacheStatus) -> Response<Body> {
        let facts = stored.facts(Times::new(None));
        let age = plan.age.as_ref();
        self.replies().miss(&stored.response, facts, age, status)
    }

    /// Passes on a response that is not stored. What is stored already ends, if it `replaces` that, since it is no
    /// longer what the service answers.
    async fn pass_on(
        &self,
        fetched: &Fetched<'_>,
        response: Response<Body>,
        reason: Reason,
        replaces: bool,
    ) -> (Answered, End) {
        let status = response.status();
        self.engine().unstorable().note(&fetched.place.key);
        if replaces && !stands_in_for(status) {
            self.path(&fetched.place.key).end().await;
        }
        let status = CacheStatus::forwarded(fetched.reason).because(Some(reason));
        Answered::alone(Turn::reply(self.replies().unstored(response, status)))
    }

    /// Passes a response on, and stores it if that may be. `replaces` says whether an older one is stored.
    pub(super) async fn admit(
        self: &Arc<Self>,
        fetched: &Fetched<'_>,
        response: Response<Body>,
        replaces: bool,
    ) -> (Answered, End) {
        let http = self.cache.http();
        let least = usize::try_from(response.body().size_hint().lower());
        let plan = match self.plan(response.status(), response.headers(), fetched.arrival) {
            Ok(_) if least.is_ok_and(|least| least > http.max_body) => Err(Reason::TooLarge),
            plan => plan,
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(reason) => return self.pass_on(fetched, response, reason, replaces).await,
        };
        let (mut parts, body) = response.into_parts();
        let mut current = StoredResponse::announced(parts.status, &plan, &self.asked);
        match gather(body, http.max_body).await {
            Gathered::Whole(body) if current.response.announces(&body) => {
                current.take_body(body, http.strong_etags);
                let end = self.store(fetched, &current, plan.retention).await;
                let status =
                    CacheStatus::forwarded(fetched.reason).stored(matches!(end, End::Valid(..)));
                let mut reply = self.made(&current, &plan, status);
                *reply.extensions_mut() = parts.extensions;
                (Answered::shared(reply, current), end)
            }
            Gathered::Whole(body) | Gathered::Short(body) => {
                let response = Response::from_parts(parts, Body::from(body));
                let reason = Reason::BrokenOff;
                self.pass_on(fetched, response, reason, replaces).await
            }
            // There is no task that could read it in the background.
            Gathered::Streaming(body) if Handle::try_current().is_err() => {
                let response = Response::from_parts(parts, body);
                let reason = Reason::Streams;
                self.pass_on(fetched, response, reason, replaces).await
            }
            Gathered::Streaming(body) => {
                let status = CacheStatus::forwarded(fetched.reason).stored(true);
                let mut reply = self.made(&current, &plan, status);
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

    /// Reads a body in the background, stores it when it is complete, and gives it to the clients that read along: to
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
        let pump = fill.pump();
        let work = async move {
            let listed = Listed {
                pending: &this,
                key: &place.key,
                filling: &filling,
            };
            let outcome = pump.run(body, limit, is_read).await;
            if let Outcome::Complete(body) = outcome
                && filling.head.response.announces(&body)
            {
                let mut whole = filling.head.clone();
                whole.take_body(body, this.cache.http().strong_etags);
                let fetched = Fetched {
                    place: &place,
                    ticket,
                    arrival,
                    reason,
                };
                this.store(&fetched, &whole, retention).await;
            } else {
                this.engine().unstorable().note(&place.key);
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
            let usability = filling.head.usability(&self.asked, times());
            let ticket = filling.ticket;
            usability == Usability::Served && self.engine().is_still_valid(ticket, now, &place.key)
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
        let head = &filling.head;
        let facts = head.facts(times());
        let replies = self.replies();
        let mut reply = replies.hit(&head.response, facts, CacheStatus::COLLAPSED);
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
            before: &[],
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
        let stored = response_of(look).filter(|stored| stored.response.status() == head.status);
        let Some(stored) = stored else {
            return;
        };
        if !stored.response.agrees_with(&head.headers) {
            return self.path(&place.key).end().await;
        }
        let arrival = Arrival {
            at: self.engine().wall(),
            took: 0,
        };
        let update = head.headers.clone();
        let headers = stored.response.origin_headers();
        let headers = freshened(&headers, update, moment(arrival.at));
        if let Ok(plan) = self.plan(stored.response.status(), &headers, arrival) {
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

    fn plan(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        arrival: Arrival,
    ) -> Result<Plan, Reason> {
        let engine = self.engine();
        let planner = Planner {
            asked: &self.asked,
            layer: &self.layer,
            http: self.cache.http(),
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
        Self::of(
            CachedResponse::announced(status, plan.headers.clone()),
            plan,
            asked,
        )
    }

    /// The same response with newer headers.
    fn updated(&self, plan: &Plan, asked: &Asked) -> Self {
        Self::of(
            self.response.with_headers(plan.headers.clone()),
            plan,
            asked,
        )
    }

    fn of(response: CachedResponse, plan: &Plan, asked: &Asked) -> Self {
        Self {
            response,
            freshness: plan.freshness,
            variant: asked.variant(&plan.names),
            names: plan.names.clone(),
        }
    }

    /// Takes its body, and a tag if it has none.
    fn take_body(&mut self, body: bytes::Bytes, strong_etags: bool) {
        self.response.take_body(body);
        if self.response.status() == StatusCode::OK {
            self.response.tag(strong_etags);
        }
    }
}
