//! The path of a request through a cached handler.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;

use crate::access::Access;
use crate::axum::{CacheRequest, CacheResponse, RequestHead, Wishes};
use crate::drive::{Desk, Driven, boxed};
use crate::engine::{Engine, Found, Look, Terms, Times, times_of};
use crate::http::{
    CacheStatus, Candidate, Forward, HttpSettings, Reason, ResponseDirectives, add_vary, admit,
    explicit_lifetime, forwarded, is_personal, moment, stands_in_for,
};
use crate::key::KeyWriter;
use crate::limit::{Limit, timed_out};
use crate::policy::Verdict;
use crate::registry::{Cache, with_current};
use crate::response::{
    CachedResponse, Facts, Gathered, Replies, Teller, gather, with_cache_status,
};
use crate::runtime::{
    Answer, AskedFor, CallKey, Due, End, First, Lookup, MakeKeyBuilder, Miss, Path, Purpose,
    Settled, look_up, uninitialized, unwound,
};
use crate::site::Site;
use crate::tags::TagList;
use crate::value::{CoderChoice, Shape};

use super::asks::Asks;

/// The headers by which clients tell who they are (RFC 9110 section 11.6.2, RFC 6265). Others are a program's own
/// or those of a proxy, and too many to name.
const PERSONAL: [&str; 2] = ["cookie", "authorization"];

/// Looks up a request to a cached handler. A response in this process is found and answered here,
/// before anything is awaited.
///
/// `is_shared` says whether the parameters of the handler show nothing of who asks.
pub fn handler<C: CoderChoice>(
    site: &'static Site,
    _coder: C,
    builder: Option<MakeKeyBuilder>,
    is_shared: bool,
    request: &impl RequestHead,
    response: &CacheResponse,
    write_key: impl FnOnce(&mut KeyWriter),
) -> HandlerCall<C> {
    let headers = request.headers();
    let mut passed = None;
    let lookup = with_current(|cache| {
        let settings = cache.http();
        // A key builder may count what tells who asks.
        let is_shared = is_shared && cache.key_builder_ref().is_none();
        let asks = match Asks::of(request.method(), headers, settings) {
            Ok(asks) => asks,
            Err((forward, reason)) => {
                let is_private = forward != Forward::Method && !is_shared;
                passed = Passed::new(settings, is_private, forward, reason);
                return Lookup::Bypass;
            }
        };
        let mut refusal = Reason::Key;
        let mut sees_headers = false;
        let write_key = |key: &mut KeyWriter| {
            write_key(key);
            sees_headers = builder.is_none() && key.has_seen_headers();
            if sees_headers {
                write_seen_headers(key, headers, site, &asks, settings);
            }
            key.request(request, site.vary_names());
            if key.is_refused() {
                refusal = key.bypass_reason();
            }
        };
        let lookup = look_up(cache, site, builder, write_key, |engine, entry, now| {
            let times = times_of(entry, now);
            let stored = engine.downcast::<CachedResponse>(site, entry)?;
            accepts(&asks, times).then(|| {
                let replies = replies(site, engine, settings, is_shared, &asks, headers);
                replies.hit(stored, facts(times), CacheStatus::HIT)
            })
        });
        match lookup {
            Lookup::Hit(reply) => Lookup::Hit(reply),
            Lookup::Bypass => {
                let reason = match cache.is_enabled() {
                    true => refusal,
                    false => Reason::SwitchedOff,
                };
                let is_private = !is_shared || asks.overview.has_credentials;
                passed = Passed::new(settings, is_private, Forward::Bypass, Some(reason));
                Lookup::Bypass
            }
            Lookup::Miss(miss) => {
                let mut pending = Pending::new(*miss, asks, is_shared, request, response);
                pending.sees_headers = sees_headers;
                Lookup::Miss(pending)
            }
        }
    });
    let lookup = lookup.unwrap_or_else(|| uninitialized(site));
    let response = match lookup {
        Lookup::Hit(_) => CacheResponse::default(),
        Lookup::Bypass | Lookup::Miss(_) => response.clone(),
    };
    HandlerCall {
        site,
        lookup,
        passed,
        response,
        timeout: None,
        coder: PhantomData,
    }
}

