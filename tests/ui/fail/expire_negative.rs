use fast_cache::cache;

#[cache(expire = -5)]
async fn f() -> u8 { 1 }

fn main() {}
