use fast_cache::cache;

#[cache]
async fn f(id: u8, #[cfg(any())] name: &str) -> u8 { id }

fn main() {}
