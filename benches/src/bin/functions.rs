//! Hits and misses of cached functions.

use std::hint::black_box;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use cached::macros::{cached, concurrent_cached};
use fast_cache::{Config, FastCache, InMemoryBackend, cache};
use fast_cache_benches::contender;
use fast_cache_benches::options::Options;
use fast_cache_benches::report::Table;
use fast_cache_benches::rounds::{Contender, block_on, compare};
use fast_cache_benches::subjects::{CAPACITY, LIFETIME, User, shuffled};

const OURS: &str = "fast-cache `#[cache]`";
const CACHED: &str = "cached `#[cached]`";
const CONCURRENT: &str = "cached `#[concurrent_cached]`";
const HITBOX: &str = "hitbox `#[cached]` on moka";
const MOKA: &str = "moka, by hand";
const RAW: &str = "raw quick_cache, by hand";
const BARE: &str = "the function alone";

/// Keys enough to be out of the first caches of a core, and few enough for every bound.
const MANY: u64 = 16_384;

type Hasher = foldhash::fast::RandomState;
type Moka<K, V> = moka::future::Cache<K, V, Hasher>;
type Quick<K, V> = quick_cache::sync::Cache<K, V, quick_cache::UnitWeighter, Hasher>;
type Hitbox = hitbox_fn::Cache<hitbox_moka::MokaBackend>;

mod ours {
    use super::{LIFETIME, User, cache};

    #[cache(expire = LIFETIME_OF_ALL)]
    pub(super) async fn number(n: u64) -> u64 {
        n + 1
    }

    #[cache(expire = LIFETIME_OF_ALL)]
    pub(super) async fn user(name: &str) -> User {
        User::named(name)
    }

    /// Without what makes many callers wait for one computation, which the peers do not do either.
    #[cache(expire = LIFETIME_OF_ALL, coalesce = false)]
    pub(super) async fn alone(n: u64) -> u64 {
        n + 1
    }

    const LIFETIME_OF_ALL: std::time::Duration = std::time::Duration::from_secs(LIFETIME);
}

/// As the documentation of `cached` has it: least recently used, with a lifetime.
mod unsharded {
    use super::{User, cached};

    #[cached(max_size = 100_000, ttl_secs = 3600)]
    pub(super) async fn number(n: u64) -> u64 {
        n + 1
    }

    #[cached(max_size = 100_000, ttl_secs = 3600, key = "String", convert = { name.to_owned() })]
    pub(super) async fn user(name: &str) -> User {
        User::named(name)
    }
}

mod sharded {
    use super::{User, concurrent_cached};

    #[concurrent_cached(max_size = 100_000, ttl_secs = 3600)]
    pub(super) async fn number(n: u64) -> u64 {
        n + 1
    }

    #[concurrent_cached(
        max_size = 100_000,
        ttl_secs = 3600,
        key = "String",
        convert = { name.to_owned() }
    )]
    pub(super) async fn user(name: &str) -> User {
        User::named(name)
    }
}

/// Its functions own their arguments.
mod boxed {
    use super::User;
    use hitbox_fn::prelude::*;
    use serde::{Deserialize, Serialize};

    #[cached]
    pub(super) async fn number(n: u64) -> u64 {
        n + 1
    }

    #[derive(Clone, Serialize, Deserialize, CacheableResponse)]
    pub(super) struct Known {
        pub(super) user: User,
    }

    #[cached]
    pub(super) async fn user(name: String) -> Known {
        Known {
            user: User::named(&name),
        }
    }
}

mod bare {
    use super::User;

    pub(super) async fn number(n: u64) -> u64 {
        n + 1
    }

    pub(super) async fn user(name: &str) -> User {
        User::named(name)
    }
}

fn hitbox() -> Hitbox {
    use hitbox_fn::prelude::PolicyConfig;

    let backend = hitbox_moka::MokaBackend::builder().max_entries(CAPACITY as u64);
    let policy = PolicyConfig::builder().ttl(Duration::from_secs(LIFETIME));
    hitbox_fn::Cache::builder()
        .backend(backend.build())
        .policy(policy.build())
        .build()
}

/// With the fast hasher that its documentation offers where keys are no attack.
fn moka<K, V>() -> Moka<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    moka::future::Cache::builder()
        .max_capacity(CAPACITY as u64)
        .time_to_live(Duration::from_secs(LIFETIME))
        .build_with_hasher(Hasher::default())
}

fn quick<K: std::hash::Hash + Eq, V: Clone>() -> Quick<K, V> {
    quick_cache::sync::Cache::with(
        CAPACITY,
        CAPACITY as u64,
        quick_cache::UnitWeighter,
        Hasher::default(),
        Default::default(),
    )
}

