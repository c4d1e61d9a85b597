use fast_cache::cache;
use axum::{Json, extract::Path};

#[cache]
async fn f(__fastapi_cache_request: Path<u8>) -> Json<u8> { Json(__fastapi_cache_request.0) }

fn main() {}
