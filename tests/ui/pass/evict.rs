#![deny(warnings, missing_docs, clippy::all)]
//! `#[cache_evict]` on everything that it goes on.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Json, Router, routing::post};
use fast_cache::{cache, cache_evict};

const NAMESPACE: &str = "users";

/// Documented.
#[cache(expire = 60, namespace = NAMESPACE, tags("user:{id}"))]
pub async fn load(id: u64) -> String {
    id.to_string()
}

/// Documented.
#[cache(expire = 60)]
pub async fn any<T: serde::Serialize + Clone>(value: T) -> u64 {
    size_of_val(&value) as u64
}

/// Documented.
#[cache_evict(tags("user:{id}", "users"), namespace = NAMESPACE, entry = load(id))]
#[must_use]
pub async fn save(id: u64, name: String) -> Result<String, std::num::ParseIntError> {
    let number: u64 = name.parse()?;
    if number == id {
        return Ok(name);
    }
    Ok(number.to_string())
}

/// Documented.
#[cache_evict(entry = any::<T>(value.clone()))]
pub async fn generic<T: serde::Serialize + Clone + Send>(value: T) -> T {
    value
}

#[async_trait::async_trait]
trait Store {
    async fn put(&self, id: u64) -> Result<(), String>;
}

struct Disk;

#[async_trait::async_trait]
impl Store for Disk {
    #[cache_evict(tags("user:{id}"))]
    async fn put(&self, id: u64) -> Result<(), String> {
        let _: &Self = self;
        (id > 0).then_some(()).ok_or_else(|| "no id".to_owned())
    }
}

#[derive(Clone)]
struct Db;

#[axum::debug_handler]
#[cache_evict(tags("user:{id}"))]
async fn rename(
    Path(id): Path<u64>,
    State(_db): State<Db>,
    Json(name): Json<String>,
) -> Result<impl IntoResponse, StatusCode> {
    match name.is_empty() {
        true => Err(StatusCode::BAD_REQUEST),
        false => Ok(format!("{id}: {name}")),
    }
}

fn main() {
    let _: Router = Router::new()
        .route("/{id}", post(rename))
        .with_state(Db);
    let _ = Disk.put(1);
}
