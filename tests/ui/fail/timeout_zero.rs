use fast_cache::cache;

#[cache(expire = 60, timeout = 0)]
async fn f(id: u8) -> Result<u8, fast_cache::Error> { Ok(id) }

fn main() {}
