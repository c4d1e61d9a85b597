use fast_cache::cache;

#[cache(expire = 60, tags(""))]
async fn f(id: u8) -> u8 { id }

fn main() {}
