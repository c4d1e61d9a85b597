use fast_cache::cache;
use serde::Serialize;

struct Connection;

trait Marker: Send + Sync + 'static {}

impl Marker for Connection {}

#[cache(expire = 60, key = "user:{id}")]
async fn text_leaves_out_what_changes(id: u64, connection: &mut Connection) -> u64 {
    let Connection = connection;
    id
}

#[cache(expire = 60, skip(connection))]
async fn skipped_may_change(id: u64, connection: Option<&mut Connection>) -> u64 {
    let _ = connection;
    id
}

#[cache(expire = 60, skip(count, parse))]
fn sync_takes_functions(count: fn(&str) -> usize, parse: impl Fn(&str) -> u8 + Send + 'static, id: u64) -> usize {
    count("a") + usize::from(parse("1")) + id as usize
}

#[cache(expire = 60)]
async fn named_beside_anonymous<M: Marker>(value: impl Serialize + Send) -> Box<u8> {
    let _ = value;
    Box::new(1)
}

#[cache(expire = 60)]
async fn inner_items_have_their_own_self(id: u64) -> u64 {
    struct Twice(u64);

    impl Twice {
        fn new(id: u64) -> Self {
            Self(id * 2)
        }
    }

    Twice::new(id).0
}

fn main() {
    drop(text_leaves_out_what_changes(1, &mut Connection));
    let _ = text_leaves_out_what_changes::entry(1);
    drop(skipped_may_change(1, Some(&mut Connection)));
    drop(sync_takes_functions(str::len, |_| 1, 1));
    drop(named_beside_anonymous::<Connection>(1));
    drop(inner_items_have_their_own_self(1));
    let _ = inner_items_have_their_own_self::entry(1);
}
