//! `RedisBackend`, against real servers.
//!
//! The tests run where `FAST_CACHE_TEST_REDIS` holds the URL of a server, of which they use a few
//! keys. Those that stop, fill or misconfigure servers start their own, and need `redis-server`,
//! `redis-cli` and `openssl`.

mod bus;
#[cfg(feature = "json")]
mod outages;
mod replacing;
mod rights;
pub(crate) mod server;
mod slots;
#[cfg(feature = "json")]
mod stampede;

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use fast_cache::{Backend, Cache, Error, RedisBackend, RedisOptions, cache};
#[cfg(feature = "json")]
use fast_cache::{Config, ErrorKind};
use futures_util::future;
use futures_util::stream::{self, StreamExt as _};
use redis::aio::ConnectionManagerConfig;
use redis::cluster::ClusterClient;

use self::server::{Certificates, Server};

/// The URL of the server to test against, or `None`, loudly, where there is none. On CI that is a
/// failure.
pub(crate) fn server_url() -> Option<String> {
    let url = std::env::var("FAST_CACHE_TEST_REDIS").ok();
    if url.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "FAST_CACHE_TEST_REDIS must be set on CI"
        );
        eprintln!("SKIPPED, NOT TESTED: set FAST_CACHE_TEST_REDIS=redis://.. to test RedisBackend");
    }
    url
}

fn is_skipped() -> bool {
    server_url().is_none()
}

/// How long an answer may take on a machine that runs many servers at once.
const PATIENCE: Duration = Duration::from_secs(3);

fn options() -> RedisOptions {
    RedisOptions::new()
        .connect_timeout(Duration::from_secs(10))
        .response_timeout(PATIENCE)
}

async fn connect(server: &Server) -> RedisBackend {
    options().connect(&server.url()).await.unwrap()
}

/// An error as a log shows it, with all its causes.
fn whole(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    text
}

