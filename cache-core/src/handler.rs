//! The path of a request through a cached handler.

use std::future::Future;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::time::{Duration, SystemTime};

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use http::header::{AGE, CACHE_CONTROL, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::access::Access;
use crate::axum::{CacheRequest, CacheResponse, CachedResponse, RequestHead, Wishes};
use crate::body::{Gathered, gather};
use crate::engine::{Found, Terms, Ticket, Times, times_of};
use crate::hit_headers::Facts;
use crate::http::{
    Overview, RequestDirectives, ResponseDirectives, add_vary, explicit_lifetime, is_personal,
    may_have_body, may_store, moment, not_modified, strip_for_not_modified,
};
use crate::key::{KeyWriter, headers_suffix};
use crate::limit::timed_out;
use crate::policy::{Aging, Verdict};
use crate::registry::{InitError, with_current};
use crate::runtime::{
    Answer, AskedFor, CallKey, Due, End, First, Lookup, MakeKeyBuilder, Miss, Path, Purpose,
    Settled, Spare, detach, look_up, uninitialized, wait_softly,
};
use crate::site::Site;
use crate::tags::TagList;
use crate::value::{CoderChoice, Shape};

/// The settings of handlers, as given.
#[derive(Clone, Debug)]
pub(crate) struct HttpConfig {
    pub(crate) status_header: String,
    pub(crate) client_directives: bool,
    pub(crate) max_body: usize,
}

/// The settings of handlers, checked.
#[derive(Clone, Debug)]
pub(crate) struct HttpSettings {
    pub(crate) status_header: HeaderName,
    client_directives: bool,
    pub(crate) max_body: usize,
}

impl HttpSettings {
    /// What a request asks of the cache, as far as that is heard.
    pub(crate) fn directives(&self, request: &HeaderMap) -> RequestDirectives {
        match self.client_directives {
            true => RequestDirectives::parse(request),
            false => RequestDirectives::default(),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            status_header: "X-FastAPI-Cache".to_owned(),
            client_directives: true,
            max_body: 2 << 20,
        }
    }
}

impl HttpConfig {
    pub(crate) fn check(&self) -> Result<HttpSettings, InitError> {
        let Ok(status_header) = HeaderName::try_from(&self.status_header) else {
            return Err(InitError::StatusHeader(self.status_header.clone()));
        };
        Ok(HttpSettings {
            status_header,
            client_directives: self.client_directives,
            max_body: self.max_body,
        })
    }
}

/// Looks up a request to a cached handler. A response in this process is found and answered here,
/// before anything is awaited.
pub fn handler<C: CoderChoice>(
    site: &'static Site,
    _coder: C,
    builder: Option<MakeKeyBuilder>,
    request: &impl RequestHead,
    response: &CacheResponse,
    write_key: impl FnOnce(&mut KeyWriter),
) -> HandlerCall<C> {
    let headers = request.headers();
    let lookup = with_current(|cache| {
        let Some(asked) = Asked::of(request, cache.http()) else {
            return Lookup::Bypass;
        };
        let write_key = |key: &mut KeyWriter| {
            write_key(key);
            if builder.is_none()
                && key.has_seen_headers()
                && asked.overview.has_credentials
                && is_personal(headers, site.vary_names())
            {
                key.bypass();
            }
            key.headers(headers, site.vary_names());
        };
        let lookup = look_up(cache, site, builder, write_key, |engine, entry, now| {
            let times = times_of(entry, now);
            let stored = engine.downcast::<CachedResponse>(site, entry)?;
            asked.accepts(times).then(|| {
                let aging = engine.aging(site);
                asked.reply(stored, times, Status::Hit, cache.http(), &aging, headers)
            })
        });
        match lookup {
            Lookup::Hit(reply) => Lookup::Hit(reply),
            Lookup::Bypass => Lookup::Bypass,
            Lookup::Miss(miss) => Lookup::Miss(Pending::new(*miss, asked, request, response)),
        }
    });
    HandlerCall {
        site,
        lookup: lookup.unwrap_or_else(|| uninitialized(site)),
        response: response.clone(),
        timeout: None,
        coder: PhantomData,
    }
}

/// A request to a cached handler that has been looked up.
#[must_use = "a call does nothing until it is run"]
pub struct HandlerCall<C> {
    site: &'static Site,
    lookup: Lookup<Response, Box<Pending>>,
    response: CacheResponse,
    timeout: Option<Duration>,
    coder: PhantomData<C>,
}

impl<C: CoderChoice> HandlerCall<C> {
    /// Writes the tags that the response gets if it is computed.
    pub fn tags(mut self, write: impl FnOnce(&mut TagList)) -> Self {
        if let Lookup::Miss(pending) = &mut self.lookup {
            write(&mut pending.miss.tags);
        }
        self
    }

    /// Sets how long the computation may take. The reply is 504 Gateway Timeout if it takes longer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Gives the reply that was found, or awaits `future` and stores what `rules` and the response
    /// itself let it.
    pub fn run<S, F, R>(
        self,
        _shape: S,
        future: F,
        rules: R,
    ) -> Answer<Response, impl Future<Output = Response>>
    where
        S: Shape<Returned: IntoResponse>,
        F: Future<Output = S::Returned>,
        R: FnOnce(&S::Stored) -> Verdict,
    {
        let pending = match self.lookup {
            Lookup::Hit(reply) => return Answer::Ready(reply),
            lookup => lookup.into_miss(),
        };
        let limited = within(self.site, self.timeout, future);
        Answer::Pending(Box::pin(respond::<S, C, _, R>(
            pending,
            self.response,
            limited,
            rules,
        )))
    }

    /// As [`run`](Self::run), for a computation that can outlive the request: where there is a
    /// response to serve meanwhile, it runs in the background.
    pub fn run_owned<S, F, R>(
        self,
        _shape: S,
        future: F,
        rules: R,
    ) -> Answer<Response, impl Future<Output = Response>>
    where
        S: Shape<Returned: IntoResponse + Send> + 'static,
        F: Future<Output = S::Returned> + Send + 'static,
        R: FnOnce(&S::Stored) -> Verdict + Send + 'static,
    {
        let pending = match self.lookup {
            Lookup::Hit(reply) => return Answer::Ready(reply),
            lookup => lookup.into_miss(),
        };
        let limited = within(self.site, self.timeout, future);
        Answer::Pending(Box::pin(respond_owned::<S, C, _, R>(
            pending,
            self.response,
            limited,
            rules,
        )))
    }
}

/// Answers a request whose computation borrows: it runs here, or not at all.
async fn respond<S, C, F, R>(
    pending: Option<Box<Pending>>,
    response: CacheResponse,
    future: F,
    rules: R,
) -> Response
where
    S: Shape<Returned: IntoResponse>,
    C: CoderChoice,
    F: Future<Output = Result<S::Returned, Response>>,
    R: FnOnce(&S::Stored) -> Verdict,
{
    let Some(pending) = pending else {
        return bypass(response, future).await;
    };
    let exchange = pending.resolve::<C>(response).await;
    match exchange.first_look().await {
        First::Answer(answered) => answered.reply,
        // In a box of its own, since a hit in a shared store has no use for its room.
        First::Due(_, due) | First::Miss(due) => {
            Box::pin(exchange.finish::<S, F, R>(due, future, rules)).await
        }
    }
}

/// Answers a request whose computation can outlive it.
async fn respond_owned<S, C, F, R>(
    pending: Option<Box<Pending>>,
    response: CacheResponse,
    future: F,
    rules: R,
) -> Response
where
    S: Shape<Returned: IntoResponse + Send> + 'static,
    C: CoderChoice,
    F: Future<Output = Result<S::Returned, Response>> + Send + 'static,
    R: FnOnce(&S::Stored) -> Verdict + Send + 'static,
{
    let Some(pending) = pending else {
        return bypass(response, future).await;
    };
    let exchange = pending.resolve::<C>(response).await;
    let cache = exchange.call.cache.clone();
    match exchange.first_look().await {
        First::Answer(answered) => answered.reply,
        First::Due(answered, due) => {
            let work = async move { exchange.finish::<S, F, R>(due, future, rules).await };
            match detach(&cache, Box::pin(work)) {
                Ok(()) => answered.reply,
                Err(work) => work.await,
            }
        }
        First::Miss(mut due) => {
            let accept = |found| Some(exchange.accept(found)?.reply);
            let spare = Spare::of(&exchange.path(), &due, accept);
            let purpose = due.purpose();
            let work = async move { exchange.finish::<S, F, R>(due, future, rules).await };
            wait_softly(&cache, Box::pin(work), spare, &purpose).await
        }
    }
}

/// Awaits a handler, for so long at most if there is a limit; after that, gives the reply that says so.
async fn within<R>(
    site: &'static Site,
    limit: Option<Duration>,
    handler: impl Future<Output = R>,
) -> Result<R, Response> {
    let Some(limit) = limit else {
        return Ok(handler.await);
    };
    tokio::time::timeout(limit, handler).await.map_err(|_| {
        timed_out(site, limit);
        StatusCode::GATEWAY_TIMEOUT.into_response()
    })
}

/// Runs a handler as if there were no cache.
async fn bypass<R: IntoResponse>(
    response: CacheResponse,
    future: impl Future<Output = Result<R, Response>>,
) -> Response {
    let reply = match future.await {
        Ok(returned) => returned.into_response(),
        Err(reply) => reply,
    };
    with_headers(reply, response.take().headers)
}

/// A request that was not answered at once.
struct Exchange<C> {
    call: AskedFor,
    asked: Asked,
    request: CacheRequest,
    response: CacheResponse,
    coder: PhantomData<C>,
}

/// A reply, and the stored response that it was made from.
struct Answered {
    reply: Response,
    stored: Option<CachedResponse>,
}

impl<C: CoderChoice> Exchange<C> {
    fn path(&self) -> Path<'_, CachedResponse> {
        self.call.path(Access::new::<C>())
    }

    fn settings(&self) -> &HttpSettings {
        self.call.cache.http()
    }

    async fn first_look(&self) -> First<Answered, CachedResponse> {
        let first = self.path().first_look(|found| self.accept(found)).await;
        match first {
            // What answers HEAD is not stored.
            First::Due(answered, _) if self.asked.head => First::Answer(answered),
            first => first,
        }
    }

    /// Computes what is due, together with others if they can use it, and stores it.
    async fn finish<S, F, R>(&self, mut due: Due<CachedResponse>, future: F, rules: R) -> Response
    where
        S: Shape<Returned: IntoResponse>,
        F: Future<Output = Result<S::Returned, Response>>,
        R: FnOnce(&S::Stored) -> Verdict,
    {
        let path = self.path();
        let purpose = due.purpose();
        let Due {
            start,
            look,
            refreshing: _refreshing,
            ..
        } = due;
        if !self.asked.may_share() {
            let settled = Settled::computation(look, None);
            let answer = self.answer::<S, F, R>(&path, settled, &purpose, future, rules);
            return answer.await.0.reply;
        }
        let answer = |first, (future, rules)| async {
            let settled = path.settle(first, &purpose).await;
            self.answer::<S, F, R>(&path, settled, &purpose, future, rules)
                .await
        };
        let call = (future, rules);
        let accept = |found| self.accept(found);
        let together = path.together(start, Some(look), call, answer, Answered::stored, accept);
        together.await.reply
    }

    /// Answers the request by what the store has, or computes and stores. What was found stands in for
    /// a computation that fails.
    async fn answer<S, F, R>(
        &self,
        path: &Path<'_, CachedResponse>,
        settled: Settled<CachedResponse>,
        purpose: &Purpose,
        future: F,
        rules: R,
    ) -> (Answered, End)
    where
        S: Shape<Returned: IntoResponse>,
        F: Future<Output = Result<S::Returned, Response>>,
        R: FnOnce(&S::Stored) -> Verdict,
    {
        let Settled {
            look,
            answers,
            lease: _lease,
        } = settled;
        let validity = look.validity();
        let found = look.found.filter(|found| self.asked.accepts(found.times));
        if answers && let Some(found) = found {
            path.serve(purpose, &found);
            let end = End::Valid(found.times, validity);
            return (self.hit(found), end);
        }
        if self.asked.only_if_cached() {
            return Answered::alone(StatusCode::GATEWAY_TIMEOUT.into_response());
        }
        let computed = path.compute(purpose, found.is_some(), future).await;
        let (reply, verdict) = match computed.outcome {
            Ok(Ok(returned)) => {
                let verdict = S::split(&returned).map(rules);
                (returned.into_response(), verdict)
            }
            Ok(Err(reply)) => (reply, None),
            Err(payload) if found.is_none() => resume_unwind(payload),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR.into_response(), None),
        };
        if let Some(found) = found
            && (verdict.is_none() || reply.status().is_server_error())
        {
            path.stand_in(purpose, &found);
            let end = End::Valid(found.times, validity);
            return (self.hit(found), end);
        }
        let made = Made {
            reply,
            verdict,
            took: computed.took,
        };
        self.store(path, made, look.ticket).await
    }

    /// Stores what the function returned, if it may be.
    async fn store(
        &self,
        path: &Path<'_, CachedResponse>,
        made: Made,
        ticket: Ticket,
    ) -> (Answered, End) {
        let mut wishes = self.response.take();
        let chosen = choose_lifetime(made.verdict, &wishes, path.engine.expire());
        let reply = with_headers(made.reply, std::mem::take(&mut wishes.headers));
        let now = moment(path.engine.wall());
        let lifetime = chosen.and_then(|chosen| limit_lifetime(chosen, &reply, path.site, now));
        let Some(lifetime) = lifetime else {
            return Answered::alone(reply);
        };
        let (parts, body) = reply.into_parts();
        let body = match gather(body, self.settings().max_body).await {
            Gathered::Whole(body) => body,
            Gathered::Short(body) => {
                return Answered::alone(Response::from_parts(parts, Body::from(body)));
            }
            Gathered::Streaming(body) => {
                return Answered::alone(Response::from_parts(parts, body));
            }
        };
        let aging = path.aging();
        let is_strict = ResponseDirectives::parse(&parts.headers).forbids_stale();
        let mut tags = path.tags.clone();
        wishes.tags.into_iter().for_each(|tag| tags.add(tag));
        let terms = Terms {
            fresh: lifetime.map(|lifetime| aging.spread(lifetime)),
            stale: if is_strict {
                Duration::ZERO
            } else {
                aging.stale()
            },
            took: made.took,
            tags: tags.as_slice(),
        };
        let mut headers = parts.headers;
        add_vary(&mut headers, path.site.vary_names());
        let stored = CachedResponse::new(parts.status, headers, body);
        let end = match self.asked.head {
            true => End::Alone,
            false => path.store_on(ticket, &stored, &terms).await,
        };
        let mut reply = self.reply(&stored, Times::new(terms.fresh), Status::Miss);
        *reply.extensions_mut() = parts.extensions;
        let answered = Answered {
            reply,
            stored: Some(stored),
        };
        (answered, end)
    }

    /// Makes the reply of a stored response, if the request lets it.
    fn accept(&self, found: Found<CachedResponse>) -> Option<Answered> {
        self.asked.accepts(found.times).then(|| self.hit(found))
    }

    fn hit(&self, found: Found<CachedResponse>) -> Answered {
        Answered {
            reply: self.reply(&found.value, found.times, Status::Hit),
            stored: Some(found.value),
        }
    }

    fn reply(&self, stored: &CachedResponse, times: Times, status: Status) -> Response {
        let aging = self.path().aging();
        let request = self.request.headers();
        self.asked
            .reply(stored, times, status, self.settings(), &aging, request)
    }
}

