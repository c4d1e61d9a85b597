//! The cache as a tower layer, for routes that nobody annotates.

mod asked;
mod exchange;
mod filling;
mod pending;
mod place;
mod plan;
mod stored;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum_core::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, Request, Response};
use http_body::Body as HttpBody;
use tower_layer::Layer;
use tower_service::Service;

use crate::backend::BoxFuture;
use crate::http::{CacheStatus, Forward, HttpSettings, Reason, Target};
use crate::join::join_all;
use crate::registry::{Cache, with_current};
use crate::response::{Replies, Teller, with_cache_status};
use crate::runtime::uninitialized;
use crate::site::Site;

use asked::{Asked, Kind};
use exchange::Exchange;
pub(crate) use filling::Fills;
use pending::Pending;

#[doc = include_str!("../docs/layer.md")]
#[derive(Clone)]
pub struct CacheLayer(Settings);

#[derive(Clone)]
struct Settings {
    site: &'static Site,
    cache: Option<Cache>,
    expire: Option<Duration>,
    key_by: Option<Ask<String>>,
    only_if: Option<Ask<bool>>,
    vary: Vec<HeaderName>,
    heuristic: bool,
    stores_cookies: bool,
    /// The name under which the cache speaks of itself.
    cache_status: Option<Arc<str>>,
}

/// Asks something about a request.
type Ask<T> = Arc<dyn Fn(&Parts) -> T + Send + Sync>;

impl Default for CacheLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl CacheLayer {
    /// A layer on the current cache, in the namespace `http`.
    #[must_use]
    pub fn new() -> Self {
        Self(Settings {
            site: site("http"),
            cache: None,
            expire: None,
            key_by: None,
            only_if: None,
            vary: Vec::new(),
            heuristic: false,
            stores_cookies: false,
            cache_status: None,
        })
    }

    /// Uses this cache instead of the current one.
    #[must_use]
    pub fn cache(mut self, cache: Cache) -> Self {
        self.0.cache = Some(cache);
        self
    }

    /// Sets the namespace, `http` by default. Layers of one namespace share what they store.
    ///
    /// A namespace is remembered for as long as the process lives: choose it from a few.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.0.site = site(namespace);
        self
    }

    /// Sets for how long responses with status 200 are fresh that do not say it themselves, by
    /// `CDN-Cache-Control`, `Cache-Control` or `Expires`. By default, that is what
    /// [`Config::expire`](crate::Config::expire) says, and without it, they are not stored.
    ///
    /// Responses to requests that tell who sent them, by `Authorization`, `Cookie` or their like, are never given
    /// a lifetime, and such requests never get a response that was given one.
    #[must_use]
    pub fn expire(mut self, expire: Duration) -> Self {
        self.0.expire = Some(expire);
        self
    }

    /// Sets what takes part in the key beside method, host, path, query and what responses name in
    /// `Vary`: the tenant, say. The function is called once a request, before anything else is done.
    #[must_use]
    pub fn key_by(mut self, key_by: impl Fn(&Parts) -> String + Send + Sync + 'static) -> Self {
        self.0.key_by = Some(Arc::new(key_by));
        self
    }

    /// Leaves alone the GET and HEAD requests for which this is false.
    #[must_use]
    pub fn only_if(mut self, only_if: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.0.only_if = Some(Arc::new(only_if));
        self
    }

    /// Sets request headers that take part in the key of every response, and which stored responses name in
    /// `Vary`. With `Authorization` or `Cookie` among them, requests with these are cached like any
    /// other, each value for itself.
    #[must_use]
    pub fn vary(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.0.vary = names.into_iter().collect();
        crate::http::sort_names(&mut self.0.vary);
        self
    }

    /// Sets whether a response that names no lifetime, but the date of its last change, is taken to be
    /// fresh for a tenth of the time since then, a day at most (RFC 9111 section 4.2.2). Not by default.
    #[must_use]
    pub fn heuristic_freshness(mut self, heuristic: bool) -> Self {
        self.0.heuristic = heuristic;
        self
    }

    /// Sets whether a response with `Set-Cookie` is stored if it names its lifetime itself, and so says
    /// that it may be shared (RFC 9111 section 7.3). Not by default: few programs mean it.
    #[must_use]
    pub fn store_set_cookie(mut self, stores: bool) -> Self {
        self.0.stores_cookies = stores;
        self
    }

    /// Adds `Cache-Status` to responses, with what this cache did and why, under this name (RFC 9211). By default that is
    /// done where [`Config::cache_status`](crate::Config::cache_status) says so.
    #[must_use]
    pub fn cache_status(mut self, name: impl Into<String>) -> Self {
        self.0.cache_status = Some(name.into().into());
        self
    }
}