/// Makes what a handler can see through the headers of the request part of the key, beside those that `vary` names:
/// those by which programs make links. A request that tells who sent it, or that is not what it seems, is kept out.
fn write_seen_headers(
    key: &mut KeyWriter,
    headers: &HeaderMap,
    site: &Site,
    asks: &Asks,
    settings: &HttpSettings,
) {
    let overview = &asks.overview;
    if overview.is_disguised {
        key.bypass_for(Reason::MethodOverride);
    }
    if overview.has_credentials && is_personal(headers, site.vary_names(), &settings.notable) {
        key.bypass_for(Reason::Credentials);
    }
    if overview.is_forwarded {
        key.links(forwarded(headers, &settings.notable));
    }
}

/// What a request is told that was passed on.
struct Passed {
    /// The name of the cache, where `Cache-Status` is asked for.
    cache: Option<Arc<str>>,
    status: CacheStatus,
    /// Whether the reply may show who asks.
    is_private: bool,
}

impl Passed {
    fn new(
        settings: &HttpSettings,
        is_private: bool,
        forward: Forward,
        reason: Option<Reason>,
    ) -> Option<Box<Self>> {
        Some(Box::new(Self {
            cache: settings.cache_status.clone(),
            status: CacheStatus::forwarded(forward).because(reason),
            is_private,
        }))
    }

    fn tell(self, reply: Response) -> Response {
        let reply = unstored(reply, self.is_private);
        with_cache_status(reply, self.cache.as_deref(), self.status)
    }
}

/// A reply that is not stored. What may show who asks is kept from caches on the way, unless it speaks for itself: one of
/// them may give lifetimes of its own (RFC 9111 section 4.2.2).
fn unstored(mut reply: Response, is_private: bool) -> Response {
    if is_private {
        let told = HeaderValue::from_static("private, no-cache");
        reply.headers_mut().entry(CACHE_CONTROL).or_insert(told);
    }
    reply
}

/// Whether a stored response would do. `max-stale` asks for no more than what the function offers by itself.
fn accepts(asks: &Asks, times: Times) -> bool {
    let rest = times
        .remaining
        .map(|rest| i64::try_from(rest).unwrap_or(i64::MAX));
    asks.accepts(times.age, rest)
}

fn facts(times: Times) -> Facts {
    let ttl = times.remaining.map(|remaining| {
        let seconds = |milliseconds: u64| i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX);
        match times.is_stale() {
            true => -seconds(times.stale),
            false => seconds(remaining),
        }
    });
    Facts {
        age: times.age / 1000,
        ttl,
    }
}

/// Makes the replies to a request, whose headers are `request`.
fn replies<'a>(
    site: &'static Site,
    engine: &'a Engine,
    settings: &'a HttpSettings,
    is_shared: bool,
    asks: &Asks,
    request: &'a HeaderMap,
) -> Replies<'a> {
    Replies {
        settings,
        cache_status: settings.cache_status.as_deref(),
        teller: Teller::Handler {
            site,
            engine,
            is_shared: is_shared && !asks.overview.has_credentials,
        },
        form: asks.form,
        request,
    }
}

/// A request to a cached handler that has been looked up.
#[must_use = "a call does nothing until it is run"]
pub struct HandlerCall<C> {
    site: &'static Site,
    lookup: Lookup<Response, Box<Pending>>,
    passed: Option<Box<Passed>>,
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