/// What a handler has made.
struct Made {
    reply: Response,
    /// `None` for an `Err`.
    verdict: Option<Verdict>,
    took: u64,
}

impl Answered {
    fn stored(&self) -> Option<&CachedResponse> {
        self.stored.as_ref()
    }

    /// A reply that is for nobody else.
    fn alone(reply: Response) -> (Self, End) {
        let answered = Self {
            reply,
            stored: None,
        };
        (answered, End::Alone)
    }
}

/// What the rest of a request needs that was not answered at once.
pub(crate) struct Pending {
    miss: Miss,
    asked: Asked,
    request: CacheRequest,
}

impl Pending {
    fn new(
        mut miss: Miss,
        asked: Asked,
        request: &impl RequestHead,
        response: &CacheResponse,
    ) -> Box<Self> {
        let request = request.to_request();
        if let CallKey::Built(built) = &mut miss.key {
            built.suffix = headers_suffix(request.headers(), miss.site.vary_names());
            built.request = Some(request.clone());
            built.response = Some(response.clone());
        }
        Box::new(Self {
            miss,
            asked,
            request,
        })
    }

    /// Makes the key.
    async fn resolve<C>(self: Box<Self>, response: CacheResponse) -> Exchange<C> {
        Exchange {
            call: self.miss.resolve().await,
            asked: self.asked,
            request: self.request,
            response,
            coder: PhantomData,
        }
    }
}

