//! Bytes in Redis.

mod bus;
mod clear;
mod cluster;
mod link;
mod options;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fast_cache_core::{Backend, Bus, Error, ErrorKind};
use redis::aio::ConnectionManager;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, RedisError, RedisResult, Value};

use self::bus::RedisBus;
use self::cluster::Cluster;
use self::link::Link;
pub use self::options::RedisOptions;

/// Values in a Redis server, in a cluster, or in a service that sentinels watch.
///
/// Commands of any number of callers share one connection to a server, which is made anew when it
/// breaks; nobody waits for anybody else. A command never takes longer than the response timeout,
/// reconnecting included. After a restart of the server, the first command may fail, and later
/// ones find the new connection. A connection on which commands go unanswered for five seconds,
/// without any answer in between, is replaced too.
///
/// A read is one `GET`, a write one `SET` with `PX` where there is a lifetime, or a script of a few
/// lines where what is there has to be compared first. Servers from Redis 4
/// on are supported, and those that speak its protocol, such as Valkey.
///
/// ```no_run
/// use fast_cache_backends::RedisBackend;
///
/// # async fn run() -> Result<(), fast_cache_core::Error> {
/// let backend = RedisBackend::connect("rediss://cache:secret@redis.example/0").await?;
/// # Ok(()) }
/// ```
///
/// An application that has a connection already shares it:
///
/// ```no_run
/// use fast_cache_backends::RedisBackend;
///
/// # async fn run() -> Result<(), redis::RedisError> {
/// let client = redis::Client::open("redis://127.0.0.1")?;
/// let backend = RedisBackend::from(client.get_connection_manager().await?);
/// # Ok(()) }
/// ```
pub struct RedisBackend {
    sender: Arc<Sender>,
    response_timeout: Duration,
    /// How to connect for a subscription; `None` where the application made the connection.
    subscribe: Option<Arc<bus::Dial>>,
}

/// What sends commands, and waits for their answers.
struct Sender(Connection);

enum Connection {
    Link(Link),
    Manager(ConnectionManager),
    Cluster(Cluster),
}

/// The longest lifetime that is sent, in milliseconds. Redis adds it to the time since 1970, and
/// refuses a sum that overflows; this many milliseconds are 35,000 years.
const MAX_LIFETIME: u128 = 1 << 50;

/// Stores a value unless something else is there than what begins with the bytes that were seen.
///
/// Servers run a script as one step. Newer ones have `SET .. IFEQ`, which Redis 7 does not know and
/// which would send a whole value back to be compared.
const SET_IF_SEEN: &str = "
local there = redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1)
if string.sub(there, 1, #ARGV[1]) ~= ARGV[1] and redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
if ARGV[3] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1";

impl RedisBackend {
    /// Connects to one server with the default [`RedisOptions`].
    ///
    /// The URL is `redis://[user[:password]@]host[:port][/database]`, with `rediss` for TLS; see
    /// [`RedisOptions::connect`].
    ///
    /// # Errors
    ///
    /// When the URL is malformed, or the server does not let us in within the connect timeout.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        RedisOptions::new().connect(url).await
    }

    /// Connects to a cluster with the default [`RedisOptions`]; see
    /// [`RedisOptions::connect_cluster`].
    ///
    /// # Errors
    ///
    /// When a URL is malformed, or no server of the cluster lets us in.
    pub async fn connect_cluster<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
    ) -> Result<Self, Error> {
        RedisOptions::new().connect_cluster(urls).await
    }

    /// Connects to the master of a service that sentinels watch, with the default
    /// [`RedisOptions`]; see [`RedisOptions::connect_sentinel`].
    ///
    /// # Errors
    ///
    /// When a URL is malformed, no sentinel knows the service, or its master does not let us in.
    pub async fn connect_sentinel<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
        service: &str,
    ) -> Result<Self, Error> {
        RedisOptions::new().connect_sentinel(urls, service).await
    }

    /// Sets how long a command may take. The connection of a cluster has a limit of its own, set
    /// when it was made, and the shorter one applies.
    #[must_use]
    pub fn response_timeout(self, timeout: Duration) -> Self {
        Self {
            response_timeout: timeout,
            ..self
        }
    }

    fn new(
        connection: Connection,
        response_timeout: Duration,
        subscribe: Option<Arc<bus::Dial>>,
    ) -> Self {
        Self {
            sender: Arc::new(Sender(connection)),
            response_timeout,
            subscribe,
        }
    }

    async fn set_if_absent(
        &self,
        key: &str,
        value: &[u8],
        milliseconds: Option<u64>,
    ) -> Result<bool, Error> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("NX");
        if let Some(milliseconds) = milliseconds {
            command.arg("PX").arg(milliseconds);
        }
        match self.send("SET", &command).await? {
            Value::Okay => Ok(true),
            Value::Nil => Ok(false),
            _ => Err(unexpected("SET")),
        }
    }

    async fn set_if_seen(
        &self,
        key: &str,
        seen: &[u8],
        value: &[u8],
        milliseconds: Option<u64>,
    ) -> Result<bool, Error> {
        let mut command = redis::cmd("EVAL");
        command
            .arg(SET_IF_SEEN)
            .arg(1)
            .arg(key)
            .arg(seen)
            .arg(value);
        if let Some(milliseconds) = milliseconds {
            command.arg(milliseconds);
        }
        match self.send("EVAL", &command).await? {
            Value::Int(stored) => Ok(stored == 1),
            _ => Err(unexpected("EVAL")),
        }
    }

    fn send(
        &self,
        name: &'static str,
        command: &Cmd,
    ) -> impl Future<Output = Result<Value, Error>> {
        self.sender.send(name, command, self.response_timeout)
    }

    fn bounded<T>(
        &self,
        name: &'static str,
        answer: impl Future<Output = RedisResult<T>> + Unpin,
    ) -> impl Future<Output = Result<T, Error>> {
        self.sender.bounded(name, answer, self.response_timeout)
    }

    fn connection(&self) -> &Connection {
        &self.sender.0
    }
}

