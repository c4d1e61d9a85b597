//! For which failures a stale page stands in, and which answers end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use fast_cache::testing::ManualClock;
use fast_cache::{BoxFuture, Cache, CacheLayer, CacheResponse, Config, TieredBackend, cache};

use crate::fronts::{FRONTS, Front, Got, Pages, SECOND, answer, ask, fresh, memory};
use crate::support::{Hub, Remote, settle};

/// The failures of a server for which a stale response is used (RFC 5861 section 4).
const FAILURES: [u16; 4] = [500, 502, 503, 504];

/// Every status but those with a meaning of their own to caches.
fn statuses() -> impl Iterator<Item = u16> {
    (200..600).filter(|status| !matches!(status, 206 | 304))
}

fn standing_in() -> Config {
    memory().stale_if_error(3600 * SECOND)
}

/// An origin that is well at first and gives this status then, behind a front that has the first page when it
/// is stale.
async fn after_a_while(front: Front, status: u16) -> (Pages, Got) {
    let pages = Pages::on(standing_in(), front, move |before| match before {
        0 => fresh(before),
        _ => answer(status, &[], before),
    });
    assert_eq!(pages.get("/a").await.text(), "answer 0");
    pages.clock.advance(61 * SECOND);
    let got = pages.get("/a").await;
    (pages, got)
}