/// What a request lets the cache do.
#[derive(Clone, Debug)]
struct Asked {
    head: bool,
    directives: RequestDirectives,
    overview: Overview,
}

impl Asked {
    /// `None` for a request that has nothing to do with the cache: another method than GET and
    /// HEAD, or `no-store` (RFC 9111 section 5.2.1.5).
    fn of(request: &impl RequestHead, settings: &HttpSettings) -> Option<Self> {
        let head = match *request.method() {
            Method::GET => false,
            Method::HEAD => true,
            _ => return None,
        };
        let overview = Overview::of(request.headers());
        let directives = match overview.has_directives {
            true => settings.directives(request.headers()),
            false => RequestDirectives::default(),
        };
        (!directives.no_store).then_some(Self {
            head,
            directives,
            overview,
        })
    }

    /// Whether any stored response would do.
    fn may_be_answered(&self) -> bool {
        !self.directives.no_cache && self.directives.max_age != Some(0)
    }

    fn only_if_cached(&self) -> bool {
        self.directives.only_if_cached
    }

    /// Whether a response that another request is computing would do. What answers HEAD is not
    /// stored, and nobody waits for what a request would not have computed.
    fn may_share(&self) -> bool {
        self.may_be_answered() && !self.only_if_cached() && !self.head
    }

