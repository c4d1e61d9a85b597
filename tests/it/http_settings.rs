//! What a program says of its HTTP cache: the headers that count for it, what clients are told, how long a request
//! waits.

use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, Path};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fast_cache::{Cache, CacheLayer, CacheRequest, CacheResponse, Config, cache};
use tokio::time::{Instant, sleep, timeout};

use crate::fronts::{FRONTS, Front, Pages, SECOND, answer, ask, fresh, memory};
use crate::support::settle;

const PRIVATE: &str = "private, no-cache";

mod plain {
    use super::*;

    #[cache(expire = 60)]
    pub(super) async fn shared(Path(id): Path<u64>) -> String {
        id.to_string()
    }
    #[cache(expire = 60)]
    pub(super) async fn private(Extension(user): Extension<u64>) -> String {
        user.to_string()
    }
    #[cache(expire = 60)]
    pub(super) async fn own(Path(id): Path<u64>) -> impl IntoResponse {
        ([("cache-control", "max-age=7")], id.to_string())
    }
}

mod by_attribute {
    use super::*;

    #[cache(expire = 60, cache_control = "no-cache")]
    pub(super) async fn shared(Path(id): Path<u64>) -> String {
        id.to_string()
    }
    #[cache(expire = 60, cache_control = "private, max-age=5")]
    pub(super) async fn private(Extension(user): Extension<u64>) -> String {
        user.to_string()
    }
    #[cache(expire = 60, cache_control = "no-cache")]
    pub(super) async fn own(response: CacheResponse) -> String {
        let name = axum::http::header::CACHE_CONTROL;
        response.header(name, "max-age=7".parse().unwrap());
        "own".to_owned()
    }
}

async fn log_in(mut request: axum::extract::Request, next: Next) -> Response {
    request.extensions_mut().insert(1_u64);
    next.run(request).await
}

fn told() -> Router {
    Router::new()
        .route("/plain/shared/{id}", get(plain::shared))
        .route("/plain/private", get(plain::private))
        .route("/plain/own/{id}", get(plain::own))
        .route("/attribute/shared/{id}", get(by_attribute::shared))
        .route("/attribute/private", get(by_attribute::private))
        .route("/attribute/own", get(by_attribute::own))
        .layer(from_fn(log_in))
}

/// What clients are told of each page, by whatever way it is answered.
async fn each_is_told(config: Config, expected: &[(&str, &str)]) {
    let cache = Cache::new(config);
    let router = told();
    for (uri, control) in expected {
        for headers in [
            &[][..],
            &[],
            &[("if-none-match", "*")],
            &[("cache-control", "no-cache")],
        ] {
            let got = ask(&cache, &router, uri, headers).await;
            let told = got.header("cache-control").replace("59", "60");
            assert_eq!(told, *control, "{uri} {headers:?} {}", got.cache());
        }
        assert!(cache.stats().hits > 0, "{uri} is stored all the same");
    }
}

