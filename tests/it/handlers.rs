//! `#[cache]` on axum handlers, through a router.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fast_cache::{Cache, CacheRequest, CacheResponse, Config, InMemoryBackend, KeyContext, cache};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tower::ServiceExt;

use crate::support::Calls;

const STATUS: &str = "x-fastapi-cache";

/// A router with a cache of its own.
struct App {
    router: Router,
    cache: Cache,
}

/// A reply whose body has been read.
#[derive(Clone, Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl App {
    fn new(router: Router) -> Self {
        Self::with(router, Config::new(InMemoryBackend::new()))
    }

    fn with(router: Router, config: Config) -> Self {
        let cache = Cache::new(config);
        Self { router, cache }
    }

    async fn send(&self, request: Request) -> Reply {
        let response = self
            .cache
            .scope(self.router.clone().oneshot(request))
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    async fn get(&self, uri: &str) -> Reply {
        self.send(request(Method::GET, uri, &[])).await
    }

    async fn get_with(&self, uri: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(request(Method::GET, uri, headers)).await
    }
}

impl Reply {
    fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn cache(&self) -> &str {
        self.header(STATUS).unwrap_or("-")
    }
}

fn request(method: Method, uri: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    id: u64,
    call: u64,
}

static ITEM_CALLS: Calls = Calls::new();

#[cache(expire = 60, namespace = "items")]
async fn item(Path(id): Path<u64>, State(calls): State<&'static Calls>) -> Json<Item> {
    Json(Item {
        id,
        call: calls.next(),
    })
}

fn items() -> App {
    App::new(
        Router::new()
            .route("/items/{id}", get(item).post(item))
            .with_state(&ITEM_CALLS),
    )
}

#[tokio::test]
async fn a_hit_is_the_miss_again() {
    let app = items();
    let miss = app.get("/items/1").await;
    let hit = app.get("/items/1").await;
    assert_eq!((miss.cache(), hit.cache()), ("MISS", "HIT"));
    assert_eq!((miss.status, &miss.body), (hit.status, &hit.body));
    assert_eq!(miss.header(header::CACHE_CONTROL), Some("max-age=60"));
    assert_eq!(
        (miss.header(header::AGE), hit.header(header::AGE)),
        (None, Some("0"))
    );
    assert!(matches!(
        hit.header(header::CACHE_CONTROL),
        Some("max-age=60" | "max-age=59")
    ));

    let mut headers = [miss.headers, hit.headers];
    for headers in &mut headers {
        for name in [STATUS, "age", "cache-control"] {
            headers.remove(name);
        }
    }
    assert_eq!(headers[0], headers[1]);
    assert_eq!(app.get("/items/2").await.cache(), "MISS");
}

#[tokio::test]
async fn the_etag_is_quoted_a_digest_of_the_body_and_weak_unless_nothing_recodes() {
    #[cache(expire = 60, handler)]
    async fn hello() -> &'static str {
        "hello"
    }

    for (strong, tag) in [
        (false, "W/\"5d41402abc4b2a76b9719d911017c592\""),
        (true, "\"5d41402abc4b2a76b9719d911017c592\""),
    ] {
        let config = Config::new(InMemoryBackend::new()).strong_etags(strong);
        let app = App::with(Router::new().route("/", get(hello)), config);
        for _ in 0..2 {
            assert_eq!(app.get("/").await.header(header::ETAG), Some(tag));
        }
    }
}

