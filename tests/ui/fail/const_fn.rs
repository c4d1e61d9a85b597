use fast_cache::cache;

#[cache]
const fn f() -> u8 { 1 }

fn main() {}
