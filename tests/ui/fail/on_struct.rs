use fast_cache::cache;

#[cache]
struct User;

fn main() {}
