//! One connection that is made anew when it breaks.

use std::sync::Arc;

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
    current: ArcSwap<Dialing>,
}

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
        let first = dial().shared();
        first.clone().await?;
        Ok(Self {
            dial: Box::new(dial),
            current: ArcSwap::from_pointee(first),
        })
    }

    /// Sends a command, and makes a new connection in the background if this one turns out broken.
    pub(super) async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        let dialing = self.dialing();
        let mut connection = Dialing::clone(&dialing).await?;
        let result = connection
            .send_packed_command(command)
            .await
            .and_then(Value::extract_error);
        self.check(&dialing, &result);
        result
    }

    /// Sends commands together; an answer may be an error.
    pub(super) async fn send_all(&self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        let dialing = self.dialing();
        let mut connection = Dialing::clone(&dialing).await?;
        let result = connection
            .send_packed_commands(commands, 0, commands.len())
            .await;
        self.check(&dialing, &result);
        result
    }

    fn check<T>(&self, dialing: &Arc<Dialing>, result: &RedisResult<T>) {
        if result.as_ref().is_err_and(is_broken) {
            self.redial(dialing);
        }
    }

    /// The current connection, or a new attempt where the last one failed.
    fn dialing(&self) -> Arc<Dialing> {
        let current = self.current.load_full();
        if matches!(current.peek(), Some(Err(_))) {
            self.redial(&current);
            return self.current.load_full();
        }
        current
    }

    /// Replaces a broken connection, unless somebody else has done so.
    fn redial(&self, broken: &Arc<Dialing>) {
        let next = Arc::new((self.dial)().shared());
        let previous = self.current.compare_and_swap(broken, Arc::clone(&next));
        if Arc::ptr_eq(&previous, broken) {
            // The attempt goes on by itself, even when every command that waits for it gives up.
            tokio::spawn(Dialing::clone(&next).map(drop));
        }
    }
}

/// Whether another connection may do better.
///
/// A server that has become a replica refuses writes, and its name may lead elsewhere by now. A
/// timeout is no sign: the answers of a slow server still come, and come in order.
fn is_broken(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || (error.is_io_error() && !error.is_timeout())
        || error.code() == Some("READONLY")
}
