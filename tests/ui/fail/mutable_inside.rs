use fast_cache::cache;

#[cache]
async fn f(list: Option<&mut Vec<u8>>) -> Option<u8> { list?.pop() }

fn main() {}
