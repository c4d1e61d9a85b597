use fast_cache::cache;

#[cache(key = "{ids}")]
async fn f(ids: Vec<u8>) -> usize { ids.len() }

fn main() {}
