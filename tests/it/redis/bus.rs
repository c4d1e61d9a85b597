//! Messages between processes, and two tiers that are kept in step by them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fast_cache::{Backend, Bus, Error, RedisBackend, RedisOptions, Subscription};

use super::server::{self, Certificates, Server};
use super::{PATIENCE, connect, eventually, is_skipped, options, whole};

const CHANNEL: &str = "~bus:test";

fn bus(backend: &RedisBackend) -> Arc<dyn Bus> {
    backend.bus().expect("the backend can subscribe")
}

async fn next(subscription: &mut Box<dyn Subscription>) -> Result<Bytes, Error> {
    tokio::time::timeout(4 * PATIENCE, subscription.next())
        .await
        .expect("a message or an error comes in time")
}

/// Sends messages from one to the other, and checks that all of a channel come, in order, and no others.
async fn passes_messages(publisher: &dyn Bus, subscriber: &dyn Bus) {
    let mut subscription = subscriber.subscribe(CHANNEL).await.unwrap();
    let mut other = subscriber.subscribe("~bus:other").await.unwrap();
    // A wait that is given up loses nothing.
    let waiting = tokio::time::timeout(Duration::from_millis(1), subscription.next());
    assert!(waiting.await.is_err());
    for number in 0..1_000_u32 {
        let message = Bytes::copy_from_slice(&number.to_be_bytes());
        publisher.publish(CHANNEL, message).await.unwrap();
    }
    let odd = Bytes::from_static(b"\xff\r\n\0");
    publisher.publish("~bus:other", odd.clone()).await.unwrap();
    for number in 0..1_000_u32 {
        let message = next(&mut subscription).await.unwrap();
        assert_eq!(message, number.to_be_bytes()[..]);
    }
    assert_eq!(next(&mut other).await.unwrap(), odd);
}

/// Waits until messages of a channel come: servers that have just met do not pass on everything yet.
async fn is_passed_on(publisher: &dyn Bus, subscriber: &dyn Bus, channel: &str) {
    let mut subscription = subscriber.subscribe(channel).await.unwrap();
    let mut comes = async |patience| {
        let message = tokio::time::timeout(patience, subscription.next()).await;
        message.is_ok_and(|message| message.is_ok())
    };
    loop {
        publisher.publish(channel, Bytes::new()).await.unwrap();
        if comes(Duration::from_millis(100)).await {
            break;
        }
    }
    // None is left on its way.
    while comes(Duration::from_millis(300)).await {}
}

#[tokio::test]
async fn messages_come_whole_and_in_order() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&[]);
    let (one, two) = (connect(&server).await, connect(&server).await);
    passes_messages(&*bus(&one), &*bus(&two)).await;
    passes_messages(&*bus(&one), &*bus(&one)).await;
}

#[tokio::test]
async fn servers_of_a_cluster_pass_messages_on() {
    if is_skipped() {
        return;
    }
    let mut servers = server::cluster().await;
    let one = options().connect_cluster([servers[0].url()]).await.unwrap();
    let urls = [servers[2].url(), servers[1].url()];
    let two = options().connect_cluster(urls).await.unwrap();
    for channel in [CHANNEL, "~bus:other"] {
        is_passed_on(&*bus(&one), &*bus(&two), channel).await;
    }
    passes_messages(&*bus(&one), &*bus(&two)).await;

    // One server less: the next one will do.
    let mut subscription = bus(&two).subscribe(CHANNEL).await.unwrap();
    servers[2].kill();
    assert!(next(&mut subscription).await.is_err());
    assert!(bus(&two).subscribe(CHANNEL).await.is_ok());
}

#[tokio::test]
async fn tls_and_acl_hold_for_messages_too() {
    if is_skipped() {
        return;
    }
    let certificates = Certificates::make();
    let rights = ["--user", "app", "on", ">hunter2", "~*", "+@all", "&~bus:*"];
    let none = [
        "--user",
        "mute",
        "on",
        ">hunter2",
        "~*",
        "+@all",
        "resetchannels",
    ];
    let arguments: Vec<&str> = rights.iter().chain(&none).copied().collect();
    let server = Server::start_tls(&certificates, &arguments);
    let options = options().ca_certificate(certificates.authority());
    let connect = async |user: &str| {
        let url = format!("rediss://{user}:hunter2@127.0.0.1:{}", server.port());
        options.connect(&url).await.unwrap()
    };
    let app = connect("app").await;
    passes_messages(&*bus(&app), &*bus(&app)).await;

    let mute = bus(&connect("mute").await);
    let refused = mute.subscribe(CHANNEL).await.map(drop).unwrap_err();
    assert!(whole(&refused).contains("&~bus:*"), "{}", whole(&refused));
    let refused = mute.publish(CHANNEL, Bytes::new()).await.unwrap_err();
    assert!(whole(&refused).contains("&~bus:*"), "{}", whole(&refused));
    assert!(!whole(&refused).contains("hunter2"), "{}", whole(&refused));
}

