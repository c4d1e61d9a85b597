use fast_cache::cache;

#[cache]
async fn f(list: &mut Vec<u8>) -> u8 { list.pop().unwrap() }

fn main() {}
