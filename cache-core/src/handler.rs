//! The path of a request through a cached handler.

use std::future::Future;
use std::marker::PhantomData;
use std::time::Duration;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use http::header::{AGE, CACHE_CONTROL, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::access::Access;
use crate::axum::{CacheRequest, CacheResponse, CachedResponse, RequestHead, Wishes};
use crate::body::{Gathered, gather};
use crate::engine::{Found, Look, Ticket, Times};
use crate::http::{
    RequestDirectives, ResponseDirectives, add_vary, is_personal, may_store, not_modified,
    strip_for_not_modified,
};
use crate::key::{KeyWriter, headers_suffix};
use crate::policy::Verdict;
use crate::registry::{InitError, with_current};
use crate::runtime::{
    Answer, CallKey, End, First, Lookup, MakeKeyBuilder, Miss, Path, look_up, uninitialized,
};
use crate::site::Site;
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
    max_body: usize,
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
                && is_personal(headers, site.vary_names())
            {
                key.bypass();
            }
            key.headers(headers, site.vary_names());
        };
        let lookup = look_up(cache, site, builder, write_key, |engine, entry, times| {
            let stored = engine.downcast::<CachedResponse>(entry)?;
            let reply = || asked.reply(stored, times, Status::Hit, cache.http(), headers);
            asked.accepts(times).then(reply)
        });
        match lookup {
            Lookup::Hit(reply) => Lookup::Hit(reply),
            Lookup::Bypass => Lookup::Bypass,
            Lookup::Miss(miss) => Lookup::Miss(Pending::new(*miss, asked, request, response)),
        }
    });
    HandlerCall {
        lookup: lookup.unwrap_or_else(|| uninitialized(site)),
        response: response.clone(),
        coder: PhantomData,
    }
}

/// A request to a cached handler that has been looked up.
#[must_use = "a call does nothing until it is run"]
pub struct HandlerCall<C> {
    lookup: Lookup<Response, Box<Pending>>,
    response: CacheResponse,
    coder: PhantomData<C>,
}

impl<C: CoderChoice> HandlerCall<C> {
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
            Lookup::Hit(reply) => return Answer::Ready(Some(reply)),
            Lookup::Miss(pending) => Some(pending),
            Lookup::Bypass => None,
        };
        Answer::Pending(Box::pin(respond::<S, C, F, R>(
            pending,
            self.response,
            future,
            rules,
        )))
    }
}

async fn respond<S, C, F, R>(
    pending: Option<Box<Pending>>,
    response: CacheResponse,
    future: F,
    rules: R,
) -> Response
where
    S: Shape<Returned: IntoResponse>,
    C: CoderChoice,
    F: Future<Output = S::Returned>,
    R: FnOnce(&S::Stored) -> Verdict,
{
    let Some(pending) = pending else {
        let returned = future.await;
        return with_headers(returned.into_response(), response.take().headers);
    };
    let Pending {
        miss,
        asked,
        request,
    } = *pending;
    let Miss { cache, site, key } = miss;
    let key = key.resolve(&cache, site).await;
    let exchange = Exchange {
        path: Path {
            engine: cache.engine(),
            access: Access::new::<C>(),
            site,
            key: &key,
        },
        settings: cache.http(),
        asked: &asked,
        request: &request,
        response: &response,
    };
    if !asked.may_share() {
        let answer = exchange.answer::<S, F, R>(None, future, rules);
        return answer.await.0.reply;
    }
    let accept = |found| exchange.accept(found);
    let (start, first) = match exchange.path.first_look(accept).await {
        First::Hit(answered) => return answered.reply,
        First::Miss(start, first) => (start, first),
    };
    let answer = |first, (future, rules)| exchange.answer::<S, F, R>(first, future, rules);
    let call = (future, rules);
    let together = exchange
        .path
        .together(start, first, call, answer, Answered::stored, accept);
    together.await.reply
}

/// A request that was not answered at once.
struct Exchange<'a> {
    path: Path<'a, CachedResponse>,
    settings: &'a HttpSettings,
    asked: &'a Asked,
    request: &'a CacheRequest,
    response: &'a CacheResponse,
}

/// A reply, and the stored response that it was made from.
struct Answered {
    reply: Response,
    stored: Option<CachedResponse>,
}