#[tokio::test]
async fn a_lost_connection_is_noticed_and_can_be_made_again() {
    if is_skipped() {
        return;
    }
    let mut server = Server::start(&[]);
    let backend = connect(&server).await;
    let mut subscription = bus(&backend).subscribe(CHANNEL).await.unwrap();
    server.kill();
    assert!(next(&mut subscription).await.is_err());
    assert!(bus(&backend).subscribe(CHANNEL).await.is_err());
    server.restart(&[]);
    eventually(|| async { bus(&backend).publish(CHANNEL, Bytes::new()).await }).await;
    passes_messages(&*bus(&backend), &*bus(&backend)).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&[]);
    let quick = RedisOptions::new().response_timeout(Duration::from_millis(500));
    let backend = quick.connect(&server.url()).await.unwrap();
    let mut subscription = bus(&backend).subscribe(CHANNEL).await.unwrap();
    server.signal("STOP");
    assert!(next(&mut subscription).await.is_err());
    assert!(bus(&backend).subscribe(CHANNEL).await.is_err());
    server.signal("CONT");
}

#[tokio::test]
async fn a_connection_of_the_applications_own_has_no_bus() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&[]);
    let client = redis::Client::open(server.url()).unwrap();
    let backend = RedisBackend::from(client.get_connection_manager().await.unwrap());
    assert!(backend.bus().is_none());
}

#[cfg(feature = "json")]
mod tiers {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    use fast_cache::{Cache, Config, TieredBackend, cache};

    use super::*;

    static VALUE: AtomicU64 = AtomicU64::new(0);

    #[cache(expire = 600, namespace = "bus", key = "value", tags("value"))]
    async fn value() -> u64 {
        VALUE.load(Ordering::SeqCst)
    }

    async fn node(backend: RedisBackend) -> Cache {
        let cache = Cache::new(Config::new(TieredBackend::new(backend)));
        held(&cache).await;
        cache
    }

    /// Looks until the value is served from this process, which it is once messages come.
    async fn held(cache: &Cache) -> u64 {
        let before = cache.stats().local_hits;
        eventually(|| async {
            let value = cache.scope(value()).await;
            let is_held = cache.stats().local_hits > before;
            is_held
                .then_some(value)
                .ok_or_else(|| Error::backend("not yet"))
        })
        .await
    }

    /// Reads until the value is this one, and says how long that took.
    async fn becomes(cache: &Cache, expected: u64) -> Duration {
        let began = Instant::now();
        while cache.scope(value()).await != expected {
            assert!(
                began.elapsed() < 4 * PATIENCE,
                "the old value is still served"
            );
            tokio::task::yield_now().await;
        }
        began.elapsed()
    }

    #[tokio::test]
    async fn every_process_reads_what_one_has_changed() {
        if is_skipped() {
            return;
        }
        let mut server = Server::start(&[]);
        let (one, two) = (
            node(connect(&server).await).await,
            node(connect(&server).await).await,
        );
        let mut took = Vec::new();
        for round in 1..=100 {
            held(&two).await;
            VALUE.store(round, Ordering::SeqCst);
            let entry = one.scope(async { value::entry() }).await;
            match round % 4 {
                0 => drop(entry.invalidate().await.unwrap()),
                1 => entry.set(round).await.unwrap(),
                2 => drop(one.clear_tag("value").await.unwrap()),
                _ => drop(one.clear_namespace("bus").await.unwrap()),
            }
            took.push(becomes(&two, round).await);
            becomes(&one, round).await;
        }
        took.sort();
        println!(
            "noticed after {:?} at the median, {:?} at most",
            took[50], took[99]
        );

        // Away and back again: what was missed is dropped.
        server.kill();
        held_or_computed(&two).await;
        server.restart(&[]);
        VALUE.store(1_000, Ordering::SeqCst);
        let entry = one.scope(async { value::entry() }).await;
        eventually(|| entry.invalidate()).await;
        becomes(&one, 1_000).await;
        becomes(&two, 1_000).await;
        held(&two).await;
    }

    async fn held_or_computed(cache: &Cache) {
        assert_eq!(cache.scope(value()).await, VALUE.load(Ordering::SeqCst));
    }
}
