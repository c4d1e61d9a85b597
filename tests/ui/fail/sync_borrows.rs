use fast_cache::cache;

#[cache]
fn f(name: &str) -> usize { name.len() }

fn main() {}
