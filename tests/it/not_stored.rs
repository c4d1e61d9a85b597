//! What no cache may keep, whatever it says of its lifetime, behind both fronts.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fast_cache::{Cache, CacheLayer, cache};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::fronts::{FRONTS, Front, Got, Pages, SECOND, answer, ask, memory, read, request};

/// Whether a second request is answered by what the first one got.
async fn is_stored(front: Front, status: u16, headers: &'static [(&'static str, &str)]) -> bool {
    let pages = Pages::new(front, move |before| answer(status, headers, before));
    let first = pages.get("/a").await;
    let second = pages.get("/a").await;
    assert_eq!(first.status.as_u16(), status, "{front:?}");
    assert_eq!(second.status.as_u16(), status, "{front:?}");
    if status == 304 {
        return pages.calls() == 1;
    }
    assert_eq!(first.text(), "answer 0", "{front:?} {status}");
    let is_stored = second.text() == "answer 0";
    assert_eq!(pages.calls(), if is_stored { 1 } else { 2 });
    is_stored
}

/// The statuses that are about one request, or about a part of a response: RFC 9110 sections 15.2, 15.3.7
/// and 15.4.5; RFC 6585 sections 3 to 6.
fn is_never_stored(status: u16) -> bool {
    matches!(status, 100..=199 | 206 | 304 | 428 | 429 | 431 | 511)
}

