//! One resource, served in several ways.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::HeaderName;
use axum::http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, get_service};
use axum::{Json, Router};
use bytes::Bytes;
use fast_cache::{CacheLayer, cache};
use http_body_util::Full;
use tower::{Layer, ServiceExt, service_fn};

use crate::subjects::{CAPACITY, LIFETIME, User};

/// Our attribute.
pub const OURS: &str = "fast-cache `#[cache]`";
/// Our layer.
pub const LAYER: &str = "fast-cache `CacheLayer`";
/// What cannot be beaten.
pub const READY: &str = "a handler that returns ready bytes";
/// What that costs with the headers that a hit has.
pub const READY_WITH_HEADERS: &str = "the same, with the headers of a hit";
/// One of the peers.
pub const AXUM_RESPONSE_CACHE: &str = "axum-response-cache";
/// Another one.
pub const TOWER_HTTP_CACHE: &str = "tower-http-cache";

/// What is asked for.
pub const PATH: &str = "/users/7";

const ROUTE: &str = "/users/{id}";
const AN_HOUR: Duration = Duration::from_secs(LIFETIME);

/// All of them, ours first, as `axum::serve` has them: with their state, since a router without it applies
/// its layers anew for each request.
pub fn all() -> [(&'static str, Router); 6] {
    let routers = [
        (OURS, Router::new().route(ROUTE, get(cached))),
        (LAYER, plain().layer(CacheLayer::new().expire(AN_HOUR))),
        (READY, Router::new().route(ROUTE, get(ready))),
        (
            READY_WITH_HEADERS,
            Router::new().route(ROUTE, get(ready_with_headers)),
        ),
        (AXUM_RESPONSE_CACHE, axum_response_cache()),
        (TOWER_HTTP_CACHE, tower_http_cache()),
    ];
    routers.map(|(name, router)| (name, router.with_state(())))
}

fn user(id: u64) -> User {
    User::named(&format!("user-{id}"))
}

fn plain() -> Router {
    Router::new().route(ROUTE, get(async |Path(id): Path<u64>| Json(user(id))))
}

#[cache(expire = AN_HOUR)]
async fn cached(Path(id): Path<u64>) -> Json<User> {
    Json(user(id))
}

const BODY: &[u8] = br#"{"id":6,"name":"user-7","email":"user-7@example.com"}"#;

async fn ready() -> Response {
    (
        [(CONTENT_TYPE, "application/json")],
        Bytes::from_static(BODY),
    )
        .into_response()
}

async fn ready_with_headers() -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (ETAG, "\"4b286b7dced292aceddaa644237d0dc0\""),
        (CACHE_CONTROL, "max-age=3590"),
        (AGE, "10"),
        (HeaderName::from_static("x-fastapi-cache"), "HIT"),
    ];
    (headers, Bytes::from_static(BODY)).into_response()
}

/// On the route, as its documentation has it. Its bound is in time alone.
fn axum_response_cache() -> Router {
    let layer = axum_response_cache::CacheLayer::with_lifespan(AN_HOUR);
    let handler = get(async |Path(id): Path<u64>| Json(user(id)));
    Router::new().route(ROUTE, handler.layer(layer))
}

/// Around a service, since the body of axum's responses is not `Sync`, and its error is none of axum's.
fn tower_http_cache() -> Router {
    use tower_http_cache::prelude::{CacheLayer, InMemoryBackend};

    let layer = CacheLayer::builder(InMemoryBackend::new(CAPACITY as u64)).ttl(AN_HOUR);
    let service = layer.build().layer(service_fn(async |request: Request| {
        let id = request.uri().path().rsplit('/').next();
        let id = id.and_then(|id| id.parse().ok()).unwrap_or_default();
        let body = serde_json::to_vec(&user(id)).unwrap();
        let response = Response::builder().header(CONTENT_TYPE, "application/json");
        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).unwrap())
    }));
    // It can only fail by its inner service, which does not.
    let service = service
        .map_response(|response: Response<_>| response.map(Body::new))
        .map_err(|error| -> Infallible { panic!("it failed: {error}") });
    Router::new().route(ROUTE, get_service(service))
}