#[tokio::test]
async fn a_stale_page_stands_in_for_failures_of_the_server_alone() {
    let mut wrong = Vec::new();
    for front in FRONTS {
        for status in statuses() {
            let (_, got) = after_a_while(front, status).await;
            let expected = match FAILURES.contains(&status) {
                true => (200, "answer 0"),
                false => (status, "answer 1"),
            };
            if (got.status.as_u16(), got.text()) != expected {
                wrong.push(format!("{front:?} {status}: {} {}", got.status, got.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What a handler returns from its second call on.
#[derive(Clone)]
struct Outcome {
    calls: Arc<crate::support::Calls>,
    status: Arc<AtomicU16>,
}

impl Outcome {
    fn new(status: u16) -> Self {
        Self {
            calls: Arc::default(),
            status: Arc::new(status.into()),
        }
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status.load(Ordering::SeqCst)).unwrap()
    }
}

/// An error of the program's own.
struct ApiError(StatusCode);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.0, "an error").into_response()
    }
}

#[cache(expire = 60, stale_if_error = "1h")]
async fn fallible(State(outcome): State<Outcome>) -> Result<Json<u64>, ApiError> {
    match outcome.calls.next() {
        1 => Ok(Json(1)),
        _ => Err(ApiError(outcome.status())),
    }
}

async fn after_an_error(status: u16) -> (Cache, Router, ManualClock, Outcome) {
    let outcome = Outcome::new(status);
    let router = Router::new()
        .route("/", get(fallible))
        .with_state(outcome.clone());
    let clock = ManualClock::new();
    let cache = Cache::new(memory().clock(clock.clone()));
    assert_eq!(ask(&cache, &router, "/", &[]).await.text(), "1");
    clock.advance(61 * SECOND);
    (cache, router, clock, outcome)
}

#[tokio::test]
async fn an_err_is_judged_by_its_status() {
    let mut wrong = Vec::new();
    for status in statuses() {
        let (cache, router, ..) = after_an_error(status).await;
        let got = ask(&cache, &router, "/", &[]).await;
        let expected = match FAILURES.contains(&status) {
            true => (200, "1"),
            false => (status, "an error"),
        };
        if (got.status.as_u16(), got.text()) != expected {
            wrong.push(format!("{status}: {} {}", got.status, got.text()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_redirect_to_the_login_is_not_hidden_by_a_stale_page() {
    #[cache(expire = 60, stale_if_error = "1h")]
    async fn page(State(outcome): State<Outcome>) -> Result<String, Redirect> {
        match outcome.calls.next() {
            1 => Ok("the page".to_owned()),
            _ => Err(Redirect::to("/login")),
        }
    }

    let router = Router::new()
        .route("/", get(page))
        .with_state(Outcome::new(303));
    let clock = ManualClock::new();
    let cache = Cache::new(memory().clock(clock.clone()));
    ask(&cache, &router, "/", &[]).await;
    clock.advance(61 * SECOND);
    let got = ask(&cache, &router, "/", &[]).await;
    assert_eq!(got.status, StatusCode::SEE_OTHER);
    assert_eq!(got.header("location"), "/login");
}

#[tokio::test]
async fn a_handler_that_panics_or_takes_too_long_has_a_stand_in() {
    #[cache(expire = 60, stale_if_error = "1h", handler)]
    async fn panics(State(outcome): State<Outcome>) -> &'static str {
        match outcome.calls.next() {
            1 => "the page",
            _ => panic!("the handler is broken"),
        }
    }
    #[cache(expire = 60, stale_if_error = "1h", timeout = "5s", handler)]
    async fn hangs(State(outcome): State<Outcome>) -> &'static str {
        if outcome.calls.next() > 1 {
            std::future::pending::<()>().await;
        }
        "the page"
    }

    tokio::time::pause();
    for router in [
        Router::new().route("/", get(panics)),
        Router::new().route("/", get(hangs)),
    ] {
        let router = router.with_state(Outcome::new(500));
        let clock = ManualClock::new();
        let cache = Cache::new(memory().clock(clock.clone()));
        ask(&cache, &router, "/", &[]).await;
        clock.advance(61 * SECOND);
        let got = ask(&cache, &router, "/", &[]).await;
        assert_eq!((got.status, got.text()), (StatusCode::OK, "the page"));
    }
}

#[tokio::test]
async fn a_page_that_is_gone_does_not_come_back_when_the_server_fails() {
    let mut wrong = Vec::new();
    for front in FRONTS {
        for status in [301, 401, 403, 404, 410, 451] {
            let pages = Pages::on(standing_in(), front, move |before| match before {
                0 => fresh(before),
                1 => answer(status, &[], before),
                _ => answer(503, &[], before),
            });
            pages.get("/a").await;
            pages.clock.advance(61 * SECOND);
            assert_eq!(pages.get("/a").await.status.as_u16(), status);
            pages.clock.advance(2 * SECOND);
            let got = pages.get("/a").await;
            if got.status != StatusCode::SERVICE_UNAVAILABLE {
                wrong.push(format!("{front:?} {status}: {} {}", got.status, got.text()));
            }
        }
    }
    for status in [401, 404, 410] {
        let (cache, router, clock, outcome) = after_an_error(status).await;
        let first = ask(&cache, &router, "/", &[]).await;
        outcome.status.store(503, Ordering::SeqCst);
        clock.advance(2 * SECOND);
        let got = ask(&cache, &router, "/", &[]).await;
        if first.status != status || got.status != StatusCode::SERVICE_UNAVAILABLE {
            wrong.push(format!("Err({status}): {} {}", first.status, got.status));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A name for an answer that may not be stored, and the answer.
type Unstorable = (&'static str, fn(usize) -> Response);

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn unstorable() -> Vec<Unstorable> {
    vec![
        ("404", |before| answer(404, &[], before)),
        ("410", |before| answer(410, &[], before)),
        ("401", |before| answer(401, &[], before)),
        ("302", |before| answer(302, &[("location", "/b")], before)),
        ("429", |before| answer(429, &[FRESH], before)),
        ("no-store", |before| {
            answer(200, &[("cache-control", "no-store")], before)
        }),
        ("private", |before| {
            answer(200, &[("cache-control", "private, max-age=60")], before)
        }),
        ("set-cookie", |before| {
            answer(200, &[FRESH, ("set-cookie", "id=1")], before)
        }),
        ("vary", |before| {
            answer(200, &[FRESH, ("vary", "*")], before)
        }),
        ("one origin", |before| {
            let allowed = ("access-control-allow-origin", "https://a.example");
            answer(200, &[FRESH, allowed], before)
        }),
        ("events", |before| {
            answer(200, &[FRESH, ("content-type", "text/event-stream")], before)
        }),
        ("too long", |before| {
            let mut response = fresh(before);
            *response.body_mut() = Body::from(vec![b'x'; 3 << 20]);
            response
        }),
    ]
}

/// Stores of each kind.
fn stores() -> [Config; 3] {
    let hub = Hub::default();
    let tiered = TieredBackend::new(Remote::default().with_bus(&hub));
    [
        memory(),
        Config::new(Remote::default()),
        Config::new(tiered),
    ]
}

#[tokio::test]
async fn a_refresh_that_may_not_be_stored_ends_the_page() {
    let mut wrong = Vec::new();
    for front in FRONTS {
        for (what, make) in unstorable() {
            for (number, config) in stores().into_iter().enumerate() {
                let config = config
                    .invalidation_delay(Duration::ZERO)
                    .stale_while_revalidate(3600 * SECOND)
                    .max_body(2 << 20);
                let pages = Pages::on(config, front, move |before| match before {
                    0 => fresh(before),
                    3.. => fresh(before),
                    _ => make(before),
                });
                pages.get("/a").await;
                pages.clock.advance(61 * SECOND);
                // This one gets the old page, while the new one is made.
                assert_eq!(pages.get("/a").await.text(), "answer 0");
                settle().await;
                assert_eq!(pages.calls(), 2, "{front:?} {what}");
                let next = pages.get("/a").await;
                settle().await;
                let is_old = next.body == "answer 0";
                if is_old || pages.calls() != 3 {
                    let calls = pages.calls();
                    wrong.push(format!("{front:?} {what} {number}: {is_old} {calls}"));
                    continue;
                }
                // What may be stored again is.
                assert_eq!(pages.get("/a").await.text(), "answer 3");
                assert_eq!(pages.get("/a").await.text(), "answer 3");
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them: {wrong:#?}", wrong.len());
}

#[tokio::test]
async fn a_handler_that_refuses_ends_its_page() {
    #[cache(expire = 60, stale_while_revalidate = 3600)]
    async fn errs(State(outcome): State<Outcome>) -> Result<String, StatusCode> {
        match outcome.calls.next() {
            1 => Ok("old".to_owned()),
            _ => Err(outcome.status()),
        }
    }
    #[cache(expire = 60, stale_while_revalidate = 3600)]
    async fn says_so(State(outcome): State<Outcome>, response: CacheResponse) -> String {
        match outcome.calls.next() {
            1 => "old".to_owned(),
            _ => {
                response.no_store();
                "new".to_owned()
            }
        }
    }
    #[cache(expire = 60, stale_while_revalidate = 3600)]
    async fn adds_a_cookie(State(outcome): State<Outcome>, response: CacheResponse) -> String {
        match outcome.calls.next() {
            1 => "old".to_owned(),
            _ => {
                let cookie = HeaderValue::from_static("id=1");
                response.header(HeaderName::from_static("set-cookie"), cookie);
                "new".to_owned()
            }
        }
    }
    #[cache(expire = 60, stale_while_revalidate = 3600, cache_if = |page: &Json<u64>| page.0 == 1)]
    async fn is_picky(State(outcome): State<Outcome>) -> Json<u64> {
        Json(outcome.calls.next())
    }
    #[cache(
        expire = 60,
        stale_while_revalidate = 3600,
        expire_with = |page: &Json<u64>| (page.0 > 1).then_some(std::time::Duration::ZERO)
    )]
    async fn lasts_for_no_time(State(outcome): State<Outcome>) -> Json<u64> {
        Json(outcome.calls.next())
    }

    let mut wrong = Vec::new();
    for (what, router) in [
        ("Err", Router::new().route("/", get(errs))),
        ("no_store()", Router::new().route("/", get(says_so))),
        ("a cookie", Router::new().route("/", get(adds_a_cookie))),
        ("cache_if", Router::new().route("/", get(is_picky))),
        (
            "expire_with",
            Router::new().route("/", get(lasts_for_no_time)),
        ),
    ] {
        let outcome = Outcome::new(404);
        let router = router.with_state(outcome.clone());
        let clock = ManualClock::new();
        let cache = Cache::new(memory().clock(clock.clone()));
        let old = ask(&cache, &router, "/", &[]).await;
        clock.advance(61 * SECOND);
        assert_eq!(ask(&cache, &router, "/", &[]).await.body, old.body);
        settle().await;
        assert_eq!(outcome.calls.get(), 2, "{what}");
        if ask(&cache, &router, "/", &[]).await.body == old.body {
            wrong.push(what);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_page_for_its_time() {
    for front in FRONTS {
        let config = memory().stale_while_revalidate(30 * SECOND);
        let pages = Pages::on(config, front, move |before| match before {
            1 => answer(503, &[], before),
            _ => fresh(before),
        });
        pages.get("/a").await;
        pages.clock.advance(61 * SECOND);
        for _ in 0..2 {
            assert_eq!(pages.get("/a").await.text(), "answer 0", "{front:?}");
            settle().await;
        }
        pages.clock.advance(30 * SECOND);
        let got = pages.get("/a").await;
        assert_ne!(got.text(), "answer 0", "{front:?}");
    }
}

#[tokio::test]
async fn a_page_that_is_gone_is_gone_from_every_variant_that_asked() {
    // The page in German ends when German is answered with 404, and the one in English stays.
    let config = memory().stale_while_revalidate(3600 * SECOND);
    let make = |_: String, _: usize| -> BoxFuture<'static, Response> { unreachable!() };
    drop(Pages::with(memory(), Front::Layer, CacheLayer::new(), make));
    let clock = ManualClock::new();
    let cache = Cache::new(config.clock(clock.clone()));
    let calls = Arc::new(crate::support::Calls::new());
    let counted = Arc::clone(&calls);
    let page = async move |Path(_): Path<String>, headers: axum::http::HeaderMap| {
        let call = counted.next();
        let language = headers["accept-language"].to_str().unwrap().to_owned();
        let status = match call > 2 && language == "de" {
            true => StatusCode::NOT_FOUND,
            false => StatusCode::OK,
        };
        let headers = [("vary", "accept-language"), ("cache-control", "max-age=60")];
        (status, headers, language).into_response()
    };
    let router = Router::new()
        .route("/{page}", get(page))
        .layer(CacheLayer::new());
    let get = async |language| ask(&cache, &router, "/a", &[("accept-language", language)]).await;
    for language in ["de", "en"] {
        get(language).await;
    }
    clock.advance(61 * SECOND);
    for language in ["de", "en"] {
        assert_eq!(get(language).await.text(), language);
        settle().await;
    }
    assert_eq!(get("de").await.status, StatusCode::NOT_FOUND);
    let english = get("en").await;
    assert_eq!((english.status, english.cache()), (StatusCode::OK, "HIT"));
}
