//! What a backend promises by itself.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Failure, Outcome, Subject, ensure};
use crate::{Backend as _, TOMBSTONE_BYTES};

const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

pub(super) async fn absence(subject: Subject) -> Outcome {
    let found = subject.get(&subject.key("nothing")).await?;
    ensure!(found.is_none(), "a key that was never written has a value");
    Ok(())
}

pub(super) async fn bytes(subject: Subject) -> Outcome {
    let all: Bytes = (0..=255).cycle().take(1024).collect();
    let lines = Bytes::from_static(b"END\r\n\r\nVALUE x 0 1\r\n$-1\r\n");
    for (name, value) in [("all", all), ("lines", lines), ("empty", Bytes::new())] {
        let key = subject.key(name);
        subject.set(&key, value.clone(), MINUTE).await?;
        let found = subject.get(&key).await?;
        ensure!(found == Some(value), "the {name} bytes came back otherwise");
    }
    Ok(())
}

pub(super) async fn overwriting(subject: Subject) -> Outcome {
    let (key, other) = (subject.key("key"), subject.key("other"));
    let second = Some(Duration::from_secs(1));
    subject
        .set(&key, Bytes::from_static(b"one"), second)
        .await?;
    subject.set(&key, Bytes::from_static(b"two"), None).await?;
    subject
        .set(&other, Bytes::from_static(b"one"), second)
        .await?;
    subject.gone(&other).await?;
    let found = subject.get(&key).await?;
    ensure!(
        found.is_some(),
        "it expired by the lifetime of the value before it"
    );
    ensure!(found.as_deref() == Some(b"two"), "it is the older value");
    subject.set(&key, Bytes::new(), MINUTE).await?;
    Ok(())
}

pub(super) async fn keys(subject: Subject) -> Outcome {
    let graphic: String = (b'!'..=b'~').map(char::from).collect();
    let rest = 250 - subject.key("").len();
    let names = [
        graphic,
        "x".repeat(rest),
        "x".repeat(rest - 1) + "y",
        "a".to_owned(),
        "A".to_owned(),
        "a:".to_owned(),
        "a/../b".to_owned(),
        "b".to_owned(),
    ];
    for name in &names {
        let value = Bytes::from(name.clone());
        subject.set(&subject.key(name), value, MINUTE).await?;
    }
    for name in &names {
        let found = subject.get(&subject.key(name)).await?;
        ensure!(
            found.as_deref() == Some(name.as_bytes()),
            "{name} reads as something else"
        );
    }
    Ok(())
}

pub(super) async fn large_values(subject: Subject) -> Outcome {
    let medium = Bytes::from(vec![7; 256 << 10]);
    let key = subject.key("medium");
    subject.set(&key, medium.clone(), MINUTE).await?;
    let found = subject.get(&key).await?;
    ensure!(found == Some(medium), "256 KiB came back otherwise");

    let large = Bytes::from(vec![9; 8 << 20]);
    let key = subject.key("large");
    let is_stored = subject.set(&key, large.clone(), MINUTE).await.is_ok();
    let found = subject.get(&key).await?;
    ensure!(
        !is_stored || found.is_none() || found.as_ref() == Some(&large),
        "8 MiB came back otherwise"
    );
    ensure!(
        is_stored || found.is_none(),
        "what was refused is there all the same"
    );
    Ok(())
}

pub(super) async fn expiry(subject: Subject) -> Outcome {
    for lifetime in [Duration::from_millis(1200), Duration::from_millis(50)] {
        let key = subject.key(&lifetime.as_millis().to_string());
        let began = Instant::now();
        let value = Bytes::from_static(b"value");
        subject.set(&key, value, Some(lifetime)).await?;
        subject.gone(&key).await?;
        // Stores count in whole milliseconds.
        ensure!(
            began.elapsed() + Duration::from_millis(1) >= lifetime,
            "a value of {lifetime:?} was gone too early"
        );
    }
    Ok(())
}

pub(super) async fn odd_lifetimes(subject: Subject) -> Outcome {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    let value = Bytes::from_static(b"value");
    let long = [DAY * 29, DAY * 31, DAY * 36_500, Duration::MAX];
    for (number, lifetime) in long.into_iter().enumerate() {
        let key = subject.key(&number.to_string());
        subject.set(&key, value.clone(), Some(lifetime)).await?;
        let found = subject.get(&key).await?;
        ensure!(found.is_some(), "a value of {lifetime:?} is gone at once");
        subject.set(&key, value.clone(), MINUTE).await?;
    }
    let key = subject.key("zero");
    subject.set(&key, value.clone(), MINUTE).await?;
    subject.set(&key, value, Some(Duration::ZERO)).await?;
    subject.gone(&key).await
}

/// A value to store over what was seen, and whether that works.
type Step = (Option<&'static [u8]>, &'static [u8], bool);

pub(super) async fn replacing(subject: Subject) -> Outcome {
    const STEPS: [Step; 10] = [
        (None, b"first", true),
        (None, b"second", false),
        (Some(b"fix"), b"third", false),
        (Some(b"first and more"), b"third", false),
        (Some(b"fir"), b"\x00\xff\r\n", true),
        (Some(b"\x00\xff"), b"fourth", true),
        (Some(b"fourth"), b"", true),
        (None, b"fifth", false),
        (Some(b""), b"fifth", true),
        (Some(b""), b"sixth", true),
    ];

    let key = subject.key("key");
    let mut there: &[u8] = b"";
    for (seen, value, expected) in STEPS {
        let new = Bytes::from_static(value);
        let stored = subject.replace(&key, seen, new, MINUTE).await?;
        ensure!(
            stored == expected,
            "over {there:?}, having seen {seen:?}, it answers {stored}"
        );
        if stored {
            there = value;
        }
        let found = subject.get(&key).await?;
        ensure!(
            found.as_deref() == Some(there),
            "having answered {stored}, it holds {found:?} and not {there:?}"
        );
    }
    replacing_what_expired(&subject).await
}

