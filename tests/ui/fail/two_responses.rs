use fast_cache::cache;
use axum::Json;
use fast_cache::CacheResponse;

#[cache]
async fn f(a: CacheResponse, b: CacheResponse) -> Json<u8> { a.no_store(); b.no_store(); Json(1) }

fn main() {}
