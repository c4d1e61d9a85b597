use fast_cache::cache;

#[cache(expire = 60, tags("user", "user"))]
async fn f(id: u8) -> u8 { id }

fn main() {}
