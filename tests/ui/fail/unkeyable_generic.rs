use fast_cache::cache;

#[cache]
async fn f<T: Sync>(value: &T) -> usize { size_of_val(value) }

fn main() {}
