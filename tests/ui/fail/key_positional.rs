use fast_cache::cache;

#[cache(key = "user:{}")]
async fn f(id: u8) -> u8 { id }

fn main() {}
