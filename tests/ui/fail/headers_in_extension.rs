use fast_cache::cache;

#[cache(expire = 60, vary("accept"))]
async fn f(axum::Extension(headers): axum::Extension<axum::http::HeaderMap>) -> axum::Json<usize> {
    axum::Json(headers.len())
}

fn main() {}
