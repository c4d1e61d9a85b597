//! `CacheLayer`: which responses it stores, whom it serves them, and when it asks again.

mod bodies;
mod compression;
mod engine;
mod poisoning;
mod rules;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use fast_cache::testing::ManualClock;
use fast_cache::{Backend, Cache, CacheLayer, Config, InMemoryBackend};
use http_body_util::BodyExt;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// A service behind a layer, and what it has seen.
#[derive(Clone)]
struct Site {
    clock: ManualClock,
    cache: Cache,
    requests: Arc<Mutex<Vec<Parts>>>,
    service: BoxCloneSyncService<Request<Body>, Response, BoxError>,
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(HeaderValue::to_str);
        value.transpose().unwrap().unwrap_or_default()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Site {
    /// A service that gives its `answer` to each request, in memory; `answer` is told how many requests
    /// there were before.
    fn new(
        layer: CacheLayer,
        answer: impl Fn(&Parts, usize) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let config = Config::new(InMemoryBackend::new());
        Self::on(config, layer, answer)
    }

    /// The same, on a cache with this configuration.
    fn on(
        config: Config,
        layer: CacheLayer,
        answer: impl Fn(&Parts, usize) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::of(config, layer, move |parts, before| {
            let response = answer(&parts, before);
            async move { Ok(response) }
        })
    }

    /// The same, where the answer takes its time, or is an error.
    fn of<F>(
        config: Config,
        layer: CacheLayer,
        answer: impl Fn(Parts, usize) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Response, BoxError>> + Send + 'static,
    {
        let clock = ManualClock::new();
        let cache = Cache::new(config.clock(clock.clone()));
        let requests = Arc::<Mutex<Vec<Parts>>>::default();
        let seen = Arc::clone(&requests);
        let inner = service_fn(move |request: Request<Body>| {
            let parts = request.into_parts().0;
            let before = {
                let mut seen = seen.lock().unwrap();
                seen.push(parts.clone());
                seen.len() - 1
            };
            answer(parts, before)
        });
        let service = layer.cache(cache.clone()).layer(inner);
        Self {
            clock,
            cache,
            requests,
            service: BoxCloneSyncService::new(service),
        }
    }

    async fn get(&self, path: &str) -> Got {
        self.get_with(path, &[]).await
    }

    async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Got {
        self.send(Method::GET, path, headers).await
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Got {
        read(self.open(method, path, headers).await.unwrap()).await
    }

    /// Sends a request, and leaves its body alone.
    async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response, BoxError> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let request = request.body(Body::empty()).unwrap();
        self.service.clone().oneshot(request).await
    }

    /// How many requests have come to the service.
    fn calls(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// The value of a header in the last request that came to the service.
    fn last_request(&self, name: &str) -> Option<String> {
        let requests = self.requests.lock().unwrap();
        let value = requests.last().unwrap().headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    }
}

async fn read(response: Response) -> Got {
    let (parts, body) = response.into_parts();
    Got {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

/// A response with these headers, whose body says how many requests there were before.
fn response(headers: &[(&str, &str)], before: usize) -> Response {
    with_status(200, headers, before)
}

fn with_status(status: u16, headers: &[(&str, &str)], before: usize) -> Response {
    let mut response = Response::new(Body::from(format!("answer {before}")));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let value = HeaderValue::from_str(value).unwrap();
        response.headers_mut().append(name, value);
    }
    response
}

/// An answer that is always the same but for its body.
fn always(
    headers: &'static [(&'static str, &'static str)],
) -> impl Fn(&Parts, usize) -> Response + Clone + Send + Sync + 'static {
    move |_, before| response(headers, before)
}

/// What the layer does with a store, on one that is real.
#[cfg(all(feature = "dynamodb", feature = "memcached", feature = "redis"))]
pub(crate) async fn responses_are_stored_and_end_on(name: &str, backend: impl Backend) {
    let config = Config::new(backend).prefix("conformance-layer");
    let headers = &[
        ("cache-control", "max-age=60"),
        ("vary", "accept-language"),
        ("etag", "\"a\""),
    ];
    let site = Site::on(config, CacheLayer::new(), always(headers));
    let get = async |language| site.get_with("/", &[("accept-language", language)]).await;
    let german = get("de").await;
    let english = get("en").await;
    assert_ne!(german.body, english.body, "{name}");
    for (language, first) in [("de", &german), ("en", &english)] {
        let hit = get(language).await;
        assert_eq!(hit.header("x-fastapi-cache"), "HIT", "{name}");
        assert_eq!(hit.body, first.body, "{name}");
    }
    let told = [("accept-language", "de"), ("if-none-match", "\"a\"")];
    let told = site.get_with("/", &told).await;
    assert_eq!(told.status, StatusCode::NOT_MODIFIED, "{name}");
    site.send(Method::PUT, "/", &[]).await;
    for first in [&german, &english] {
        let language = if first == &german { "de" } else { "en" };
        assert_ne!(get(language).await.body, first.body, "{name}");
    }
    assert_eq!(site.calls(), 5, "{name}");
}

/// A configuration of each kind of store.
fn stores() -> [Config; 3] {
    let remote = crate::support::Remote::default;
    let tiered = fast_cache::TieredBackend::new(remote());
    [
        Config::new(InMemoryBackend::new()),
        configured(remote()),
        configured(tiered),
    ]
}

fn configured(backend: impl Backend) -> Config {
    Config::new(backend).invalidation_delay(Duration::ZERO)
}
