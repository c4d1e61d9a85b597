//! One connection that is made anew when it breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use fast_cache_core::BoxFuture;
use futures_util::FutureExt as _;
use futures_util::future::Shared;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError, RedisResult, Value};

/// A multiplexed connection, and the way to make another one.
///
/// The client's own `ConnectionManager` is not enough here. It cannot ask sentinels where the master
/// is now, and once a server has refused it, as happens while a password is changed, it repeats that
/// error and never tries again.
pub(super) struct Link {
    dial: Box<Dial>,
    current: ArcSwap<Attempt>,
    begun: Instant,
    /// When the first of the last commands was given up that have all gone unanswered, in
    /// milliseconds since the beginning; 0 if the last one was answered.
    silent_since: AtomicU64,
}

/// A connection, and when it was asked for.
struct Attempt {
    dialing: Dialing,
    begun: Instant,
}

/// How long nothing may come, while commands go unanswered, before the connection counts as lost.
/// The system notices a host that vanished, but not a proxy or a firewall that takes what is sent
/// and forgets where to send it.
const SILENCE: Duration = Duration::from_secs(5);
/// How old a connection to a server that refuses writes has to be to be given up. Another one may
/// lead to the same server, and not every refused write is worth a connection.
const SETTLED: Duration = Duration::from_secs(1);

/// Makes a connection, within a time that it bounds itself.
type Dial = dyn Fn() -> BoxFuture<'static, RedisResult<MultiplexedConnection>> + Send + Sync;

/// A connection, made or in the making. All commands that come meanwhile wait for the same one.
type Dialing = Shared<BoxFuture<'static, RedisResult<MultiplexedConnection>>>;

impl Link {
    /// Makes the first connection, and gives its error if there is one.
    pub(super) async fn open(
        dial: impl Fn() -> BoxFuture<'static, RedisResult<MultiplexedConnection>>
        + Send
        + Sync
        + 'static,
    ) -> RedisResult<Self> {
        let first = Attempt::begin(&dial);
        first.dialing.clone().await?;
        Ok(Self {
            dial: Box::new(dial),
            current: ArcSwap::from_pointee(first),
            begun: Instant::now(),
            silent_since: AtomicU64::new(0),
        })
    }

    /// Sends a command, and makes a new connection in the background if this one turns out broken.
    pub(super) async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        let attempt = self.attempt();
        let mut connection = attempt.connection().await?;
        let result = connection
            .send_packed_command(command)
            .await
            .and_then(Value::extract_error);
        self.check(&attempt, &result);
        result
    }

    /// Sends commands together; an answer may be an error.
    pub(super) async fn send_all(&self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        let attempt = self.attempt();
        let mut connection = attempt.connection().await?;
        let result = connection
            .send_packed_commands(commands, 0, commands.len())
            .await;
        self.check(&attempt, &result);
        result
    }

    fn check<T>(&self, attempt: &Arc<Attempt>, result: &RedisResult<T>) {
        if result.as_ref().is_err_and(|error| attempt.is_broken(error)) {
            self.redial(attempt);
        }
    }

    /// The server answered, if only by an error.
    pub(super) fn answered(&self) {
        if self.silent_since.load(Ordering::Relaxed) != 0 {
            self.silent_since.store(0, Ordering::Relaxed);
        }
    }

    /// A command took too long. If that goes on, makes a new connection in the background.
    pub(super) fn unanswered(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = now.max(1);
        let since = self.silent_since.load(Ordering::Relaxed);
        if since == 0 {
            self.silent_since.store(now, Ordering::Relaxed);
            return;
        }
        let current = self.current.load_full();
        let is_silent = Duration::from_millis(now.saturating_sub(since)) >= SILENCE;
        if is_silent && matches!(current.dialing.peek(), Some(Ok(_))) {
            self.silent_since.store(0, Ordering::Relaxed);
            self.redial(&current);
        }
    }

    /// The current connection, or a new attempt where the last one failed.
    fn attempt(&self) -> Arc<Attempt> {
        let current = self.current.load_full();
        if matches!(current.dialing.peek(), Some(Err(_))) {
            self.redial(&current);
            return self.current.load_full();
        }
        current
    }

    /// Replaces a broken connection, unless somebody else has done so.
    fn redial(&self, broken: &Arc<Attempt>) {
        let next = Arc::new(Attempt::begin(&self.dial));
        let previous = self.current.compare_and_swap(broken, Arc::clone(&next));
        if Arc::ptr_eq(&previous, broken) {
            // The attempt goes on by itself, even when every command that waits for it gives up.
            tokio::spawn(next.dialing.clone().map(drop));
        }
    }
}

impl Attempt {
    fn begin(dial: impl Fn() -> BoxFuture<'static, RedisResult<MultiplexedConnection>>) -> Self {
        Self {
            dialing: dial().shared(),
            begun: Instant::now(),
        }
    }

    /// The connection, as soon as it is there.
    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        match self.dialing.peek() {
            Some(made) => made.clone(),
            None => self.dialing.clone().await,
        }
    }

    /// Whether another connection may do better.
    ///
    /// A server that has become a replica refuses writes, and its name may lead elsewhere by now. A
    /// single timeout is no sign: the answers of a slow server still come, and come in order.
    fn is_broken(&self, error: &RedisError) -> bool {
        error.is_unrecoverable_error()
            || (error.is_io_error() && !error.is_timeout())
            || (error.code() == Some("READONLY") && self.begun.elapsed() >= SETTLED)
    }
}
