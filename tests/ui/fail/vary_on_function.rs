use fast_cache::cache;

#[cache(vary("accept"))]
async fn f() -> u8 { 1 }

fn main() {}
