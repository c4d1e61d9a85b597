//! One computation per key, in however many processes.

use std::sync::Arc;
use std::time::Duration;

use fast_cache::{Cache, Config, cache};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::support::{Calls, Remote};

/// A computation that says when it begins, and then waits.
#[derive(Clone, Default)]
struct Gate {
    began: Arc<Notify>,
    go_on: Arc<Notify>,
    calls: Arc<Calls>,
}

#[cache(expire = 60, key = "slow", lock)]
async fn slow(gate: &Gate, value: &'static str) -> String {
    gate.calls.next();
    gate.began.notify_one();
    gate.go_on.notified().await;
    value.to_owned()
}

fn call(process: &Cache, gate: &Gate, value: &'static str) -> JoinHandle<String> {
    let (process, gate) = (process.clone(), gate.clone());
    tokio::spawn(async move { process.scope(slow(&gate, value)).await })
}

/// Waits until a process waits for another one.
async fn waits(process: &Cache) {
    while process.stats().lock_waits == 0 {
        tokio::task::yield_now().await;
    }
}

fn processes(lease: Duration) -> [Cache; 2] {
    let remote = Remote::default();
    [(); 2].map(|()| Cache::new(Config::new(remote.clone()).lease(lease)))
}

#[tokio::test]
async fn who_comes_second_gets_the_value_of_the_first() {
    let [one, two] = processes(Duration::from_secs(60));
    let gate = Gate::default();
    let first = call(&one, &gate, "first");
    gate.began.notified().await;
    let second = call(&two, &gate, "second");
    waits(&two).await;
    gate.go_on.notify_one();
    assert_eq!(first.await.unwrap(), "first");
    assert_eq!(second.await.unwrap(), "first");
    assert_eq!(gate.calls.get(), 1);
    assert_eq!((two.stats().hits, two.stats().lock_waits), (1, 1));
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_the_lock_back() {
    let [one, two] = processes(Duration::from_secs(60));
    let gate = Gate::default();
    let first = call(&one, &gate, "first");
    gate.began.notified().await;
    let second = call(&two, &gate, "second");
    waits(&two).await;
    first.abort();
    gate.began.notified().await;
    gate.go_on.notify_one();
    assert_eq!(second.await.unwrap(), "second");
}

#[tokio::test]
async fn nobody_waits_longer_than_the_lease() {
    let [one, two] = processes(Duration::from_millis(30));
    let gate = Gate::default();
    let first = call(&one, &gate, "first");
    gate.began.notified().await;
    let second = call(&two, &gate, "second");
    gate.began.notified().await;
    gate.go_on.notify_waiters();
    // Both return what they computed, and the one that was stored first stays.
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((&*first, &*second), ("first", "second"));
    assert_eq!(one.stats().stored + two.stats().stored, 1);
    assert_eq!(gate.calls.get(), 2);
}

#[tokio::test]
async fn without_a_store_there_is_no_lock_and_no_error_for_the_caller() {
    let remote = Remote::default();
    remote.fail(true);
    let cache = Cache::new(Config::new(remote).lock(true));
    let gate = Gate::default();
    gate.go_on.notify_one();
    assert_eq!(cache.scope(slow(&gate, "value")).await, "value");
    assert_eq!(
        (cache.stats().lock_waits, cache.stats().backend_errors),
        (0, 1)
    );
}

#[cfg(feature = "redis")]
mod fleet {
    use std::process::{Command, Stdio};

    use fast_cache::RedisOptions;
    use futures_util::future;

    use super::*;
    use crate::redis::server::Server;
    use crate::redis::server_url;

    const PROCESSES: u64 = 4;
    const CALLERS: u64 = 1000;
    const URL: &str = "FAST_CACHE_TEST_FLEET";

    #[tokio::test]
    async fn four_processes_with_a_thousand_callers_each_make_one_call() {
        if server_url().is_none() {
            return;
        }
        let server = Server::start(&[]);
        let workers: Vec<_> = (0..PROCESSES)
            .map(|_| {
                Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "lock::fleet::worker", "--ignored"])
                    .env(URL, server.url())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for worker in workers {
            let output = worker.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        assert_eq!(server.command::<u64>(&["GET", "calls"]).await, 1);
        assert_eq!(
            server.command::<u64>(&["GET", "answers"]).await,
            PROCESSES * CALLERS
        );
    }

    #[tokio::test]
    #[ignore = "runs in processes that the test above starts"]
    async fn worker() {
        let url = std::env::var(URL).unwrap();
        let client = redis::Client::open(&*url).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut count = async |name: &str| -> u64 {
            let mut command = redis::cmd("INCR");
            command.arg(name);
            command.query_async(&mut connection).await.unwrap()
        };
        count("arrived").await;

        #[cache(expire = 60, key = "answer", lock)]
        async fn answer(client: &redis::Client) -> u64 {
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            let mut send = async |name: &str| -> u64 {
                let mut command = redis::cmd(name);
                command.arg(if name == "GET" { "arrived" } else { "calls" });
                command.query_async(&mut connection).await.unwrap()
            };
            send("INCR").await;
            // The others are there before this one is done.
            while send("GET").await < PROCESSES {}
            42
        }

        // Patience for a machine that does other things.
        let options = RedisOptions::new().response_timeout(Duration::from_secs(10));
        let backend = options.connect(&url).await.unwrap();
        let cache = Cache::new(Config::new(backend).prefix("fleet"));
        let calls = (0..CALLERS).map(|_| cache.scope(answer(&client)));
        for answer in future::join_all(calls).await {
            assert_eq!(answer, 42);
            count("answers").await;
        }
    }
}
