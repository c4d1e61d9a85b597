use fast_cache::cache;

#[cache(expire = 60, stale_if_error = 60, soft_timeout = "1s")]
async fn f(id: &str) -> String { id.to_owned() }

fn main() {}
