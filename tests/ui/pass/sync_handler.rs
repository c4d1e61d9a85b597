use fast_cache::cache;
use axum::Json;

#[cache]
fn f() -> Json<u8> { Json(1) }

fn main() {}
