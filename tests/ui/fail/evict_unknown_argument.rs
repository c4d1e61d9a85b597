use fast_cache::cache_evict;

#[cache_evict(tags("user:{user}"))]
async fn f(id: u8) -> u8 { id }

fn main() {}