/// Tries until it works, as a cache does with every call.
async fn eventually<T, F: Future<Output = Result<T, Error>>>(attempt: impl Fn() -> F) -> T {
    let limit = Duration::from_secs(60);
    let trying = async {
        loop {
            if let Ok(value) = attempt().await {
                return value;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(limit, trying).await.unwrap()
}

/// What every backend promises, whatever it is connected to. The keys start with `prefix`.
async fn keeps_the_contract(backend: &RedisBackend, prefix: &str) {
    let key = |name: &str| format!("{prefix}:{name}");
    let all_bytes: Bytes = (0..=255).collect();
    assert_eq!(backend.get(&key("a")).await.unwrap(), None);
    backend
        .set(&key("a"), all_bytes.clone(), None)
        .await
        .unwrap();
    assert_eq!(backend.get(&key("a")).await.unwrap(), Some(all_bytes));
    backend
        .set(&key("a"), Bytes::new(), Some(Duration::from_secs(60)))
        .await
        .unwrap();
    assert_eq!(backend.get(&key("a")).await.unwrap(), Some(Bytes::new()));

    let large = Bytes::from(vec![7; 4 << 20]);
    backend.set(&key("b"), large.clone(), None).await.unwrap();
    assert_eq!(backend.get(&key("b")).await.unwrap(), Some(large));
    backend
        .set(&key("b"), Bytes::new(), Some(Duration::ZERO))
        .await
        .unwrap();
    while backend.get(&key("b")).await.unwrap().is_some() {}
    backend
        .set(&key("b"), Bytes::new(), Some(Duration::MAX))
        .await
        .unwrap();

    let value = Bytes::from_static(b"longer than a tombstone");
    let names = ["x*:1", "x*:2", "xy:1", r"x\*:1", "x?:1", "x[xy]:1", "x^-:1"];
    for name in names {
        backend.set(&key(name), value.clone(), None).await.unwrap();
    }
    assert_eq!(backend.clear(&key("x*")).await.unwrap(), 2);
    assert_eq!(backend.clear(&key("x?")).await.unwrap(), 1);
    assert_eq!(backend.clear(&key("x[xy]")).await.unwrap(), 1);
    assert_eq!(backend.clear(&key(r"x\")).await.unwrap(), 1);
    assert_eq!(backend.clear(&key("nothing")).await.unwrap(), 0);
    // What is as short as a tombstone stays, and does not count.
    assert_eq!(backend.clear(prefix).await.unwrap(), 2);
    for name in ["a", "b"] {
        assert_eq!(backend.get(&key(name)).await.unwrap(), Some(Bytes::new()));
        remove(backend, &key(name)).await;
    }
}

async fn remove(backend: &RedisBackend, key: &str) {
    let gone = Some(Duration::ZERO);
    backend.set(key, Bytes::new(), gone).await.unwrap();
    while backend.get(key).await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_server_keeps_the_contract() {
    let Some(url) = server_url() else { return };
    let prefix = format!("fast-cache-test-{}", std::process::id());
    let backend = options().connect(&url).await.unwrap();
    keeps_the_contract(&backend, &prefix).await;

    let client = redis::Client::open(url).unwrap();
    let config = ConnectionManagerConfig::new().set_response_timeout(Some(PATIENCE));
    let manager = client.get_connection_manager_with_config(config).await;
    let shared = RedisBackend::from(manager.unwrap()).response_timeout(PATIENCE);
    keeps_the_contract(&shared, &prefix).await;
}

#[tokio::test]
async fn the_newer_protocol_and_other_databases_work() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&[]);
    let url = format!("{}/3?protocol=resp3", server.url());
    let backend = options().connect(&url).await.unwrap();
    keeps_the_contract(&backend, "test").await;
    backend.set("kept", Bytes::new(), None).await.unwrap();
    let keyspace: String = server.command(&["INFO", "keyspace"]).await;
    assert!(keyspace.contains("db3:keys=1"), "{keyspace}");
}

#[cache(expire = "1500ms", namespace = "doubles", key = "{n}")]
async fn double(n: u64) -> u64 {
    n * 2
}

#[cfg(feature = "json")]
#[tokio::test]
async fn a_hit_is_one_get_and_a_write_is_one_set_in_milliseconds() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&[]);
    let config = Config::new(connect(&server).await).prefix("shop");
    let cache = Cache::new(config.invalidation_delay(Duration::from_secs(60)));
    assert_eq!(cache.scope(double(1)).await, 2);
    let ttl: i64 = server.command(&["PTTL", "shop:doubles:1"]).await;
    assert!((1..=1500).contains(&ttl), "{ttl}");
    // The value, and the barriers of the cache and the namespace.
    assert_eq!(server.calls("set").await, 3);

    server.command::<()>(&["CONFIG", "RESETSTAT"]).await;
    server.command::<()>(&["PERSIST", "shop:doubles:1"]).await;
    assert_eq!(cache.scope(double(1)).await, 2);
    assert_eq!(cache.stats().hits, 1);
    assert_eq!(server.calls("get").await, 1);
    let others = ["set", "psetex", "ping", "exists", "pttl", "unlink", "scan"];
    for command in others {
        assert_eq!(server.calls(command).await, 0, "{command}");
    }
}

#[tokio::test]
async fn one_namespace_of_three_is_cleared_among_100_000_keys() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&[]);
    let backend = connect(&server).await;
    fill(&backend, 100_000).await;
    assert_eq!(server.command::<u64>("DBSIZE").await, 100_000);

    assert_eq!(backend.clear("shop:n1:").await.unwrap(), 33_333);
    assert_eq!(server.command::<u64>("DBSIZE").await, 66_667);
    assert_eq!(backend.clear("shop:n1:").await.unwrap(), 0);
    assert!(backend.get("shop:n0:0").await.unwrap().is_some());
    assert_eq!(server.calls("keys").await, 0);
    assert_eq!(server.calls("del").await, 0);
    assert!(server.calls("eval").await <= 10 * server.calls("scan").await);
}

/// Stores this many keys, evenly in three namespaces.
async fn fill(backend: &RedisBackend, keys: u64) {
    stream::iter(0..keys)
        .map(|n| async move {
            let key = format!("shop:n{}:{n}", n % 3);
            let value = Bytes::from_static(b"longer than a tombstone");
            backend.set(&key, value, None).await
        })
        .buffer_unordered(64)
        .for_each(async |stored| stored.unwrap())
        .await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract_and_is_cleared_on_every_master() {
    if is_skipped() {
        return;
    }
    let servers = server::cluster().await;
    let backend = options().connect_cluster([servers[0].url()]).await.unwrap();
    keeps_the_contract(&backend, "test").await;

    fill(&backend, 30_000).await;
    for server in &servers {
        assert!(server.command::<u64>("DBSIZE").await > 5_000);
    }
    assert_eq!(backend.clear("shop:n1:").await.unwrap(), 10_000);
    let mut left = 0;
    for server in &servers {
        left += server.command::<u64>("DBSIZE").await;
        assert_eq!(server.calls("keys").await, 0);
    }
    assert_eq!(left, 20_000);

    let client = ClusterClient::builder([servers[1].url()])
        .response_timeout(PATIENCE)
        .build()
        .unwrap();
    let connection = client.get_async_connection().await.unwrap();
    let shared = RedisBackend::from(connection).response_timeout(PATIENCE);
    assert_eq!(shared.clear("shop:n2:").await.unwrap(), 10_000);
}

#[tokio::test]
async fn a_cluster_that_lost_a_master_does_not_pretend_to_be_cleared() {
    if is_skipped() {
        return;
    }
    let mut servers = server::cluster().await;
    let backend = options().connect_cluster([servers[0].url()]).await.unwrap();
    fill(&backend, 300).await;
    servers[2].kill();
    assert!(backend.clear("shop:").await.is_err());
    servers[2].restart(&[]);
    eventually(|| fill_again(&backend)).await;
    assert!(eventually(|| backend.clear("shop:")).await > 0);
    for server in &servers {
        assert_eq!(server.command::<u64>("DBSIZE").await, 0);
    }
}

#[tokio::test]
async fn a_hanging_server_of_a_cluster_harms_its_own_keys_alone() {
    if is_skipped() {
        return;
    }
    let servers = server::cluster().await;
    let backend = options().connect_cluster([servers[0].url()]).await.unwrap();
    fill(&backend, 300).await;
    let read_all = || async {
        let keys = (0..300).map(|n| format!("shop:n{}:{n}", n % 3));
        future::join_all(keys.map(async |key| backend.get(&key).await)).await
    };
    servers[2].signal("STOP");
    let answers = read_all().await;
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    assert!((50..150).contains(&failed), "{failed}");
    assert!(backend.clear("shop:").await.is_err());
    servers[2].signal("CONT");
    eventually(|| async { read_all().await.into_iter().collect::<Result<Vec<_>, _>>() }).await;
}

async fn fill_again(backend: &RedisBackend) -> Result<(), Error> {
    for n in 0..30 {
        let value = Bytes::from_static(b"longer than a tombstone");
        backend.set(&format!("shop:n0:{n}"), value, None).await?;
    }
    Ok(())
}

#[tokio::test]
async fn tls_and_acl_are_used_and_no_error_shows_a_secret() {
    if is_skipped() {
        return;
    }
    let certificates = Certificates::make();
    let rules = "--user cache on >s3cr3t/! ~shop:* ~~shop:* +get +set +eval +getrange +exists +unlink +scan +strlen --user default off";
    let rules: Vec<_> = rules.split(' ').collect();
    let server = Server::start_tls(&certificates, &rules);
    let url = |password: &str| format!("rediss://cache:{password}@{}", server.address());
    let options = options().ca_certificate(certificates.authority());

    let backend = options.connect(&url("s3cr3t%2F%21")).await.unwrap();
    keeps_the_contract(&backend, "shop").await;
    let denied = backend.get("elsewhere").await.unwrap_err();
    assert!(whole(&denied).contains("NoPerm"), "{}", whole(&denied));

    let wrong = options.connect(&url("hunter2%2F")).await.unwrap_err();
    assert!(
        whole(&wrong).contains("AuthenticationFailed"),
        "{}",
        whole(&wrong)
    );
    let untrusted = RedisOptions::new().connect(&url("s3cr3t%2F%21")).await;
    let untrusted = untrusted.unwrap_err();
    let text = whole(&untrusted);
    assert!(text.contains("certificate"), "{text}");
    let malformed = RedisOptions::new()
        .connect("redis://cache:hunter2@[::")
        .await;
    let database = RedisOptions::new()
        .connect("redis://cache:hunter2@localhost/hunter2")
        .await;
    let plain = url("s3cr3t%2F%21").replace("rediss", "redis");
    let plain = RedisOptions::new().connect(&plain).await;

    let errors = [
        denied,
        wrong,
        untrusted,
        malformed.unwrap_err(),
        database.unwrap_err(),
        plain.unwrap_err(),
    ];
    let shown = errors.iter().map(whole).collect::<String>();
    for text in [shown, format!("{backend:?} {options:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!text.contains("s3cr3t"), "{text}");
        assert!(!text.contains("BEGIN"), "{text}");
    }
}

#[tokio::test]
async fn a_cluster_is_reached_through_tls() {
    if is_skipped() {
        return;
    }
    let certificates = Certificates::make();
    let server = server::tls_cluster(&certificates);
    let options = options().ca_certificate(certificates.authority());
    let url = format!("rediss://{}", server.address());
    let backend = options.connect_cluster([&url]).await.unwrap();
    keeps_the_contract(&backend, "test").await;
    assert!(RedisOptions::new().connect_cluster([&url]).await.is_err());
}

#[tokio::test]
async fn a_wrong_password_is_an_error_and_a_later_right_one_heals() {
    if is_skipped() {
        return;
    }
    let mut server = Server::start(&["--requirepass", "right"]);
    let url = |password| format!("redis://:{password}@{}", server.address());
    assert!(options().connect(&url("wrong")).await.is_err());
    let backend = options().connect(&url("right")).await.unwrap();
    backend.set("a", Bytes::new(), None).await.unwrap();
    server.kill();
    server.restart(&["--requirepass", "changed"]);
    for _ in 0..10 {
        assert!(backend.get("a").await.is_err());
    }
    let error = backend.get("a").await.unwrap_err();
    assert!(whole(&error).contains("AuthenticationFailed"));
    server.kill();
    server.restart(&[]);
    assert_eq!(eventually(|| backend.get("a")).await, None);
}

#[tokio::test]
async fn a_server_that_is_killed_and_restarted_is_found_again() {
    if is_skipped() {
        return;
    }
    let mut server = Server::start(&[]);
    let cache = Cache::new(connect(&server).await);
    let backend = connect(&server).await;
    assert_eq!(cache.scope(double(20)).await, 40);

    server.kill();
    assert!(backend.get("a").await.is_err());
    assert!(backend.set("a", Bytes::new(), None).await.is_err());
    assert_eq!(cache.scope(double(20)).await, 40);
    assert_eq!((cache.stats().hits, cache.stats().misses), (0, 2));

    server.restart(&[]);
    eventually(|| backend.set("a", Bytes::from_static(b"1"), None)).await;
    assert_eq!(backend.get("a").await.unwrap().unwrap(), "1");
}

#[tokio::test]
async fn a_server_that_hangs_costs_the_timeout_and_answers_nobody_else() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&[]);
    let backend = connect(&server).await;
    for n in 0..100 {
        let value = Bytes::from(n.to_string());
        backend.set(&n.to_string(), value, None).await.unwrap();
    }
    let read = async |n: u32| backend.get(&n.to_string()).await;
    server.signal("STOP");
    let hanging = future::join_all((0..50).map(read)).await;
    assert!(hanging.iter().all(Result::is_err));
    assert!(whole(hanging[0].as_ref().unwrap_err()).contains("in time"));
    let impatient = options().connect_timeout(Duration::from_millis(50));
    assert!(impatient.connect(&server.url()).await.is_err());
    server.signal("CONT");
    eventually(|| backend.get("0")).await;
    let answers = future::join_all((0..100).map(read)).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap().unwrap(), n.to_string());
    }
}