#[tokio::test]
async fn conditional_requests_get_304_on_a_hit_and_on_a_miss() {
    let app = items();
    let tag = app
        .get("/items/10")
        .await
        .header(header::ETAG)
        .unwrap()
        .to_owned();
    for value in [
        tag.as_str(),
        tag.trim_start_matches("W/"),
        &format!("\"x\", {tag}"),
        "*",
    ] {
        let reply = app.get_with("/items/10", &[("if-none-match", value)]).await;
        assert_eq!(
            (reply.status, reply.cache()),
            (StatusCode::NOT_MODIFIED, "HIT"),
            "{value}"
        );
        assert!(reply.body.is_empty());
        assert_eq!(reply.header(header::ETAG), Some(tag.as_str()));
        assert_eq!(reply.header(header::CONTENT_TYPE), None);
        assert!(reply.header(header::CACHE_CONTROL).is_some());
    }
    let reply = app
        .get_with("/items/10", &[("if-none-match", "\"x\"")])
        .await;
    assert_eq!((reply.status, reply.cache()), (StatusCode::OK, "HIT"));

    #[cache(expire = 60)]
    async fn page() -> Html<&'static str> {
        Html("page")
    }
    let app = App::new(Router::new().route("/", get(page)));
    let reply = app.get_with("/", &[("if-none-match", "*")]).await;
    assert_eq!(
        (reply.status, reply.cache()),
        (StatusCode::NOT_MODIFIED, "MISS")
    );
    assert_eq!(app.get("/").await.body, "page");
}

#[tokio::test]
async fn if_modified_since_is_compared_with_the_handlers_last_modified() {
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    #[cache(expire = 60)]
    async fn document() -> impl IntoResponse {
        ([(header::LAST_MODIFIED, MODIFIED)], "document")
    }

    let app = App::new(Router::new().route("/", get(document)));
    app.get("/").await;
    let reply = app.get_with("/", &[("if-modified-since", MODIFIED)]).await;
    assert_eq!(reply.status, StatusCode::NOT_MODIFIED);
    let earlier = "Sun, 06 Nov 1994 08:49:36 GMT";
    let reply = app.get_with("/", &[("if-modified-since", earlier)]).await;
    assert_eq!((reply.status, reply.cache()), (StatusCode::OK, "HIT"));
}