    /// Sets how long the call may take. The reply is 504 Gateway Timeout if it takes longer.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        if let Lookup::Miss(pending) = &mut self.lookup {
            pending.miss.end_after(timeout);
        }
        self
    }

    /// Gives the reply that was found, or awaits the future that `make` makes and stores what `rules` and the response
    /// itself let it.
    pub fn run<S, M, F, R>(
        self,
        _shape: S,
        make: M,
        rules: R,
    ) -> Answer<Response, impl Future<Output = Response>>
    where
        S: Shape<Returned: IntoResponse>,
        M: FnOnce() -> F,
        F: Future<Output = S::Returned>,
        R: FnOnce(&S::Stored) -> Verdict,
    {
        let (site, timeout, response) = (self.site, self.timeout, self.response);
        let pending = match self.lookup {
            Lookup::Hit(reply) => return Answer::Ready(reply),
            lookup => lookup.into_miss().ok_or(self.passed),
        };
        let computation = boxed(|| within(site, timeout, make()));
        Answer::Pending(Driven::borrowed(cache_of(&pending), computation, |desk| {
            respond::<S, C, R>(pending, response, desk, rules)
        }))
    }

    /// As [`run`](Self::run), for a computation that can outlive the request: where there is a
    /// response to serve meanwhile, and when the client leaves, it goes on in the background.
    pub fn run_owned<S, M, F, R>(
        self,
        _shape: S,
        make: M,
        rules: R,
    ) -> Answer<Response, impl Future<Output = Response>>
    where
        S: Shape<Returned: IntoResponse + Send> + 'static,
        M: FnOnce() -> F,
        F: Future<Output = S::Returned> + Send + 'static,
        R: FnOnce(&S::Stored) -> Verdict + Send + 'static,
    {
        let (site, timeout, response) = (self.site, self.timeout, self.response);
        let pending = match self.lookup {
            Lookup::Hit(reply) => return Answer::Ready(reply),
            lookup => lookup.into_miss().ok_or(self.passed),
        };
        let computation = boxed(|| within(site, timeout, make()));
        Answer::Pending(Driven::owned(cache_of(&pending), computation, |desk| {
            respond_owned::<S, C, R>(pending, response, desk, rules)
        }))
    }
}

/// A request that was not answered at once, or one that was passed on.
type NotHit = Result<Box<Pending>, Option<Box<Passed>>>;

fn cache_of(pending: &NotHit) -> Option<Cache> {
    pending
        .as_ref()
        .ok()
        .map(|pending| pending.miss.cache.clone())
}

/// Between the way of a request and its handler, which gives what it returns, or the reply that it took too long.
type HandlerDesk<S> = Desk<Result<<S as Shape>::Returned, Response>, Response>;

/// Answers a request whose computation borrows: it runs here, or not at all.
async fn respond<S, C, R>(
    pending: NotHit,
    response: CacheResponse,
    desk: Arc<HandlerDesk<S>>,
    rules: R,
) -> Response
where
    S: Shape<Returned: IntoResponse>,
    C: CoderChoice,
    R: FnOnce(&S::Stored) -> Verdict,
{
    let pending = match pending {
        Ok(pending) => pending,
        Err(passed) => return bypass::<S>(passed, response, &desk).await,
    };
    let exchange = pending.resolve::<C>(response).await;
    match exchange.first_look().await {
        First::Answer(answered) => answered.reply,
        // In a box of its own, since a hit in a shared store has no use for its room.
        First::Due(_, due) | First::Miss(due) => {
            Box::pin(exchange.finish::<S, R>(due, &desk, rules)).await
        }
    }
}

/// Answers a request whose computation can outlive it.
async fn respond_owned<S, C, R>(
    pending: NotHit,
    response: CacheResponse,
    desk: Arc<HandlerDesk<S>>,
    rules: R,
) -> Response
where
    S: Shape<Returned: IntoResponse>,
    C: CoderChoice,
    R: FnOnce(&S::Stored) -> Verdict,
{
    let pending = match pending {
        Ok(pending) => pending,
        Err(passed) => return bypass::<S>(passed, response, &desk).await,
    };
    let exchange = pending.resolve::<C>(response).await;
    let due = match exchange.first_look().await {
        First::Answer(answered) => return answered.reply,
        First::Due(answered, due) => {
            let window = exchange.path().window(&due);
            desk.answer(answered.reply, window).await;
            due
        }
        First::Miss(due) => {
            let accept = |found| Some(exchange.accept(found, CacheStatus::HIT)?.reply);
            exchange.path().leave_spare(&desk, &due, accept);
            due
        }
    };
    Box::pin(exchange.finish::<S, R>(due, &desk, rules)).await
}

/// Awaits a handler, for so long at most if there is a limit; after that, gives the reply that says so. The time begins
/// now, and not when this is polled.
fn within<R>(
    site: &'static Site,
    timeout: Option<Duration>,
    handler: impl Future<Output = R>,
) -> impl Future<Output = Result<R, Response>> {
    let limited = timeout.map(|timeout| (timeout, Limit::new(timeout)));
    async move {
        let Some((timeout, limit)) = limited else {
            return Ok(handler.await);
        };
        limit.keep(handler).await.ok_or_else(|| {
            timed_out(site, timeout);
            StatusCode::GATEWAY_TIMEOUT.into_response()
        })
    }
}

