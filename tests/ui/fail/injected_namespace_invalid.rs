use fast_cache::cache;
use axum::Json;

#[cache(injected_dependency_namespace = "1 x")]
async fn f() -> Json<u8> { Json(1) }

fn main() {}
