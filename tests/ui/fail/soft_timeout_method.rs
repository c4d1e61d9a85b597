use fast_cache::cache;

#[derive(serde::Serialize)]
struct Shop;

impl Shop {
    #[cache(expire = 60, stale_if_error = 60, soft_timeout = "1s")]
    async fn f(self, id: u8) -> u8 { id }
}

fn main() {}