/// Runs a handler as if there were no cache.
async fn bypass<S>(
    passed: Option<Box<Passed>>,
    response: CacheResponse,
    desk: &HandlerDesk<S>,
) -> Response
where
    S: Shape<Returned: IntoResponse>,
{
    let reply = match unwound(desk.computed(false).await) {
        Ok(returned) => returned.into_response(),
        Err(reply) => reply,
    };
    let reply = with_headers(reply, response.take().headers);
    match passed {
        Some(passed) => passed.tell(reply),
        None => reply,
    }
}

/// A request that was not answered at once.
struct Exchange<C> {
    call: AskedFor,
    asks: Asks,
    is_shared: bool,
    sees_headers: bool,
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
        let path = self.call.path(Access::new::<C>());
        path.with_patience(self.settings().coalesce_timeout)
    }

    fn settings(&self) -> &HttpSettings {
        self.call.cache.http()
    }

    async fn first_look(&self) -> First<Answered, CachedResponse> {
        let accept = |found| self.accept(found, CacheStatus::HIT);
        match self.path().first_look(accept).await {
            // What answers HEAD is not stored.
            First::Due(answered, _) if self.asks.form.is_head => First::Answer(answered),
            first => first,
        }
    }

    /// Computes a response, together with others if they can use it, and stores it.
    async fn finish<S, R>(
        &self,
        due: Due<CachedResponse>,
        desk: &HandlerDesk<S>,
        rules: R,
    ) -> Response
    where
        S: Shape<Returned: IntoResponse>,
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
        if !self.asks.may_share() || path.engine.unstorable().knows(path.key) {
            let settled = Settled::computation(look, None);
            let answer = self.answer::<S, R>(&path, settled, &purpose, desk, rules);
            return answer.await.0.reply;
        }
        let answer = |first, rules| async {
            let settled = path.settle(first, &purpose).await;
            self.answer::<S, R>(&path, settled, &purpose, desk, rules)
                .await
        };
        let accept = |found| self.accept(found, CacheStatus::COLLAPSED);
        let together = path.together(start, Some(look), rules, answer, Answered::stored, accept);
        together.await.reply
    }

    /// Answers the request by what the store has, or computes and stores. What was found stands in for
    /// a computation that fails.
    async fn answer<S, R>(
        &self,
        path: &Path<'_, CachedResponse>,
        settled: Settled<CachedResponse>,
        purpose: &Purpose,
        desk: &HandlerDesk<S>,
        rules: R,
    ) -> (Answered, End)
    where
        S: Shape<Returned: IntoResponse>,
        R: FnOnce(&S::Stored) -> Verdict,
    {
        let Settled {
            mut look,
            answers,
            lease: _lease,
        } = settled;
        let validity = look.validity();
        let forward = forward_reason(&look);
        let found = look.found.take();
        let replaces = found.is_some();
        let found = found.filter(|found| accepts(&self.asks, found.times));
        if answers && let Some(found) = found {
            path.serve(purpose, &found);
            let end = End::Valid(found.times, validity);
            return (self.hit(found, CacheStatus::HIT), end);
        }
        if self.asks.directives.only_if_cached {
            return Answered::alone(self.replies().not_stored(CacheStatus::default()));
        }
        let before = path.tags_before(&look).await;
        let computed = path.compute(purpose, desk.computed(found.is_some())).await;
        let (reply, verdict) = match computed.outcome {
            Ok(Ok(returned)) => {
                let verdict = S::split(&returned).map(rules);
                (returned.into_response(), verdict)
            }
            Ok(Err(reply)) => (reply, None),
            Err(payload) if found.is_none() => std::panic::resume_unwind(payload),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR.into_response(), None),
        };
        if let Some(found) = found
            && stands_in_for(reply.status())
        {
            path.stand_in(purpose, &found);
            let end = End::Valid(found.times, validity);
            let status = CacheStatus::forwarded(forward).answered(reply.status());
            return (self.hit(found, status), end);
        }
        let made = Made {
            reply,
            verdict,
            took: computed.took,
            before,
            forward,
            replaces,
        };
        self.store(path, made, &look).await
    }

    /// Stores what the function returned, if it may be. If not, what is stored already ends, since it is no longer
    /// what the handler answers.
    async fn store(
        &self,
        path: &Path<'_, CachedResponse>,
        made: Made,
        look: &Look<CachedResponse>,
    ) -> (Answered, End) {
        let Made {
            reply,
            verdict,
            took,
            before,
            forward,
            replaces,
        } = made;
        let mut wishes = self.response.take();
        let reply = with_headers(reply, std::mem::take(&mut wishes.headers));
        let status = reply.status();
        let (parts, body, lifetime) = match self.admit(path, verdict, &wishes, reply).await {
            Ok(admitted) => admitted,
            Err((reply, reason)) => {
                path.engine.unstorable().note(path.key);
                if replaces && !stands_in_for(status) && !self.asks.form.is_head {
                    path.end().await;
                }
                let status = CacheStatus::forwarded(forward).because(Some(reason));
                let cache = self.settings().cache_status.as_deref();
                let reply = unstored(reply, !self.replies().teller.is_shared());
                return Answered::alone(with_cache_status(reply, cache, status));
            }
        };
        let aging = path.aging();
        let is_strict = ResponseDirectives::parse(&parts.headers).forbids_stale();
        let mut tags = path.tags.clone();
        wishes.tags.into_iter().for_each(|tag| tags.add(tag));
        let terms = Terms {
            fresh: lifetime.map(|lifetime| aging.spread(lifetime)),
            stale: match is_strict {
                true => Duration::ZERO,
                false => aging.stale(),
            },
            took,
            tags: tags.as_slice(),
            before: &before,
        };
        let mut headers = parts.headers;
        add_vary(&mut headers, path.site.vary_names());
        self.name_seen_headers(&mut headers);
        let strong = self.settings().strong_etags;
        let stored = CachedResponse::complete(parts.status, headers, body, strong);
        let end = match self.asks.form.is_head {
            true => End::Alone,
            false => path.store_on(look.ticket, &stored, &terms).await,
        };
        let facts = facts(Times::new(terms.fresh));
        let is_stored = matches!(end, End::Valid(..));
        let status = CacheStatus::forwarded(forward).stored(is_stored);
        let mut reply = self.replies().miss(&stored, facts, None, status);
        *reply.extensions_mut() = parts.extensions;
        let answered = Answered {
            reply,
            stored: Some(stored),
        };
        (answered, end)
    }

    /// The parts of a reply and the lifetime that it is stored for, or the reply and why it is not stored.
    async fn admit(
        &self,
        path: &Path<'_, CachedResponse>,
        verdict: Option<Verdict>,
        wishes: &Wishes,
        reply: Response,
    ) -> Result<(http::response::Parts, bytes::Bytes, Lifetime), (Response, Reason)> {
        let lifetime = choose_lifetime(verdict, wishes, path.engine.expire())
            .and_then(|chosen| limit_lifetime(chosen, &reply, path));
        let lifetime = match lifetime {
            Ok(lifetime) => lifetime,
            Err(reason) => return Err((reply, reason)),
        };
        let (parts, body) = reply.into_parts();
        let most = self.settings().max_body;
        let least = usize::try_from(body.size_hint().lower());
        if !least.is_ok_and(|least| least <= most) {
            return Err((Response::from_parts(parts, body), Reason::TooLarge));
        }
        match gather(body, most).await {
            Gathered::Whole(body) => Ok((parts, body, lifetime)),
            Gathered::Short(body) => {
                let reply = Response::from_parts(parts, Body::from(body));
                Err((reply, Reason::BrokenOff))
            }
            Gathered::Streaming(body) => Err((Response::from_parts(parts, body), Reason::Streams)),
        }
    }

    /// Names in `Vary` what keeps replies of a handler apart that sees the headers, beside those that `vary` names: by
    /// some it may have made links, and to a request that tells who sent it it may answer otherwise. To caches on
    /// the way to the client these headers would count for nothing.
    fn name_seen_headers(&self, headers: &mut HeaderMap) {
        if !self.sees_headers {
            return;
        }
        add_vary(headers, &PERSONAL);
        if self.asks.overview.is_forwarded {
            let links = forwarded(self.request.headers(), &self.settings().notable);
            let names: Vec<&str> = links.map(|(name, _)| name).collect();
            add_vary(headers, &names);
        }
    }

    /// Makes the reply of a stored response, if the request lets it.
    fn accept(&self, found: Found<CachedResponse>, status: CacheStatus) -> Option<Answered> {
        accepts(&self.asks, found.times).then(|| self.hit(found, status))
    }

    fn hit(&self, found: Found<CachedResponse>, status: CacheStatus) -> Answered {
        let facts = facts(found.times);
        Answered {
            reply: self.replies().hit(&found.value, facts, status),
            stored: Some(found.value),
        }
    }

    fn replies(&self) -> Replies<'_> {
        let engine = self.call.cache.engine();
        let headers = self.request.headers();
        replies(
            self.call.site,
            engine,
            self.settings(),
            self.is_shared,
            &self.asks,
            headers,
        )
    }
}

