use fast_cache::cache;

struct Shop;

impl Shop {
    #[cache]
    async fn f(&self, id: u8) -> u8 { id }
}

fn main() {}