#[tokio::test]
async fn request_directives_are_followed_unless_they_are_ignored() {
    let app = items();
    let directive =
        async |app: &App, value| app.get_with("/items/20", &[("cache-control", value)]).await;

    let reply = directive(&app, "only-if-cached").await;
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
    let first = app.get("/items/20").await;
    assert_eq!(directive(&app, "only-if-cached").await.cache(), "HIT");

    // `no-store` passes by the cache and leaves what is stored.
    let reply = directive(&app, "no-store").await;
    assert_eq!(reply.cache(), "-");
    assert_ne!(reply.body, first.body);
    assert_eq!(app.get("/items/20").await.body, first.body);

    // These recompute, and store.
    for value in ["no-cache", "max-age=0", "No-Cache, foo=\"bar\""] {
        let before = app.get("/items/20").await;
        let reply = directive(&app, value).await;
        assert_eq!(reply.cache(), "MISS", "{value}");
        assert_ne!(reply.body, before.body);
        assert_eq!(app.get("/items/20").await.body, reply.body);
    }
    assert_eq!(
        app.get_with("/items/20", &[("pragma", "no-cache")])
            .await
            .cache(),
        "MISS"
    );

    // These say what will do.
    for (value, cache) in [
        ("max-age=30", "HIT"),
        ("min-fresh=30", "HIT"),
        ("max-stale", "HIT"),
        ("min-fresh=61", "MISS"),
    ] {
        assert_eq!(directive(&app, value).await.cache(), cache, "{value}");
    }

    let config = Config::new(InMemoryBackend::new()).client_directives(false);
    let app = App::with(items().router, config);
    app.get("/items/20").await;
    for value in ["no-cache", "no-store", "max-age=0", "min-fresh=100"] {
        assert_eq!(directive(&app, value).await.cache(), "HIT", "{value}");
    }
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn lifetimes_run_down_to_the_millisecond() {
    let clock = fast_cache::testing::ManualClock::new();
    let config = Config::new(InMemoryBackend::new()).clock(clock.clone());
    let app = App::with(items().router, config);
    app.get("/items/30").await;
    clock.advance(Duration::from_millis(20_500));
    let hit = app.get("/items/30").await;
    assert_eq!((hit.cache(), hit.header(header::AGE)), ("HIT", Some("20")));
    assert_eq!(hit.header(header::CACHE_CONTROL), Some("max-age=39"));
    assert_eq!(
        app.get_with("/items/30", &[("cache-control", "max-age=20")])
            .await
            .cache(),
        "MISS"
    );

    clock.advance(Duration::from_millis(59_999));
    assert_eq!(app.get("/items/30").await.cache(), "HIT");
    clock.advance(Duration::from_millis(1));
    assert_eq!(app.get("/items/30").await.cache(), "MISS");
}

#[tokio::test]
async fn head_is_answered_from_what_get_stored() {
    let app = items();
    let head = app.send(request(Method::HEAD, "/items/40", &[])).await;
    assert_eq!((head.cache(), head.body.len()), ("MISS", 0));
    let get = app.get("/items/40").await;
    assert_eq!(get.cache(), "MISS");
    let head = app.send(request(Method::HEAD, "/items/40", &[])).await;
    assert_eq!((head.cache(), head.body.len()), ("HIT", 0));
    assert_eq!(
        head.header(header::CONTENT_LENGTH),
        Some(get.body.len().to_string().as_str())
    );
    assert_eq!(head.header(header::ETAG), get.header(header::ETAG));
    assert_eq!(
        head.header(header::CONTENT_TYPE),
        get.header(header::CONTENT_TYPE)
    );
}

#[tokio::test]
async fn other_methods_pass_by_the_cache() {
    let app = items();
    app.get("/items/50").await;
    for _ in 0..2 {
        let reply = app.send(request(Method::POST, "/items/50", &[])).await;
        assert_eq!((reply.status, reply.cache()), (StatusCode::OK, "-"));
        assert_eq!(reply.header(header::ETAG), None);
    }
    assert_eq!(app.get("/items/50").await.cache(), "HIT");
}

/// Calls a handler twice, and expects that neither reply knows of the cache.
async fn is_not_stored(router: Router) {
    let app = App::new(router);
    for _ in 0..2 {
        let reply = app.get("/").await;
        assert_eq!(
            (reply.cache(), reply.header(header::ETAG)),
            ("-", None),
            "{reply:?}"
        );
    }
    assert_eq!(app.cache.stats().stored, 0);
}

#[tokio::test]
async fn what_must_not_be_stored_passes_untouched() {
    #[cache(expire = 60)]
    async fn status(Path(code): Path<u16>) -> Response {
        StatusCode::from_u16(code).unwrap().into_response()
    }
    let app = App::new(Router::new().route("/{code}", get(status)));
    for code in ["201", "204", "301", "404", "500", "503"] {
        for _ in 0..2 {
            let reply = app.get(&format!("/{code}")).await;
            assert_eq!((reply.status.as_str(), reply.cache()), (code, "-"));
        }
    }

    #[cache(expire = 60)]
    async fn cookie() -> impl IntoResponse {
        ([(header::SET_COOKIE, "session=1")], "hello")
    }
    is_not_stored(Router::new().route("/", get(cookie))).await;

    #[cache(expire = 60)]
    async fn private() -> impl IntoResponse {
        ([(header::CACHE_CONTROL, "Private")], "hello")
    }
    is_not_stored(Router::new().route("/", get(private))).await;

    #[cache(expire = 60)]
    async fn no_store() -> impl IntoResponse {
        ([(header::CACHE_CONTROL, "max-age=5, no-store")], "hello")
    }
    is_not_stored(Router::new().route("/", get(no_store))).await;

    #[cache(expire = 60)]
    async fn varies() -> impl IntoResponse {
        ([(header::VARY, "accept-language")], "hello")
    }
    is_not_stored(Router::new().route("/", get(varies))).await;

    #[cache(expire = 60)]
    async fn refused(response: CacheResponse) -> &'static str {
        response.no_store();
        "hello"
    }
    is_not_stored(Router::new().route("/", get(refused))).await;

    #[cache(expire = 60, cache_if = |page: &Html<&str>| page.0.len() > 10)]
    async fn short() -> Html<&'static str> {
        Html("short")
    }
    is_not_stored(Router::new().route("/", get(short))).await;

    #[cache(expire = 60)]
    async fn error() -> Result<Json<u8>, (StatusCode, &'static str)> {
        Err((StatusCode::OK, "an error that looks like success"))
    }
    is_not_stored(Router::new().route("/", get(error))).await;
}

