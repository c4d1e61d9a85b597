use fast_cache::cache;

#[cache(statuses(404, 404))]
async fn f() -> axum::Json<u8> { axum::Json(1) }

fn main() {}
