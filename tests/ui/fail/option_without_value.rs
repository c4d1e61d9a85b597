use fast_cache::cache;

#[cache(namespace)]
async fn f() -> u8 { 1 }

fn main() {}
