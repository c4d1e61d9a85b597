use fast_cache::cache;
use axum::{Json, extract::Extension as State};

#[derive(Clone, serde::Serialize)]
struct User(u8);

#[cache]
async fn f(State(user): State<User>) -> Json<u8> { Json(user.0) }

fn main() {}
