#![deny(warnings, missing_docs, clippy::all)]
//! The options about time and tags, on everything that they go on.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::{Json, Router, routing::get};
use fast_cache::{CacheResponse, cache};

const SOON: Duration = Duration::from_secs(5);
const PART: f64 = 0.2;

/// Documented.
#[cache(
    expire = 60,
    stale_while_revalidate = SOON,
    stale_if_error = "5m",
    early_refresh,
    jitter = PART,
    soft_timeout = "500ms",
    timeout = SOON,
    tags("numbers", "number:{n:>4}:{text}"),
)]
pub async fn owned(n: u64, text: String) -> anyhow::Result<u64> {
    Ok(n + text.len() as u64)
}

/// Documented.
#[cache(expire = 60, stale_while_revalidate = 5, early_refresh = true, jitter = 1)]
pub fn blocking(n: u64) -> u64 {
    n
}

/// Documented.
#[cache(expire = 60, stale_while_revalidate = 5, timeout = 5, tags("{text}"))]
pub async fn borrowed(text: &str) -> Result<u64, Box<dyn std::error::Error>> {
    Ok(text.len() as u64)
}

/// Documented.
#[cache(expire = 60, stale_while_revalidate = 5)]
pub async fn hidden(text: Cow<'_, str>) -> u64 {
    text.len() as u64
}

/// Documented.
#[cache(expire = 60, stale_while_revalidate = 5, tags("{value}"))]
pub async fn generic<T>(value: T) -> u64
where
    T: serde::Serialize + std::fmt::Display + Copy,
{
    value.to_string().len() as u64
}

/// Documented.
#[cache(expire = 60, stale_while_revalidate = 5)]
pub async fn anonymous(value: impl serde::Serialize) -> u64 {
    size_of_val(&value) as u64
}

/// Without an option that asks for the background, a future need not be sent.
#[cache(expire = 60, stale_if_error = 5, tags("{left}-{right}"))]
pub async fn not_send((left, right): (u64, u64)) -> u64 {
    let left = Rc::new(left);
    tokio::task::yield_now().await;
    *left + right
}

/// Documented.
#[derive(Clone, serde::Serialize)]
pub struct Shop {
    id: u64,
}

impl Shop {
    /// Documented.
    #[cache(expire = 60, stale_while_revalidate = 5, tags("item:{item}"))]
    pub async fn price(&self, item: u64) -> u64 {
        self.id + item
    }

    /// Documented.
    #[cache(expire = 60, stale_while_revalidate = 5)]
    pub async fn made(item: u64) -> Self {
        Self { id: item }
    }
}

impl<'de> serde::Deserialize<'de> for Shop {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = u64::deserialize(deserializer)?;
        Ok(Self { id })
    }
}

#[derive(Clone)]
struct Db;

#[cache(
    expire = 60,
    stale_while_revalidate = 5,
    soft_timeout = 1,
    timeout = 5,
    tags("user:{id}", "page:{id}:{page}"),
    statuses(200, 404)
)]
async fn show(
    Path((id, page)): Path<(u64, u64)>,
    State(_db): State<Db>,
    response: CacheResponse,
) -> Json<u64> {
    response.tag("shown");
    Json(id + page)
}

fn main() {
    let _: Router = Router::new()
        .route("/{id}/{page}", get(show))
        .with_state(Db);
    let _ = owned::entry(1, "a".to_owned());
    let _ = borrowed::entry("a");
}
