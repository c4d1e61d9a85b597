use fast_cache::cache_evict;

async fn load(id: u8) -> u8 { id }

#[cache_evict(entry = load(id))]
async fn f(id: u8) -> u8 { id }

fn main() {}
