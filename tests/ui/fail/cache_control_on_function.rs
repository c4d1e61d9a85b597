use fast_cache::cache;

#[cache(cache_control = "no-cache")]
async fn f() -> u8 { 1 }

fn main() {}
