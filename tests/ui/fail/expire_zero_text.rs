use fast_cache::cache;

#[cache(expire = "0s")]
async fn f() -> u8 { 1 }

fn main() {}
