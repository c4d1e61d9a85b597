use fast_cache::cache;
use axum::http::HeaderMap;

#[cache(vary("accept language"))]
async fn f(headers: HeaderMap) -> String { format!("{}", headers.len()) }

fn main() {}
