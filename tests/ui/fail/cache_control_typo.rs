use fast_cache::cache;

#[cache(cache_control = "private, max-ages=60")]
async fn f() -> axum::Json<u8> { axum::Json(1) }

fn main() {}
