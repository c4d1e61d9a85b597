use axum::http::HeaderMap;
use fast_cache::cache;

type Headers = HeaderMap;

#[cache]
async fn f(headers: Headers) -> axum::Json<usize> { axum::Json(headers.len()) }

fn main() {}