    /// Whether a stored response of this age would do (RFC 9111 section 5.2.1). `max-stale` asks
    /// for no more than what the function offers by itself.
    fn accepts(&self, times: Times) -> bool {
        let old = |seconds: u64| times.age >= seconds.saturating_mul(1000);
        let short = |seconds: u64| {
            times
                .remaining
                .is_some_and(|remaining| remaining < seconds.saturating_mul(1000))
        };
        self.may_be_answered()
            && !self.directives.max_age.is_some_and(old)
            && !self.directives.min_fresh.is_some_and(short)
    }

    /// Makes the reply of a stored response. The miss that stored it and every hit go through
    /// here, so that they are the same but for what tells them apart.
    fn reply(
        &self,
        stored: &CachedResponse,
        times: Times,
        status: Status,
        settings: &HttpSettings,
        aging: &Aging,
        request: &HeaderMap,
    ) -> Response {
        let facts = Facts::new(times.age, times.remaining, aging);
        let make = || reply_headers(stored, facts, status, settings);
        let mut headers = match status {
            Status::Hit => stored.hit_headers.get(facts, &settings.status_header, make),
            Status::Miss => make(),
        };
        let mut code = stored.status();
        let mut body = stored.body().clone();
        // What is not a success is answered as it is (RFC 9110 section 13.2.1).
        let has_validators = self.overview.has_validators;
        if has_validators && code.is_success() && not_modified(request, &headers) {
            code = StatusCode::NOT_MODIFIED;
            strip_for_not_modified(&mut headers);
            body.clear();
        } else if self.head {
            body.clear();
        }
        let mut reply = Response::new(Body::from(body));
        *reply.status_mut() = code;
        *reply.headers_mut() = headers;
        reply
    }
}

