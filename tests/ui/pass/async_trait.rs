use async_trait::async_trait;
use fast_cache::cache;

#[async_trait]
trait Load {
    async fn load(&self, id: u64) -> Result<String, std::io::Error>;
    async fn name(&self, name: &str) -> String;
}

struct Disk;

#[async_trait]
impl Load for Disk {
    #[cache(expire = 60, skip(self))]
    async fn load(&self, id: u64) -> Result<String, std::io::Error> {
        let text = std::fs::read_to_string(id.to_string())?;
        Ok(text)
    }

    #[cache(expire = 60, skip(self))]
    async fn name(&self, name: &str) -> String {
        name.to_owned()
    }
}

fn main() {
    fn is_send(_: impl Send) {}
    is_send(Disk.load(1));
    is_send(Disk.name("a"));
}
