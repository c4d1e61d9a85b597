//! Servers and connections that go away while functions are called.

use std::time::Duration;

use bytes::Bytes;
use fast_cache::{Backend, Cache, Error, RedisOptions, cache};
use futures_util::future;

use super::server::{self, Server};
use super::{connect, eventually, is_skipped, whole};
use crate::proxy::Proxy;

#[cache(expire = 60, key = "{n}")]
async fn square(n: u64) -> u64 {
    n * n
}

/// Calls a function for many keys at once, and checks every answer.
async fn call_all(cache: &Cache) {
    let calls = (0..64).map(|n| cache.scope(async move { assert_eq!(square(n).await, n * n) }));
    tokio::time::timeout(Duration::from_secs(10), future::join_all(calls))
        .await
        .expect("the calls took longer than their budget");
}

/// Calls until everything is a hit again.
async fn recovers(cache: &Cache) {
    let recovering = async {
        let mut hits = 0;
        while hits < 64 {
            let before = cache.stats().hits;
            call_all(cache).await;
            hits = cache.stats().hits - before;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), recovering)
        .await
        .expect("it did not recover");
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_any_more_is_replaced() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&[]);
    let proxy = Proxy::start(&server.address()).await;
    let options = RedisOptions::new().response_timeout(Duration::from_millis(100));
    let url = format!("redis://{}", proxy.address());
    let cache = Cache::new(options.connect(&url).await.unwrap());
    recovers(&cache).await;

    proxy.abandon();
    call_all(&cache).await;
    assert!(cache.stats().backend_errors > 0, "nothing was broken");
    recovers(&cache).await;
}

#[tokio::test]
async fn a_master_of_a_cluster_may_be_killed_and_restarted_under_load() {
    if is_skipped() {
        return;
    }
    let mut servers = server::cluster().await;
    let options = RedisOptions::new().response_timeout(Duration::from_millis(500));
    let backend = options.connect_cluster([servers[0].url()]).await.unwrap();
    let cache = Cache::new(backend);
    recovers(&cache).await;
    let killing = async {
        tokio::task::yield_now().await;
        servers[2].kill();
    };
    future::join(call_all(&cache), killing).await;
    for _ in 0..3 {
        call_all(&cache).await;
    }
    let stats = cache.stats();
    assert!(
        stats.backend_errors > 0 && stats.decode_errors == 0,
        "{stats:?}"
    );
    servers[2].restart(&[]);
    recovers(&cache).await;
}

#[tokio::test]
async fn a_connection_to_one_master_may_fall_silent_under_load() {
    if is_skipped() {
        return;
    }
    let servers = server::cluster().await;
    let proxies = put_proxies_before(&servers).await;
    let options = RedisOptions::new().response_timeout(Duration::from_millis(100));
    let url = format!("redis://{}", proxies[0].address());
    let cache = Cache::new(options.connect_cluster([url]).await.unwrap());
    recovers(&cache).await;

    proxies[1].abandon();
    call_all(&cache).await;
    assert!(cache.stats().backend_errors > 0, "nothing was broken");
    recovers(&cache).await;
}

/// Makes the servers of a cluster tell everybody the addresses of proxies instead of their own.
async fn put_proxies_before(servers: &[Server]) -> Vec<Proxy> {
    let mut proxies = Vec::new();
    for server in servers {
        let proxy = Proxy::start(&server.address()).await;
        let address = proxy.address();
        let (_, port) = address.rsplit_once(':').unwrap();
        let command = ["CONFIG", "SET", "cluster-announce-port", port];
        server.command::<()>(&command).await;
        proxies.push(proxy);
    }
    let is_known = || async {
        for server in servers {
            let nodes: String = server.command(&["CLUSTER", "NODES"]).await;
            if !proxies.iter().all(|proxy| nodes.contains(&proxy.address())) {
                return Err(Error::backend("not yet"));
            }
        }
        Ok(())
    };
    eventually(is_known).await;
    proxies
}

#[tokio::test]
async fn writes_that_a_replica_refuses_do_not_each_make_a_connection() {
    if is_skipped() {
        return;
    }
    let master = Server::start(&[]);
    let origin = format!("127.0.0.1 {}", master.port());
    let replica = Server::start(&["--replicaof", &origin]);
    let backend = connect(&replica).await;
    let before = connections(&replica).await;
    for _ in 0..500 {
        let error = backend.set("a", Bytes::new(), None).await.unwrap_err();
        assert!(error.to_string().contains("READONLY"), "{error}");
    }
    let made = connections(&replica).await - before;
    assert!(made < 50, "{made}");
}

/// How many connections a server has had.
async fn connections(server: &Server) -> u64 {
    let text: String = server.command(&["INFO", "stats"]).await;
    text.lines()
        .find_map(|line| {
            line.strip_prefix("total_connections_received:")?
                .parse()
                .ok()
        })
        .unwrap()
}

#[tokio::test]
async fn a_replica_that_becomes_the_master_is_written_to() {
    if is_skipped() {
        return;
    }
    let master = Server::start(&[]);
    let origin = format!("127.0.0.1 {}", master.port());
    let replica = Server::start(&["--replicaof", &origin]);
    let backend = connect(&replica).await;
    assert!(backend.set("a", Bytes::new(), None).await.is_err());
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    eventually(|| backend.set("a", Bytes::new(), None)).await;
}

#[tokio::test]
async fn an_error_says_in_its_message_what_the_server_says() {
    if is_skipped() {
        return;
    }
    let mut server = Server::start(&["--rename-command", "EVAL", ""]);
    let backend = connect(&server).await;
    let value = Bytes::from_static(b"value");
    backend.set("a", value.clone(), None).await.unwrap();
    let forbidden = backend.replace("a", Some(b"v"), value, None).await;
    let forbidden = forbidden.unwrap_err();
    assert_eq!(
        forbidden.to_string(),
        "redis failed at EVAL: unknown command"
    );
    assert!(!whole(&forbidden).contains("value"));

    server.kill();
    let lost = backend.get("a").await.unwrap_err();
    assert_eq!(lost.to_string(), "redis failed at GET: I/O error");
    server.restart(&["--requirepass", "secret"]);
    let refused = connect(&server).await.get("a").await.unwrap_err();
    assert_eq!(refused.to_string(), "redis failed at GET: NOAUTH");
}

#[tokio::test]
async fn values_are_returned_where_scripts_are_forbidden() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&["--rename-command", "EVAL", ""]);
    let cache = Cache::new(connect(&server).await);
    recovers(&cache).await;
    // What was invalidated is marked by what only a script may replace.
    let invalidated = cache.scope(async { square::entry(3).invalidate().await });
    assert!(invalidated.await.unwrap());
    call_all(&cache).await;
    let stats = cache.stats();
    assert_eq!((stats.stored, stats.backend_errors), (64, 1));
}
