use fast_cache::cache;

struct User;

#[cache]
impl User {}

fn main() {}
