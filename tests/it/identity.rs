//! What tells one request from another: who asks, what links are made of, and which resource is meant.

use std::fmt::Write as _;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fast_cache::{Cache, CacheLayer, CacheRequest, cache};
use tower::ServiceExt;

use crate::audience::{CREDENTIALS, CREDENTIALS_OF_THEIR_KIND};
use crate::fronts::{Front, Got, SECOND, ask, memory, read};

/// All lines of some headers.
fn shown(headers: &HeaderMap, names: impl IntoIterator<Item = HeaderName>) -> String {
    let mut shown = String::new();
    for name in names {
        let lines: Vec<_> = headers.get_all(&name).iter().collect();
        if !lines.is_empty() {
            writeln!(shown, "{name}: {lines:?}").unwrap();
        }
    }
    shown
}

fn credentials() -> impl Iterator<Item = HeaderName> {
    let names = CREDENTIALS.iter().chain(CREDENTIALS_OF_THEIR_KIND);
    names.map(|name| HeaderName::from_static(name))
}

/// Headers that programs make links of.
const LINKS: [&str; 10] = [
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-host",
    "x-original-url",
    "x-rewrite-url",
];

fn links() -> impl Iterator<Item = HeaderName> {
    LINKS.iter().map(|name| HeaderName::from_static(name))
}

mod who {
    use super::*;

    #[cache(expire = 60, vary("accept-language"))]
    pub(super) async fn headers(headers: HeaderMap) -> String {
        shown(&headers, credentials())
    }
    #[cache(expire = 60, vary("accept-language"))]
    pub(super) async fn head(request: CacheRequest) -> String {
        shown(request.headers(), credentials())
    }
    #[cache(expire = 60, vary("accept-language"))]
    pub(super) async fn beside_others(Path(id): Path<u64>, headers: HeaderMap) -> String {
        format!("{id} {}", shown(&headers, credentials()))
    }
    #[cache(expire = 60, vary("accept-language"), key = "text")]
    pub(super) async fn text(headers: HeaderMap) -> String {
        shown(&headers, credentials())
    }
    /// By a layer that gives lifetimes.
    pub(super) async fn plain(headers: HeaderMap) -> String {
        shown(&headers, credentials())
    }
}

const WHO: [&str; 5] = ["/headers", "/head", "/beside/1", "/text", "/plain"];

fn who_asks() -> Router {
    let layer = CacheLayer::new().expire(60 * SECOND);
    Router::new()
        .route("/plain", get(who::plain))
        .route_layer(layer)
        .route("/headers", get(who::headers))
        .route("/head", get(who::head))
        .route("/beside/{id}", get(who::beside_others))
        .route("/text", get(who::text))
}

/// What a page says to one who asks with a header of this name.
async fn leaks(uri: &str, name: &str) -> Vec<String> {
    let router = who_asks();
    let mut leaks = Vec::new();
    for order in [["ada", "bob", ""], ["", "ada", "bob"]] {
        let cache = Cache::new(memory());
        for value in order.iter().chain(&order) {
            let headers = [(name, *value), ("accept-language", "de")];
            let headers = if value.is_empty() {
                &headers[1..]
            } else {
                &headers
            };
            let got = ask(&cache, &router, uri, headers).await;
            let alone = Cache::new(memory());
            let expected = ask(&alone, &router, uri, headers).await;
            if got.body != expected.body {
                leaks.push(format!("{uri} {name}: {value:?} got {:?}", got.text()));
            }
            if !value.is_empty() && got.cache() == "HIT" {
                leaks.push(format!("{uri} {name}: a hit for {value:?}"));
            }
        }
    }
    leaks
}

#[tokio::test]
async fn who_shows_every_header_is_not_cached_for_those_who_say_who_they_are() {
    let mut wrong = Vec::new();
    for uri in WHO {
        for name in CREDENTIALS {
            wrong.extend(leaks(uri, name).await);
        }
    }
    assert!(wrong.is_empty(), "{} of them: {wrong:#?}", wrong.len());
}

