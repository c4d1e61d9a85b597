use fast_cache::cache;

#[derive(Debug)]
struct NotFound;

#[cache(expire = 60, timeout = 5)]
async fn f(id: u8) -> Result<u8, NotFound> { Ok(id) }

fn main() {}