async fn replacing_what_expired(subject: &Subject) -> Outcome {
    let key = subject.key("expiring");
    let instant = Some(Duration::from_millis(50));
    for seen in [None, Some(&b"old"[..]), Some(b"what was never there")] {
        subject
            .set(&key, Bytes::from_static(b"old"), instant)
            .await?;
        subject.gone(&key).await?;
        let value = Bytes::from_static(b"new");
        let stored = subject.replace(&key, seen, value, instant).await?;
        ensure!(stored, "what has expired is still in the way of {seen:?}");
        let found = subject.get(&key).await?;
        ensure!(
            found.is_none() || found.as_deref() == Some(b"new"),
            "what has expired is there again"
        );
        subject.gone(&key).await?;
    }
    Ok(())
}

pub(super) async fn replacing_at_once(subject: Subject) -> Outcome {
    const CALLERS: u8 = 32;

    let key = subject.key("key");
    for seen in [None, Some(Bytes::from_static(b"seen"))] {
        if let Some(seen) = &seen {
            subject.set(&key, seen.clone(), MINUTE).await?;
        }
        let mut tasks = JoinSet::new();
        for number in 0..CALLERS {
            let (subject, key, seen) = (subject.clone(), key.clone(), seen.clone());
            tasks.spawn(async move {
                let value = Bytes::from(vec![number; 64]);
                let stored = subject
                    .replace(&key, seen.as_deref(), value.clone(), MINUTE)
                    .await?;
                Ok::<_, Failure>(stored.then_some(value))
            });
        }
        let mut winners = Vec::new();
        while let Some(result) = tasks.join_next().await {
            winners.extend(result??);
        }
        ensure!(
            winners.len() == 1,
            "of {CALLERS} callers that saw {seen:?}, {} stored",
            winners.len()
        );
        let found = subject.get(&key).await?;
        ensure!(
            found == winners.pop(),
            "it holds another value than the winner's"
        );
    }
    Ok(())
}

pub(super) async fn clearing(subject: Subject) -> Outcome {
    const NAMES: [&str; 9] = [
        "users:1", "users:2", "users2:1", "user:1", "u*:1", "u?:1", "u[sx]:1", r"u\:1", "u^:1",
    ];

    let value = Bytes::from(vec![1; TOMBSTONE_BYTES + 1]);
    for name in NAMES {
        subject
            .set(&subject.key(name), value.clone(), MINUTE)
            .await?;
    }
    let tombstone = value.slice(1..);
    subject
        .set(&subject.key("users:3"), tombstone, MINUTE)
        .await?;
    for (prefix, count) in [("users:", 2), ("u*", 1), ("u[sx]", 1), (r"u\", 1), ("v", 0)] {
        let freed = subject.clear(&subject.key(prefix)).await?;
        ensure!(
            freed == count || freed == 0,
            "for {prefix}, {freed} were counted, and not {count}"
        );
        for name in NAMES {
            let is_there = subject.get(&subject.key(name)).await?.is_some();
            let is_kept = !["users:", "u*", "u[sx]", r"u\"]
                .iter()
                .any(|prefix| name.starts_with(prefix));
            ensure!(is_there || !is_kept, "{prefix} cleared {name}");
            ensure!(
                freed == 0 || !is_there || !name.starts_with(prefix),
                "{prefix} left {name}"
            );
        }
    }
    Ok(())
}

pub(super) async fn concurrency(subject: Subject) -> Outcome {
    let mut tasks = JoinSet::new();
    for number in 0..64_u8 {
        let subject = subject.clone();
        tasks.spawn(async move {
            let key = subject.key(&number.to_string());
            for round in 0..8 {
                let value = Bytes::from(vec![number, round, 1, 2, 3]);
                subject.set(&key, value.clone(), MINUTE).await?;
                let found = subject.get(&key).await?;
                ensure!(found == Some(value), "a caller read another one's value");
            }
            Ok(())
        });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    Ok(())
}

pub(super) async fn dropped_calls(subject: Subject) -> Outcome {
    let key = subject.key("dropped");
    let value = Bytes::from(vec![1; 128 << 10]);
    subject.set(&key, value.clone(), MINUTE).await?;
    for round in 0..64_u64 {
        let impatience = Duration::from_micros(round * 20);
        let other = subject.key(&round.to_string());
        let own = Bytes::from(round.to_string());
        // Whether they finish in time is of no interest.
        let _ = tokio::time::timeout(impatience, subject.get(&key)).await;
        let writing = subject.set(&key, value.clone(), MINUTE);
        let _ = tokio::time::timeout(impatience, writing).await;
        let replacing = subject.replace(&key, Some(b"\x01"), value.clone(), MINUTE);
        let _ = tokio::time::timeout(impatience, replacing).await;

        subject.set(&other, own.clone(), MINUTE).await?;
        let found = subject.get(&other).await?;
        ensure!(
            found == Some(own),
            "a dropped call's answer went to another"
        );
    }
    let found = subject.get(&key).await?;
    ensure!(found == Some(value), "a dropped write left half a value");
    Ok(())
}