impl Settings {
    /// The cache; `None`, and a warning, if there is none.
    fn cache(&self) -> Option<Cache> {
        let cache = self.cache.clone().or_else(|| with_current(Cache::clone));
        if cache.is_none() {
            let _ = uninitialized::<Infallible, Infallible>(self.site);
        }
        cache
    }

    /// The names of the request headers that take part in every key, in lowercase.
    fn vary_names(&self) -> Vec<&str> {
        self.vary.iter().map(HeaderName::as_str).collect()
    }

    fn cache_status<'a>(&'a self, http: &'a HttpSettings) -> Option<&'a str> {
        self.cache_status
            .as_deref()
            .or(http.cache_status.as_deref())
    }

    fn replies<'a>(&'a self, http: &'a HttpSettings, asked: &'a Asked) -> Replies<'a> {
        Replies {
            settings: http,
            cache_status: self.cache_status(http),
            teller: Teller::Origin,
            form: asked.asks.form,
            request: &asked.parts.headers,
        }
    }

    fn passed_on(
        &self,
        response: Response<Body>,
        http: &HttpSettings,
        forward: Forward,
        reason: Option<Reason>,
    ) -> Response<Body> {
        let status = CacheStatus::forwarded(forward).because(reason);
        with_cache_status(response, self.cache_status(http), status)
    }
}

impl fmt::Debug for CacheLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer")
            .field("namespace", &self.0.site.namespace_name())
            .field("cache", &self.0.cache)
            .field("expire", &self.0.expire)
            .field("vary", &self.0.vary)
            .finish_non_exhaustive()
    }
}

/// The layers of one namespace, as the engine knows functions.
fn site(namespace: &str) -> &'static Site {
    static SITES: LazyLock<Mutex<HashMap<String, &'static Site>>> = LazyLock::new(Mutex::default);
    let mut sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(site) = sites.get(namespace) {
        return site;
    }
    let name: &'static str = namespace.to_owned().leak();
    let site = Site::new("fast_cache", "CacheLayer", || "fast_cache::CacheLayer").namespace(name);
    let site: &'static Site = Box::leak(Box::new(site));
    sites.insert(namespace.to_owned(), site);
    site
}

impl<S> Layer<S> for CacheLayer {
    type Service = CacheService<S>;

    fn layer(&self, inner: S) -> CacheService<S> {
        CacheService {
            inner,
            settings: Arc::new(self.0.clone()),
        }
    }
}

/// A service whose responses are cached; [`CacheLayer`] makes it.
#[derive(Clone)]
pub struct CacheService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S: fmt::Debug> fmt::Debug for CacheService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// The response of a [`CacheService`].
#[must_use = "futures do nothing unless polled"]
pub struct CacheFuture<E>(Outcome<E>);

enum Outcome<E> {
    Ready(Ready<Result<Response<Body>, E>>),
    Pending(BoxFuture<'static, Result<Response<Body>, E>>),
}

impl<E> fmt::Debug for CacheFuture<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheFuture").finish_non_exhaustive()
    }
}

impl<E> Future for CacheFuture<E> {
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Outcome::Ready(reply) => Pin::new(reply).poll(context),
            Outcome::Pending(reply) => reply.as_mut().poll(context),
        }
    }
}

impl<E> CacheFuture<E> {
    fn of(reply: impl Future<Output = Result<Response<Body>, E>> + Send + 'static) -> Self {
        Self(Outcome::Pending(Box::pin(reply)))
    }
}