impl Sender {
    async fn send(
        &self,
        name: &'static str,
        command: &Cmd,
        limit: Duration,
    ) -> Result<Value, Error> {
        let answer = pin!(self.0.send(command));
        self.bounded(name, answer, limit).await
    }

    /// Waits for an answer until the response timeout. What answers is pinned by the caller, since what is
    /// moved into another future takes room in both. Dropping a command is safe: the connection
    /// takes the answer off the wire when it comes, and gives it to nobody.
    async fn bounded<T>(
        &self,
        name: &'static str,
        answer: impl Future<Output = RedisResult<T>> + Unpin,
        limit: Duration,
    ) -> Result<T, Error> {
        let answer = tokio::time::timeout(limit, answer).await;
        match &answer {
            Ok(Err(error)) if error.is_timeout() => self.0.unanswered(),
            Err(_) => self.0.unanswered(),
            Ok(_) => self.0.answered(),
        }
        match answer {
            Ok(result) => result.map_err(|error| failure(name, error)),
            Err(_) => Err(timed_out(name)),
        }
    }
}

impl Connection {
    async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        let value = match self {
            Self::Link(link) => link.send(command).await?,
            Self::Manager(manager) => {
                let mut manager = manager.clone();
                Box::pin(async move { manager.send_packed_command(command).await }).await?
            }
            Self::Cluster(cluster) => Box::pin(cluster.send(command)).await?,
        };
        value.extract_error()
    }

    fn answered(&self) {
        match self {
            Self::Link(link) => link.answered(),
            Self::Cluster(cluster) => cluster.answered(),
            Self::Manager(_) => {}
        }
    }

    fn unanswered(&self) {
        match self {
            Self::Link(link) => link.unanswered(),
            Self::Cluster(cluster) => cluster.unanswered(),
            Self::Manager(_) => {}
        }
    }
}

impl Backend for RedisBackend {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        match self.send("GET", redis::cmd("GET").arg(key)).await? {
            Value::BulkString(bytes) => Ok(Some(Bytes::from(bytes))),
            Value::Nil => Ok(None),
            _ => Err(unexpected("GET")),
        }
    }

    async fn set(&self, key: &str, value: Bytes, expire: Option<Duration>) -> Result<(), Error> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(&*value);
        if let Some(expire) = expire {
            command.arg("PX").arg(milliseconds(expire));
        }
        match self.send("SET", &command).await? {
            Value::Okay => Ok(()),
            _ => Err(unexpected("SET")),
        }
    }

    async fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> Result<bool, Error> {
        let milliseconds = expire.map(milliseconds);
        match seen {
            None => self.set_if_absent(key, &value, milliseconds).await,
            Some(seen) => self.set_if_seen(key, seen, &value, milliseconds).await,
        }
    }

    /// Walks all keys of the database with `SCAN`, on every master of a cluster, and removes the
    /// matching ones in batches, so the server serves others in between. A key that a cluster moves
    /// from one server to another in the meantime can be missed.
    async fn clear(&self, prefix: &str) -> Result<u64, Error> {
        self.clear_prefix(prefix.as_bytes()).await
    }

    /// Publishes and subscribes; see [`TieredBackend`](crate::TieredBackend). A backend that was made from
    /// a connection has none, since a subscription takes a connection of its own.
    fn bus(&self) -> Option<Arc<dyn Bus>> {
        Some(Arc::new(RedisBus {
            sender: Arc::clone(&self.sender),
            response_timeout: self.response_timeout,
            dial: Arc::clone(self.subscribe.as_ref()?),
        }))
    }
}

