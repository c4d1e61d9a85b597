use axum::http::HeaderMap;
use fast_cache::cache;

#[cache]
async fn f(headers: &HeaderMap) -> usize { headers.len() }

fn main() {}
