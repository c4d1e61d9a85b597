//! Cached handlers of many kinds, in four places with a state each.

use std::time::Duration;

use axum::Router;
use axum::extract::rejection::{NestedPathRejection, QueryRejection};
use axum::extract::{
    Extension, Form, FromRequestParts, MatchedPath, NestedPath, OriginalUri, Path, Query,
    RawPathParams, RawQuery, Request, State,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use fast_cache::{CacheLayer, CacheRequest, KeyContext, cache};
use serde::{Deserialize, Serialize};

use super::requests::{is_credential, is_link};
use super::{Case, Current, Item, Reader, Scope, World, joined, page};

/// The state of one mount.
#[derive(Clone)]
pub(super) struct Shop {
    pub(super) current: Current,
    pub(super) name: &'static str,
}

impl Shop {
    /// Makes the page of a handler.
    pub(super) async fn page(&self, handler: &str, seen: String) -> Response {
        let case = self.current.case();
        case.pause().await;
        let mut response = page(format!("{handler} of {}: {seen}", self.name));
        if case.fails.load(std::sync::atomic::Ordering::Relaxed) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }

    /// What the reader finds in the head of a request, of which the handler names these headers.
    pub(super) fn read(&self, request: &CacheRequest, vary: &[&str]) -> String {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let case = self.current.case();
        let may_read = |name: &str| may_read(&case, name, vary);
        case.reader.read(method, uri, headers, may_read).text
    }

    /// The same, of headers alone.
    pub(super) fn read_headers(&self, headers: &HeaderMap, vary: &[&str]) -> String {
        let case = self.current.case();
        let may_read = |name: &str| may_read(&case, name, vary);
        let items = case.reader.0.iter();
        let items = items.filter(|(_, item)| matches!(item, Item::Header(_)));
        let reader = Reader(items.cloned().collect());
        let nowhere = Uri::from_static("/");
        reader.read(&Method::GET, &nowhere, headers, may_read).text
    }
}

/// Whether a handler that names these headers may look at one.
fn may_read(case: &Case, name: &str, vary: &[&str]) -> bool {
    let is_known = match case.scope {
        Scope::HandlerBelow => ["cookie", "authorization"].contains(&name),
        Scope::All | Scope::Handler => is_credential(name),
    };
    is_known || is_link(name) || vary.contains(&name)
}

#[derive(Debug, Serialize, Deserialize)]
struct Search {
    a: Option<String>,
    b: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Hidden {
    a: Option<String>,
    #[serde(default, skip_serializing)]
    b: String,
}

/// Who asks, as a middleware has found out.
#[derive(Clone, Debug, Serialize)]
struct Who(Option<String>);

/// The same, as an extractor of the program's own finds out.
#[derive(Clone, Debug, Serialize)]
struct Session(Option<String>, Option<String>);

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let read = |name| joined(&parts.headers, name);
        Ok(Self(read("cookie"), read("authorization")))
    }
}

async fn log_in(mut request: Request, next: Next) -> Response {
    let who = Who(joined(request.headers(), "cookie"));
    request.extensions_mut().insert(who);
    next.run(request).await
}

type Names = Path<Vec<(String, String)>>;

#[cache(expire = 60)]
async fn by_path(Path(names): Names, State(shop): State<Shop>) -> Response {
    shop.page("path", format!("{names:?}")).await
}

#[cache(expire = 60)]
async fn by_query(Query(search): Query<Search>, State(shop): State<Shop>) -> Response {
    shop.page("query", format!("{search:?}")).await
}

#[cache(expire = 60)]
async fn by_form(State(shop): State<Shop>, Form(search): Form<Search>) -> Response {
    shop.page("form", format!("{search:?}")).await
}

#[cache(expire = 60)]
async fn by_hidden(Query(search): Query<Hidden>, State(shop): State<Shop>) -> Response {
    let Hidden { a, b } = search;
    shop.page("hidden", format!("{a:?} {b:?}")).await
}

