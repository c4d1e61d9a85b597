use fast_cache::cache;

#[cache(injected_dependency_namespace = "__x")]
async fn f() -> u8 { 1 }

fn main() {}
