use axum::http::StatusCode;
use fast_cache::cache;

#[cache(expire = 60)]
async fn f() -> Result<(StatusCode, String), StatusCode> { Ok((StatusCode::OK, String::new())) }

fn main() {}
