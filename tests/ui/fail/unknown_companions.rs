use fast_cache::cache;

#[cache(companions = some)]
async fn f(id: u8) -> u8 { id }

fn main() {}