impl Exchange<'_> {
    /// Answers the request from the store, or computes and stores.
    async fn answer<S, F, R>(
        &self,
        first: Option<Look<CachedResponse>>,
        future: F,
        rules: R,
    ) -> (Answered, End)
    where
        S: Shape<Returned: IntoResponse>,
        F: Future<Output = S::Returned>,
        R: FnOnce(&S::Stored) -> Verdict,
    {
        let Path {
            engine,
            access,
            site,
            key,
        } = self.path;
        let (look, _lease) = match self.asked.may_share() {
            true => self.path.look(first).await,
            false => (engine.find(access, site, key).await, None),
        };
        let validity = look.validity();
        if let Some(found) = look.found {
            let end = End::Valid(found.times, validity);
            if let Some(answered) = self.accept(found) {
                engine.counters().hit();
                return (answered, end);
            }
        }
        if self.asked.only_if_cached() {
            return Answered::alone(StatusCode::GATEWAY_TIMEOUT.into_response());
        }
        engine.counters().miss();
        let returned = future.await;
        let verdict = S::split(&returned).map(rules);
        self.store(returned.into_response(), verdict, look.ticket)
            .await
    }

    /// Stores what the function returned, if it may be.
    async fn store(
        &self,
        reply: Response,
        verdict: Option<Verdict>,
        ticket: Ticket,
    ) -> (Answered, End) {
        let wishes = self.response.take();
        let chosen = choose_lifetime(verdict, &wishes, self.path.engine.expire());
        let reply = with_headers(reply, wishes.headers);
        let lifetime = chosen.and_then(|chosen| limit_lifetime(chosen, &reply, self.path.site));
        let Some(lifetime) = lifetime else {
            return Answered::alone(reply);
        };
        let (parts, body) = reply.into_parts();
        let body = match gather(body, self.settings.max_body).await {
            Gathered::Whole(body) => body,
            Gathered::Streaming(body) => {
                return Answered::alone(Response::from_parts(parts, body));
            }
        };
        let mut headers = parts.headers;
        add_vary(&mut headers, self.path.site.vary_names());
        let stored = CachedResponse::new(parts.status, headers, body);
        let end = match self.asked.head {
            true => End::Alone,
            false => self.path.store_for(ticket, &stored, lifetime).await,
        };
        let mut reply = self.reply(&stored, Times::new(lifetime), Status::Miss);
        *reply.extensions_mut() = parts.extensions;
        let answered = Answered {
            reply,
            stored: Some(stored),
        };
        (answered, end)
    }

    /// Makes the reply of a stored response, if the request lets it.
    fn accept(&self, found: Found<CachedResponse>) -> Option<Answered> {
        self.asked.accepts(found.times).then(|| Answered {
            reply: self.reply(&found.value, found.times, Status::Hit),
            stored: Some(found.value),
        })
    }

    fn reply(&self, stored: &CachedResponse, times: Times, status: Status) -> Response {
        let request = self.request.headers();
        self.asked
            .reply(stored, times, status, self.settings, request)
    }
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
}

/// What a request lets the cache do.
#[derive(Clone, Debug)]
struct Asked {
    head: bool,
    directives: RequestDirectives,
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
        let directives = if settings.client_directives {
            RequestDirectives::parse(request.headers())
        } else {
            RequestDirectives::default()
        };
        (!directives.no_store).then_some(Self { head, directives })
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
    /// for less than what every stored response offers, since none is served stale.
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
        request: &HeaderMap,
    ) -> Response {
        let mut headers = stored.headers().clone();
        headers.insert(settings.status_header.clone(), status.value());
        if let Some(remaining) = times.remaining
            && !headers.contains_key(CACHE_CONTROL)
        {
            headers.insert(CACHE_CONTROL, max_age(remaining / 1000));
        }
        if status == Status::Hit {
            headers.insert(AGE, HeaderValue::from(times.age / 1000));
        }
        let mut code = stored.status();
        let mut body = stored.body().clone();
        if not_modified(request, &headers) {
            code = StatusCode::NOT_MODIFIED;
            strip_for_not_modified(&mut headers);
            body.clear();
        } else if self.head {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
            body.clear();
        }
        let mut reply = Response::new(Body::from(body));
        *reply.status_mut() = code;
        *reply.headers_mut() = headers;
        reply
    }
}

/// Whether a reply came from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Hit,
    Miss,
}

impl Status {
    fn value(self) -> HeaderValue {
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

/// The lifetime, cut to the one that the response's own `Cache-Control` gives, or `None` if the
/// response must not be stored.
fn limit_lifetime(chosen: Lifetime, reply: &Response, site: &Site) -> Option<Lifetime> {
    may_store(reply.status(), reply.headers(), site.vary_names()).ok()?;
    let own = ResponseDirectives::parse(reply.headers())
        .lifetime()
        .map(Duration::from_secs);
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

fn max_age(seconds: u64) -> HeaderValue {
    HeaderValue::try_from(format!("max-age={seconds}"))
        .unwrap_or_else(|_| HeaderValue::from_static("max-age=0"))
}
