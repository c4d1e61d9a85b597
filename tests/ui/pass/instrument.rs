use axum::extract::Path;
use axum::{Json, Router, routing::get};
use fast_cache::cache;
use tracing::instrument;

#[instrument(fields(twice = id * 2))]
#[cache(expire = 60)]
async fn above(id: u64) -> u64 {
    id
}

#[cache(expire = 60)]
#[instrument(skip_all, fields(%id))]
async fn below(Path(id): Path<u64>) -> Json<u64> {
    Json(id)
}

#[instrument(skip(id), err)]
#[cache(expire = 60)]
async fn handler(Path(id): Path<u64>) -> Result<Json<u64>, String> {
    Ok(Json(id))
}

fn main() {
    drop(above(1));
    let _: Router = Router::new().route("/{id}", get(below)).route("/b/{id}", get(handler));
}
