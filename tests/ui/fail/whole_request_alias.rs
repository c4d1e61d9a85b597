use fast_cache::cache;

type Incoming = axum::extract::Request;

#[cache(vary("accept"))]
async fn f(request: Incoming) -> axum::Json<String> { axum::Json(request.uri().to_string()) }

fn main() {}
