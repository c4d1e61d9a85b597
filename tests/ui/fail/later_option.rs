use fast_cache::cache;

#[cache(tags("user"))]
async fn f(id: u8) -> u8 { id }

fn main() {}
