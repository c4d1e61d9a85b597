use fast_cache::cache;

#[derive(Clone)]
struct User;

#[cache]
async fn f() -> Result<User, String> { Ok(User) }

fn main() {}