#[tokio::test]
async fn an_error_is_not_replayed() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60)]
    async fn flaky() -> Result<Json<u64>, StatusCode> {
        match CALLS.next() {
            1 => Err(StatusCode::INTERNAL_SERVER_ERROR),
            call => Ok(Json(call)),
        }
    }

    let app = App::new(Router::new().route("/", get(flaky)));
    assert_eq!(app.get("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let reply = app.get("/").await;
    assert_eq!((reply.status, reply.cache()), (StatusCode::OK, "MISS"));
    assert_eq!(app.get("/").await.body, reply.body);
}

#[tokio::test]
async fn status_headers_and_body_survive_a_hit() {
    #[cache(expire = 60)]
    async fn rich(response: CacheResponse) -> impl IntoResponse {
        response
            .header(header::LINK, HeaderValue::from_static("</a>"))
            .header(header::LINK, HeaderValue::from_static("</b>"));
        let headers = [
            ("x-one", "1"),
            ("content-type", "application/x-custom"),
            ("etag", "\"own\""),
        ];
        (headers, Bytes::from_static(b"\x00\xff binary"))
    }

    let app = App::new(Router::new().route("/", get(rich)));
    let (miss, hit) = (app.get("/").await, app.get("/").await);
    assert_eq!((miss.cache(), hit.cache()), ("MISS", "HIT"));
    for reply in [miss, hit] {
        let links: Vec<_> = reply.headers.get_all(header::LINK).iter().collect();
        assert_eq!(links, ["</a>", "</b>"]);
        assert_eq!(reply.header("x-one"), Some("1"));
        assert_eq!(
            reply.header(header::CONTENT_TYPE),
            Some("application/x-custom")
        );
        assert_eq!(reply.header(header::ETAG), Some("\"own\""));
        assert_eq!(reply.body, &b"\x00\xff binary"[..]);
    }
}

#[tokio::test]
async fn the_handler_chooses_its_lifetime() {
    #[cache(expire = 60)]
    async fn chosen(response: CacheResponse) -> &'static str {
        response.expire(Duration::from_secs(5));
        "hello"
    }

    #[cache(expire = 60)]
    async fn own() -> impl IntoResponse {
        ([(header::CACHE_CONTROL, "public, max-age=7")], "hello")
    }

    #[cache(expire = 60)]
    async fn targeted() -> impl IntoResponse {
        let control = (header::CACHE_CONTROL, "no-store");
        let targeted = (
            header::HeaderName::from_static("cdn-cache-control"),
            "max-age=8",
        );
        ([control, targeted], "hello")
    }

    #[cache(expire = 60)]
    async fn expired() -> impl IntoResponse {
        (
            [(header::EXPIRES, "Wed, 01 Jan 2020 00:00:00 GMT")],
            "hello",
        )
    }

    #[cache]
    async fn endless() -> Html<&'static str> {
        Html("hello")
    }

    let router = Router::new()
        .route("/chosen", get(chosen))
        .route("/targeted", get(targeted))
        .route("/expired", get(expired))
        .route("/own", get(own));
    let app = App::new(router.route("/endless", get(endless)));
    assert_eq!(
        app.get("/chosen").await.header(header::CACHE_CONTROL),
        Some("max-age=5")
    );
    app.get("/own").await;
    let hit = app.get("/own").await;
    assert_eq!(
        (hit.cache(), hit.header(header::CACHE_CONTROL)),
        ("HIT", Some("public, max-age=7"))
    );
    for (uri, status) in [("/targeted", "HIT"), ("/expired", "-")] {
        app.get(uri).await;
        assert_eq!(app.get(uri).await.cache(), status, "{uri}");
    }
    app.get("/endless").await;
    let hit = app.get("/endless").await;
    assert_eq!(
        (hit.cache(), hit.header(header::CACHE_CONTROL)),
        ("HIT", None)
    );
    app.cache
        .scope(async {
            let ttl = own::entry().ttl().await.unwrap().unwrap();
            assert!(ttl <= Duration::from_secs(7));
            let ttl = targeted::entry().ttl().await.unwrap().unwrap();
            assert!(ttl <= Duration::from_secs(8));
        })
        .await;
}

