use fast_cache::cache;
use std::borrow::Cow;

#[cache]
fn f(name: Cow<'_, str>) -> usize { name.len() }

fn main() {}