impl From<ConnectionManager> for RedisBackend {
    /// Uses a connection that the application has. It keeps its own reconnecting and timeouts; the
    /// response timeout of this backend applies too. After a failed login it does not reconnect,
    /// which [`RedisBackend::connect`] does.
    fn from(connection: ConnectionManager) -> Self {
        Self::new(
            Connection::Manager(connection),
            RedisOptions::RESPONSE_TIMEOUT,
            None,
        )
    }
}

impl From<ClusterConnection> for RedisBackend {
    /// Uses a connection that the application has. It keeps its own reconnecting and timeouts; the
    /// response timeout of this backend applies too. A connection that gets stuck while slots move
    /// is not replaced, which [`RedisBackend::connect_cluster`] does. Build it with `retries(0)`:
    /// this backend sends commands again where that helps, and follows slots that move also when
    /// many commands are under way, which the client by itself does not.
    fn from(connection: ClusterConnection) -> Self {
        Self::new(
            Connection::Cluster(Cluster::new(connection, None)),
            RedisOptions::RESPONSE_TIMEOUT,
            None,
        )
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.connection() {
            Connection::Link(_) => "server",
            Connection::Manager(_) => "connection manager",
            Connection::Cluster(_) => "cluster",
        };
        f.debug_struct("RedisBackend")
            .field("connection", &kind)
            .field("response_timeout", &self.response_timeout)
            .finish()
    }
}

/// A lifetime as `PX` takes it: whole milliseconds, rounded up, and at least one, since Redis
/// refuses zero.
fn milliseconds(lifetime: Duration) -> u64 {
    let milliseconds = lifetime.as_nanos().div_ceil(1_000_000);
    u64::try_from(milliseconds.clamp(1, MAX_LIFETIME)).unwrap_or(u64::MAX)
}

fn failure(name: &'static str, error: RedisError) -> Error {
    if error.code() == Some("WRONGTYPE") {
        return Error::new(
            ErrorKind::Decode,
            "the stored entry cannot be used: it is no string",
        );
    }
    // Some servers quote the arguments of a command that they do not know, among them values and,
    // for AUTH, passwords.
    let is_quoting = error
        .to_string()
        .to_ascii_lowercase()
        .contains("args beginning with");
    if is_quoting {
        let message = format!("redis failed at {name}: unknown command");
        return Error::new(ErrorKind::Backend, message)
            .with_source("the server does not know the command");
    }
    let message = format!("redis failed at {name}: {}", reason(&error));
    Error::new(ErrorKind::Backend, message).with_source(error)
}

/// Why a command failed, in a word or two that hold nothing of what was sent: the code that the
/// server's answer begins with, such as `NOPERM`, or what kind of error the client has seen. Logs
/// show it without the cause.
fn reason(error: &RedisError) -> &str {
    let is_code = |code: &&str| code.bytes().all(|byte| byte.is_ascii_uppercase());
    error
        .code()
        .filter(is_code)
        .unwrap_or_else(|| error.category())
}

fn timed_out(name: &'static str) -> Error {
    Error::new(
        ErrorKind::Backend,
        format!("redis did not answer {name} in time"),
    )
}

fn unexpected(name: &'static str) -> Error {
    Error::new(
        ErrorKind::Backend,
        format!("redis answered {name} with something else than {name} gives"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_rounded_up_and_bounded() {
        assert_eq!(milliseconds(Duration::ZERO), 1);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_millis(1500)), 1500);
        assert_eq!(milliseconds(Duration::from_nanos(1_500_000_001)), 1501);
        assert_eq!(milliseconds(Duration::MAX), 1 << 50);
    }

    #[test]
    fn quoted_arguments_are_not_repeated() {
        let quoting = redis::RedisError::from((
            redis::ErrorKind::Client,
            "An error was signalled by the server",
            "unknown command 'AUTH', with args beginning with: 'user' 'hunter2'".to_owned(),
        ));
        let error = failure("AUTH", quoting);
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