#[tokio::test]
async fn dropped_commands_leave_the_connection_in_order() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&[]);
    let backend = connect(&server).await;
    fill(&backend, 300).await;
    for round in 0..300_u64 {
        let key = format!("shop:n{}:{round}", round % 3);
        // Each round drops the command after another number of polls, and clears as well.
        let mut polls = 0;
        let mut command = Box::pin(async {
            let _ = backend.get(&key).await;
            let _ = backend.clear("nothing").await;
        });
        future::poll_fn(|context| {
            polls += 1;
            match command.as_mut().poll(context) {
                _ if polls > round % 5 => std::task::Poll::Ready(()),
                poll => poll,
            }
        })
        .await;
        drop(command);
        let value = Bytes::from(round.to_string());
        backend.set("mine", value.clone(), None).await.unwrap();
        assert_eq!(backend.get("mine").await.unwrap(), Some(value));
    }
}

#[cfg(feature = "json")]
#[tokio::test]
async fn a_key_of_another_type_cannot_be_decoded_and_is_overwritten() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&[]);
    let backend = connect(&server).await;
    server
        .command::<()>(&["RPUSH", "shop:doubles:30", "x"])
        .await;
    let error = backend.get("shop:doubles:30").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);

    let cache = Cache::new(Config::new(backend).prefix("shop"));
    assert_eq!(cache.scope(double(30)).await, 60);
    assert_eq!(cache.scope(double(30)).await, 60);
    assert_eq!(cache.stats().hits, 1);
}

