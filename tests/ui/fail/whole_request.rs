use axum::extract::Request;
use fast_cache::cache;

#[cache(expire = 60, tags("page:{id}"), skip(other))]
async fn f(axum::extract::Path(id): axum::extract::Path<u8>, other: u8, r#in: Request) -> String {
    format!("{id} {other} {}", r#in.uri())
}

fn main() {}
