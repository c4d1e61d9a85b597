use fast_cache::cache;

#[cache(expire = 0)]
fn f(id: u8) -> u8 { id }

async fn caller() -> u8 {
    let _ = f::entry(1).get().await;
    f(1).await
}

fn main() {
    drop(caller());
}