/// The headers of a reply, before it is known what of it the request wants.
fn reply_headers(
    stored: &CachedResponse,
    facts: Facts,
    status: Status,
    settings: &HttpSettings,
) -> HeaderMap {
    let mut headers = stored.headers().clone();
    headers.insert(settings.status_header.clone(), status.value());
    if let Some(rest) = facts.rest
        && !headers.contains_key(CACHE_CONTROL)
    {
        headers.insert(CACHE_CONTROL, cache_control(rest, facts.stale));
    }
    if status == Status::Hit {
        headers.insert(AGE, HeaderValue::from(facts.age));
    }
    // The server would add it to every reply, at the cost of a larger map each time.
    if may_have_body(stored.status()) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(stored.body().len()));
    }
    headers
}

/// Whether a reply came from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Hit,
    Miss,
}

impl Status {
    pub(crate) fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
        })
    }
}

/// How long a response is stored; `None` for no end.
type Lifetime = Option<Duration>;

/// The lifetime that the handler and its options choose, the closest to the value first, or `None`
/// if they refuse to store it, as they do for an `Err`.
fn choose_lifetime(
    verdict: Option<Verdict>,
    wishes: &Wishes,
    default: Lifetime,
) -> Option<Lifetime> {
    let verdict = verdict.filter(|verdict| verdict.stores() && !wishes.no_store)?;
    Some(wishes.expire.or(verdict.lifetime()).or(default))
}

