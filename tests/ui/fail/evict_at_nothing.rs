use axum::extract::Path;
use fast_cache::{cache, cache_evict};

#[cache]
async fn show(Path(id): Path<u8>) -> axum::Json<u8> { axum::Json(id) }

#[cache_evict(entry = show(Path(id)).at())]
async fn save(id: u8) -> u8 { id }

fn main() {}
