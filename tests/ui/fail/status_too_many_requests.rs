use fast_cache::cache;

#[cache(statuses(200, 429))]
async fn f() -> axum::Json<u8> { axum::Json(1) }

fn main() {}
