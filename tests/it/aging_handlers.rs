//! Handlers whose responses are stale, tagged, or long in coming.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fast_cache::testing::ManualClock;
use fast_cache::{Backend, Cache, CacheResponse, Config, InMemoryBackend, TieredBackend, cache};
use http_body_util::BodyExt;
use tokio::sync::Notify;
use tower::ServiceExt;

use crate::support::{Hub, Remote, settle};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Default)]
struct Origin(Arc<Inner>);

#[derive(Default)]
struct Inner {
    calls: AtomicU64,
    /// 0 for 200.
    status: AtomicU16,
    /// Whether to wait at the gate.
    is_slow: AtomicU16,
    gate: Notify,
}

impl Origin {
    async fn answer(&self) -> Response {
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if self.0.is_slow.load(Ordering::SeqCst) > 0 {
            self.0.gate.notified().await;
        }
        let status = self.0.status.load(Ordering::SeqCst);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        (status, format!("call {call}")).into_response()
    }

    fn fails(&self, status: StatusCode) {
        self.0.status.store(status.as_u16(), Ordering::SeqCst);
    }

    fn slow(&self, is_slow: bool) {
        self.0.is_slow.store(u16::from(is_slow), Ordering::SeqCst);
    }

    fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }
}

#[cache(
    expire = 60,
    stale_while_revalidate = 30,
    stale_if_error = 300,
    soft_timeout = "1s",
    tags("pages", "page:{id}")
)]
async fn page(
    Path(id): Path<u64>,
    State(origin): State<Origin>,
    response: CacheResponse,
) -> Response {
    response.tag(format!("parity:{}", id % 2));
    origin.answer().await
}

#[cache(expire = 60, stale_while_revalidate = 30)]
async fn strict(State(origin): State<Origin>) -> Response {
    let mut reply = origin.answer().await;
    let value = header::HeaderValue::from_static("max-age=60, must-revalidate");
    reply.headers_mut().insert(header::CACHE_CONTROL, value);
    reply
}

#[cache(expire = 60, timeout = 5)]
async fn slow(State(origin): State<Origin>) -> Result<String, StatusCode> {
    drop(origin.answer().await);
    Ok("at last".to_owned())
}

#[cache(expire = 60, statuses(200, 301, 404))]
async fn any_status(Path(status): Path<u16>, State(origin): State<Origin>) -> Response {
    origin.0.calls.fetch_add(1, Ordering::SeqCst);
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(header::LOCATION, "/elsewhere")], "text").into_response()
}

