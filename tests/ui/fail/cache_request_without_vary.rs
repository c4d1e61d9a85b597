use fast_cache::{CacheRequest, cache};

#[cache(expire = 60)]
async fn f(request: CacheRequest) -> String { request.to_string() }

fn main() {}
