use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Extension, FromRef, MatchedPath, OriginalUri, Path, Query, Request, State};
use axum::http::{StatusCode, Uri, header, request::Parts};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Form, Json, Router, routing::get};
use fast_cache::{CacheRequest, CacheResponse, cache};
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

#[cache(expire = 60)]
async fn listed(head: CacheRequest, cache: CacheResponse, request: Request) -> String {
    cache.no_store();
    format!("{head} {}", request.uri())
}

#[cache(expire = 60)]
async fn parts(parts: Parts) -> String {
    parts.uri.to_string()
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
    let _ = generic::entry::<Db>(Path(1));
}
