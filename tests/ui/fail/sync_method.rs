use fast_cache::cache;

struct Shop;

impl Shop {
    #[cache(skip(self))]
    fn f(&self) -> u8 { 1 }
}

fn main() {}
