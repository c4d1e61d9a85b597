use fast_cache::cache;

#[cache(coalesce = 1)]
async fn f() -> u8 { 1 }

fn main() {}
