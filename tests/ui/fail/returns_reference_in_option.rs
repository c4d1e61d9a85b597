use fast_cache::cache;

#[cache]
async fn f(name: &str) -> Option<&str> { Some(name) }

fn main() {}
