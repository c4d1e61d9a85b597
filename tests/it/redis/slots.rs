//! A slot of a cluster that is on its way from one master to another.

use std::time::Duration;

use bytes::Bytes;
use fast_cache::{Backend, Error, RedisBackend, RedisOptions};
use futures_util::future;

use super::server::{self, Server};
use super::{eventually, is_skipped};

const KEYS: u64 = 64;

/// The keys share a slot, since they have the same text in braces.
fn key(n: u64) -> String {
    format!("{{shop}}:{n}")
}

fn value(n: u64) -> Bytes {
    Bytes::from(format!("{n}, and more than a tombstone has"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_has_moved_by_half_serves_every_caller() {
    if is_skipped() {
        return;
    }
    let servers = server::cluster().await;
    let options = RedisOptions::new().response_timeout(Duration::from_secs(1));
    let backend = options.connect_cluster([servers[0].url()]).await.unwrap();
    write_all(&backend).await;
    let moving = Moving::begin(&servers, &key(0)).await;
    moving.move_keys(KEYS / 2).await;
    for _ in 0..20 {
        read_all(&backend).await;
        write_all(&backend).await;
    }
    for key in [moving.from.a_key().await, moving.to.a_key().await] {
        backend.set(&key, value(KEYS), None).await.unwrap();
        one_replaces(&backend, &key, Some(&value(KEYS))).await;
    }
    one_replaces(&backend, &key(KEYS), None).await;

    assert_eq!(backend.clear("{shop}:").await.unwrap(), KEYS + 1);
    for server in &servers {
        assert_eq!(server.command::<u64>("DBSIZE").await, 0);
    }
    write_all(&backend).await;
    moving.finish(&servers).await;
    // The client looks up the slots again, and may get stuck in it and be replaced.
    eventually(|| try_read_all(&backend)).await;
    assert_eq!(eventually(|| backend.clear("{shop}:")).await, KEYS);
}

/// Stores every value at once.
async fn write_all(backend: &RedisBackend) {
    let write = async |n| backend.set(&key(n), value(n), None).await;
    future::try_join_all((0..KEYS).map(write)).await.unwrap();
}

/// Reads every value at once.
async fn read_all(backend: &RedisBackend) {
    try_read_all(backend).await.unwrap();
}

async fn try_read_all(backend: &RedisBackend) -> Result<(), Error> {
    let read = async |n| backend.get(&key(n)).await;
    // Callers do not give up because of one another: each timeout tells of a stuck connection.
    for (n, there) in (0..).zip(future::join_all((0..KEYS).map(read)).await) {
        assert_eq!(there?, Some(value(n)));
    }
    Ok(())
}

/// Of 64 callers that have seen the same, one stores.
async fn one_replaces(backend: &RedisBackend, key: &str, seen: Option<&[u8]>) {
    let replace = async |n| {
        let value = Bytes::from(format!("by {n}, and more than a tombstone has"));
        backend.replace(key, seen, value, None).await
    };
    let stored = future::try_join_all((0..64).map(replace)).await.unwrap();
    assert_eq!(stored.into_iter().filter(|stored| *stored).count(), 1);
}

/// A slot that was told to move; its keys move one by one.
pub(super) struct Moving<'a> {
    slot: String,
    from: &'a Server,
    to: &'a Server,
}

impl<'a> Moving<'a> {
    /// Begins to move the slot of a key that is there away from its master.
    pub(super) async fn begin(servers: &'a [Server], key: &str) -> Self {
        let slot: u64 = servers[0].command(&["CLUSTER", "KEYSLOT", key]).await;
        let slot = slot.to_string();
        let mut owner = 0;
        for (index, server) in servers.iter().enumerate() {
            let command = ["CLUSTER", "COUNTKEYSINSLOT", &slot];
            if server.command::<u64>(&command).await > 0 {
                owner = index;
            }
        }
        let moving = Self {
            slot,
            from: &servers[owner],
            to: &servers[(owner + 1) % servers.len()],
        };
        moving.set(moving.to, "IMPORTING", moving.from).await;
        moving.set(moving.from, "MIGRATING", moving.to).await;
        moving
    }

    /// Moves up to this many keys.
    pub(super) async fn move_keys(&self, count: u64) {
        let count = count.to_string();
        let command = ["CLUSTER", "GETKEYSINSLOT", &self.slot, &count];
        let keys: Vec<String> = self.from.command(&command).await;
        let port = self.to.port().to_string();
        for key in keys {
            let command = ["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"];
            self.from.command::<()>(&command).await;
        }
    }

    /// Moves what is left, and the slot itself.
    async fn finish(&self, servers: &[Server]) {
        self.move_keys(KEYS).await;
        self.set(self.to, "NODE", self.to).await;
        for server in servers {
            self.set(server, "NODE", self.to).await;
        }
    }

    async fn set(&self, server: &Server, state: &str, other: &Server) {
        let id: String = other.command(&["CLUSTER", "MYID"]).await;
        let command = ["CLUSTER", "SETSLOT", &self.slot, state, &id];
        server.command::<()>(&command).await;
    }
}

impl Server {
    async fn a_key(&self) -> String {
        self.command("RANDOMKEY").await
    }
}
