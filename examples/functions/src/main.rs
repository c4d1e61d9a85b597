//! Cached functions and methods, without a web server: `cargo run -p functions`.

use std::fmt::Display;
use std::io;

use fast_cache::{Config, FastCache, InMemoryBackend, cache};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
}

/// Of a `Result`, only `Ok` is stored. The error can be of any type.
#[cache(expire = 60, namespace = "users")]
async fn get_user(id: u64) -> Result<User, io::Error> {
    println!("  computing get_user({id})");
    if id == 0 {
        return Err(io::Error::other("there is no user 0"));
    }
    let name = format!("user {id}");
    Ok(User { id, name })
}

/// A sync function becomes async, and runs on the blocking pool.
#[cache(expire = "5m")]
fn checksum(text: String) -> u64 {
    println!("  computing checksum({text:?})");
    text.bytes().map(u64::from).sum()
}

/// Type arguments are part of the key.
#[cache(expire = "5m")]
async fn describe<T: Display + Serialize + Send>(value: T) -> String {
    println!("  computing describe({value})");
    format!("this is {value}")
}

struct Shop {
    name: &'static str,
}

impl Shop {
    /// The shop is no part of the key: all shops have the same prices.
    #[cache(expire = 60, namespace = "prices", skip(self))]
    async fn price(&self, product: &str) -> usize {
        println!("  computing price({product:?}) at {}", self.name);
        product.len() * 100
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    FastCache::init(Config::new(InMemoryBackend::new()).prefix("functions"))?;

    println!("a function, three times, of which one is computed:");
    for _ in 0..3 {
        get_user(42).await?;
    }
    println!("an error, twice, which is computed twice:");
    for _ in 0..2 {
        assert!(get_user(0).await.is_err());
    }
    println!("a sync function, twice:");
    assert_eq!(
        checksum("abc".to_owned()).await,
        checksum("abc".to_owned()).await
    );
    println!("a generic function, with two types:");
    describe(1_u8).await;
    describe(1_u64).await;
    describe(1_u8).await;
    println!("a method, on two shops:");
    Shop { name: "the corner" }.price("tea").await;
    Shop {
        name: "the station",
    }
    .price("tea")
    .await;

    println!("an entry by hand:");
    let entry = get_user::entry(42);
    if let Some(ttl) = entry.ttl().await? {
        println!(
            "  {} lives for {:.0} seconds",
            entry.key(),
            ttl.as_secs_f64()
        );
    }
    entry.invalidate().await?;
    get_user(42).await?;
    println!("without the cache:");
    get_user::uncached(42).await?;
    println!("a namespace:");
    println!("  cleared {}", FastCache::clear_namespace("users").await?);
    get_user(42).await?;

    let stats = FastCache::stats();
    println!(
        "{} hits, {} misses, {} stored",
        stats.hits, stats.misses, stats.stored
    );
    Ok(())
}
