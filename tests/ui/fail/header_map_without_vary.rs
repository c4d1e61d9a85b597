use fast_cache::cache;
use axum::{Json, http::HeaderMap};

#[cache]
async fn f(headers: HeaderMap) -> Json<usize> { Json(headers.len()) }

fn main() {}