#[tokio::test]
async fn a_replica_is_read_from_and_refuses_writes() {
    if is_skipped() {
        return;
    }
    let master = Server::start(&[]);
    let port = master.port().to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]);
    let backend = connect(&replica).await;
    let value = Bytes::from_static(b"value");
    connect(&master)
        .await
        .set("a", value.clone(), None)
        .await
        .unwrap();
    let arrived = || async {
        let found = backend.get("a").await?;
        found.ok_or_else(|| Error::backend("not yet"))
    };
    assert_eq!(eventually(arrived).await, value);
    let set = backend.set("a", Bytes::new(), None).await;
    let added = backend.replace("b", None, Bytes::new(), None).await;
    let replaced = backend.replace("a", Some(b"v"), Bytes::new(), None).await;
    for error in [set.unwrap_err(), added.unwrap_err(), replaced.unwrap_err()] {
        assert!(whole(&error).contains("replica"), "{}", whole(&error));
    }
    let cache = Cache::new(backend);
    assert_eq!(cache.scope(double(45)).await, 90);
    assert_eq!(cache.stats().stored, 0);
}

#[tokio::test]
async fn a_script_that_is_forbidden_is_named() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&["--rename-command", "EVAL", ""]);
    let backend = connect(&server).await;
    let value = Bytes::from_static(b"value");
    assert!(
        backend
            .replace("a", None, value.clone(), None)
            .await
            .unwrap()
    );
    let error = backend.replace("a", Some(b"v"), value, None).await;
    let error = whole(&error.unwrap_err());
    assert!(
        error.contains("EVAL") && !error.contains("value"),
        "{error}"
    );
}

