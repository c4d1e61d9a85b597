use fast_cache::cache;

struct Xml;

#[cache(coder = Xml)]
async fn f() -> u8 { 1 }

fn main() {}
