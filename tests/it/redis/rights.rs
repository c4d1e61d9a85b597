//! What a user of Redis has to be allowed.

use std::time::Duration;

use bytes::Bytes;
use fast_cache::{Backend, Error, RedisBackend};

use super::server::{self, Server};
use super::slots::Moving;
use super::{is_skipped, options};

/// All that the backend does, on keys that start with `shop:` or `~shop:`.
const RULES: &str = "~shop:* ~~shop:* +get +set +eval +getrange +exists +scan +strlen +unlink";
/// What a cluster takes besides, the last while slots move.
const CLUSTER_RULES: &str = "+ping +cluster|slots +asking";

#[tokio::test]
async fn the_documented_rights_are_enough_and_each_is_needed() {
    if is_skipped() {
        return;
    }
    let server = Server::start(&[]);
    let rules: Vec<&str> = RULES.split(' ').collect();
    allow(&server, "all", &rules).await;
    use_all(&connect(&server, "all").await).await.unwrap();
    for (index, rule) in rules.iter().enumerate() {
        let mut fewer = rules.clone();
        fewer.remove(index);
        let user = format!("fewer{index}");
        allow(&server, &user, &fewer).await;
        server.command::<()>("FLUSHALL").await;
        let used = use_all(&connect(&server, &user).await).await;
        assert!(used.is_err(), "{rule} is not needed");
    }
}

#[tokio::test]
async fn a_cluster_takes_more_rights() {
    if is_skipped() {
        return;
    }
    let servers = server::cluster().await;
    let own: Vec<&str> = RULES.split(' ').collect();
    let more = CLUSTER_RULES.split(' ').filter(|rule| *rule != "+asking");
    let more: Vec<&str> = more.collect();
    let all = [&own[..], &more].concat();
    for server in &servers {
        allow(server, "all", &all).await;
    }
    let backend = connect_cluster(&servers, "all").await.unwrap();
    use_all(&backend).await.unwrap();
    for (index, rule) in more.iter().enumerate() {
        let mut fewer = all.clone();
        fewer.remove(own.len() + index);
        let user = format!("fewer{index}");
        for server in &servers {
            server.command::<()>("FLUSHALL").await;
            allow(server, &user, &fewer).await;
        }
        let used = match connect_cluster(&servers, &user).await {
            Ok(backend) => use_all(&backend).await,
            Err(error) => Err(error),
        };
        assert!(used.is_err(), "{rule} is not needed");
    }
}

#[tokio::test]
async fn a_slot_that_moves_takes_one_more() {
    if is_skipped() {
        return;
    }
    let servers = server::cluster().await;
    let rules = format!("{RULES} {CLUSTER_RULES} ~*");
    let rules: Vec<&str> = rules.split(' ').collect();
    let fewer: Vec<&str> = rules
        .iter()
        .copied()
        .filter(|rule| *rule != "+asking")
        .collect();
    for server in &servers {
        allow(server, "all", &rules).await;
        allow(server, "fewer", &fewer).await;
    }
    let all = connect_cluster(&servers, "all").await.unwrap();
    let fewer = connect_cluster(&servers, "fewer").await.unwrap();
    all.set("a", Bytes::from_static(b"1"), None).await.unwrap();
    let moving = Moving::begin(&servers, "a").await;
    moving.move_keys(1).await;
    assert_eq!(all.get("a").await.unwrap().unwrap(), "1");
    assert!(fewer.get("a").await.is_err());
}

/// Makes a user with these rights and no others.
async fn allow(server: &Server, user: &str, rules: &[&str]) {
    let start = ["ACL", "SETUSER", user, "on", ">secret"];
    server.command::<()>([&start[..], rules].concat()).await;
}

async fn connect(server: &Server, user: &str) -> RedisBackend {
    let url = format!("redis://{user}:secret@{}", server.address());
    options().connect(&url).await.unwrap()
}

async fn connect_cluster(servers: &[Server], user: &str) -> Result<RedisBackend, Error> {
    let url = format!("redis://{user}:secret@{}", servers[0].address());
    options().connect_cluster([url]).await
}

/// Does all that a cache does with its backend.
async fn use_all(backend: &RedisBackend) -> Result<(), Error> {
    let value = Bytes::from_static(b"longer than any tombstone is");
    let minute = Some(Duration::from_secs(60));
    for key in ["shop:users:1", "~shop:"] {
        assert!(backend.replace(key, None, value.clone(), minute).await?);
        assert!(
            backend
                .replace(key, Some(b"longer"), value.clone(), minute)
                .await?
        );
        assert!(
            !backend
                .replace(key, Some(b"other"), value.clone(), None)
                .await?
        );
        backend.set(key, value.clone(), None).await?;
        assert_eq!(backend.get(key).await?, Some(value.clone()));
    }
    // What is as short as a tombstone stays, and does not count.
    backend
        .set("shop:users:2", Bytes::from_static(b"short"), None)
        .await?;
    let removed = [
        backend.clear("shop:").await?,
        backend.clear("~shop:").await?,
    ];
    let stays = backend.get("shop:users:2").await?.is_some();
    match removed {
        [1, 1] if stays => Ok(()),
        _ => Err(Error::backend("it cannot tell a value from a tombstone")),
    }
}