#[tokio::test]
async fn headers_named_by_vary_are_part_of_the_key_and_of_the_reply() {
    #[cache(expire = 60, vary("Accept-Language"))]
    async fn greeting(headers: HeaderMap) -> String {
        match headers.get(header::ACCEPT_LANGUAGE) {
            Some(language) => format!("hello in {}", language.to_str().unwrap()),
            None => "hello".to_owned(),
        }
    }

    #[cache(expire = 60, key = "greeting", vary("accept-language"))]
    async fn by_text(headers: HeaderMap) -> String {
        greeting::uncached(headers).await
    }

    let router = Router::new()
        .route("/", get(greeting))
        .route("/text", get(by_text));
    let app = App::new(router);
    for uri in ["/", "/text"] {
        let german = [("accept-language", "de")];
        assert_eq!(app.get_with(uri, &german).await.body, "hello in de");
        let reply = app.get(uri).await;
        assert_eq!((reply.cache(), &reply.body[..]), ("MISS", &b"hello"[..]));
        assert_eq!(reply.header(header::VARY), Some("accept-language"));
        assert_eq!(
            app.get_with(uri, &[("accept-language", "")]).await.cache(),
            "MISS"
        );
        for same in ["de", " DE ;q=1.0"] {
            let hit = app.get_with(uri, &[("accept-language", same)]).await;
            assert_eq!((hit.cache(), &hit.body[..]), ("HIT", &b"hello in de"[..]));
        }
    }
    app.cache
        .scope(async {
            let mut headers = HeaderMap::new();
            headers.insert("accept-language", HeaderValue::from_static("de"));
            let entry = greeting::entry(&headers, HeaderMap::new());
            assert_eq!(entry.get().await.unwrap().unwrap().body(), "hello in de");
            assert!(entry.invalidate().await.unwrap());
        })
        .await;
    assert_eq!(
        app.get_with("/", &[("accept-language", "de")])
            .await
            .cache(),
        "MISS"
    );
}

#[tokio::test]
async fn queries_uris_and_whole_requests_are_keyed() {
    #[derive(Serialize, Deserialize)]
    struct Page {
        number: u32,
    }

    #[cache(expire = 60)]
    async fn by_query(Query(page): Query<Page>) -> String {
        page.number.to_string()
    }
    #[cache(expire = 60)]
    async fn by_uri(uri: Uri) -> String {
        uri.to_string()
    }
    #[cache(expire = 60, key_builder = whole)]
    async fn by_request(request: Request) -> String {
        request.uri().to_string()
    }
    #[cache(expire = 60, vary())]
    async fn by_head(request: CacheRequest) -> String {
        request.uri().to_string()
    }
    fn whole(context: &KeyContext<'_>) -> String {
        context.args.digest()
    }
    #[cache(expire = 60)]
    async fn by_method(method: Method, _: Request) -> String {
        method.to_string()
    }

    let router = Router::new()
        .route("/query", get(by_query))
        .route("/uri", get(by_uri))
        .route("/request", get(by_request))
        .route("/head", get(by_head))
        .route("/method", get(by_method));
    let app = App::new(router);
    for path in ["/query", "/uri", "/request", "/head"] {
        let one = app.get(&format!("{path}?number=1")).await;
        let two = app.get(&format!("{path}?number=2")).await;
        assert_eq!((one.cache(), two.cache()), ("MISS", "MISS"), "{path}");
        assert_ne!(one.body, two.body);
        assert_eq!(app.get(&format!("{path}?number=1")).await.cache(), "HIT");
    }
    assert_eq!(app.get("/method").await.body, "GET");
    let head = app.send(request(Method::HEAD, "/method", &[])).await;
    assert_eq!(head.cache(), "HIT");
}

