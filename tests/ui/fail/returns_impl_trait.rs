use fast_cache::cache;

#[cache]
async fn f() -> impl std::fmt::Display { 1 }

fn main() {}
