use fast_cache::cache;

#[cache(expire = 60, stale_while_revalidate = -1)]
async fn f(id: u8) -> u8 { id }

fn main() {}
