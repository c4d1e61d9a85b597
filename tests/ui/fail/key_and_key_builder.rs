use fast_cache::cache;

fn build(_: &fast_cache::KeyContext<'_>) -> String { String::new() }

#[cache(key = "{id}", key_builder = build)]
async fn f(id: u8) -> u8 { id }

fn main() {}
