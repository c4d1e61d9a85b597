use fast_cache::cache;

#[cache(expire = "soon")]
async fn f() -> u8 { 1 }

fn main() {}
