//! What clients and the caches on the way are told of a reply: whether others may have it, and for how long.

use axum::extract::{Extension, Form, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, Version};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fast_cache::{Cache, CacheLayer, CacheRequest, CacheResponse, Config, KeyContext, cache};
use serde::{Deserialize, Serialize};
use tower::ServiceExt;

use crate::fronts::{Front, Got, Pages, SECOND, answer, ask, memory, read, request};

const PRIVATE: &str = "private, no-cache";

/// Headers that tell who asks, or that a proxy which has found that out adds.
pub(crate) const CREDENTIALS: &[&str] = &[
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-access-token",
    "x-api-key",
    "x-auth-token",
    "x-forwarded-user",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-auth-request-access-token",
    "remote-user",
    "cf-access-jwt-assertion",
    "x-goog-iap-jwt-assertion",
    "x-amzn-oidc-data",
    "x-amzn-oidc-identity",
    "x-amzn-oidc-accesstoken",
    "x-forwarded-client-cert",
    "private-token",
    "dpop",
];

/// Others of their kind, each documented by a proxy, a cloud or an RFC.
pub(crate) const CREDENTIALS_OF_THEIR_KIND: &[&str] = &[
    "x-remote-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "cf-access-authenticated-user-email",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
    "x-ms-client-principal",
    "x-ms-client-principal-id",
    "x-ms-client-principal-name",
    "x-ms-token-aad-access-token",
    "client-cert",
    "job-token",
];

#[derive(Clone, Debug, Serialize, Deserialize)]
struct User {
    id: u64,
}

/// Reads the session, as programs do.
#[derive(Clone, Debug, Serialize)]
struct Session {
    name: String,
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let cookie = parts.headers.get("cookie");
        let name = cookie.and_then(|cookie| cookie.to_str().ok());
        Ok(Self {
            name: name.unwrap_or("nobody").to_owned(),
        })
    }
}

/// Extractors of the program's own, which bear the names of axum's.
mod homemade {
    use super::*;

    macro_rules! session {
        ($($name:ident)*) => {$(
            #[derive(Clone, Debug, Serialize)]
            pub(super) struct $name<T>(pub(super) T, pub(super) String);

            impl<S: Sync, T: Default> FromRequestParts<S> for $name<T> {
                type Rejection = StatusCode;

                async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, StatusCode> {
                    let session = Session::from_request_parts(parts, state).await?;
                    Ok(Self(T::default(), session.name))
                }
            }
        )*};
    }
    session!(Path Query Form);
}

type OfTheUser = Extension<User>;

#[derive(Clone, Default, Serialize, Deserialize)]
struct Page {
    #[serde(default)]
    number: u32,
}

mod private {
    use super::*;

    #[cache(expire = 60)]
    pub(super) async fn extension(Extension(user): Extension<User>) -> Json<u64> {
        Json(user.id)
    }
    #[cache(expire = 60)]
    pub(super) async fn optional(user: Option<Extension<User>>) -> Json<u64> {
        Json(user.map_or(0, |user| user.id))
    }
    #[cache(expire = 60)]
    pub(super) async fn alias(user: OfTheUser) -> Json<u64> {
        Json(user.id)
    }
    #[cache(expire = 60)]
    pub(super) async fn session(session: Session) -> Json<String> {
        Json(session.name)
    }
    #[cache(expire = 60, skip(session))]
    pub(super) async fn skipped(session: Session) -> Json<u64> {
        drop(session);
        Json(1)
    }
    #[cache(expire = 60, skip(user))]
    pub(super) async fn skipped_extension(
        Query(page): Query<Page>,
        Extension(user): Extension<User>,
    ) -> Json<u32> {
        let _ = user;
        Json(page.number)
    }
    #[cache(expire = 60, key = "text")]
    pub(super) async fn by_text(Extension(user): Extension<User>) -> Json<u64> {
        let _ = user;
        Json(1)
    }
    #[cache(expire = 60)]
    pub(super) async fn beside_others(
        Query(page): Query<Page>,
        method: Method,
        session: Session,
    ) -> Json<(u32, String)> {
        let _ = method;
        Json((page.number, session.name))
    }
    #[cache(expire = 60)]
    pub(super) async fn own_query(query: homemade::Query<u32>) -> Json<String> {
        Json(query.1)
    }
    #[cache(expire = 60)]
    pub(super) async fn own_form(form: homemade::Form<u32>) -> Json<String> {
        Json(form.1)
    }
    #[cache(expire = 60)]
    pub(super) async fn version(version: Version) -> String {
        format!("{version:?}")
    }
    #[cache(expire = 60, skip(request))]
    pub(super) async fn whole_skipped(request: Request) -> Json<u64> {
        drop(request);
        Json(1)
    }
    #[cache(expire = 60, skip(headers))]
    pub(super) async fn headers_skipped(headers: HeaderMap) -> Json<u64> {
        drop(headers);
        Json(1)
    }

