use fast_cache::cache;

#[cache(expire = 60, expire = 30)]
async fn f() -> u8 { 1 }

fn main() {}