static HITBOX_CACHE: LazyLock<Hitbox> = LazyLock::new(hitbox);
static MOKA_NUMBERS: LazyLock<Moka<u64, u64>> = LazyLock::new(moka);
static MOKA_USERS: LazyLock<Moka<String, User>> = LazyLock::new(moka);
static QUICK_NUMBERS: LazyLock<Quick<u64, u64>> = LazyLock::new(quick);
static QUICK_USERS: LazyLock<Quick<String, User>> = LazyLock::new(quick);

/// What a function around quick_cache does: a look, and a value stored where there was none.
async fn quick_number(n: u64) -> u64 {
    if let Some(value) = QUICK_NUMBERS.get(&n) {
        return value;
    }
    let value = bare::number(n).await;
    QUICK_NUMBERS.insert(n, value);
    value
}

async fn quick_user(name: &str) -> User {
    if let Some(value) = QUICK_USERS.get(name) {
        return value;
    }
    let value = bare::user(name).await;
    QUICK_USERS.insert(name.to_owned(), value.clone());
    value
}

fn numbers(keys: &[u64]) -> Vec<Contender<'_>> {
    vec![
        contender!(OURS, keys, |n| ours::number(*n).await),
        contender!(CACHED, keys, |n| unsharded::number(*n).await),
        contender!(CONCURRENT, keys, |n| sharded::number(*n).await),
        contender!(HITBOX, keys, |n| boxed::number(*n)
            .cache(&*HITBOX_CACHE)
            .await),
        contender!(MOKA, keys, |n| MOKA_NUMBERS
            .get_with(*n, bare::number(*n))
            .await),
        contender!(RAW, keys, |n| quick_number(*n).await),
        contender!(BARE, keys, |n| bare::number(*n).await),
    ]
}

fn users(keys: &[String]) -> Vec<Contender<'_>> {
    vec![
        contender!(OURS, keys, |name| ours::user(name).await),
        contender!(CACHED, keys, |name| unsharded::user(name).await),
        contender!(CONCURRENT, keys, |name| sharded::user(name).await),
        contender!(HITBOX, keys, |name| boxed::user(name.clone())
            .cache(&*HITBOX_CACHE)
            .await),
        contender!(MOKA, keys, |name| {
            MOKA_USERS.get_with_by_ref(name, bare::user(name)).await
        }),
        contender!(RAW, keys, |name| quick_user(name).await),
        contender!(BARE, keys, |name| bare::user(name).await),
    ]
}

fn main() -> Result<()> {
    let options = Options::from_arguments();
    FastCache::init(Config::new(
        InMemoryBackend::new().max_entries(CAPACITY as u64),
    ))?;

    let one = [7];
    let many = shuffled(MANY);
    let name = |n: &u64| format!("user-{n:08}");
    let one_name = [name(&7)];
    let many_names: Vec<String> = many.iter().map(name).collect();
    for threads in [1, 2] {
        let on = if threads == 1 {
            "one thread"
        } else {
            "two threads"
        };
        for (keys, of) in [(&one[..], "one key"), (&many, "16,384 keys")] {
            let title = format!("local hit, `u64 -> u64`, {on}, {of}");
            judge(compare(&title, options, threads, MANY, &numbers(keys))).print();
        }
        for (keys, of) in [(&one_name[..], "one key"), (&many_names, "16,384 keys")] {
            let title = format!("local hit, `&str -> struct`, {on}, {of}");
            judge(compare(&title, options, threads, MANY, &users(keys))).print();
        }
    }
    misses(options).print();
    Ok(())
}

fn judge(table: Table) -> Table {
    let table = table.below(&[CACHED, CONCURRENT, HITBOX]);
    table.at_most_times(2.0, RAW)
}

/// Every call has a key that has not been seen; the caches are full before long, and so evict.
fn misses(options: Options) -> Table {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 32);

    macro_rules! missing {
        ($name:expr, |$n:ident| $call:expr) => {
            Contender::new($name, |times| {
                let first = NEXT.fetch_add(times, Ordering::Relaxed);
                block_on(async {
                    let began = Instant::now();
                    for $n in first..first + times {
                        black_box($call);
                    }
                    began.elapsed()
                })
            })
        };
    }
    let contenders = [
        missing!(OURS, |n| ours::number(n).await),
        missing!("fast-cache, `coalesce = false`", |n| ours::alone(n).await),
        missing!(CACHED, |n| unsharded::number(n).await),
        missing!(CONCURRENT, |n| sharded::number(n).await),
        missing!(HITBOX, |n| boxed::number(n).cache(&*HITBOX_CACHE).await),
        missing!(MOKA, |n| MOKA_NUMBERS.get_with(n, bare::number(n)).await),
        missing!(RAW, |n| quick_number(n).await),
        missing!(BARE, |n| bare::number(n).await),
    ];
    let warm_up = CAPACITY as u64;
    let title = "miss, `u64 -> u64`, one thread, into a full cache";
    compare(title, options, 1, warm_up, &contenders).below(&[HITBOX, MOKA])
}
