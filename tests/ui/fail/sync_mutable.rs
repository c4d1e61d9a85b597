use fast_cache::cache;

#[cache]
fn f(list: &mut Vec<u8>) -> usize { list.len() }

fn main() {}
