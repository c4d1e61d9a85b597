//! What the engine builds on a backend: values that several processes share, and invalidation that
//! is final in all of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{Failure, Outcome, Subject, ensure};
use crate::{Backend as _, BoxFuture, Cache, Error};

#[crate::cache(namespace = "users", key = "1", expire = 60, crate = crate)]
async fn user(work: Work) -> String {
    work.0.await
}

#[crate::cache(namespace = "users", key = "1", expire = "50ms", crate = crate)]
async fn brief(work: Work) -> String {
    work.0.await
}

#[crate::cache(namespace = "users2", key = "1", expire = 60, crate = crate)]
async fn other(work: Work) -> String {
    work.0.await
}

#[crate::cache(namespace = "tagged", key = "{id}", tags("all", "id:{id}"), expire = 60, crate = crate)]
async fn tagged(id: u8, work: Work) -> String {
    let _ = id;
    work.0.await
}

#[crate::cache(namespace = "locked", key = "1", expire = 60, lock, crate = crate)]
async fn locked(work: Work) -> String {
    work.0.await
}

#[crate::cache(namespace = "fragile", key = "1", expire = "50ms", stale_if_error = 60, crate = crate)]
async fn fragile(work: Work) -> Result<String, String> {
    match work.0.await {
        broken if broken == "broken" => Err(broken),
        value => Ok(value),
    }
}