struct App {
    router: Router,
    cache: Cache,
    origin: Origin,
    clock: ManualClock,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl App {
    fn new(backend: impl Backend) -> Self {
        let (origin, clock) = (Origin::default(), ManualClock::new());
        let config = Config::new(backend).clock(clock.clone());
        Self {
            router: Router::new()
                .route("/pages/{id}", get(page))
                .route("/strict", get(strict))
                .route("/slow", get(slow))
                .route("/statuses/{status}", get(any_status))
                .with_state(origin.clone()),
            cache: Cache::new(config.invalidation_delay(Duration::ZERO)),
            origin,
            clock,
        }
    }

    fn all() -> [Self; 3] {
        let hub = Hub::default();
        let tiered = TieredBackend::new(Remote::default().with_bus(&hub));
        [
            Self::new(InMemoryBackend::new()),
            Self::new(Remote::default()),
            Self::new(tiered),
        ]
    }

    async fn get(&self, uri: &str) -> Reply {
        self.send(Method::GET, uri, "").await
    }

    async fn send(&self, method: Method, uri: &str, cache_control: &str) -> Reply {
        let mut request = Request::builder().method(method).uri(uri);
        if !cache_control.is_empty() {
            request = request.header(header::CACHE_CONTROL, cache_control);
        }
        let request = request.body(Body::empty()).unwrap();
        let reply = self.cache.scope(self.router.clone().oneshot(request));
        let (parts, body) = reply.await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

impl Reply {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

#[tokio::test]
async fn a_stale_response_is_served_while_the_next_one_is_made() {
    for app in App::all() {
        let first = app.get("/pages/1").await;
        assert_eq!(first.text, "call 1");
        assert_eq!(
            first.header(header::CACHE_CONTROL),
            "max-age=60, stale-while-revalidate=30, stale-if-error=300"
        );
        app.clock.advance(70 * SECOND);
        let stale = app.get("/pages/1").await;
        assert_eq!(
            (stale.text.as_str(), stale.header(header::AGE)),
            ("call 1", "70")
        );
        assert_eq!(
            stale.header(header::CACHE_CONTROL),
            "max-age=0, stale-while-revalidate=30, stale-if-error=300"
        );
        settle().await;
        let fresh = app.get("/pages/1").await;
        assert_eq!(
            (fresh.text.as_str(), fresh.header(header::AGE)),
            ("call 2", "0")
        );
        assert_eq!(app.origin.calls(), 2);
        assert_eq!(app.cache.stats().refreshes, 1);
    }
}

#[tokio::test]
async fn a_stale_response_stands_in_for_an_error() {
    for app in App::all() {
        app.get("/pages/1").await;
        app.clock.advance(100 * SECOND);
        app.origin.fails(StatusCode::BAD_GATEWAY);
        let reply = app.get("/pages/1").await;
        assert_eq!(
            (reply.status, reply.text.as_str()),
            (StatusCode::OK, "call 1")
        );
        // A client's mistake is no error of the server's.
        app.clock.advance(SECOND);
        app.origin.fails(StatusCode::NOT_FOUND);
        assert_eq!(app.get("/pages/1").await.status, StatusCode::NOT_FOUND);
        // Nor is anything served to a client that asks for a new response.
        app.origin.fails(StatusCode::BAD_GATEWAY);
        let reply = app.send(Method::GET, "/pages/1", "no-cache").await;
        assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
        app.clock.advance(300 * SECOND);
        assert_eq!(app.get("/pages/1").await.status, StatusCode::BAD_GATEWAY);
    }
}

#[tokio::test]
async fn a_request_for_a_fresh_response_is_not_answered_by_a_stale_one() {
    for app in App::all() {
        app.get("/pages/1").await;
        app.clock.advance(70 * SECOND);
        let reply = app.send(Method::GET, "/pages/1", "min-fresh=5").await;
        assert_eq!(reply.text, "call 2");
        app.clock.advance(70 * SECOND);
        let reply = app.send(Method::GET, "/pages/1", "max-age=65").await;
        assert_eq!(reply.text, "call 3");
    }
}

#[tokio::test]
async fn head_is_answered_by_a_stale_response_and_makes_no_new_one() {
    for app in App::all() {
        app.get("/pages/1").await;
        app.clock.advance(70 * SECOND);
        let reply = app.send(Method::HEAD, "/pages/1", "").await;
        assert_eq!((reply.status, reply.text.as_str()), (StatusCode::OK, ""));
        settle().await;
        assert_eq!(app.origin.calls(), 1);
    }
}

#[tokio::test]
async fn a_response_that_must_be_revalidated_is_not_served_stale() {
    for app in App::all() {
        assert_eq!(app.get("/strict").await.text, "call 1");
        app.clock.advance(61 * SECOND);
        assert_eq!(app.get("/strict").await.text, "call 2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_response_stands_in_for_a_slow_one() {
    for app in App::all() {
        app.get("/pages/1").await;
        app.clock.advance(100 * SECOND);
        app.origin.slow(true);
        let began = tokio::time::Instant::now();
        assert_eq!(app.get("/pages/1").await.text, "call 1");
        assert_eq!(began.elapsed(), SECOND);
        app.origin.0.gate.notify_one();
        settle().await;
        assert_eq!(app.get("/pages/1").await.text, "call 2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_takes_no_longer_than_it_may() {
    for app in App::all() {
        app.origin.slow(true);
        let reply = app.get("/slow").await;
        assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
        // Also where there is nothing to do with the cache.
        let reply = app.send(Method::GET, "/slow", "no-store").await;
        assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
        app.origin.slow(false);
        assert_eq!(app.get("/slow").await.text, "at last");
    }
}

#[tokio::test]
async fn tags_of_the_function_and_of_the_response_end_it() {
    for app in App::all() {
        let mut call = 0;
        for tag in ["page:1", "pages", "parity:1"] {
            call += 1;
            assert_eq!(app.get("/pages/1").await.text, format!("call {call}"));
            app.cache.clear_tag("page:2").await.unwrap();
            app.cache.clear_tag("parity:0").await.unwrap();
            assert_eq!(app.get("/pages/1").await.text, format!("call {call}"));
            app.cache.clear_tag(tag).await.unwrap();
        }
        assert_eq!(app.get("/pages/1").await.text, "call 4");
    }
}

#[tokio::test]
async fn a_tag_that_is_known_late_ends_a_response_in_the_making() {
    for app in App::all() {
        app.origin.slow(true);
        let request = Request::builder().uri("/pages/1").body(Body::empty());
        let early = tokio::spawn({
            let (cache, router) = (app.cache.clone(), app.router.clone());
            async move { cache.scope(router.oneshot(request.unwrap())).await }
        });
        settle().await;
        app.cache.clear_tag("parity:1").await.unwrap();
        app.origin.slow(false);
        app.origin.0.gate.notify_one();
        early.await.unwrap().unwrap();
        assert_eq!(app.get("/pages/1").await.text, "call 2");
    }
}

#[tokio::test]
async fn the_statuses_that_are_named_are_stored_and_no_others() {
    for app in App::all() {
        for status in [200, 301, 404] {
            let calls = app.origin.calls();
            let miss = app.get(&format!("/statuses/{status}")).await;
            let hit = app.get(&format!("/statuses/{status}")).await;
            assert_eq!(
                (miss.status.as_u16(), hit.status.as_u16()),
                (status, status)
            );
            assert_eq!(hit.header(header::LOCATION), "/elsewhere");
            assert_eq!(hit.header(header::AGE), "0");
            assert_eq!(app.origin.calls(), calls + 1);

            // Conditions are for successes.
            let tag = hit.header(header::ETAG).to_owned();
            let request = Request::get(format!("/statuses/{status}"))
                .header(header::IF_NONE_MATCH, tag)
                .body(Body::empty())
                .unwrap();
            let reply = app.cache.scope(app.router.clone().oneshot(request));
            let expected = if status == 200 { 304 } else { status };
            assert_eq!(reply.await.unwrap().status().as_u16(), expected);
        }
        for status in [201, 302, 403, 500] {
            let calls = app.origin.calls();
            for _ in 0..2 {
                let reply = app.get(&format!("/statuses/{status}")).await;
                assert_eq!(reply.status.as_u16(), status);
            }
            assert_eq!(app.origin.calls(), calls + 2);
        }
    }
}
