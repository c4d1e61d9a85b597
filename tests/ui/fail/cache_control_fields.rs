use fast_cache::cache;

#[cache(cache_control = "no-cache=set-cookie")]
async fn f() -> axum::Json<u8> { axum::Json(1) }

fn main() {}
