use fast_cache::cache;

#[cache(handler, function)]
async fn f() -> String { String::new() }

fn main() {}
