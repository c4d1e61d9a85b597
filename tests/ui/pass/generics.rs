use std::borrow::Cow;
use std::fmt::Display;
use std::hash::Hash;

use fast_cache::{CacheValue, cache};
use serde::Serialize;

#[cache(expire = 60)]
async fn bounds<K, V>(key: K) -> Option<V>
where
    K: Serialize + Hash + Send,
    V: CacheValue,
{
    let _ = key;
    None
}

#[cache(expire = 60)]
async fn lifetimes<'a, 'b: 'a>(text: &'a str, other: Cow<'b, str>, list: &[&'a str]) -> usize {
    text.len() + other.len() + list.len()
}

#[cache(expire = 60)]
async fn anonymous(value: impl Serialize + Display, other: &(impl Serialize + Sync)) -> String {
    let _ = other;
    value.to_string()
}

#[cache(expire = 60)]
async fn constants<const N: usize>(bytes: [u8; N]) -> Vec<u8> {
    bytes.to_vec()
}

#[cache(expire = 60)]
async fn destructured(
    (mut a, b): (u64, u64),
    [c, _]: [u64; 2],
    &d: &u64,
    Point { x, ref y, .. }: Point,
    _: NotKeyed,
    mut e: u64,
) -> u64 {
    a += 1;
    e += 1;
    a + b + c + d + x + *y + e
}

#[derive(Serialize)]
struct Point {
    x: u64,
    y: u64,
    z: u64,
}

struct NotKeyed;

#[derive(Serialize)]
struct Repository<T> {
    table: T,
}

impl<T: Serialize + Send + Sync> Repository<T> {
    const LIFETIME: std::time::Duration = std::time::Duration::from_secs(5);

    #[cache(expire = Self::LIFETIME)]
    pub async fn find<K: Serialize + Sync>(&self, key: &K) -> Result<u64, std::fmt::Error> {
        let _ = key;
        Ok(1)
    }

    #[cache(expire = 60)]
    async fn owned(mut self, key: u64) -> u64 {
        let _ = &mut self.table;
        key
    }

    #[cache(expire = 60, skip(self))]
    async fn shared(self: std::sync::Arc<Self>, key: u64) -> u64 {
        key
    }

    #[cache(expire = 60)]
    async fn associated(table: T) -> Option<<Self as HasKey>::Key> {
        let _ = table;
        None
    }
}

trait HasKey {
    type Key;
}

impl<T> HasKey for Repository<T> {
    type Key = u64;
}

fn main() {
    drop(bounds::<u8, String>(1));
    drop(lifetimes("a", Cow::Borrowed("b"), &["c"]));
    drop(anonymous(1, &2));
    drop(constants([1, 2]));
    drop(destructured((1, 2), [3, 4], &5, Point { x: 6, y: 7, z: 8 }, NotKeyed, 9));
    let _ = destructured::entry((1, 2), [3, 4], &5, Point { x: 6, y: 7, z: 8 }, 9);
    let repository = Repository { table: 1 };
    drop(repository.find(&2));
    let _ = repository.find_entry(&2);
    drop(repository.owned(1));
    drop(std::sync::Arc::new(Repository { table: 1 }).shared(1));
    let _ = Repository::<u8>::shared_entry(1);
}