#[tokio::test]
async fn the_nearest_word_on_caching_counts() {
    each_is_told(
        memory(),
        &[
            ("/plain/shared/1", "max-age=60"),
            ("/plain/private", PRIVATE),
            ("/plain/own/1", "max-age=7"),
            ("/attribute/shared/1", "no-cache"),
            ("/attribute/private", "private, max-age=5"),
            ("/attribute/own", "max-age=7"),
        ],
    )
    .await;
    each_is_told(
        memory().cache_control("no-store"),
        &[
            ("/plain/shared/1", "no-store"),
            ("/plain/private", "no-store"),
            ("/plain/own/1", "max-age=7"),
            ("/attribute/shared/1", "no-cache"),
            ("/attribute/private", "private, max-age=5"),
            ("/attribute/own", "max-age=7"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_word_for_all_does_not_offer_to_all_what_is_for_one() {
    let expected = [
        ("/plain/shared/1", "max-age=9"),
        ("/plain/private", PRIVATE),
    ];
    each_is_told(memory().cache_control("max-age=9"), &expected).await;
}

#[tokio::test]
async fn what_clients_are_told_does_not_change_for_how_long_it_is_stored() {
    for config in [memory(), memory().cache_control("max-age=1")] {
        let clock = fast_cache::testing::ManualClock::new();
        let cache = Cache::new(config.clock(clock.clone()));
        let router = told();
        for uri in ["/plain/shared/1", "/attribute/shared/1"] {
            ask(&cache, &router, uri, &[]).await;
            clock.advance(30 * SECOND);
            assert_eq!(ask(&cache, &router, uri, &[]).await.cache(), "HIT", "{uri}");
            clock.advance(31 * SECOND);
            assert_eq!(
                ask(&cache, &router, uri, &[]).await.cache(),
                "MISS",
                "{uri}"
            );
        }
    }
}

#[tokio::test]
async fn tags_are_strong_where_nothing_above_recodes() {
    for front in FRONTS {
        let pages = Pages::on(memory().strong_etags(true), front, fresh);
        let tag = pages.get("/a").await.header("etag").to_owned();
        assert!(tag.starts_with('"'), "{front:?} {tag}");
        assert_eq!(pages.get("/a").await.header("etag"), tag);
        let weak = format!("W/{tag}");
        let told = pages.get_with("/a", &[("if-none-match", &weak)]).await;
        assert_eq!(told.status, StatusCode::NOT_MODIFIED, "{front:?}");
    }
    let pages = Pages::on(memory().strong_etags(true), Front::Layer, fresh);
    let tag = pages.get("/a").await.header("etag").to_owned();
    let part = [("range", "bytes=0-2"), ("if-range", &*tag)];
    let got = pages.get_with("/a", &part).await;
    assert_eq!(
        (got.status, got.text()),
        (StatusCode::PARTIAL_CONTENT, "ans")
    );
}

/// What a header shows.
fn shown(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).map(|value| value.to_str().unwrap());
    value.unwrap_or("nothing").to_owned()
}

mod sees {
    use super::*;

    #[cache(expire = 60, vary("accept-language"))]
    pub(super) async fn headers(headers: HeaderMap) -> String {
        shown(&headers, "x-mine")
    }
    #[cache(expire = 60, vary("accept-language"))]
    pub(super) async fn head(request: CacheRequest) -> String {
        shown(request.headers(), "x-mine")
    }
    #[cache(expire = 60)]
    pub(super) async fn blind(Path(id): Path<u64>) -> String {
        id.to_string()
    }
    pub(super) async fn plain(headers: HeaderMap) -> String {
        shown(&headers, "x-mine")
    }
}

fn seeing() -> Router {
    Router::new()
        .route("/plain", get(sees::plain))
        .route_layer(CacheLayer::new().expire(60 * SECOND))
        .route("/headers", get(sees::headers))
        .route("/head", get(sees::head))
        .route("/blind/{id}", get(sees::blind))
}

const MINE: HeaderName = HeaderName::from_static("x-mine");

#[tokio::test]
async fn a_program_adds_headers_that_tell_who_asks() {
    let router = seeing();
    for uri in ["/headers", "/head", "/plain"] {
        let cache = Cache::new(memory().credential_headers([MINE]));
        ask(&cache, &router, uri, &[]).await;
        for _ in 0..2 {
            for value in ["ada", "bob"] {
                let got = ask(&cache, &router, uri, &[("x-mine", value)]).await;
                assert_eq!((got.text(), got.cache()), (value, ""), "{uri}");
            }
            let got = ask(&cache, &router, uri, &[]).await;
            assert_eq!((got.text(), got.cache()), ("nothing", "HIT"), "{uri}");
            // What is known without being named stays known.
            let got = ask(&cache, &router, uri, &[("cookie", "ada")]).await;
            assert_eq!(got.cache(), "", "{uri}");
        }
    }
    let cache = Cache::new(memory().credential_headers([MINE]));
    let got = ask(&cache, &router, "/blind/1", &[("x-mine", "ada")]).await;
    assert_eq!(got.header("cache-control"), PRIVATE);
    let got = ask(&cache, &router, "/blind/1", &[]).await;
    assert_eq!(
        (got.cache(), got.header("cache-control") == PRIVATE),
        ("HIT", false)
    );
}

#[tokio::test]
async fn a_program_adds_headers_that_links_are_made_of() {
    let router = seeing();
    for uri in ["/headers", "/head", "/plain"] {
        let cache = Cache::new(memory().link_headers([MINE]));
        for status in ["MISS", "HIT"] {
            for value in ["a.example", "b.example"] {
                let got = ask(&cache, &router, uri, &[("x-mine", value)]).await;
                assert_eq!((got.text(), got.cache()), (value, status), "{uri}");
            }
            for value in ["a.example", "b.example"] {
                let header = [("x-forwarded-host", value)];
                assert_eq!(
                    ask(&cache, &router, uri, &header).await.cache(),
                    status,
                    "{uri}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_cache_says_what_it_did_for_handlers_and_layers() {
    for front in FRONTS {
        let config = memory()
            .cache_status("edge")
            .stale_while_revalidate(30 * SECOND);
        let pages = Pages::of(config, front, |path, before| {
            Box::pin(async move {
                match &*path {
                    "cookie" => {
                        let headers = [("cache-control", "max-age=60"), ("set-cookie", "id=1")];
                        answer(200, &headers, before)
                    }
                    "gone" => answer(404, &[], before),
                    _ => fresh(before),
                }
            })
        });
        let status = async |path, headers: &[(&str, &str)]| {
            let got = pages.get_with(path, headers).await;
            got.header("cache-status").to_owned()
        };
        assert_eq!(
            status("/a", &[]).await,
            "edge;fwd=uri-miss;stored",
            "{front:?}"
        );
        pages.clock.advance(SECOND);
        assert_eq!(status("/a", &[]).await, "edge;hit;ttl=59", "{front:?}");
        let told = status("/a", &[("if-none-match", "*")]).await;
        assert_eq!(told, "edge;hit;ttl=59", "{front:?}");
        pages.clock.advance(65 * SECOND);
        assert_eq!(status("/a", &[]).await, "edge;hit;ttl=-6", "{front:?}");
        settle().await;
        assert_eq!(status("/a", &[]).await, "edge;hit;ttl=60", "{front:?}");
        let asked = status("/a", &[("cache-control", "no-cache")]).await;
        assert!(asked.starts_with("edge;fwd=request"), "{front:?}: {asked}");

        let cookie = status("/cookie", &[]).await;
        let expected = "edge;fwd=uri-miss;detail=\"not stored: set-cookie\"";
        assert_eq!(cookie, expected, "{front:?}");
        let gone = status("/gone", &[]).await;
        let begins = "edge;fwd=uri-miss;detail=\"not stored: ";
        assert!(gone.starts_with(begins), "{front:?}: {gone}");
        let passed = status("/a", &[("cache-control", "no-store")]).await;
        assert!(passed.starts_with("edge;fwd=bypass"), "{front:?}: {passed}");
    }
}

#[tokio::test]
async fn what_caches_nearer_to_the_origin_said_comes_first() {
    for front in FRONTS {
        let pages = Pages::on(memory().cache_status("edge"), front, |before| {
            let headers = [
                ("cache-control", "max-age=60"),
                ("cache-status", "origin; hit"),
            ];
            answer(200, &headers, before)
        });
        for _ in 0..2 {
            let got = pages.get("/a").await;
            let lines: Vec<_> = got.headers.get_all("cache-status").iter().collect();
            assert_eq!(lines.len(), 2, "{front:?}: {lines:?}");
            assert_eq!(lines[0], "origin; hit", "{front:?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_said_where_that_is_not_asked_for() {
    for front in FRONTS {
        let pages = Pages::new(front, fresh);
        for _ in 0..2 {
            assert_eq!(
                pages.get("/a").await.header("cache-status"),
                "",
                "{front:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn how_long_a_request_waits_is_for_the_program_to_say() {
    for front in FRONTS {
        for limit in [Duration::from_millis(200), 20 * SECOND] {
            let config = memory().coalesce_timeout(limit);
            let pages = Pages::of(config, front, |_, before| {
                Box::pin(async move {
                    if before == 0 {
                        std::future::pending::<()>().await;
                    }
                    sleep(SECOND).await;
                    fresh(before)
                })
            });
            let began = Instant::now();
            let requests: Vec<_> = (0..5)
                .map(|_| {
                    let pages = pages.clone();
                    tokio::spawn(async move { pages.get("/a").await })
                })
                .collect();
            let mut answered = 0;
            for request in requests {
                answered += u32::from(timeout(limit + 10 * SECOND, request).await.is_ok());
            }
            assert_eq!(answered, 4, "{front:?} {limit:?}");
            assert!(began.elapsed() >= limit, "{front:?} {limit:?}");
            assert!(pages.calls() >= 2, "{front:?} {limit:?}");
        }
    }
}
