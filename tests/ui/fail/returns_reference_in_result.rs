use fast_cache::cache;

#[cache]
async fn f() -> Result<&'static str, u8> { Ok("x") }

fn main() {}