#[tokio::test]
async fn bodies_over_the_limit_pass_whole() {
    #[cache(expire = 60)]
    async fn large(Path(length): Path<usize>) -> Vec<u8> {
        vec![7; length]
    }

    let config = Config::new(InMemoryBackend::new()).max_body(1000);
    let app = App::with(Router::new().route("/{length}", get(large)), config);
    for _ in 0..2 {
        let reply = app.get("/1001").await;
        assert_eq!((reply.cache(), reply.body.len()), ("-", 1001));
    }
    app.get("/1000").await;
    assert_eq!(app.get("/1000").await.cache(), "HIT");
}

#[tokio::test]
async fn streams_are_not_held_back() {
    #[cache(expire = 60)]
    async fn endless() -> Response {
        let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"first"))]);
        Body::from_stream(first.chain(stream::pending())).into_response()
    }
    #[cache(expire = 60)]
    async fn ready() -> Response {
        let chunks =
            ["a", "b", "c"].map(|chunk| Ok::<_, Infallible>(Bytes::from_static(chunk.as_bytes())));
        Body::from_stream(stream::iter(chunks)).into_response()
    }
    #[cache(expire = 60)]
    async fn broken() -> Response {
        let chunks = [
            Ok(Bytes::from_static(b"a")),
            Err(std::io::Error::other("broken")),
        ];
        Body::from_stream(stream::iter(chunks)).into_response()
    }

    let router = Router::new()
        .route("/endless", get(endless))
        .route("/ready", get(ready));
    let app = App::new(router.route("/broken", get(broken)));
    let response = app
        .cache
        .scope(
            app.router
                .clone()
                .oneshot(request(Method::GET, "/endless", &[])),
        )
        .await
        .unwrap();
    let frame = response.into_body().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "first");
    assert_eq!(app.cache.stats().stored, 0);

    app.get("/ready").await;
    let hit = app.get("/ready").await;
    assert_eq!((hit.cache(), &hit.body[..]), ("HIT", &b"abc"[..]));

    for _ in 0..2 {
        let response = app
            .cache
            .scope(
                app.router
                    .clone()
                    .oneshot(request(Method::GET, "/broken", &[])),
            )
            .await
            .unwrap();
        let mut body = response.into_body();
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "a"
        );
        assert!(body.frame().await.unwrap().is_err());
    }
}

#[tokio::test]
async fn the_status_header_can_be_renamed() {
    let config = Config::new(InMemoryBackend::new()).cache_status_header("X-Cache");
    let app = App::with(items().router, config);
    assert_eq!(app.get("/items/60").await.header("x-cache"), Some("MISS"));
    assert_eq!(app.get("/items/60").await.header("x-cache"), Some("HIT"));
}

#[tokio::test]
async fn without_a_cache_a_handler_just_answers() {
    let request = request(Method::GET, "/items/70", &[]);
    let response = items().router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key(STATUS));
}

#[tokio::test]
async fn a_handlers_entry_is_a_response() {
    let app = items();
    app.get("/items/80").await;
    app.cache
        .scope(async {
            let entry = item::entry(Path(80));
            let stored = entry.get().await.unwrap().unwrap();
            assert_eq!(stored.status(), StatusCode::OK);
            assert!(stored.headers().contains_key(header::ETAG));
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static("text/plain"));
            let by_hand =
                fast_cache::CachedResponse::new(StatusCode::OK, headers, "by hand".into());
            entry.set(by_hand).await.unwrap();
        })
        .await;
    let hit = app.get("/items/80").await;
    assert_eq!((hit.cache(), &hit.body[..]), ("HIT", &b"by hand"[..]));
    assert!(hit.header(header::ETAG).is_some());
}
