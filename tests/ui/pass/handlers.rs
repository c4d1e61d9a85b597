use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{
    NestedPathRejection, PathRejection, QueryRejection, RawPathParamsRejection, StringRejection,
};
use axum::extract::{
    Extension, FromRef, MatchedPath, NestedPath, OriginalUri, Path, Query, RawPathParams, RawQuery, Request, State,
};
use axum::http::{HeaderMap, StatusCode, Uri, Version, header, request::Parts};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Form, Json, Router, routing::get};
use fast_cache::{CacheRequest, CacheResponse, KeyContext, cache};
use serde::{Deserialize, Serialize};

#[derive(Clone, FromRef)]
struct AppState {
    db: Db,
}

#[derive(Clone)]
struct Db;

#[derive(Clone, Serialize, Deserialize)]
struct Page {
    number: u64,
}

#[cache(expire = 60)]
async fn json(State(db): State<Db>, Query(Page { number, .. }): Query<Page>) -> Json<u64> {
    let Db = db;
    Json(number)
}

#[cache(expire = 60)]
async fn html(State(AppState { .. }): State<AppState>) -> Html<String> {
    Html(String::new())
}

#[cache(expire = 60)]
async fn response(uri: Uri) -> Response {
    uri.to_string().into_response()
}

#[cache(expire = 60)]
async fn redirect() -> Redirect {
    Redirect::to("/")
}

