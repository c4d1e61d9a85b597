use fast_cache::cache;

#[cache]
async fn f(id: u8) { drop(id) }

fn main() {}
