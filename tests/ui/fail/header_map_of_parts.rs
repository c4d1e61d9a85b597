use axum::http::request::Parts;
use fast_cache::cache;

#[cache]
async fn f(Parts { uri, headers, .. }: Parts) -> axum::Json<String> {
    axum::Json(format!("{uri} {}", headers.len()))
}

fn main() {}