/// What a handler has made.
struct Made {
    reply: Response,
    /// `None` for an `Err`.
    verdict: Option<Verdict>,
    took: u64,
    /// The generations of the tags that are known from the arguments.
    before: Vec<u64>,
    /// Why the handler was asked.
    forward: Forward,
    /// Whether an older response is stored.
    replaces: bool,
}

impl Answered {
    fn stored(&self) -> Option<&CachedResponse> {
        self.stored.as_ref()
    }

    /// A reply that is for no other request.
    fn alone(reply: Response) -> (Self, End) {
        let answered = Self {
            reply,
            stored: None,
        };
        (answered, End::Alone)
    }
}

/// Why a handler is asked.
fn forward_reason(look: &Look<CachedResponse>) -> Forward {
    match &look.found {
        None => Forward::UriMiss,
        Some(found) if found.times.is_stale() => Forward::Stale,
        Some(_) => Forward::Request,
    }
}

/// What the rest of a request needs that was not answered at once.
pub(crate) struct Pending {
    miss: Miss,
    asks: Asks,
    is_shared: bool,
    /// Whether the handler can see every header of the request.
    sees_headers: bool,
    request: CacheRequest,
}

impl Pending {
    fn new(
        mut miss: Miss,
        asks: Asks,
        is_shared: bool,
        request: &impl RequestHead,
        response: &CacheResponse,
    ) -> Box<Self> {
        let request = request.to_request();
        if let CallKey::Built(built) = &mut miss.key {
            built.answer(&request, response, miss.site.vary_names());
        }
        Box::new(Self {
            miss,
            asks,
            is_shared,
            sees_headers: false,
            request,
        })
    }

