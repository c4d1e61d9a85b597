//! One origin behind each of the two fronts: a `#[cache]` handler, and any service behind `CacheLayer`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use fast_cache::testing::ManualClock;
use fast_cache::{BoxFuture, Cache, CacheLayer, Config, InMemoryBackend, cache};
use http_body_util::BodyExt;
use tower::ServiceExt;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// What the cache stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Front {
    Handler,
    Layer,
}

pub(crate) const FRONTS: [Front; 2] = [Front::Handler, Front::Layer];

/// What makes the answers. It is told the path, and how many calls there were before.
type Make = Arc<dyn Fn(String, usize) -> BoxFuture<'static, Response> + Send + Sync>;

#[derive(Clone)]
struct Origin {
    make: Make,
    calls: Arc<AtomicUsize>,
}

impl Origin {
    fn call(&self, path: String) -> BoxFuture<'static, Response> {
        let before = self.calls.fetch_add(1, Ordering::SeqCst);
        (self.make)(path, before)
    }
}

#[cache(expire = 60)]
async fn page(Path(path): Path<String>, State(origin): State<Origin>) -> Response {
    origin.call(path).await
}

async fn plain(Path(path): Path<String>, State(origin): State<Origin>) -> Response {
    origin.call(path).await
}

/// An origin behind one front, on a cache and a clock of its own.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) clock: ManualClock,
    pub(crate) cache: Cache,
    calls: Arc<AtomicUsize>,
    router: Router,
}

/// A reply whose body has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Pages {
    /// An origin in memory that answers at once.
    pub(crate) fn new(
        front: Front,
        answer: impl Fn(usize) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self::on(memory(), front, answer)
    }

    /// The same, on a cache with this configuration.
    pub(crate) fn on(
        config: Config,
        front: Front,
        answer: impl Fn(usize) -> Response + Send + Sync + 'static,
    ) -> Self {
        Self::of(config, front, move |_, before| {
            let response = answer(before);
            Box::pin(async move { response })
        })
    }

    /// The same, where the answer knows its path, and takes its time.
    pub(crate) fn of(
        config: Config,
        front: Front,
        make: impl Fn(String, usize) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    ) -> Self {
        Self::with(config, front, CacheLayer::new(), make)
    }

    /// The same, where the front is this layer if it is one.
    pub(crate) fn with(
        config: Config,
        front: Front,
        layer: CacheLayer,
        make: impl Fn(String, usize) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    ) -> Self {
        let clock = ManualClock::new();
        let cache = Cache::new(config.clock(clock.clone()));
        let origin = Origin {
            make: Arc::new(make),
            calls: Arc::default(),
        };
        let calls = Arc::clone(&origin.calls);
        let router: Router = match front {
            Front::Handler => Router::new().route("/{*path}", get(page)),
            Front::Layer => Router::new()
                .route("/{*path}", get(plain))
                .layer(layer.cache(cache.clone())),
        }
        .with_state(origin);
        Self {
            clock,
            cache,
            calls,
            router,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        self.send(Method::GET, path, headers).await
    }

    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Got {
        read(self.open(method, path, headers).await).await
    }

    /// Sends a request, and leaves the body of the reply alone.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response {
        let request = request(method, path, headers);
        let reply = self.cache.scope(self.router.clone().oneshot(request));
        reply.await.unwrap()
    }

    /// How often the origin was asked.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Got {
    /// The value of a header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(HeaderValue::to_str);
        value.transpose().unwrap().unwrap_or_default()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// What the status header says: `HIT`, `MISS`, or nothing.
    pub(crate) fn cache(&self) -> &str {
        self.header("x-fastapi-cache")
    }
}

pub(crate) fn memory() -> Config {
    Config::new(InMemoryBackend::new())
}

pub(crate) fn request(method: Method, uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

pub(crate) async fn read(response: Response) -> Got {
    let (parts, body) = response.into_parts();
    Got {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

/// Sends a request to a router under a cache.
pub(crate) async fn ask(
    cache: &Cache,
    router: &Router,
    uri: &str,
    headers: &[(&str, &str)],
) -> Got {
    let request = request(Method::GET, uri, headers);
    let reply = cache.scope(router.clone().oneshot(request)).await;
    read(reply.unwrap()).await
}

/// A response that is fresh for a minute, whose body says how many there were before.
pub(crate) fn fresh(before: usize) -> Response {
    answer(200, &[("cache-control", "max-age=60")], before)
}

/// A response whose body says how many there were before.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], before: usize) -> Response {
    let mut response = Response::new(Body::from(format!("answer {before}")));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}
