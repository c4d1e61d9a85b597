use fast_cache::cache;

#[cache]
extern "C" fn f() -> u8 { 1 }

fn main() {}
