use fast_cache::cache;

#[derive(serde::Serialize, serde::Deserialize)]
struct User;

#[cache]
async fn f() -> User { User }

fn main() {}
