use fast_cache::cache;

#[cache(skip())]
async fn f(id: u8) -> u8 { id }

fn main() {}
