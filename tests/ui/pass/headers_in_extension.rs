//! The line that the message of `fail/headers_in_extension.rs` shows.

use fast_cache::cache;

#[cache(expire = 60, vary("accept"), skip(headers))]
async fn f(axum::Extension(headers): axum::Extension<axum::http::HeaderMap>) -> axum::Json<usize> {
    axum::Json(headers.len())
}

fn main() {
    let _: axum::Router = axum::Router::new().route("/", axum::routing::get(f));
}
