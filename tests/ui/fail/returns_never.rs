use fast_cache::cache;

#[cache]
async fn f() -> ! { panic!() }

fn main() {}