    fn builder(_: &KeyContext<'_>) -> String {
        "built".to_owned()
    }
    #[cache(expire = 60, key_builder = builder)]
    pub(super) async fn built(Query(page): Query<Page>) -> Json<u32> {
        let _ = page;
        Json(1)
    }
    #[cache(
        expire = 60,
        stale_while_revalidate = 30,
        stale_if_error = 300,
        statuses(200)
    )]
    pub(super) async fn aging(Extension(user): Extension<User>) -> Json<u64> {
        Json(user.id)
    }
}

/// A handler whose parameter is called as axum's `Path` is.
mod in_disguise {
    use super::homemade::Path;
    use super::*;

    #[cache(expire = 60)]
    pub(super) async fn own_path(path: Path<u32>) -> Json<String> {
        Json(path.1)
    }
}

mod shared {
    use super::*;

    #[cache(expire = 60, handler)]
    pub(super) async fn nothing() -> &'static str {
        "the same for all"
    }
    #[cache(expire = 60)]
    pub(super) async fn path(Path(id): Path<u64>) -> Json<u64> {
        Json(id)
    }
    #[cache(expire = 60)]
    pub(super) async fn query(page: Query<Page>) -> Json<u32> {
        Json(page.number)
    }
    #[cache(expire = 60)]
    pub(super) async fn form(Form(page): Form<Page>) -> Json<u32> {
        Json(page.number)
    }
    #[cache(expire = 60)]
    pub(super) async fn uri(uri: Uri) -> String {
        uri.path().to_owned()
    }
    #[cache(expire = 60)]
    pub(super) async fn qualified(
        axum::extract::Query(page): axum::extract::Query<Page>,
    ) -> Json<u32> {
        Json(page.number)
    }
    #[cache(expire = 60)]
    pub(super) async fn several(
        method: Method,
        State(name): State<&'static str>,
        response: CacheResponse,
        Query(page): Query<Page>,
    ) -> String {
        response.tag("several");
        format!("{method} {name} {}", page.number)
    }
    #[cache(expire = 60, skip(page))]
    pub(super) async fn skipped(Query(page): Query<Page>) -> Json<u64> {
        let _ = page;
        Json(1)
    }
    #[cache(expire = 60, vary("accept-language"))]
    pub(super) async fn headers(headers: HeaderMap) -> String {
        format!("{:?}", headers.get("accept-language"))
    }
    #[cache(expire = 60, vary("accept-language"))]
    pub(super) async fn head(request: CacheRequest) -> String {
        format!("{:?}", request.headers().get("accept-language"))
    }
    #[cache(expire = 60, vary("authorization"))]
    pub(super) async fn authorized(headers: HeaderMap) -> String {
        format!("{:?}", headers.get("authorization"))
    }
}

/// Finds out who asks, where the request says it.
async fn log_in(mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get("cookie")
        .map_or(0, |cookie| cookie.len() as u64);
    request.extensions_mut().insert(User { id });
    next.run(request).await
}

const PRIVATE_URIS: &[&str] = &[
    "/extension",
    "/optional",
    "/alias",
    "/session",
    "/skipped",
    "/skipped-extension",
    "/by-text",
    "/beside-others",
    "/own-path",
    "/own-query",
    "/own-form",
    "/version",
    "/whole-skipped",
    "/headers-skipped",
    "/built",
    "/aging",
];

