use fast_cache::cache;

const SECONDS: u64 = 60;

#[cache(expire = SECONDS)]
async fn f() -> u8 { 1 }

fn main() {}
