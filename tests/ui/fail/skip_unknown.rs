use fast_cache::cache;

#[cache(skip(db))]
async fn f(id: u8, name: &str) -> usize { name.len() + id as usize }

fn main() {}
