//! How old a response is, whether it is still current, and which part of it a client wants.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fast_cache::{Cache, CacheLayer, CacheResponse, cache};
use tower_http::compression::CompressionLayer;

use crate::fronts::{FRONTS, Front, Pages, SECOND, answer, ask, fresh, memory};

/// A page with this tag behind the layer, when it is stale, and whose origin says that it is current, but
/// under another tag. The origin has seen the headers of three requests.
async fn after_304(
    stored: &'static [(&'static str, &'static str)],
    update: &'static [(&'static str, &'static str)],
) -> (String, Vec<bool>) {
    let conditions = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&conditions);
    let service = tower::service_fn(move |request: axum::extract::Request| {
        let mut seen = seen.lock().unwrap();
        let headers = request.headers();
        let is_conditional = headers.contains_key(header::IF_NONE_MATCH)
            || headers.contains_key(header::IF_MODIFIED_SINCE);
        let before = seen.len();
        seen.push(is_conditional);
        let fresh = ("cache-control", "max-age=60");
        let response = match is_conditional {
            true => answer(304, &[&[fresh], update].concat(), before),
            false => answer(200, &[&[fresh], stored].concat(), before),
        };
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let router = Router::new()
        .fallback_service(service)
        .layer(CacheLayer::new());
    let clock = fast_cache::testing::ManualClock::new();
    let cache = Cache::new(memory().clock(clock.clone()));
    assert_eq!(ask(&cache, &router, "/", &[]).await.text(), "answer 0");
    clock.advance(61 * SECOND);
    let got = ask(&cache, &router, "/", &[]).await;
    assert_eq!(got.status, StatusCode::OK);
    let again = ask(&cache, &router, "/", &[]).await;
    assert_eq!(again.body, got.body);
    let conditions = conditions.lock().unwrap().clone();
    (got.text().to_owned(), conditions)
}

/// RFC 9111 section 4.3.4: what has another strong validator is not what is stored.
#[tokio::test]
async fn a_304_of_something_else_does_not_freshen() {
    for (stored, update) in [
        (&[("etag", "\"a\"")][..], &[("etag", "\"b\"")][..]),
        (&[("etag", "\"a\"")], &[("etag", "\"A\"")]),
        (&[("etag", "\"a\"")], &[("etag", "W/\"b\"")]),
        (&[("etag", "W/\"a\"")], &[("etag", "\"b\"")]),
        (&[("etag", "W/\"a\"")], &[("etag", "W/\"b\"")]),
        (
            &[("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT")],
            &[("etag", "\"b\"")],
        ),
    ] {
        let got = after_304(stored, update).await;
        let expected = ("answer 2".to_owned(), vec![false, true, false]);
        assert_eq!(got, expected, "{stored:?} {update:?}");
    }
}

#[tokio::test]
async fn a_304_of_the_same_freshens() {
    for (stored, update) in [
        (&[("etag", "\"a\"")][..], &[("etag", "\"a\"")][..]),
        (&[("etag", "\"a\"")], &[]),
        (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")]),
        (&[("etag", "W/\"a\"")], &[]),
        (&[("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT")], &[]),
    ] {
        let got = after_304(stored, update).await;
        let expected = ("answer 0".to_owned(), vec![false, true]);
        assert_eq!(got, expected, "{stored:?} {update:?}");
    }
}

/// The age of a hit, three seconds after a response came with these lines of `Age`.
async fn age_after(lines: &'static [&'static str]) -> Option<String> {
    let pages = Pages::new(Front::Layer, |before| {
        let ages = lines.iter().map(|line| ("age", *line));
        let headers: Vec<_> = ages.chain([("cache-control", "max-age=60")]).collect();
        answer(200, &headers, before)
    });
    pages.get("/a").await;
    pages.clock.advance(3 * SECOND);
    let hit = pages.get("/a").await;
    (pages.calls() == 1).then(|| hit.header("age").to_owned())
}

/// RFC 9111 section 5.1: of a list the first member counts, and what is no number is ignored.
#[tokio::test]
async fn ages_are_read_as_far_as_they_can_be() {
    let mut wrong = Vec::new();
    for (lines, expected) in [
        (&["7"][..], Some("10")),
        (&["007"], Some("10")),
        (&[" 7 "], Some("10")),
        (&["0"], Some("3")),
        (&["0, 0"], Some("3")),
        (&["0,0"], Some("3")),
        (&["7, 50"], Some("10")),
        (&["7,50"], Some("10")),
        (&["7 ,50"], Some("10")),
        (&["50, 7"], Some("53")),
        (&["7, old"], Some("10")),
        (&["7", "50"], Some("10")),
        (&["50", "7"], Some("53")),
        (&["0", "0"], Some("3")),
        (&["old"], Some("3")),
        (&["-1"], Some("3")),
        (&["1.5"], Some("3")),
        (&["7;x=y"], Some("3")),
        (&["+7"], Some("3")),
        (&["0x7"], Some("3")),
        (&["\"7\""], Some("3")),
        (&["7 7"], Some("3")),
        (&["old, 50"], Some("3")),
        (&[""], Some("3")),
        // It is as old as that, and older than can be counted is old.
        (&["57"], None),
        (&["57, 0"], None),
        (&["4294967296"], None),
        (&["99999999999999999999999"], None),
    ] {
        let age = age_after(lines).await;
        if age.as_deref() != expected {
            wrong.push(format!("{lines:?}: {age:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const MODIFIED: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
const LATER: &str = "Fri, 01 Jan 2100 00:00:00 GMT";
const DATE: (&str, &str) = ("date", MODIFIED);
const NO_STORE: (&str, &str) = ("cache-control", "no-store");

#[tokio::test]
async fn what_is_not_stored_is_compared_by_the_validators_that_it_has() {
    let mut wrong = Vec::new();
    for front in FRONTS {
        for (headers, condition, expected) in [
            (&[NO_STORE][..], ("if-modified-since", LATER), 200),
            (&[NO_STORE, DATE], ("if-modified-since", LATER), 200),
            (&[NO_STORE, DATE], ("if-modified-since", MODIFIED), 200),
            (&[NO_STORE, DATE], ("if-none-match", "*"), 200),
            (
                &[NO_STORE, DATE, ("etag", "\"a\"")],
                ("if-modified-since", LATER),
                200,
            ),
            (
                &[NO_STORE, ("etag", "\"a\"")],
                ("if-none-match", "\"b\""),
                200,
            ),
            (
                &[NO_STORE, ("last-modified", LATER)],
                ("if-modified-since", MODIFIED),
                200,
            ),
        ] {
            let pages = Pages::new(front, move |before| answer(200, headers, before));
            let got = pages.get_with("/a", &[condition]).await;
            if got.status.as_u16() != expected || got.text() != "answer 0" {
                wrong.push(format!(
                    "{front:?} {headers:?} {condition:?}: {}",
                    got.status
                ));
            }
        }
    }
    let pages = Pages::new(Front::Layer, move |before| answer(200, &[DATE], before));
    let got = pages.get_with("/a", &[("if-modified-since", LATER)]).await;
    if got.status != StatusCode::OK {
        wrong.push(format!("what has no lifetime: {}", got.status));
    }
    // The layer takes the condition out of the request, and answers it therefore.
    for (header, condition) in [
        (("last-modified", MODIFIED), ("if-modified-since", MODIFIED)),
        (("last-modified", MODIFIED), ("if-modified-since", LATER)),
        (("etag", "\"a\""), ("if-none-match", "\"a\"")),
        (("etag", "\"a\""), ("if-none-match", "*")),
    ] {
        let pages = Pages::new(Front::Layer, move |before| {
            answer(200, &[NO_STORE, header], before)
        });
        let got = pages.get_with("/a", &[condition]).await;
        if got.status != StatusCode::NOT_MODIFIED {
            wrong.push(format!("{header:?} {condition:?}: {}", got.status));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// RFC 9110 section 5.6.7: the forms of dates that are no longer made, and which may come in any case.
#[tokio::test]
async fn dates_are_read_in_every_form() {
    let mut wrong = Vec::new();
    for since in [
        "Wed, 01 Jan 2020 00:00:00 GMT",
        "Wednesday, 01-Jan-20 00:00:00 GMT",
        "Wed Jan  1 00:00:00 2020",
        "wed, 01 jan 2020 00:00:00 gmt",
        "WED, 01 JAN 2020 00:00:00 GMT",
        "wednesday, 01-jan-20 00:00:00 gmt",
        "WEDNESDAY, 01-JAN-20 00:00:00 GMT",
        "wed jan  1 00:00:00 2020",
        "WED JAN  1 00:00:00 2020",
    ] {
        for front in FRONTS {
            let pages = Pages::new(front, |before| {
                let headers = [("cache-control", "max-age=60"), ("last-modified", MODIFIED)];
                answer(200, &headers, before)
            });
            pages.get("/a").await;
            let got = pages.get_with("/a", &[("if-modified-since", since)]).await;
            if got.status != StatusCode::NOT_MODIFIED {
                wrong.push(format!("{front:?} {since}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn the_end_of_a_response_is_read_in_every_form() {
    let mut wrong = Vec::new();
    for expires in [
        "Fri, 01 Jan 2027 00:00:00 GMT",
        "Friday, 01-Jan-27 00:00:00 GMT",
        "Fri Jan  1 00:00:00 2027",
        "fri, 01 jan 2027 00:00:00 gmt",
        "friday, 01-jan-27 00:00:00 gmt",
        "FRIDAY, 01-JAN-27 00:00:00 GMT",
        "fri jan  1 00:00:00 2027",
        "FRI JAN  1 00:00:00 2027",
    ] {
        let pages = Pages::new(Front::Layer, move |before| {
            answer(200, &[("expires", expires)], before)
        });
        pages.get("/a").await;
        if pages.get("/a").await.text() != "answer 0" {
            wrong.push(expires);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const LONG: &str = "a text that is long enough to be worth the while, since it says the same again and again; \
                    a text that is long enough to be worth the while, since it says the same again and again";

/// Pages whose tags are made by the cache, under what compresses.
fn compressed() -> [Router; 3] {
    #[cache(expire = 60, handler)]
    async fn page() -> &'static str {
        LONG
    }
    #[cache(expire = 60)]
    async fn html(response: CacheResponse) -> axum::response::Html<&'static str> {
        response.tag("pages");
        axum::response::Html(LONG)
    }

    let layer = || CacheLayer::new().expire(60 * SECOND);
    [
        Router::new().route("/", get(page)),
        Router::new().route("/", get(html)).layer(layer()),
        Router::new().route("/", get(async || LONG)).layer(layer()),
    ]
    .map(|router| router.layer(CompressionLayer::new().gzip(true)))
}

#[tokio::test]
async fn a_download_that_is_resumed_is_whole() {
    for (number, router) in compressed().into_iter().enumerate() {
        let cache = Cache::new(memory());
        let get = async |headers: &[(&str, &str)]| ask(&cache, &router, "/", headers).await;
        let gzip = get(&[("accept-encoding", "gzip")]).await;
        assert_eq!(gzip.header("content-encoding"), "gzip", "router {number}");
        let plain = get(&[]).await;
        let half = format!("bytes={}-", gzip.body.len() / 2);
        for tag in [gzip.header("etag"), plain.header("etag")] {
            assert!(!tag.is_empty());
            for encoding in ["gzip", "identity"] {
                let headers = [
                    ("accept-encoding", encoding),
                    ("range", &half),
                    ("if-range", tag),
                ];
                let got = get(&headers).await;
                let whole = match encoding {
                    "gzip" => &gzip,
                    _ => &plain,
                };
                assert_eq!(got.status, StatusCode::OK, "router {number} {headers:?}");
                assert_eq!(got.body, whole.body, "router {number} {headers:?}");
                assert_eq!(got.header("content-range"), "");
            }
        }
    }
}

#[tokio::test]
async fn parts_want_a_strong_tag_of_the_origins_own() {
    let mut wrong = Vec::new();
    for (headers, expected) in [
        (&[][..], StatusCode::OK),
        (&[("etag", "W/\"a\"")], StatusCode::OK),
        (&[("etag", "\"a\"")], StatusCode::PARTIAL_CONTENT),
    ] {
        let pages = Pages::new(Front::Layer, move |before| {
            let fresh = ("cache-control", "max-age=60");
            answer(200, &[&[fresh], headers].concat(), before)
        });
        let tag = pages.get("/a").await.header("etag").to_owned();
        for request in [
            &[("range", "bytes=0-2"), ("if-range", &*tag)][..],
            &[("range", "bytes=0-2")],
        ] {
            let got = pages.get_with("/a", request).await;
            let text = match expected {
                StatusCode::OK => "answer 0",
                _ => "ans",
            };
            if (got.status, got.text()) != (expected, text) {
                wrong.push(format!("{headers:?} {request:?}: {}", got.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_handlers_page_is_never_cut_by_a_weak_tag() {
    let pages = Pages::new(Front::Handler, fresh);
    let tag = pages.get("/a").await.header("etag").to_owned();
    for headers in [
        &[("range", "bytes=0-2"), ("if-range", &*tag)][..],
        &[("range", "bytes=0-2")],
        &[("range", "bytes=99-")],
    ] {
        let got = pages.get_with("/a", headers).await;
        assert_eq!((got.status, got.text()), (StatusCode::OK, "answer 0"));
    }
    let head = pages
        .send(Method::HEAD, "/a", &[("range", "bytes=0-2")])
        .await;
    assert_eq!(head.status, StatusCode::OK);
}

#[tokio::test]
async fn a_handlers_conditions_are_answered_from_what_is_stored() {
    #[cache(expire = 60)]
    async fn page(response: CacheResponse) -> Response {
        response.header(header::LAST_MODIFIED, MODIFIED.parse().unwrap());
        "page".into_response()
    }

    let router = Router::new().route("/", get(page));
    let cache = Cache::new(memory());
    for (name, value, expected) in [
        ("if-modified-since", MODIFIED, 304),
        ("if-modified-since", LATER, 304),
        ("if-modified-since", "Tue, 31 Dec 2019 00:00:00 GMT", 200),
        ("if-none-match", "*", 304),
        ("if-none-match", "\"other\"", 200),
    ] {
        let got = ask(&cache, &router, "/", &[(name, value)]).await;
        assert_eq!(got.status.as_u16(), expected, "{name}: {value}");
    }
}
