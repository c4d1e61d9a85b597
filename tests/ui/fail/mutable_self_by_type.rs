use fast_cache::cache;

#[derive(serde::Serialize)]
struct Shop;

impl Shop {
    #[cache]
    async fn f(self: &mut Self) -> u8 { 1 }
}

fn main() {}