    /// Makes the key.
    async fn resolve<C>(self: Box<Self>, response: CacheResponse) -> Exchange<C> {
        Exchange {
            call: self.miss.resolve().await,
            asks: self.asks,
            is_shared: self.is_shared,
            sees_headers: self.sees_headers,
            request: self.request,
            response,
            coder: PhantomData,
        }
    }
}

/// How long a response is stored; `None` for no end.
type Lifetime = Option<Duration>;

/// The lifetime that the handler and its options choose, the closest to the value first, or why they refuse to store
/// it, as they do for an `Err`.
fn choose_lifetime(
    verdict: Option<Verdict>,
    wishes: &Wishes,
    default: Lifetime,
) -> Result<Lifetime, Reason> {
    let verdict = verdict.ok_or(Reason::Error)?;
    if !verdict.stores() || wishes.no_store {
        return Err(Reason::Refused);
    }
    Ok(wishes.expire.or(verdict.lifetime()).or(default))
}

/// The lifetime, cut to the one that the response gives itself, or why the response must not be stored.
fn limit_lifetime(
    chosen: Lifetime,
    reply: &Response,
    path: &Path<'_, CachedResponse>,
) -> Result<Lifetime, Reason> {
    let headers = reply.headers();
    if !path.site.stores_status(reply.status()) {
        return Err(Reason::Status);
    }
    let directives = ResponseDirectives::parse(headers);
    admit(Candidate {
        status: reply.status(),
        headers,
        directives: &directives,
        is_authorized: false,
        shares_cookies: false,
        keyed: path.site.vary_names(),
        keys_vary: false,
        validates: false,
    })?;
    let own = explicit_lifetime(headers, &directives, moment(path.engine.wall()));
    let lifetime = match (chosen, own) {
        (Some(chosen), Some(own)) => Some(chosen.min(own)),
        (chosen, own) => chosen.or(own),
    };
    match lifetime {
        Some(lifetime) if lifetime < Duration::from_millis(1) => Err(Reason::NoLifetime),
        lifetime => Ok(lifetime),
    }
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
