use fast_cache::cache;

fn build(id: u8) -> String { id.to_string() }

#[cache(key_builder = build)]
async fn f(id: u8) -> u8 { id }

fn main() {}
