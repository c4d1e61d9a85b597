use axum::http::StatusCode;
use fast_cache::cache;

#[cache(expire = 60)]
async fn f() -> StatusCode { StatusCode::OK }

fn main() {}