/// The lifetime, cut to the one that the response gives itself, or `None` if the response must not be
/// stored.
fn limit_lifetime(
    chosen: Lifetime,
    reply: &Response,
    site: &Site,
    now: SystemTime,
) -> Option<Lifetime> {
    let headers = reply.headers();
    let is_wanted = site.stores_status(reply.status());
    let may = is_wanted.then(|| may_store(headers, site.vary_names()));
    may?.ok()?;
    let own = explicit_lifetime(headers, &ResponseDirectives::parse(headers), now);
    let lifetime = match (chosen, own) {
        (Some(chosen), Some(own)) => Some(chosen.min(own)),
        (chosen, own) => chosen.or(own),
    };
    let lasts = lifetime.is_none_or(|lifetime| lifetime >= Duration::from_millis(1));
    lasts.then_some(lifetime)
}

/// Adds the headers that the handler asked for through its [`CacheResponse`].
fn with_headers(mut reply: Response, headers: HeaderMap) -> Response {
    let mut last = None;
    for (name, value) in headers {
        last = name.or(last);
        if let Some(name) = &last {
            reply.headers_mut().append(name, value);
        }
    }
    reply
}

/// The `Cache-Control` of a reply, which lets other caches do with stale responses what this one does
/// (RFC 5861).
fn cache_control(max_age: u64, (while_revalidate, if_error): (u64, u64)) -> HeaderValue {
    let mut value = format!("max-age={max_age}");
    for (name, seconds) in [
        ("stale-while-revalidate", while_revalidate),
        ("stale-if-error", if_error),
    ] {
        if seconds > 0 {
            value.push_str(&format!(", {name}={seconds}"));
        }
    }
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("max-age=0"))
}
