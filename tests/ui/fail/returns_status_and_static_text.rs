use axum::http::StatusCode;
use fast_cache::cache;

#[cache]
async fn f() -> (StatusCode, &'static str) { (StatusCode::OK, "up") }

fn main() {}
