//! Hits in Redis and in two tiers, and many callers of one key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fast_cache::{Cache, Config, InMemoryBackend, RedisBackend, TieredBackend, cache};
use fast_cache_benches::options::Options;
use fast_cache_benches::report::{Row, Spread, Table};
use fast_cache_benches::rounds::{Contender, compare};
use fast_cache_benches::subjects::{LIFETIME, User};
use redis::AsyncCommands;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Where `cargo xtask bench` has started a server.
const URL: &str = "FAST_CACHE_TEST_REDIS";

const AN_HOUR: Duration = Duration::from_secs(LIFETIME);

#[cache(expire = AN_HOUR)]
async fn user(name: &str) -> User {
    User::named(name)
}

fn main() -> Result<()> {
    let options = Options::from_arguments();
    let url = std::env::var(URL).with_context(|| format!("{URL} names no server"))?;
    // Two threads for everybody: the server has to run as well.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let connections = runtime.block_on(async {
        let client = redis::Client::open(&*url)?;
        let bare = client.get_multiplexed_async_connection().await?;
        let ours = RedisBackend::connect(&url).await?;
        let tiered = TieredBackend::new(RedisBackend::connect(&url).await?);
        anyhow::Ok((bare, ours, tiered))
    });
    let (mut bare, ours, tiered) = connections?;
    // What ours stores in its envelope, the bare client gets without one.
    let value = serde_json::to_vec(&User::named("user-00"))?;
    runtime.block_on(async { bare.set::<_, _, ()>("bare", value).await })?;
    let ours = Cache::new(Config::new(ours).prefix("bench"));

    for (callers, is_one_key) in [(1, true), (64, false), (64, true)] {
        redis_hit(&runtime, options, callers, is_one_key, &ours, &bare).print();
    }
    tiers(&runtime, options, tiered).print();
    stampede(&runtime, options).print();
    Ok(())
}

const OURS: &str = "fast-cache `#[cache]` on Redis";
const BARE: &str = "bare `GET` with redis-rs, and JSON decoded";
const UNDECODED: &str = "bare `GET` with redis-rs";

fn redis_hit(
    runtime: &Runtime,
    options: Options,
    callers: u64,
    is_one_key: bool,
    ours: &Cache,
    bare: &redis::aio::MultiplexedConnection,
) -> Table {
    let title = match (callers, is_one_key) {
        (1, _) => "Redis hit, one caller".to_owned(),
        (_, true) => format!("Redis hit, {callers} callers of one key, per hit"),
        (_, false) => format!("Redis hit, {callers} callers of a key each, per hit"),
    };
    let key = |caller| if is_one_key { 0 } else { caller };
    let get = |times: u64, look: fn(&[u8])| {
        let mut connection = bare.clone();
        async move {
            for _ in 0..times {
                let bytes: Vec<u8> = connection.get("bare").await.unwrap();
                look(&bytes);
            }
        }
    };
    let contenders = [
        Contender::new(OURS, |times| {
            spread(runtime, callers, times, |caller, times| {
                let name = format!("user-{:02}", key(caller));
                ours.scope(async move {
                    for _ in 0..times {
                        std::hint::black_box(user(&name).await);
                    }
                })
            })
        }),
        Contender::new(BARE, |times| {
            spread(runtime, callers, times, |_, times| {
                get(times, |bytes| {
                    let user: User = serde_json::from_slice(bytes).unwrap();
                    std::hint::black_box(user);
                })
            })
        }),
        Contender::new(UNDECODED, |times| {
            spread(runtime, callers, times, |_, times| {
                get(times, |bytes| {
                    std::hint::black_box(bytes);
                })
            })
        }),
    ];
    let table = compare(&title, options, 1, 64, &contenders);
    if callers == 1 {
        table.at_most_times(1.1, UNDECODED)
    } else {
        let part = table.row(UNDECODED).ratio.median;
        let text = format!("at least 0.9x the throughput of {UNDECODED}: {part:.2}x");
        table.promise(text, part >= 0.9)
    }
}

/// Divides work among callers, a task each, and says how long all of them took.
fn spread<F>(runtime: &Runtime, callers: u64, times: u64, work: impl Fn(u64, u64) -> F) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    let each = times.div_ceil(callers);
    runtime.block_on(async {
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            tasks.spawn(work(caller, each));
        }
        tasks.join_all().await;
        // Rounding up has made it more work than asked for.
        began
            .elapsed()
            .mul_f64(times as f64 / (each * callers) as f64)
    })
}

/// Both in a scope, which costs the same for both.
fn tiers(runtime: &Runtime, options: Options, tiered: TieredBackend<RedisBackend>) -> Table {
    const TIERED: &str = "in memory, in front of Redis";
    const LOCAL: &str = "in memory";

    let hits = |cache: Cache| {
        move |times| {
            runtime.block_on(cache.scope(async move {
                let began = Instant::now();
                for _ in 0..times {
                    std::hint::black_box(user("ada").await);
                }
                began.elapsed()
            }))
        }
    };
    let tiered = Cache::new(Config::new(tiered).prefix("tiers"));
    let contenders = [
        Contender::new(TIERED, hits(tiered)),
        Contender::new(LOCAL, hits(Cache::new(InMemoryBackend::new()))),
    ];
    let title = "tiered hit, `&str -> struct`";
    compare(title, options, 1, 1000, &contenders).at_most_times(1.05, LOCAL)
}

fn stampede(runtime: &Runtime, options: Options) -> Table {
    const CALLERS: u64 = 10_000;
    static CALLS: AtomicU64 = AtomicU64::new(0);

    #[cache(expire = AN_HOUR)]
    async fn slow(round: usize) -> usize {
        CALLS.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
        round
    }

    eprintln!("stampede");
    let cache = Arc::new(Cache::new(InMemoryBackend::new()));
    let rounds = if options.is_quick { 3 } else { 11 };
    let calls = (0..rounds).map(|round| {
        let before = CALLS.load(Ordering::Relaxed);
        runtime.block_on(async {
            let mut callers = JoinSet::new();
            for _ in 0..CALLERS {
                callers.spawn(cache.scope(slow(round)));
            }
            while let Some(joined) = callers.join_next().await {
                assert_eq!(joined.unwrap(), round);
            }
        });
        (CALLS.load(Ordering::Relaxed) - before) as f64
    });
    let calls = Spread::of(calls);
    let table = Table {
        title: "stampede of 10,000 callers of one key, 50 ms a computation".to_owned(),
        unit: "calls",
        rows: vec![Row {
            name: "fast-cache `#[cache]`".to_owned(),
            value: calls,
            ratio: Spread::exact(1.0),
        }],
        goals: Vec::new(),
    };
    table.promise(format!("1 call: {:.0}", calls.high), calls.high == 1.0)
}
