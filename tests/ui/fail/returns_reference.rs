use fast_cache::cache;

#[cache]
async fn f(name: &str) -> &str { name }

fn main() {}
