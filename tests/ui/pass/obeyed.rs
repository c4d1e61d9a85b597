#![deny(warnings)]
//! What messages tell to write.

use axum::extract::{Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::{Router, routing::get};
use fast_cache::{CacheRequest, KeyContext, cache, cache_evict};

/// As axum-extra has it.
struct TypedHeader<T>(T);

impl<T> std::ops::Deref for TypedHeader<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

struct UserAgent(String);

impl<S: Sync> axum::extract::FromRequestParts<S> for TypedHeader<UserAgent> {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        Ok(Self(UserAgent(parts.uri.to_string())))
    }
}

type Incoming = Request;
type Headers = HeaderMap;

fn by_uri(context: &KeyContext<'_>) -> String {
    context.request.map_or_else(String::new, |request| request.uri().to_string())
}

#[cache(expire = 60, tags("page:{id}"), skip(r#in))]
async fn whole(Path(id): Path<u8>, r#in: Request) -> String {
    format!("{id} {}", r#in.uri())
}

#[cache(key_builder = by_uri)]
async fn built(parts: Parts, request: Incoming) -> String {
    format!("{} {}", parts.uri, request.uri())
}

#[cache(expire = 60, vary("accept-language"))]
async fn head(request: CacheRequest, headers: Headers) -> String {
    format!("{request} {}", headers.len())
}

#[cache(expire = 60, vary())]
async fn head_alone(request: CacheRequest) -> String {
    request.to_string()
}

#[cache(vary())]
async fn parts(Parts { uri, headers, .. }: Parts) -> String {
    format!("{uri} {}", headers.len())
}

#[cache(skip(headers))]
async fn function(headers: &HeaderMap) -> usize {
    headers.len()
}

#[cache(expire = 60, vary("accept", "user-agent"), skip(agent))]
async fn typed(TypedHeader(agent): TypedHeader<UserAgent>) -> axum::Json<String> {
    axum::Json(agent.0)
}

#[cache(vary("user-agent"), skip(agent))]
async fn typed_or_not(agent: Result<TypedHeader<UserAgent>, StatusCode>) -> axum::Json<String> {
    axum::Json(agent.map(|agent| agent.0.0).unwrap_or_default())
}

#[cache(handler, expire = 60)]
async fn text() -> &'static str {
    "up"
}

#[cache(handler, expire = 60)]
async fn status() -> StatusCode {
    StatusCode::OK
}

#[cache(handler, expire = 60)]
async fn status_and_text() -> (StatusCode, &'static str) {
    (StatusCode::OK, "up")
}

#[cache(handler, expire = 60)]
async fn status_or_error() -> Result<(StatusCode, String), StatusCode> {
    Ok((StatusCode::OK, String::new()))
}

#[cache(handler)]
async fn anything() -> impl axum::response::IntoResponse {
    "up"
}

#[cache(statuses(200, 404), cache_control = "no-cache=\"set-cookie\", private, max-age=60")]
async fn controlled() -> axum::Json<u8> {
    axum::Json(1)
}

#[cache_evict(entry = whole(Path(id)).at(format!("/{mount}")))]
async fn save(id: u8, mount: String) -> String {
    mount
}

fn main() {
    let _: Router = Router::new()
        .route("/whole/{id}", get(whole))
        .route("/built", get(built))
        .route("/head", get(head))
        .route("/head_alone", get(head_alone))
        .route("/parts", get(parts))
        .route("/typed", get(typed))
        .route("/typed_or_not", get(typed_or_not))
        .route("/text", get(text))
        .route("/status", get(status))
        .route("/status_and_text", get(status_and_text))
        .route("/status_or_error", get(status_or_error))
        .route("/anything", get(anything))
        .route("/controlled", get(controlled));
    drop(function(&HeaderMap::new()));
    drop(save(1, "acme".to_owned()));
}
