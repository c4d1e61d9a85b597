use fast_cache::cache;

#[cache(key = "{a}x{b}")]
async fn f(a: u8, b: u8) -> u8 { a + b }

fn main() {}
