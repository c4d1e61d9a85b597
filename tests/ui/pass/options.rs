#![deny(warnings, missing_docs, clippy::all)]
//! Every option at least once.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::{Json, Router, routing::get};
use fast_cache::{KeyContext, cache};

const NAMESPACE: &str = "numbers";
const LIFETIME: Duration = Duration::from_secs(60);

fn builder(context: &KeyContext<'_>) -> String {
    context.args.digest()
}

async fn async_builder(context: &KeyContext<'_>) -> String {
    builder(context)
}

/// Documented.
#[cache(
    expire = LIFETIME,
    namespace = NAMESPACE,
    coder = fast_cache::Json,
    version = 3,
    skip(trace),
    cache_if = |n| *n > 1,
    coalesce = false,
    lock,
    expire_with = |n| (*n > 2).then_some(LIFETIME),
    function,
    companions = module,
)]
pub async fn number(n: u64, trace: &str) -> u64 {
    n + trace.len() as u64
}

/// Documented.
#[cache(expire = "5m", key_builder = builder)]
pub async fn built(n: u64) -> u64 {
    n
}

/// Documented.
#[cache(expire = "1d", key_builder = async_builder)]
pub async fn built_later(n: u64) -> u64 {
    n
}

/// Documented.
#[cache(expire = "500ms", key = "n:{n}")]
#[must_use]
pub async fn text(n: u64) -> u64 {
    n
}

/// Documented.
#[cache(expire = 60)]
pub fn blocking(n: u64) -> u64 {
    n
}

/// Documented.
#[cache(expire = 60, vary("accept-language", "accept"), injected_dependency_namespace = "__x")]
pub async fn varied(headers: HeaderMap) -> Json<usize> {
    Json(headers.len())
}

/// Documented.
#[cache(handler)]
pub async fn marked() -> String {
    String::new()
}

/// Documented.
#[cache(expire = 60)]
pub fn future(n: u64) -> impl Future<Output = u64> + Send {
    async move { n }
}

fn main() {
    drop((number(1, ""), built(1), built_later(1), text(1), blocking(1), future(1)));
    let _: Router = Router::new().route("/", get(varied)).route("/marked", get(marked));
}
