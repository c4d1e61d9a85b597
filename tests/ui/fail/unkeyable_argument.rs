use fast_cache::cache;

struct Db;

#[cache]
async fn f(db: &Db, id: u8) -> u8 { let Db = db; id }

fn main() {}