#[cfg(feature = "json")]
#[tokio::test]
async fn slots_move_between_masters_while_values_are_read_and_written() {
    if is_skipped() {
        return;
    }
    #[cache(expire = 60, key = "{n}")]
    async fn triple(n: u64) -> u64 {
        n * 3
    }

    let servers = server::cluster().await;
    let backend = RedisOptions::new()
        .connect_cluster([servers[0].url()])
        .await
        .unwrap();
    let cache = Cache::new(backend);
    let call_all = || async {
        let calls = (0..200).map(|n| cache.scope(triple(n)));
        let limit = Duration::from_secs(5);
        let answers = tokio::time::timeout(limit, future::join_all(calls)).await;
        let answers = answers.expect("the calls took longer than their budget");
        assert!(answers.iter().zip(0..).all(|(answer, n)| *answer == n * 3));
    };
    call_all().await;
    let moving = {
        let [from, to] = [servers[0].address(), servers[1].address()];
        tokio::task::spawn_blocking(move || server::move_slots(&from, &to, 1000))
    };
    while !moving.is_finished() {
        call_all().await;
    }
    moving.await.unwrap();
    // The connection learns where the slots are now from what fails.
    let settled = || async {
        let before = cache.stats();
        call_all().await;
        let after = cache.stats();
        let is_settled = after.hits - before.hits == 200;
        is_settled
            .then_some(())
            .ok_or_else(|| Error::backend("not yet"))
    };
    eventually(settled).await;
    eventually(|| cache.clear()).await;
    for server in &servers {
        let keys: Vec<String> = server.command(&["KEYS", "*"]).await;
        assert!(keys.iter().all(|key| key.starts_with('~')), "{keys:?}");
    }
}

