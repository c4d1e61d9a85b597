use fast_cache::cache;

#[cache]
async unsafe fn f() -> u8 { 1 }

fn main() {}
