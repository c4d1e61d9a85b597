use fast_cache::cache;

#[cache(expire = 60, early_refresh = 3)]
async fn f(id: u8) -> u8 { id }

fn main() {}
