//! Ten thousand callers of one key, over a real server.

use std::time::Duration;

use fast_cache::{Cache, Config, TieredBackend, cache};

use super::server::Server;
use super::{connect, is_skipped};
use crate::support::{Gate, settle};

const CALLERS: u64 = 10_000;

/// What happens to callers while they wait.
#[derive(Clone, Copy, Debug)]
enum Misfortune {
    None,
    /// Three of ten go away, the one that computes among them.
    SomeLeave,
    /// The one that computes panics.
    Panic,
}

#[cache(expire = 60, key = "stampede")]
async fn slow(gate: &Gate, panics: bool) -> u64 {
    let call = gate.pass().await;
    assert!(!panics || call > 1, "the first one breaks");
    call
}

/// How many reads a server has answered. Asked from another thread: this one is busy with callers.
async fn gets(url: String) -> u64 {
    let ask = move || {
        let client = redis::Client::open(url).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut info = redis::cmd("INFO");
        let text: String = info.arg("commandstats").query(&mut connection).unwrap();
        let calls = text.split("cmdstat_get:calls=").nth(1)?;
        calls.split(',').next()?.parse().ok()
    };
    let calls = tokio::task::spawn_blocking(ask).await.unwrap();
    calls.unwrap_or_default()
}

async fn stampede(has_two_tiers: bool, misfortune: Misfortune) {
    let server = Server::start(&[]);
    let backend = connect(&server).await;
    let config = match has_two_tiers {
        true => Config::new(TieredBackend::new(backend)),
        false => Config::new(backend),
    };
    let cache = Cache::new(config.invalidation_delay(Duration::from_secs(60)));
    let gate = Gate::new();
    let panics = matches!(misfortune, Misfortune::Panic);
    let mut tasks: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (cache, gate) = (cache.clone(), gate.clone());
            tokio::spawn(async move { cache.scope(slow(&gate, panics)).await })
        })
        .collect();
    // Each looks for itself first.
    while gets(server.url()).await < CALLERS {
        tokio::task::yield_now().await;
    }
    while gate.calls.get() == 0 {
        tokio::task::yield_now().await;
    }
    settle().await;
    assert_eq!(gate.calls.get(), 1, "{misfortune:?}");
    let expected = match misfortune {
        Misfortune::None => 1,
        Misfortune::SomeLeave => 2,
        Misfortune::Panic => 2,
    };
    if let Misfortune::SomeLeave = misfortune {
        for (number, task) in tasks.iter().enumerate() {
            if number % 10 < 3 {
                task.abort();
            }
        }
        settle().await;
        tasks.retain(|task| !task.is_finished());
        assert_eq!(tasks.len() as u64, CALLERS / 10 * 7);
    }
    gate.open();
    let mut broken = 0;
    for task in tasks {
        match task.await {
            Ok(value) if panics => assert_ne!(value, 1),
            Ok(value) => assert_eq!(value, expected, "{misfortune:?}"),
            Err(error) => broken += u64::from(error.is_panic()),
        }
    }
    assert_eq!(broken, u64::from(panics));
    match panics {
        false => assert_eq!(gate.calls.get(), expected, "{misfortune:?}"),
        // All who wait then compute at once. Those who come later find a value.
        true => assert!(gate.calls.get() >= expected),
    }
}

#[tokio::test]
async fn many_callers_make_one_call() {
    if is_skipped() {
        return;
    }
    for has_two_tiers in [false, true] {
        stampede(has_two_tiers, Misfortune::None).await;
        stampede(has_two_tiers, Misfortune::SomeLeave).await;
        stampede(has_two_tiers, Misfortune::Panic).await;
    }
}
