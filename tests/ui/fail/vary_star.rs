use fast_cache::cache;
use axum::http::HeaderMap;

#[cache(vary("*"))]
async fn f(headers: HeaderMap) -> String { format!("{}", headers.len()) }

fn main() {}