#[tokio::test]
async fn a_full_server_refuses_writes_and_still_reads() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let backend = connect(&server).await;
    backend
        .set("a", Bytes::from_static(b"1"), None)
        .await
        .unwrap();
    server
        .command::<()>(&["CONFIG", "SET", "maxmemory", "1"])
        .await;
    let error = backend.set("b", Bytes::new(), None).await.unwrap_err();
    assert!(whole(&error).contains("OOM"), "{}", whole(&error));
    assert_eq!(backend.get("a").await.unwrap().unwrap(), "1");

    let cache = Cache::new(backend);
    assert_eq!(cache.scope(double(40)).await, 80);
    assert_eq!(cache.stats().stored, 0);
}

#[tokio::test]
async fn a_command_that_the_server_does_not_know_shows_no_value() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&["--rename-command", "SET", "PUT"]);
    let backend = connect(&server).await;
    let value = Bytes::from_static(b"hunter2");
    let error = backend.set("a", value, None).await.unwrap_err();
    assert!(whole(&error).contains("does not know"), "{}", whole(&error));
    assert!(!whole(&error).contains("hunter2"), "{}", whole(&error));
}

#[tokio::test]
async fn a_service_is_followed_to_its_new_master() {
    if is_skipped() {
        return;
    }
    let mut master = Server::start(&[]);
    let origin = format!("127.0.0.1 {}", master.port());
    let replica = Server::start(&["--replicaof", &origin]);
    let synchronized = || async {
        let text: String = replica.command(&["INFO", "replication"]).await;
        let is_up = text.contains("master_link_status:up");
        is_up.then_some(()).ok_or_else(|| Error::backend("not yet"))
    };
    eventually(synchronized).await;
    let sentinel = Server::start_sentinel(&master);
    let backend = options()
        .connect_sentinel([sentinel.url()], "cache")
        .await
        .unwrap();
    keeps_the_contract(&backend, "test").await;
    let unknown = options().connect_sentinel([sentinel.url()], "other").await;
    assert!(unknown.is_err());

    let known = || async {
        let replicas: Vec<redis::Value> =
            sentinel.command(&["SENTINEL", "REPLICAS", "cache"]).await;
        let is_known = !replicas.is_empty();
        is_known
            .then_some(())
            .ok_or_else(|| Error::backend("not yet"))
    };
    eventually(known).await;
    master.kill();
    assert!(backend.get("a").await.is_err());
    eventually(|| backend.set("a", Bytes::from_static(b"1"), None)).await;
    assert_eq!(replica.command::<String>(&["GET", "a"]).await, "1");
}
