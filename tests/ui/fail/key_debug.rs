use fast_cache::cache;

#[cache(key = "user:{id:?}")]
async fn f(id: u8) -> u8 { id }

fn main() {}
