use fast_cache::cache;

#[cache(turbo)]
async fn f() -> u8 { 1 }

fn main() {}
