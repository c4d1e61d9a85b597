use fast_cache::cache;

#[cache(expire = 0)]
async fn f() -> u8 { 1 }

fn main() {}
