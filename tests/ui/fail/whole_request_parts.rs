use axum::http::request::Parts;
use fast_cache::cache;

#[cache]
async fn f(parts: Parts) -> axum::Json<String> { axum::Json(parts.uri.to_string()) }

fn main() {}
