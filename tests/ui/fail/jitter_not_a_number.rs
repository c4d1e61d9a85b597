use fast_cache::cache;

#[cache(expire = 60, jitter = "a lot")]
async fn f(id: u8) -> u8 { id }

fn main() {}
