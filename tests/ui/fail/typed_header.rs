use fast_cache::cache;

/// As axum-extra has it.
struct TypedHeader<T>(T);

struct UserAgent(String);

#[cache(expire = 60, vary("accept"))]
async fn f(TypedHeader(agent): TypedHeader<UserAgent>) -> axum::Json<String> {
    axum::Json(agent.0)
}

fn main() {}
