use fast_cache::cache;

/// As axum-extra has it.
struct TypedHeader<T>(T);

impl<T> std::ops::Deref for TypedHeader<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

struct Authorization<T>(T);

#[cache(vary("authorization"))]
async fn f(header: Option<TypedHeader<Authorization<String>>>) -> axum::Json<String> {
    axum::Json(header.map(|header| header.0.0).unwrap_or_default())
}

#[cache]
async fn g(header: Result<TypedHeader<Authorization<String>>, String>) -> axum::Json<String> {
    axum::Json(header.map(|header| header.0.0).unwrap_or_default())
}

fn main() {}
