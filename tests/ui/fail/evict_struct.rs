use fast_cache::cache_evict;

#[cache_evict(tags("user"))]
struct User;

fn main() {}
