use fast_cache::cache;
use std::borrow::Cow;

#[cache]
async fn f(name: &str) -> Cow<'_, str> { name.into() }

fn main() {}
