use fast_cache::cache;

#[cache(expire = 60, timeout = 5)]
async fn f(id: u8) -> u8 { id }

fn main() {}