#[tokio::test]
async fn nor_for_those_whom_a_proxy_names_in_another_way() {
    let mut wrong = Vec::new();
    for uri in WHO {
        for name in CREDENTIALS_OF_THEIR_KIND {
            wrong.extend(leaks(uri, name).await);
        }
    }
    assert!(wrong.is_empty(), "{} of them: {wrong:#?}", wrong.len());
}

#[tokio::test]
async fn one_credential_in_the_key_does_not_make_up_for_another() {
    #[cache(expire = 60, vary("authorization"))]
    async fn page(headers: HeaderMap) -> String {
        shown(&headers, credentials())
    }
    async fn plain(headers: HeaderMap) -> String {
        shown(&headers, credentials())
    }

    let layer = CacheLayer::new()
        .expire(60 * SECOND)
        .vary([axum::http::header::AUTHORIZATION]);
    for router in [
        Router::new().route("/", get(page)),
        Router::new().route("/", get(plain)).layer(layer),
    ] {
        let cache = Cache::new(memory());
        let get = async |headers: &[(&str, &str)]| ask(&cache, &router, "/", headers).await;
        for status in ["MISS", "HIT"] {
            for value in ["ada", "bob"] {
                let got = get(&[("authorization", value)]).await;
                assert_eq!(got.cache(), status);
                assert_eq!(got.text(), format!("authorization: [{value:?}]\n"));
            }
        }
        for cookie in ["ada", "bob"] {
            let got = get(&[("authorization", "ada"), ("cookie", cookie)]).await;
            assert_eq!(got.cache(), "");
            assert!(got.text().contains(&format!("cookie: [{cookie:?}]")));
        }
    }
}

mod linked {
    use super::*;

    #[cache(expire = 60, vary("accept-language"))]
    pub(super) async fn headers(headers: HeaderMap) -> String {
        shown(&headers, links())
    }
    #[cache(expire = 60, vary("accept-language"))]
    pub(super) async fn head(request: CacheRequest) -> String {
        shown(request.headers(), links())
    }
    pub(super) async fn plain(headers: HeaderMap) -> String {
        shown(&headers, links())
    }
}