fn private_pages() -> Router {
    Router::new()
        .route("/extension", get(private::extension))
        .route("/optional", get(private::optional))
        .route("/alias", get(private::alias))
        .route("/session", get(private::session))
        .route("/skipped", get(private::skipped))
        .route("/skipped-extension", get(private::skipped_extension))
        .route("/by-text", get(private::by_text))
        .route("/beside-others", get(private::beside_others))
        .route("/own-path", get(in_disguise::own_path))
        .route("/own-query", get(private::own_query))
        .route("/own-form", get(private::own_form))
        .route("/version", get(private::version))
        .route("/whole-skipped", get(private::whole_skipped))
        .route("/headers-skipped", get(private::headers_skipped))
        .route("/built", get(private::built))
        .route("/aging", get(private::aging))
        .layer(from_fn(log_in))
}

const SHARED_URIS: &[&str] = &[
    "/nothing",
    "/path/1",
    "/query?number=1",
    "/form?number=1",
    "/uri?a",
    "/qualified?number=1",
    "/several?number=1",
    "/skip?number=1",
    "/headers",
    "/head",
    "/authorized",
];

fn shared_pages() -> Router {
    Router::new()
        .route("/nothing", get(shared::nothing))
        .route("/path/{id}", get(shared::path))
        .route("/query", get(shared::query))
        .route("/form", get(shared::form))
        .route("/uri", get(shared::uri))
        .route("/qualified", get(shared::qualified))
        .route("/several", get(shared::several))
        .route("/skip", get(shared::skipped))
        .route("/headers", get(shared::headers))
        .route("/head", get(shared::head))
        .route("/authorized", get(shared::authorized))
        .with_state("state")
}

/// Sends what a client may send for one page, so that each kind of reply is made once.
async fn every_reply(router: &Router, uri: &str, headers: &[(&str, &str)]) -> Vec<Got> {
    let cache = Cache::new(memory());
    let send = async |method: Method, more: &[(&str, &str)]| {
        let request = request(method, uri, &[headers, more].concat());
        let reply = cache.scope(router.clone().oneshot(request)).await;
        read(reply.unwrap()).await
    };
    vec![
        send(Method::GET, &[]).await,
        send(Method::GET, &[]).await,
        send(Method::HEAD, &[]).await,
        send(Method::GET, &[("if-none-match", "*")]).await,
        send(Method::GET, &[("cache-control", "no-cache")]).await,
    ]
}

