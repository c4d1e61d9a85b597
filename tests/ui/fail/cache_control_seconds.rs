use fast_cache::cache;

#[cache(cache_control = "max-age=1h")]
async fn f() -> axum::Json<u8> { axum::Json(1) }

fn main() {}