#[cache(expire = 60)]
async fn by_uri(uri: Uri, State(shop): State<Shop>) -> Response {
    shop.page("uri", format!("{uri:?}")).await
}

#[cache(expire = 60)]
async fn by_state(State(shop): State<Shop>, method: Method) -> Response {
    let method = if method == Method::HEAD {
        Method::GET
    } else {
        method
    };
    shop.page("state", method.to_string()).await
}

#[cache(expire = 60, vary("accept-language", "x-plain"))]
async fn by_head(request: CacheRequest, State(shop): State<Shop>) -> Response {
    let seen = shop.read(&request, &["accept-language", "x-plain"]);
    shop.page("head", seen).await
}

#[cache(
    expire = 60,
    vary("cookie", "x-theme"),
    stale_while_revalidate = 50,
    stale_if_error = 500
)]
async fn by_head_with_cookies(request: CacheRequest, State(shop): State<Shop>) -> Response {
    let seen = shop.read(&request, &["cookie", "x-theme"]);
    shop.page("cookies", seen).await
}

#[cache(expire = 60, vary("accept-language", "accept-encoding", "accept"))]
async fn by_headers(headers: HeaderMap, State(shop): State<Shop>) -> Response {
    let vary = ["accept-language", "accept-encoding", "accept"];
    let seen = shop.read_headers(&headers, &vary);
    shop.page("headers", seen).await
}

#[cache(expire = 60, vary("authorization", "user-agent", "x-forwarded-for"))]
async fn by_several(
    Query(search): Query<Search>,
    headers: HeaderMap,
    Path(names): Names,
    State(shop): State<Shop>,
) -> Response {
    let vary = ["authorization", "user-agent", "x-forwarded-for"];
    let seen = shop.read_headers(&headers, &vary);
    shop.page("several", format!("{search:?} {names:?} {seen}"))
        .await
}

#[cache(expire = 60, stale_while_revalidate = 50)]
async fn by_extension(Extension(who): Extension<Who>, State(shop): State<Shop>) -> Response {
    shop.page("extension", format!("{who:?}")).await
}

#[cache(expire = 60)]
async fn by_session(
    session: Session,
    Query(search): Query<Search>,
    State(shop): State<Shop>,
) -> Response {
    shop.page("session", format!("{session:?} {search:?}"))
        .await
}

fn by_request(context: &KeyContext<'_>) -> String {
    let request = context.request.unwrap();
    let plain = joined(request.headers(), "x-plain");
    format!("{} {plain:?}", request.uri().path())
}

#[cache(expire = 60, key_builder = by_request, skip(uri, headers))]
async fn built(uri: Uri, headers: HeaderMap, State(shop): State<Shop>) -> Response {
    let plain = joined(&headers, "x-plain");
    shop.page("built", format!("{} {plain:?}", uri.path()))
        .await
}

#[cache(expire = 60, key = "{a}/{b}", namespace = "texts")]
async fn by_text(Path((a, b)): Path<(String, String)>, State(shop): State<Shop>) -> Response {
    shop.page("text", format!("{a} {b}")).await
}

#[cache(expire = 60)]
async fn by_original(OriginalUri(uri): OriginalUri, State(shop): State<Shop>) -> Response {
    shop.page("original", format!("{uri:?}")).await
}

#[cache(expire = 60)]
async fn by_raw(
    RawQuery(query): RawQuery,
    names: RawPathParams,
    matched: MatchedPath,
    State(shop): State<Shop>,
) -> Response {
    shop.page("raw", format!("{query:?} {names:?} {matched:?}"))
        .await
}

#[cache(expire = 60)]
async fn by_nested(
    nested: Result<NestedPath, NestedPathRejection>,
    State(shop): State<Shop>,
) -> Response {
    shop.page("nested", format!("{:?}", nested.ok())).await
}

#[derive(Debug, Serialize, Deserialize)]
struct Number {
    a: u32,
}

