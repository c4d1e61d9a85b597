use fast_cache::cache;

#[cache(cache_if = |name: &String| !name.is_empty())]
async fn f(id: u8) -> u8 { id }

fn main() {}