#[cache(expire = 60)]
async fn tuple() -> (StatusCode, [(header::HeaderName, &'static str); 1], Json<u64>) {
    (StatusCode::OK, [(header::LINK, "</>")], Json(1))
}

#[cache(expire = 60)]
async fn fallible(Path((a, b)): Path<(u64, String)>) -> Result<impl IntoResponse, StatusCode> {
    if a == 0 { Err(StatusCode::NOT_FOUND) } else { Ok(b) }
}

#[cache(expire = 60)]
async fn alias(_: CacheRequest) -> axum::response::Result<Json<u64>> {
    Err(StatusCode::NOT_FOUND)?;
    Ok(Json(1))
}

#[cache(expire = 60, skip(shared, matched, original))]
async fn skipped(
    Extension(shared): Extension<Arc<Db>>,
    matched: MatchedPath,
    OriginalUri(original): OriginalUri,
) -> String {
    let Db = *shared;
    format!("{} {original}", matched.as_str())
}

#[cache(expire = 60, vary(), skip(request))]
async fn listed(head: CacheRequest, cache: CacheResponse, request: Request) -> String {
    cache.no_store();
    format!("{head} {}", request.uri())
}

#[cache(expire = 60)]
async fn parts(Parts { uri, .. }: Parts) -> String {
    uri.to_string()
}

fn by_path(context: &KeyContext<'_>) -> String {
    context.request.map_or_else(String::new, |request| request.uri().path().to_owned())
}

#[cache(expire = 60, key_builder = by_path)]
async fn built(parts: Parts, headers: HeaderMap, request: Request) -> String {
    format!("{} {} {}", parts.uri, headers.len(), request.uri())
}

#[cache(expire = 60, key = "one")]
async fn text(headers: HeaderMap, request: Request) -> String {
    format!("{} {}", headers.len(), request.uri())
}

#[cache(expire = 60, skip(headers))]
async fn skipped_headers(headers: HeaderMap, _: Request) -> String {
    headers.len().to_string()
}

#[cache(expire = 60)]
async fn raw(
    matched: Option<MatchedPath>,
    nested: Result<NestedPath, NestedPathRejection>,
    original: OriginalUri,
    raw: RawQuery,
    params: Result<RawPathParams, RawPathParamsRejection>,
    version: Version,
    page: Result<Query<Page>, QueryRejection>,
    path: Result<Option<Path<u64>>, PathRejection>,
    body: Result<String, StringRejection>,
) -> String {
    let path = path.map(|path| path.map(|Path(path)| path));
    format!(
        "{} {} {} {:?} {} {version:?} {} {path:?} {}",
        matched.as_ref().map_or("", MatchedPath::as_str),
        nested.as_ref().map_or("", NestedPath::as_str),
        original.0,
        raw.0,
        params.iter().flatten().count(),
        page.map_or(0, |page| page.number),
        body.unwrap_or_default(),
    )
}

/// Types of the user's, of names that others have too.
mod own {
    use axum::extract::FromRequestParts;
    use serde::Serialize;

    #[derive(Serialize)]
    pub struct Parts(u8);

    #[derive(Serialize)]
    pub struct HeaderMap(u8);

    impl<S: Sync> FromRequestParts<S> for Parts {
        type Rejection = std::convert::Infallible;

        async fn from_request_parts(
            _: &mut axum::http::request::Parts,
            _: &S,
        ) -> Result<Self, Self::Rejection> {
            Ok(Self(1))
        }
    }

    impl<S: Sync> FromRequestParts<S> for HeaderMap {
        type Rejection = std::convert::Infallible;

        async fn from_request_parts(
            _: &mut axum::http::request::Parts,
            _: &S,
        ) -> Result<Self, Self::Rejection> {
            Ok(Self(2))
        }
    }

    #[fast_cache::cache(expire = 60)]
    pub async fn names(parts: Parts, headers: HeaderMap) -> String {
        format!("{} {}", parts.0, headers.0)
    }

    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    pub struct StatusCode(u16);

    #[fast_cache::cache(expire = 60)]
    pub async fn status() -> (StatusCode, String) {
        (StatusCode(1), String::new())
    }
}

#[cache(expire = 60, handler, cache_control = "private, no-cache")]
fn blocking(Path(id): Path<u64>) -> (StatusCode, String) {
    (StatusCode::OK, id.to_string())
}

#[cache(expire = 60)]
fn future(Path(id): Path<u64>) -> impl Future<Output = Json<u64>> + Send {
    async move { Json(id) }
}

#[cache(expire = 60)]
fn boxed(Path(id): Path<u64>) -> std::pin::Pin<Box<dyn Future<Output = Json<u64>> + Send>> {
    Box::pin(async move { Json(id) })
}

#[cache(expire = 60)]
async fn body(body: Bytes) -> String {
    body.len().to_string()
}

#[cache(expire = 60)]
async fn form(Form(page): Form<Page>) -> String {
    page.number.to_string()
}

#[cache(expire = 60)]
async fn json_body(_: Option<Extension<Page>>, page: Json<Page>) -> String {
    page.number.to_string()
}

#[cache(expire = 60, cache_if = |page: &Json<u64>| page.0 > 1)]
async fn conditional() -> Result<Json<u64>, StatusCode> {
    Ok(Json(1))
}

#[cache(expire = 60)]
async fn generic<S>(State(store): State<S>, Path(id): Path<u64>) -> Json<u64>
where
    S: Store,
{
    Json(store.load(id))
}

trait Store: Clone + Send + Sync + 'static {
    fn load(&self, id: u64) -> u64;
}

impl Store for Db {
    fn load(&self, id: u64) -> u64 {
        id
    }
}

struct Api;

impl Api {
    #[cache(expire = 60, companions = methods)]
    async fn show(Path(id): Path<u64>) -> Json<u64> {
        Json(id)
    }
}

fn main() {
    let _: Router = Router::new()
        .route("/json", get(json))
        .route("/html", get(html))
        .with_state(AppState { db: Db })
        .route("/response", get(response))
        .route("/redirect", get(redirect))
        .route("/tuple", get(tuple))
        .route("/fallible/{a}/{b}", get(fallible))
        .route("/alias", get(alias))
        .route("/skipped", get(skipped))
        .route("/listed", get(listed))
        .route("/parts", get(parts))
        .route("/built", get(built))
        .route("/text", get(text))
        .route("/skipped_headers", get(skipped_headers))
        .route("/raw", get(raw))
        .route("/own", get(own::names))
        .route("/blocking/{id}", get(blocking))
        .route("/future/{id}", get(future))
        .route("/boxed/{id}", get(boxed))
        .route("/body", get(body))
        .route("/form", get(form))
        .route("/json_body", get(json_body))
        .route("/conditional", get(conditional))
        .route("/show/{id}", get(Api::show))
        .route("/generic/{id}", get(generic::<Db>))
        .with_state(Db);
    let _ = json::entry(Query(Page { number: 1 }));
    let _ = Api::show_entry(Path(1));
    drop(Api::show_uncached(Path(1)));
    let _ = generic::entry::<Db>(Path(1)).at("/api");
    drop(json::cached(State(Db), Query(Page { number: 1 })));
    drop(redirect::cached());
    drop(Api::show_cached(Path(1)));
    drop(generic::cached(State(Db), Path(1)));
    drop(own::status());
    drop(blocking::uncached(Path(1)));
}