/// What a function computes.
struct Work(BoxFuture<'static, String>);

impl Work {
    fn giving(value: &'static str) -> Self {
        Self(Box::pin(std::future::ready(value.to_owned())))
    }

    /// Work that begins and then waits.
    fn waiting(value: &'static str) -> (Self, Arc<Gate>) {
        let gate = Arc::<Gate>::default();
        let own = Arc::clone(&gate);
        let work = async move {
            own.began.notify_one();
            own.go_on.notified().await;
            value.to_owned()
        };
        (Self(Box::pin(work)), gate)
    }
}

#[derive(Default)]
struct Gate {
    began: Notify,
    go_on: Notify,
}

/// Has a process compute a value, and stop half way.
async fn begin(process: &Cache, value: &'static str) -> (JoinHandle<String>, Arc<Gate>) {
    let (work, gate) = Work::waiting(value);
    let task = tokio::spawn(process.scope(user(work)));
    gate.began.notified().await;
    (task, gate)
}

/// Has it go on, to its end.
async fn finish((task, gate): (JoinHandle<String>, Arc<Gate>)) -> Outcome {
    gate.go_on.notify_one();
    task.await?;
    Ok(())
}

async fn call(process: &Cache, value: &'static str) -> String {
    process.scope(user(Work::giving(value))).await
}

async fn invalidate(process: &Cache) -> Result<bool, Error> {
    process
        .scope(async { user::entry().invalidate().await })
        .await
}

/// Checks what both processes serve.
async fn expect(processes: [&Cache; 2], expected: &str) -> Outcome {
    for process in processes {
        let value = process
            .scope(user(Work::giving("computed once more")))
            .await;
        ensure!(
            value == expected,
            "{value:?} is served, and not {expected:?}"
        );
    }
    Ok(())
}

pub(super) async fn one_value(subject: Subject) -> Outcome {
    let (one, two) = (subject.process(), subject.process());
    call(&one, "value").await;
    expect([&one, &two], "value").await?;
    ensure!(two.stats().hits == 1, "the other process did not hit");
    ensure!(one.stats().backend_errors == 0, "the backend failed");
    Ok(())
}

pub(super) async fn lifetimes(subject: Subject) -> Outcome {
    let (one, two) = (subject.process(), subject.process());
    call(&one, "value").await;
    let ttl = || async { user::entry().ttl().await };
    let (first, second) = (one.scope(ttl()).await?, two.scope(ttl()).await?);
    let (Some(first), Some(second)) = (first, second) else {
        return Err(Failure("there is no lifetime".to_owned()));
    };
    ensure!(
        second <= first && first <= Duration::from_secs(60),
        "it grew from {first:?} to {second:?}"
    );
    ensure!(
        second > Duration::from_secs(30),
        "only {second:?} remains of a minute"
    );

    invalidate(&two).await?;
    one.scope(brief(Work::giving("old"))).await;
    loop {
        let value = two.scope(brief(Work::giving("new"))).await;
        if value == "new" {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) async fn invalidated_entry(subject: Subject) -> Outcome {
    let (one, two) = (subject.process(), subject.process());
    call(&one, "old").await;
    expect([&one, &two], "old").await?;
    ensure!(invalidate(&one).await?, "the entry was not there");
    ensure!(!invalidate(&two).await?, "it was there a second time");
    call(&two, "new").await;
    expect([&one, &two], "new").await?;

    let key = one.scope(async { user::entry().key() }).await;
    ensure!(
        two.clear_key(&key).await? == 1,
        "it is not found by its key"
    );
    ensure!(
        two.clear_key(&key).await? == 0,
        "it was there a second time"
    );
    call(&one, "newest").await;
    expect([&one, &two], "newest").await
}

pub(super) async fn late_value(subject: Subject) -> Outcome {
    let (one, two) = (subject.process(), subject.process());
    let computing = begin(&two, "old").await;
    invalidate(&one).await?;
    finish(computing).await?;
    call(&two, "new").await;
    expect([&one, &two], "new").await?;

    // The same, where there was a value before, and where a newer one was stored meanwhile.
    invalidate(&two).await?;
    let computing = begin(&two, "old").await;
    invalidate(&one).await?;
    call(&one, "newer").await;
    finish(computing).await?;
    expect([&one, &two], "newer").await
}

pub(super) async fn late_value_after_a_short_one(subject: Subject) -> Outcome {
    let (one, two) = (subject.process(), subject.process());
    let computing = begin(&two, "old").await;
    invalidate(&one).await?;
    one.scope(brief(Work::giving("short"))).await;
    let expired = async || {
        let left = one.scope(async { brief::entry().get().await }).await?;
        Ok::<_, Error>(left.is_none())
    };
    while !expired().await? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    finish(computing).await?;
    call(&one, "new").await;
    expect([&one, &two], "new").await
}

pub(super) async fn value_set_by_hand(subject: Subject) -> Outcome {
    let (one, two) = (subject.process(), subject.process());
    let computing = begin(&two, "old").await;
    one.scope(async { user::entry().set("set".to_owned()).await })
        .await?;
    finish(computing).await?;
    expect([&one, &two], "set").await
}

pub(super) async fn cleared_namespace(subject: Subject) -> Outcome {
    let (one, two) = (subject.process(), subject.process());
    call(&one, "old").await;
    one.scope(other(Work::giving("other"))).await;
    expect([&one, &two], "old").await?;
    let freed = two.clear_namespace("users").await?;
    ensure!(freed <= 1, "it counts {freed} entries, and there was one");
    call(&one, "new").await;
    expect([&one, &two], "new").await?;
    for process in [&one, &two] {
        let value = process
            .scope(other(Work::giving("computed once more")))
            .await;
        ensure!(value == "other", "another namespace was cleared as well");
    }
    Ok(())
}

pub(super) async fn late_value_in_a_cleared_namespace(subject: Subject) -> Outcome {
    let (one, two) = (subject.process(), subject.process());
    let computing = begin(&two, "old").await;
    one.clear_namespace("users").await?;
    finish(computing).await?;
    call(&two, "new").await;
    expect([&one, &two], "new").await?;

    invalidate(&one).await?;
    let computing = begin(&two, "old").await;
    one.clear().await?;
    finish(computing).await?;
    call(&one, "newest").await;
    expect([&two, &one], "newest").await
}

pub(super) async fn cleared_tag(subject: Subject) -> Outcome {
    let (one, two) = (subject.process(), subject.process());
    let check = async |id, value, expected: &str| {
        for process in [&one, &two] {
            let served = process.scope(tagged(id, Work::giving(value))).await;
            ensure!(
                served == expected,
                "{served:?} is served, and not {expected:?}"
            );
        }
        Ok(())
    };
    check(1, "old", "old").await?;
    check(2, "other", "other").await?;
    one.clear_tag("id:1").await?;
    check(1, "new", "new").await?;
    check(2, "computed once more", "other").await?;
    two.clear_tag("all").await?;
    check(1, "newest", "newest").await?;
    check(2, "newest", "newest").await
}

pub(super) async fn late_value_under_a_tag(subject: Subject) -> Outcome {
    let (one, two) = (subject.process(), subject.process());
    let (work, gate) = Work::waiting("old");
    let computing = tokio::spawn(two.scope(tagged(1, work)));
    gate.began.notified().await;
    one.clear_tag("id:1").await?;
    finish((computing, gate)).await?;
    for process in [&two, &one] {
        let value = process.scope(tagged(1, Work::giving("new"))).await;
        ensure!(value == "new", "{value:?} is served, and not \"new\"");
    }
    Ok(())
}

pub(super) async fn one_computation(subject: Subject) -> Outcome {
    let one = subject.process();
    // What is in this process alone is not locked, and callers of one cache wait for each other.
    let two = match subject.local() {
        None => subject.process(),
        Some(_) => one.clone(),
    };
    let (work, gate) = Work::waiting("first");
    let computing = tokio::spawn(one.scope(locked(work)));
    gate.began.notified().await;
    let waiting = tokio::spawn(two.scope(locked(Work::giving("second"))));
    while subject.local().is_none() && two.stats().lock_waits == 0 && !waiting.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::task::yield_now().await;
    finish((computing, gate)).await?;
    let value = waiting.await?;
    ensure!(value == "first", "{value:?} was computed beside \"first\"");
    Ok(())
}

pub(super) async fn stale_value(subject: Subject) -> Outcome {
    let (one, two) = (subject.process(), subject.process());
    let first = one.scope(fragile(Work::giving("good"))).await;
    ensure!(first == Ok("good".to_owned()), "it gives {first:?}");
    let is_fresh = async || {
        let left = two.scope(async { fragile::entry().get().await }).await?;
        Ok::<_, Error>(left.is_some())
    };
    while is_fresh().await? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = two.scope(fragile(Work::giving("broken"))).await;
    ensure!(second == Ok("good".to_owned()), "it gives {second:?}");
    let entry = one.scope(async { fragile::entry() }).await;
    entry.invalidate().await?;
    let third = two.scope(fragile(Work::giving("broken"))).await;
    ensure!(third.is_err(), "an invalidated value is served");
    Ok(())
}

pub(super) async fn cleared_cache(subject: Subject) -> Outcome {
    let (one, two) = (subject.process(), subject.process());
    let neighbor = Cache::new(subject.config().prefix(format!("{}-too", subject.prefix)));
    call(&one, "old").await;
    call(&neighbor, "neighbor").await;
    expect([&one, &two], "old").await?;
    let freed = one.clear().await?;
    ensure!(freed <= 1, "it counts {freed} entries, and there was one");
    call(&two, "new").await;
    expect([&one, &two], "new").await?;
    expect([&neighbor, &neighbor], "neighbor").await
}

pub(super) async fn lost_barrier(subject: Subject) -> Outcome {
    let one = subject.process();
    call(&one, "old").await;
    one.clear_namespace("users").await?;
    // As good as evicted: whoever looks for a barrier makes a new one.
    let barrier = format!("~{}:users:", subject.prefix);
    subject
        .set(&barrier, Bytes::from_static(b"garbage"), None)
        .await?;
    let (two, three) = (subject.process(), subject.process());
    call(&two, "new").await;
    expect([&two, &three], "new").await
}

pub(super) async fn foreign_bytes(subject: Subject) -> Outcome {
    for garbage in [&b""[..], b"garbage", b"\xf8fc\x0a\x01", &[0xff; 300]] {
        let (one, two) = (subject.process(), subject.process());
        let key = one.scope(async { user::entry().key() }).await;
        invalidate(&one).await?;
        subject
            .set(&key, Bytes::copy_from_slice(garbage), None)
            .await?;
        let value = call(&two, "value").await;
        ensure!(value == "value", "{garbage:?} was taken for {value:?}");
        expect([&one, &two], "value").await?;
    }
    Ok(())
}
