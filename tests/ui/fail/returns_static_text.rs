use fast_cache::cache;

#[cache(expire = 60)]
async fn f() -> &'static str { "up" }

fn main() {}
