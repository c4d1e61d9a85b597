use fast_cache::cache;

#[cache(expires = 60)]
async fn f() -> u8 { 1 }

fn main() {}
