use fast_cache::cache;
use axum::{Json, extract::Extension};

#[derive(Clone)]
struct User(u8);

#[cache]
async fn f(Extension(user): Extension<User>) -> Json<u8> { Json(user.0) }

fn main() {}