#[cache(expire = 60)]
async fn by_result(
    number: Result<Query<Number>, QueryRejection>,
    State(shop): State<Shop>,
) -> Response {
    let seen = number.map_err(|rejection| rejection.body_text());
    shop.page("result", format!("{seen:?}")).await
}

/// Names no headers, and shows those that it does not have to name.
#[cache(expire = 60, vary())]
async fn by_no_names(request: CacheRequest, State(shop): State<Shop>) -> Response {
    let seen = shop.read(&request, &[]);
    shop.page("unnamed", seen).await
}

/// The handlers whose pages are for one client, however they are asked for.
const PRIVATE: [&str; 3] = ["extension", "session", "built"];

pub(super) fn is_private(path: &str) -> bool {
    PRIVATE.iter().any(|name| path.contains(name))
}

const HANDLERS: [&str; 18] = [
    "original",
    "raw",
    "nested",
    "result",
    "unnamed",
    "path",
    "query",
    "form",
    "hidden",
    "uri",
    "state",
    "head",
    "cookies",
    "headers",
    "several",
    "extension",
    "session",
    "built",
];

/// Those that are asked more often: they see every header, or more than they write.
const SEEING: [&str; 6] = ["head", "cookies", "headers", "several", "unnamed", "hidden"];

/// One mount has a name in it, which only `Path` shows.
const MOUNTS: [&str; 5] = ["", "/acme", "/globex", "/of/x", "/of/y"];

fn routes(current: &Current, name: &'static str) -> Router {
    let shop = Shop {
        current: current.clone(),
        name,
    };
    let routes = Router::new()
        .route("/path/{id}", get(by_path))
        .route("/query/{id}", get(by_query))
        .route("/form/{id}", get(by_form))
        .route("/hidden/{id}", get(by_hidden))
        .route("/uri/{id}", get(by_uri))
        .route("/state/{id}", get(by_state))
        .route("/head/{id}", get(by_head))
        .route("/cookies/{id}", get(by_head_with_cookies))
        .route("/headers/{id}", get(by_headers))
        .route("/several/{id}", get(by_several))
        .route("/extension/{id}", get(by_extension))
        .route("/session/{id}", get(by_session))
        .route("/built/{id}", get(built))
        .route("/original/{id}", get(by_original))
        .route("/raw/{id}", get(by_raw))
        .route("/nested/{id}", get(by_nested))
        .route("/result/{id}", get(by_result))
        .route("/unnamed/{id}", get(by_no_names));
    // A mount with a name of its own has another number of names.
    let routes = match name {
        "of" => routes,
        _ => routes.route("/text/{a}/{b}", get(by_text)),
    };
    routes.with_state(shop).layer(from_fn(log_in))
}

pub(super) fn worlds(current: &Current) -> Vec<World> {
    let app = || {
        Router::new()
            .nest("/acme", routes(current, "acme"))
            .nest("/globex", routes(current, "globex"))
            .nest("/of/{name}", routes(current, "of"))
            .merge(routes(current, "root"))
    };
    let mut paths = Vec::new();
    for mount in MOUNTS {
        for handler in HANDLERS.iter().chain(&SEEING).chain(&SEEING) {
            paths.extend(["1", "2"].map(|id| format!("{mount}/{handler}/{id}")));
        }
    }
    for mount in ["", "/acme", "/globex"] {
        paths.extend(["a/b", "a%2fb/c", "a/b%2fc"].map(|text| format!("{mount}/text/{text}")));
    }
    let world = |app, scope| World {
        app,
        paths: paths.clone(),
        scope,
    };
    let layers = [
        CacheLayer::new(),
        CacheLayer::new().expire(Duration::from_secs(60)),
    ];
    let mut worlds: Vec<_> = layers
        .map(|layer| world(app().layer(layer), Scope::HandlerBelow))
        .into();
    // Most cases are without another cache above.
    worlds.extend((0..8).map(|_| world(app(), Scope::Handler)));
    worlds
}
