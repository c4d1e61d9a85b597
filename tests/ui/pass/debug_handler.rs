use axum::extract::{Path, State};
use axum::{Json, Router, debug_handler, routing::get};
use fast_cache::{CacheResponse, cache};

#[derive(Clone)]
struct Db;

#[debug_handler(state = Db)]
#[cache(expire = 60)]
async fn above(Path(id): Path<u64>, State(_db): State<Db>) -> Json<u64> {
    Json(id)
}

#[debug_handler(state = Db)]
#[cache(expire = 60)]
async fn above_state(State(_db): State<Db>) -> Json<u64> {
    Json(1)
}

#[cache(expire = 60)]
#[debug_handler(state = Db)]
async fn below(Path(id): Path<u64>, State(_db): State<Db>) -> Json<u64> {
    Json(id)
}

#[cache(expire = 60)]
#[debug_handler]
async fn below_state(State(_db): State<Db>) -> Result<Json<u64>, String> {
    Ok(Json(1))
}

#[cache(expire = 60)]
#[debug_handler]
async fn below_without_parameters() -> Json<u64> {
    Json(1)
}

#[debug_handler]
#[cache(expire = 60, vary())]
async fn above_with_all(request: fast_cache::CacheRequest, response: CacheResponse) -> String {
    response.no_store();
    request.uri().to_string()
}

fn main() {
    let _: Router = Router::new()
        .route("/a", get(above))
        .route("/b", get(above_state))
        .route("/c", get(below))
        .route("/d", get(below_state))
        .route("/e", get(below_without_parameters))
        .route("/f", get(above_with_all))
        .with_state(Db);
}
