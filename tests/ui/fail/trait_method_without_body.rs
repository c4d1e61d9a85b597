use fast_cache::cache;

trait Load {
    #[cache]
    async fn load(&self) -> u8;
}

fn main() {}
