use fast_cache::cache;

#[cache(statuses(404))]
async fn f(id: u8) -> u8 { id }

fn main() {}