#[tokio::test]
async fn what_links_are_made_of_is_in_the_key() {
    let router = Router::new()
        .route("/plain", get(linked::plain))
        .route_layer(CacheLayer::new().expire(60 * SECOND))
        .route("/headers", get(linked::headers))
        .route("/head", get(linked::head));
    let mut wrong = Vec::new();
    for uri in ["/headers", "/head", "/plain"] {
        for name in LINKS {
            let cache = Cache::new(memory());
            for status in ["MISS", "HIT"] {
                for value in ["host=a.example", "host=b.example", ""] {
                    let headers = [(name, value)];
                    let headers = if value.is_empty() { &[] } else { &headers[..] };
                    let got = ask(&cache, &router, uri, headers).await;
                    let expected = match value {
                        "" => String::new(),
                        value => format!("{name}: [{value:?}]\n"),
                    };
                    // What a proxy says each time costs nothing.
                    if (got.text(), got.cache()) != (&*expected, status) {
                        wrong.push(format!(
                            "{uri} {name}: {value:?} got {:?}, {}",
                            got.text(),
                            got.cache()
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

mod ordered {
    use super::*;

    /// Speaks the first language of the list, and the like.
    pub(super) fn first(headers: &HeaderMap, name: &str) -> String {
        let list = headers.get(name).map(HeaderValue::to_str);
        let list = list.transpose().unwrap().unwrap_or_default();
        let first = list.split([',', ';']).next().unwrap_or_default();
        first.trim().to_lowercase()
    }

    #[cache(
        expire = 60,
        vary("accept", "accept-charset", "accept-encoding", "accept-language")
    )]
    pub(super) async fn handler(Path(name): Path<String>, headers: HeaderMap) -> String {
        first(&headers, &name)
    }
    pub(super) async fn plain(Path(name): Path<String>, headers: HeaderMap) -> Response {
        ([("vary", name.clone())], first(&headers, &name)).into_response()
    }
}

fn preferring() -> [(Front, Router); 2] {
    let layer = CacheLayer::new().expire(60 * SECOND);
    [
        (
            Front::Handler,
            Router::new().route("/{name}", get(ordered::handler)),
        ),
        (
            Front::Layer,
            Router::new()
                .route("/{name}", get(ordered::plain))
                .layer(layer),
        ),
    ]
}

#[tokio::test]
async fn of_what_is_wanted_the_order_counts() {
    let mut wrong = Vec::new();
    for (front, router) in preferring() {
        for (name, one, other) in [
            ("accept-language", "en-US,fr-FR", "fr-FR,en-US"),
            ("accept-language", "en, fr", "fr, en"),
            ("accept-language", "en;q=0.5,fr;q=0.5", "fr;q=0.5,en;q=0.5"),
            ("accept-encoding", "gzip, br", "br, gzip"),
            ("accept-charset", "utf-8, latin1", "latin1, utf-8"),
            (
                "accept",
                "text/html,application/json",
                "application/json,text/html",
            ),
        ] {
            let cache = Cache::new(memory());
            let uri = format!("/{name}");
            for list in [one, other, one] {
                let got = ask(&cache, &router, &uri, &[(name, list)]).await;
                let mut headers = HeaderMap::new();
                headers.insert(name, list.parse().unwrap());
                if got.text() != ordered::first(&headers, name) {
                    wrong.push(format!("{front:?} {name}: {list} got {}", got.text()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_means_the_same_is_one_entry() {
    for (front, router) in preferring() {
        for (name, forms) in [
            ("accept-language", ["de,en", "DE, EN", " de ;q=1.0,en"]),
            ("accept-language", ["de;q=0.5", "de ; q=0.5", "DE;q=0.50"]),
            (
                "accept",
                [
                    "text/html,text/plain",
                    "text/html, text/plain",
                    "text/html ,text/plain",
                ],
            ),
        ] {
            let cache = Cache::new(memory());
            let uri = format!("/{name}");
            ask(&cache, &router, &uri, &[(name, forms[0])]).await;
            for form in forms {
                let got = ask(&cache, &router, &uri, &[(name, form)]).await;
                assert_eq!(got.cache(), "HIT", "{front:?} {name}: {form}");
            }
        }
    }
}

mod place {
    use super::*;

    /// What a program may take for the address of the page.
    pub(super) fn describe(uri: &Uri, headers: &HeaderMap) -> String {
        format!(
            "scheme {:?}, authority {:?}, path {}, {}",
            uri.scheme_str(),
            uri.authority().map(|authority| authority.as_str()),
            uri.path(),
            shown(headers, [axum::http::header::HOST])
        )
    }

    #[cache(expire = 60, vary("accept-language"))]
    pub(super) async fn head(request: CacheRequest) -> String {
        describe(request.uri(), request.headers())
    }
    #[cache(expire = 60, vary("host"))]
    pub(super) async fn uri(uri: Uri, headers: HeaderMap) -> String {
        describe(&uri, &headers)
    }
    pub(super) async fn plain(uri: Uri, headers: HeaderMap) -> String {
        describe(&uri, &headers)
    }
}

fn addressed() -> [Router; 3] {
    let layer = CacheLayer::new().expire(60 * SECOND);
    [
        Router::new().route("/", get(place::head)),
        Router::new().route("/", get(place::uri)),
        Router::new().route("/", get(place::plain)).layer(layer),
    ]
}

async fn ask_at(cache: &Cache, router: &Router, uri: &str, hosts: &[&str]) -> Got {
    let mut request = Request::builder().uri(uri);
    for host in hosts {
        request = request.header("host", *host);
    }
    let request = request.body(Body::empty()).unwrap();
    let reply = cache.scope(router.clone().oneshot(request)).await;
    read(reply.unwrap()).await
}

/// Requests, two by two, that a program can tell from each other.
const APART: &[[(&str, &[&str]); 2]] = &[
    [
        ("http://shop.example/", &["evil.example"]),
        ("http://shop.example/", &["shop.example"]),
    ],
    [
        ("http://shop.example/", &["evil.example"]),
        ("/", &["evil.example"]),
    ],
    [
        ("http://evil.example/", &["shop.example"]),
        ("/", &["shop.example"]),
    ],
    [
        ("javascript://shop.example/", &["shop.example"]),
        ("http://shop.example/", &["shop.example"]),
    ],
    [
        ("https://shop.example/", &["shop.example"]),
        ("http://shop.example/", &["shop.example"]),
    ],
    [
        ("javascript://shop.example/", &[]),
        ("https://shop.example/", &[]),
    ],
    [
        ("/", &["shop.example", "evil.example"]),
        ("/", &["shop.example"]),
    ],
    [
        ("/", &["evil.example", "shop.example"]),
        ("/", &["shop.example"]),
    ],
    [("/", &["shop.example:8080"]), ("/", &["shop.example"])],
    [("/", &["evil.example"]), ("/", &["shop.example"])],
    [("/", &[]), ("/", &["shop.example"])],
];

#[tokio::test]
async fn a_page_is_kept_under_the_address_that_its_program_saw() {
    let mut wrong = Vec::new();
    for (number, router) in addressed().iter().enumerate() {
        for pair in APART {
            for [one, other] in [*pair, [pair[1], pair[0]]] {
                let cache = Cache::new(memory());
                ask_at(&cache, router, one.0, one.1).await;
                let got = ask_at(&cache, router, other.0, other.1).await;
                let alone = Cache::new(memory());
                let expected = ask_at(&alone, router, other.0, other.1).await;
                if got.body != expected.body {
                    wrong.push(format!("router {number}: {other:?} got {}", got.text()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn an_ordinary_address_is_one_entry() {
    for router in addressed() {
        let cache = Cache::new(memory());
        for (uri, hosts) in [
            ("/", &["shop.example"][..]),
            ("https://shop.example/", &[][..]),
        ] {
            ask_at(&cache, &router, uri, hosts).await;
            let hit = ask_at(&cache, &router, uri, hosts).await;
            assert_eq!(hit.cache(), "HIT", "{uri}");
        }
    }
}

#[tokio::test]
async fn a_user_behind_a_proxy_does_not_see_the_next_ones_page() {
    // The whole way: a proxy that has found out who asks, a middleware, and two mounts.
    #[cache(expire = 60, vary("accept"))]
    async fn page(request: CacheRequest, State(mount): State<&'static str>) -> String {
        let headers = request.headers();
        let names = ["x-forwarded-user", "x-forwarded-host"];
        let names = names.map(HeaderName::from_static);
        format!("{mount} {} {}", request.uri(), shown(headers, names))
    }

    let routes = |mount| Router::new().route("/page", get(page)).with_state(mount);
    let router: Router = Router::new()
        .nest("/public", routes("public"))
        .nest("/admin", routes("admin"));
    let cache = Cache::new(memory());
    for _ in 0..2 {
        for mount in ["public", "admin"] {
            for user in ["ada", "bob"] {
                let uri = format!("/{mount}/page");
                let got = ask(&cache, &router, &uri, &[("x-forwarded-user", user)]).await;
                let expected = format!("{mount} /page x-forwarded-user: [{user:?}]\n");
                assert_eq!((got.text(), got.cache()), (&*expected, ""));
            }
            for host in ["a.example", "b.example"] {
                let uri = format!("/{mount}/page");
                let got = ask(&cache, &router, &uri, &[("x-forwarded-host", host)]).await;
                let expected = format!("{mount} /page x-forwarded-host: [{host:?}]\n");
                assert_eq!(got.text(), expected);
            }
        }
    }
}

/// A cache above knows nothing of what the handler below is not cached for.
#[tokio::test]
async fn users_do_not_get_the_page_for_anonymous_ones_from_a_cache_above() {
    #[cache(expire = 60, vary("accept-language"))]
    async fn page(headers: HeaderMap) -> String {
        shown(
            &headers,
            ["cookie", "authorization"].map(HeaderName::from_static),
        )
    }

    let above = Cache::new(memory());
    let router = Router::new().route("/", get(page));
    let router = router.layer(CacheLayer::new());
    let anonymous = ask(&above, &router, "/", &[]).await;
    assert_eq!(anonymous.header("cache-control"), "max-age=60");
    assert_eq!(anonymous.headers.get_all("vary").iter().count(), 3);
    for (name, value) in [("cookie", "ada"), ("authorization", "Bearer bob")] {
        let got = ask(&above, &router, "/", &[(name, value)]).await;
        assert_eq!(got.text(), format!("{name}: [{value:?}]\n"));
    }
}