/// What a service has to be, to be cached.
///
/// It is cloned for requests that it answers in the background, which have an empty body of their own.
impl<S, Q, B> Service<Request<Q>> for CacheService<S>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    Q: HttpBody + Default + Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum_core::BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = CacheFuture<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> CacheFuture<S::Error> {
        let Some(cache) = self.settings.cache() else {
            return CacheFuture::of(pass(self.inner.call(request)));
        };
        let (parts, body) = request.into_parts();
        let has_body = may_have_body(&parts, &body);
        let (parts, forward, reason) = match Kind::of(parts, has_body, &self.settings, cache.http())
        {
            Kind::Asked(asked) if cache.is_enabled() => return self.ask(cache, asked),
            Kind::Asked(asked) => (asked.parts, Forward::Bypass, Some(Reason::SwitchedOff)),
            Kind::Unsafe(parts, target) => {
                return self.change(cache, target, Request::from_parts(parts, body));
            }
            Kind::Passed(parts, forward, reason) => (parts, forward, reason),
        };
        self.pass_on(cache, Request::from_parts(parts, body), forward, reason)
    }
}

impl<S> CacheService<S> {
    /// Answers a request by what is there in this process, or begins to look elsewhere.
    ///
    /// Whatever body the request has is empty, and goes.
    fn ask<Q, B>(&mut self, cache: Cache, asked: Asked) -> CacheFuture<S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Q: Default + Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum_core::BoxError>,
    {
        let prefix = cache.engine().prefix_number();
        let Some(key) = asked.key(prefix, &self.settings) else {
            let request = Request::from_parts(asked.parts, Q::default());
            return self.pass_on(cache, request, Forward::Bypass, Some(Reason::Key));
        };
        if let Some(reply) = exchange::find_local(&cache, &self.settings, &asked, &key) {
            return CacheFuture(Outcome::Ready(ready(Ok(reply))));
        }
        let pending = Pending::new(cache, Arc::clone(&self.settings), asked);
        let exchange = Exchange::<S, Q>::new(self.take_ready(), pending);
        CacheFuture::of(exchange.respond(key))
    }

    /// Passes on a request that may change its resource. What is stored of that, and of those that the
    /// response names, ends if it succeeds (RFC 9111 section 4.4).
    fn change<Q, B>(
        &mut self,
        cache: Cache,
        target: Target,
        request: Request<Q>,
    ) -> CacheFuture<S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>>,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum_core::BoxError>,
    {
        let settings = Arc::clone(&self.settings);
        let response = self.inner.call(request);
        CacheFuture::of(async move {
            let response = response.await?.map(Body::new);
            let status = response.status();
            if status.is_success() || status.is_redirection() {
                let mut targets = target.named_by(response.headers());
                targets.push(target);
                let invalidate = |target| Box::pin(exchange::invalidate(&cache, &settings, target));
                // All begin at once, so that none is lost if the client goes away.
                join_all(targets.iter().map(invalidate).collect()).await;
            }
            Ok(settings.passed_on(response, cache.http(), Forward::Method, None))
        })
    }

    fn pass_on<Q, B>(
        &mut self,
        cache: Cache,
        request: Request<Q>,
        forward: Forward,
        reason: Option<Reason>,
    ) -> CacheFuture<S::Error>
    where
        S: Service<Request<Q>, Response = Response<B>>,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum_core::BoxError>,
    {
        let settings = Arc::clone(&self.settings);
        let response = self.inner.call(request);
        CacheFuture::of(async move {
            let response = pass(response).await?;
            Ok(settings.passed_on(response, cache.http(), forward, reason))
        })
    }

    /// The service that has said that it is ready, in whose place comes one that has not.
    fn take_ready(&mut self) -> S
    where
        S: Clone,
    {
        let unready = self.inner.clone();
        std::mem::replace(&mut self.inner, unready)
    }
}

/// Awaits a response that is passed on as it comes.
async fn pass<B, E>(
    response: impl Future<Output = Result<Response<B>, E>>,
) -> Result<Response<Body>, E>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum_core::BoxError>,
{
    Ok(response.await?.map(Body::new))
}

/// Whether a request has a body, or says that it has one.
fn may_have_body(parts: &Parts, body: &impl HttpBody) -> bool {
    let length = parts.headers.get(http::header::CONTENT_LENGTH);
    let is_announced = parts.headers.contains_key(http::header::TRANSFER_ENCODING)
        || length.is_some_and(|length| length.as_bytes() != b"0");
    is_announced || !body.is_end_stream() && body.size_hint().exact() != Some(0)
}
