use fast_cache::cache;

#[cache(only_if(true))]
async fn f(id: u8) -> u8 { id }

fn main() {}
