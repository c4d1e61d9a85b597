use fast_cache::cache;

#[cache(statuses(103))]
async fn f() -> axum::Json<u8> { axum::Json(1) }

fn main() {}