#[tokio::test]
async fn some_statuses_are_for_one_request() {
    const LIFETIMES: [&[(&str, &str)]; 5] = [
        &[("cache-control", "max-age=60")],
        &[("cache-control", "public, max-age=60")],
        &[("cache-control", "s-maxage=60"), ("retry-after", "60")],
        &[("expires", "Fri, 01 Jan 2100 00:00:00 GMT")],
        &[("cdn-cache-control", "max-age=60")],
    ];
    let mut wrong = Vec::new();
    for status in 100..600 {
        for headers in LIFETIMES {
            let is_stored = is_stored(Front::Layer, status, headers).await;
            if is_stored == is_never_stored(status) {
                wrong.push(format!("{status} {headers:?}: stored is {is_stored}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for status in (100..600).filter(|status| is_never_stored(*status)) {
        for headers in LIFETIMES {
            assert!(!is_stored(Front::Handler, status, headers).await);
        }
    }
}

#[tokio::test]
async fn a_layer_that_gives_lifetimes_gives_none_to_these() {
    for status in (100..600).filter(|status| is_never_stored(*status)) {
        let config = memory().expire(60 * SECOND);
        let pages = Pages::on(config, Front::Layer, move |before| {
            answer(status, &[], before)
        });
        pages.get("/a").await;
        pages.get("/a").await;
        assert_eq!(pages.calls(), 2, "{status}");
    }
}

#[tokio::test]
async fn streams_of_events_are_for_their_reader() {
    let mut wrong = Vec::new();
    for front in FRONTS {
        for kind in [
            "text/event-stream",
            "text/event-stream; charset=utf-8",
            "Text/Event-Stream",
            "text/event-stream;charset=utf-8",
            "multipart/x-mixed-replace; boundary=frame",
            "multipart/x-mixed-replace",
        ] {
            let pages = Pages::new(front, move |before| {
                let headers = [("cache-control", "max-age=60"), ("content-type", kind)];
                answer(200, &headers, before)
            });
            assert_eq!(pages.get("/a").await.header("content-type"), kind);
            if pages.get("/a").await.text() != "answer 1" {
                wrong.push(format!("{front:?}: {kind}"));
            }
        }
        for kind in ["text/event", "text/html", "multipart/mixed"] {
            let pages = Pages::new(front, move |before| {
                let headers = [("cache-control", "max-age=60"), ("content-type", kind)];
                answer(200, &headers, before)
            });
            pages.get("/a").await;
            assert_eq!(
                pages.get("/a").await.text(),
                "answer 0",
                "{front:?}: {kind}"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_end_of_a_stream_of_events() {
    for front in FRONTS {
        let pages = Pages::new(front, |before| {
            let first = format!("data: {before}\n\n");
            let first = stream::iter([Ok::<_, std::io::Error>(first)]);
            let body = Body::from_stream(first.chain(stream::pending()));
            let headers = [
                ("cache-control", "max-age=60"),
                ("content-type", "text/event-stream"),
            ];
            let mut response = answer(200, &headers, before);
            *response.body_mut() = body;
            response
        });
        let began = tokio::time::Instant::now();
        let mut open = Vec::new();
        for number in 0..3 {
            let mut reply = pages.open(Method::GET, "/a", &[]).await;
            let frame = reply.body_mut().frame().await.unwrap().unwrap();
            let expected = format!("data: {number}\n\n");
            assert_eq!(frame.into_data().unwrap(), expected, "{front:?}");
            open.push(reply);
        }
        assert_eq!(began.elapsed(), std::time::Duration::ZERO, "{front:?}");
    }
}

#[tokio::test]
async fn what_one_origin_may_read_is_not_for_another() {
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    let mut wrong = Vec::new();
    for front in FRONTS {
        for allowed in ["https://a.example", "null", "https://a.example, *", ""] {
            let pages = Pages::new(front, move |before| {
                let headers = [FRESH, ("access-control-allow-origin", allowed)];
                answer(200, &headers, before)
            });
            pages.get("/a").await;
            if pages.get("/a").await.text() != "answer 1" {
                wrong.push(format!("{front:?}: {allowed}"));
            }
        }
        let pages = Pages::new(front, |before| {
            let headers = [FRESH, ("access-control-allow-origin", "*")];
            answer(200, &headers, before)
        });
        pages.get("/a").await;
        assert_eq!(pages.get("/a").await.text(), "answer 0", "{front:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Allows whichever origin asks.
async fn allowing(headers: HeaderMap) -> Response {
    let origin = headers.get(ORIGIN).cloned();
    let mut response = format!("for {origin:?}").into_response();
    if let Some(origin) = origin {
        let name = axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
        response.headers_mut().insert(name, origin);
    }
    response
}

#[tokio::test]
async fn each_origin_has_an_entry_where_it_is_in_the_key() {
    #[cache(expire = 60, vary("origin"))]
    async fn by_handler(headers: HeaderMap) -> Response {
        allowing(headers).await
    }
    async fn by_vary(headers: HeaderMap) -> Response {
        let mut response = allowing(headers).await;
        let vary = axum::http::HeaderValue::from_static("Origin");
        response.headers_mut().insert("vary", vary);
        response
    }
    let layer = || CacheLayer::new().expire(60 * SECOND);
    let routers = [
        Router::new().route("/", get(by_handler)),
        Router::new().route("/", get(by_vary)).layer(layer()),
        Router::new()
            .route("/", get(allowing))
            .layer(layer().vary([ORIGIN])),
    ];
    for router in routers {
        let cache = Cache::new(memory());
        for status in ["MISS", "HIT"] {
            for origin in ["https://a.example", "https://b.example"] {
                let got = ask(&cache, &router, "/", &[("origin", origin)]).await;
                assert_eq!(got.header("access-control-allow-origin"), origin);
                assert_eq!(got.cache(), status);
            }
        }
    }
}

/// Answers as a proxy and the service behind it: what `Connection` names does not reach the service, which
/// shows all that it is told.
async fn proxied(mut request: Request) -> Response {
    let lines = request.headers().get_all(CONNECTION).iter();
    let named: Vec<HeaderName> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        request.headers_mut().remove(name);
    }
    let mut shown = request.uri().to_string();
    for name in [ACCEPT, HOST, HeaderName::from_static("x-theme")] {
        shown.push_str(&format!("\n{name}: {:?}", request.headers().get(&name)));
    }
    let kind = match request.headers().get(ACCEPT) {
        Some(accept) if accept == "application/json" => "application/json",
        _ => "text/html",
    };
    let headers = [
        ("cache-control", "max-age=60"),
        ("vary", "accept, x-theme"),
        (CONTENT_TYPE.as_str(), kind),
    ];
    (headers, shown).into_response()
}

/// Does the same in the handler itself, whose key has the headers that it reads.
#[cache(expire = 60, vary("accept", "x-theme"))]
async fn proxied_handler(
    headers: HeaderMap,
    uri: axum::http::Uri,
    response: fast_cache::CacheResponse,
) -> Response {
    let mut request = Request::new(Body::empty());
    *request.headers_mut() = headers;
    *request.uri_mut() = uri;
    let mut reply = proxied(request).await;
    reply.headers_mut().remove("vary");
    let _ = response;
    reply
}

const ORDINARY: &[(&str, &str)] = &[
    ("host", "shop.example"),
    ("accept", "application/json"),
    ("x-theme", "dark"),
];

/// Values of `Connection` that name headers which are not of the connection.
const OF_THE_REQUEST: &[&[&str]] = &[
    &["accept"],
    &["host"],
    &["Accept"],
    &["HOST"],
    &["close, accept"],
    &["keep-alive, Host"],
    &["accept,close"],
    &["close", "x-theme"],
    &["X-Theme", "keep-alive"],
    &["accept, host, x-theme"],
    &[", ,accept"],
];

fn with_connection<'a>(lines: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let mut headers = ORDINARY.to_vec();
    headers.extend(lines.iter().map(|line| ("connection", *line)));
    headers
}

fn proxies() -> [(Front, Router); 2] {
    [
        (
            Front::Handler,
            Router::new().route("/", get(proxied_handler)),
        ),
        (
            Front::Layer,
            Router::new()
                .route("/", get(proxied))
                .layer(CacheLayer::new()),
        ),
    ]
}

#[tokio::test]
async fn headers_that_end_here_do_not_choose_what_others_get() {
    let mut wrong = Vec::new();
    for (front, router) in proxies() {
        let clean = ask(&Cache::new(memory()), &router, "/", ORDINARY).await;
        assert!(clean.text().contains("application/json"));
        for lines in OF_THE_REQUEST {
            let cache = Cache::new(memory());
            let attack = with_connection(lines);
            let own = ask(&cache, &router, "/", &attack).await;
            if !own.cache().is_empty() {
                wrong.push(format!("{front:?}: {lines:?} was not passed on"));
            }
            let victim = ask(&cache, &router, "/", ORDINARY).await;
            if victim.body != clean.body {
                wrong.push(format!(
                    "{front:?}: {lines:?} was stored: {}",
                    victim.text()
                ));
            }
            // Nor is such a request answered by what is stored.
            let again = ask(&cache, &router, "/", &attack).await;
            if again.body != own.body {
                wrong.push(format!("{front:?}: {lines:?} was answered"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_is_of_the_connection_may_be_named() {
    for (front, router) in proxies() {
        for lines in [
            &["close"][..],
            &["keep-alive"],
            &["Keep-Alive", "close"],
            &["te", "keep-alive"],
            &["proxy-connection, close"],
            &[""],
        ] {
            let cache = Cache::new(memory());
            let headers = with_connection(lines);
            ask(&cache, &router, "/", &headers).await;
            let hit = ask(&cache, &router, "/", &headers).await;
            assert_eq!(hit.cache(), "HIT", "{front:?}: {lines:?}");
        }
    }
}

/// What `Cache-Status` of the layer says of a response.
async fn status_of(status: u16, headers: &'static [(&'static str, &'static str)]) -> String {
    let layer = CacheLayer::new().cache_status("edge");
    let pages = Pages::with(memory(), Front::Layer, layer, move |_, before| {
        let response = answer(status, headers, before);
        Box::pin(async move { response })
    });
    let got = pages.get("/a").await;
    got.header("cache-status").to_owned()
}

#[tokio::test]
async fn the_reason_is_told() {
    let cookie = &[("cache-control", "max-age=60"), ("set-cookie", "id=1")];
    assert_eq!(
        status_of(200, cookie).await,
        "edge;fwd=uri-miss;detail=\"not stored: set-cookie\""
    );
    for (status, headers) in [
        (200, &[("cache-control", "no-store")][..]),
        (200, &[("cache-control", "private, max-age=60")]),
        (200, &[("cache-control", "max-age=60"), ("vary", "*")]),
        (200, &[]),
        (429, &[("cache-control", "max-age=60")]),
        (
            200,
            &[
                ("cache-control", "max-age=60"),
                ("content-type", "text/event-stream"),
            ],
        ),
        (
            200,
            &[
                ("cache-control", "max-age=60"),
                ("access-control-allow-origin", "https://a.example"),
            ],
        ),
    ] {
        let told = status_of(status, headers).await;
        let begins = "edge;fwd=uri-miss;detail=\"not stored: ";
        assert!(told.starts_with(begins), "{status} {headers:?}: {told}");
    }
}

#[tokio::test]
async fn the_key_is_told_to_nobody() {
    let layer = CacheLayer::new().cache_status("edge");
    let pages = Pages::with(memory(), Front::Layer, layer, |_, before| {
        let response = crate::fronts::fresh(before);
        Box::pin(async move { response })
    });
    let told: Vec<Got> = vec![
        pages.get("/a").await,
        pages.get("/a").await,
        pages.send(Method::HEAD, "/a", &[]).await,
        pages.get_with("/a", &[("if-none-match", "*")]).await,
        pages.get_with("/a", &[("cache-control", "no-cache")]).await,
    ];
    for got in told {
        let status = got.header("cache-status");
        assert!(
            status.starts_with("edge;") && !status.contains("key"),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_reply_that_is_not_stored_passes_whole() {
    let router = Router::new()
        .route("/", get(async || ([("set-cookie", "id=1")], "hello")))
        .layer(CacheLayer::new().expire(60 * SECOND));
    let cache = Cache::new(memory());
    let reply = cache
        .scope(router.oneshot(request(Method::GET, "/", &[])))
        .await
        .unwrap();
    let got = read(reply).await;
    assert_eq!((got.text(), got.header("set-cookie")), ("hello", "id=1"));
    assert_eq!((got.cache(), got.header("etag")), ("", ""));
}