#[tokio::test]
async fn what_depends_on_more_than_the_uri_is_private() {
    let router = private_pages();
    let mut wrong = Vec::new();
    for uri in PRIVATE_URIS {
        for headers in [&[][..], &[("cookie", "ada")]] {
            for got in every_reply(&router, uri, headers).await {
                let told = got.header("cache-control");
                if told != PRIVATE && !got.cache().is_empty() {
                    wrong.push(format!("{uri} {headers:?} {}: {told}", got.cache()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_private_page_is_kept_here_all_the_same() {
    let router = private_pages();
    for uri in ["/extension", "/session", "/own-query", "/aging"] {
        let cache = Cache::new(memory());
        for status in ["MISS", "HIT"] {
            for user in ["ada", "roberta"] {
                let got = ask(&cache, &router, uri, &[("cookie", user)]).await;
                assert_eq!(got.cache(), status, "{uri}");
                let expected = match uri {
                    "/extension" | "/aging" => user.len().to_string(),
                    _ => format!("{user:?}"),
                };
                assert_eq!(got.text(), expected, "{uri}");
            }
        }
        // The tag makes the next request a short one.
        let ada = ask(&cache, &router, uri, &[("cookie", "ada")]).await;
        let tag = ada.header("etag").to_owned();
        let told = [("cookie", "ada"), ("if-none-match", &*tag)];
        let told = ask(&cache, &router, uri, &told).await;
        assert_eq!(told.status, StatusCode::NOT_MODIFIED, "{uri}");
        let other = [("cookie", "roberta"), ("if-none-match", &*tag)];
        let other = ask(&cache, &router, uri, &other).await;
        assert_eq!(other.status, StatusCode::OK, "{uri}");
    }
}

#[tokio::test]
async fn what_depends_on_the_uri_alone_may_be_shared() {
    let router = shared_pages();
    for uri in SHARED_URIS {
        for headers in [&[][..], &[("accept-language", "de")]] {
            for got in every_reply(&router, uri, headers).await {
                // axum reads no `Form` from a HEAD.
                if got.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
                    continue;
                }
                let told = got.header("cache-control");
                let is_shared = matches!(told, "max-age=60" | "max-age=59");
                assert!(is_shared, "{uri} {headers:?} {}: {told}", got.cache());
            }
        }
    }
}

#[tokio::test]
async fn a_page_for_one_who_says_who_they_are_is_private() {
    let router = shared_pages();
    let mut wrong = Vec::new();
    for name in CREDENTIALS.iter().chain(CREDENTIALS_OF_THEIR_KIND) {
        for uri in SHARED_URIS {
            for got in every_reply(&router, uri, &[(name, "ada")]).await {
                // What is not cached is left as it is.
                let told = got.header("cache-control");
                if told != PRIVATE && !(told.is_empty() && got.cache().is_empty()) {
                    wrong.push(format!("{name} {uri} {}: {told}", got.cache()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them: {wrong:#?}", wrong.len());
}

#[tokio::test]
async fn who_is_told_private_gets_what_all_get() {
    let router = shared_pages();
    let cache = Cache::new(memory());
    let shared = ask(&cache, &router, "/path/1", &[]).await;
    let own = ask(&cache, &router, "/path/1", &[("cookie", "ada")]).await;
    assert_eq!(own.cache(), "HIT");
    assert_eq!(own.body, shared.body);
    assert_eq!(own.header("cache-control"), PRIVATE);
    // What was made for one who says who they are is told to the others as theirs.
    let own = ask(&cache, &router, "/path/2", &[("cookie", "ada")]).await;
    assert_eq!(own.header("cache-control"), PRIVATE);
    let shared = ask(&cache, &router, "/path/2", &[]).await;
    assert_eq!(shared.cache(), "HIT");
    assert!(shared.header("cache-control").starts_with("max-age="));
}

#[tokio::test]
async fn stale_pages_keep_their_audience() {
    #[cache(expire = 60, stale_while_revalidate = 30, stale_if_error = 300)]
    async fn open(Path(id): Path<u64>) -> Json<u64> {
        Json(id)
    }

    let clock = fast_cache::testing::ManualClock::new();
    let cache = Cache::new(memory().clock(clock.clone()));
    let router = Router::new()
        .route("/open/{id}", get(open))
        .merge(private_pages());
    let told = async |uri| {
        let got = ask(&cache, &router, uri, &[]).await;
        got.header("cache-control").to_owned()
    };
    let aging = "stale-while-revalidate=30, stale-if-error=300";
    assert_eq!(told("/open/1").await, format!("max-age=60, {aging}"));
    assert_eq!(told("/aging").await, PRIVATE);
    clock.advance(61 * SECOND);
    assert_eq!(told("/open/1").await, format!("max-age=0, {aging}"));
    assert_eq!(told("/aging").await, PRIVATE);
}

#[tokio::test]
async fn a_handlers_own_word_counts() {
    #[cache(expire = 60)]
    async fn open(Path(_): Path<u8>) -> impl IntoResponse {
        ([("cache-control", "public, max-age=5")], "open")
    }
    #[cache(expire = 60)]
    async fn of_the_user(Extension(user): Extension<User>) -> impl IntoResponse {
        let tagged = [("cache-control", "max-age=5, stale-if-error=9")];
        (tagged, user.id.to_string())
    }

    let router = Router::new()
        .route("/open/{id}", get(open))
        .route("/of-the-user", get(of_the_user))
        .layer(from_fn(log_in));
    let cache = Cache::new(memory());
    for _ in 0..2 {
        for headers in [&[][..], &[("cookie", "ada")]] {
            let got = ask(&cache, &router, "/open/1", headers).await;
            assert_eq!(got.header("cache-control"), "public, max-age=5");
            let got = ask(&cache, &router, "/of-the-user", headers).await;
            let own = "max-age=5, stale-if-error=9";
            assert_eq!(got.header("cache-control"), own);
        }
    }
}

#[tokio::test]
async fn a_layer_above_keeps_no_page_that_depends_on_who_asks() {
    let mut wrong = Vec::new();
    for layer in [
        CacheLayer::new(),
        CacheLayer::new().expire(60 * SECOND),
        CacheLayer::new().heuristic_freshness(true),
    ] {
        let pages = private_pages().layer(layer.cache(Cache::new(memory())));
        for uri in ["/extension", "/alias", "/session", "/own-path", "/own-form"] {
            let cache = Cache::new(memory());
            let ada = ask(&cache, &pages, uri, &[("cookie", "ada")]).await;
            let bob = ask(&cache, &pages, uri, &[("cookie", "roberta")]).await;
            if ada.body == bob.body {
                wrong.push(format!("{uri}: {}", bob.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_layer_above_keeps_what_may_be_shared() {
    for uri in SHARED_URIS {
        let layer = CacheLayer::new().cache(Cache::new(memory()));
        let router = shared_pages().layer(layer);
        // The handlers have no cache of their own to hit.
        let first = ask(&Cache::new(memory()), &router, uri, &[]).await;
        let second = ask(&Cache::new(memory()), &router, uri, &[]).await;
        assert_eq!(second.cache(), "HIT", "{uri}");
        assert_eq!(first.body, second.body);
    }
}

type Lines = &'static [(&'static str, &'static str)];

/// Where the lifetime of a layer's response comes from that it does not have itself.
fn invented() -> [(Config, CacheLayer, Lines); 3] {
    let modified = &[("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT")];
    [
        (memory(), CacheLayer::new().expire(60 * SECOND), &[]),
        (memory().expire(60 * SECOND), CacheLayer::new(), &[]),
        (
            memory(),
            CacheLayer::new().heuristic_freshness(true),
            modified,
        ),
    ]
}

#[tokio::test]
async fn a_layer_tells_nobody_a_lifetime_that_it_made_up() {
    for (number, (config, layer, headers)) in invented().into_iter().enumerate() {
        let pages = Pages::with(config, Front::Layer, layer, move |_, before| {
            let response = answer(200, headers, before);
            Box::pin(async move { response })
        });
        for got in [
            pages.get("/a").await,
            pages.get("/a").await,
            pages.send(Method::HEAD, "/a", &[]).await,
            pages.get_with("/a", &[("if-none-match", "*")]).await,
            pages.get_with("/a", &[("cache-control", "no-cache")]).await,
        ] {
            let told = (got.header("cache-control"), got.header("expires"));
            assert_eq!(told, ("", ""), "way {number}, {}", got.cache());
        }
        assert_eq!(pages.calls(), 2, "way {number}: it is stored");
    }
}

#[tokio::test]
async fn what_the_service_says_of_a_lifetime_passes_unchanged() {
    let pages = Pages::new(Front::Layer, |before| {
        answer(200, &[("cache-control", "max-age=60, x=y")], before)
    });
    for _ in 0..2 {
        let got = pages.get("/a").await;
        assert_eq!(got.header("cache-control"), "max-age=60, x=y");
    }
}

#[tokio::test]
async fn tags_that_are_made_here_are_weak() {
    for front in crate::fronts::FRONTS {
        let pages = Pages::new(front, crate::fronts::fresh);
        let miss = pages.get("/a").await;
        let hit = pages.get("/a").await;
        let tag = hit.header("etag").to_owned();
        assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{tag}");
        assert_eq!(miss.header("etag"), tag, "{front:?}");
        // It is one tag, with the mark of a weak one or without.
        for named in [&*tag, tag.trim_start_matches("W/")] {
            let told = pages.get_with("/a", &[("if-none-match", named)]).await;
            assert_eq!(told.status, StatusCode::NOT_MODIFIED, "{front:?} {named}");
            assert_eq!(told.header("etag"), tag, "{front:?}");
        }
    }
}

#[tokio::test]
async fn tags_of_the_origins_own_stay_as_they_are() {
    for front in crate::fronts::FRONTS {
        for tag in ["\"own\"", "W/\"own\""] {
            let pages = Pages::new(front, move |before| {
                let headers = [("cache-control", "max-age=60"), ("etag", tag)];
                answer(200, &headers, before)
            });
            for _ in 0..2 {
                let got = pages.get("/a").await;
                assert_eq!(got.header("etag"), tag, "{front:?}");
            }
        }
    }
}
