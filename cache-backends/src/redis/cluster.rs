//! The connection to a cluster, which is made anew when nothing comes of it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::aio::ConnectionLike as _;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, Pipeline, RedisError, RedisResult, RetryMethod, Value};

/// A connection to all servers of a cluster, and the way to make another one.
///
/// The client's own connection follows slots that move and servers that fail. While many slots move
/// under load, though, its lookup of the slots can wait for commands that wait for the lookup, and
/// then nothing is answered ever again.
#[derive(Clone)]
pub(super) struct Cluster(Arc<State>);

struct State {
    current: ArcSwap<ClusterConnection>,
    /// `None` where the application made the connection.
    dial: Option<Dial>,
    /// How many commands in a row were not answered in time.
    unanswered: AtomicU32,
    is_dialing: AtomicBool,
}

/// How to make a connection.
pub(super) struct Dial {
    pub(super) client: ClusterClient,
    pub(super) limit: Duration,
}

/// How many commands in a row, to whichever servers, have to go unanswered before the connection
/// counts as stuck. A single server that hangs leaves the others to answer.
const STUCK: u32 = 16;
/// How often a command is sent again before its error is given. The response timeout mostly comes
/// first.
const RETRIES: u32 = 3;
/// How long to wait before the same server is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// Where a command goes.
#[derive(Clone)]
enum Route {
    /// To the master that has the slot of the key, as far as the connection knows.
    Key,
    To(RoutingInfo),
    /// To a server that is being given a slot, key by key, and serves it to those who ask.
    Asking(SingleNodeRoutingInfo),
}

impl Cluster {
    /// The client would follow slots by itself. But it sends `ASKING` ahead of the command it is
    /// for, on a connection that all callers share, and whatever comes between takes it away. While
    /// a slot moves, that makes most concurrent reads fail.
    pub(super) const RETRIES_OF_THE_CLIENT: u32 = 0;

    pub(super) fn new(connection: ClusterConnection, dial: Option<Dial>) -> Self {
        Self(Arc::new(State {
            current: ArcSwap::from_pointee(connection),
            dial,
            unanswered: AtomicU32::new(0),
            is_dialing: AtomicBool::new(false),
        }))
    }

    pub(super) fn connection(&self) -> ClusterConnection {
        ClusterConnection::clone(&self.0.current.load())
    }

    /// Sends a command to the master that has its key, and follows the key when it moves.
    pub(super) async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        self.follow(command, Route::Key).await
    }

    /// Sends a command to these servers.
    pub(super) async fn send_to(&self, command: &Cmd, route: RoutingInfo) -> RedisResult<Value> {
        self.follow(command, Route::To(route)).await
    }

    /// Sends a command there, and again where its error says that this may help.
    async fn follow(&self, command: &Cmd, route: Route) -> RedisResult<Value> {
        let mut next = route.clone();
        for _ in 0..RETRIES {
            match self.send_once(command, &next).await {
                Ok(value) => return Ok(value),
                Err(error) => next = Route::after(error, &route).await?,
            }
        }
        self.send_once(command, &next).await
    }

    async fn send_once(&self, command: &Cmd, route: &Route) -> RedisResult<Value> {
        let mut connection = self.connection();
        let value = match route {
            Route::Key => connection.req_packed_command(command).await?,
            Route::To(route) => {
                let sending = connection.route_command(command.clone(), route.clone());
                sending.await?
            }
            Route::Asking(address) => {
                let mut pipeline = Pipeline::with_capacity(2);
                pipeline.cmd("ASKING").add_command(command.clone());
                let sending = connection.route_pipeline(pipeline, 1, 1, address.clone());
                sending.await?.pop().unwrap_or(Value::Nil)
            }
        };
        value.extract_error()
    }

    /// A server answered, if only by an error.
    pub(super) fn answered(&self) {
        self.0.unanswered.store(0, Ordering::Relaxed);
    }

    /// A command took too long. After many in a row, makes a new connection in the background; the
    /// old one stays until it is there.
    pub(super) fn unanswered(&self) {
        let unanswered = self.0.unanswered.fetch_add(1, Ordering::Relaxed) + 1;
        if unanswered < STUCK || self.0.dial.is_none() {
            return;
        }
        if !self.0.is_dialing.swap(true, Ordering::AcqRel) {
            let cluster = self.clone();
            tokio::spawn(async move { cluster.redial().await });
        }
    }

    async fn redial(&self) {
        let Some(dial) = &self.0.dial else { return };
        let dialing = dial.client.get_async_connection();
        if let Ok(Ok(connection)) = tokio::time::timeout(dial.limit, dialing).await {
            self.0.current.store(Arc::new(connection));
            self.answered();
        }
        self.0.is_dialing.store(false, Ordering::Release);
    }
}

impl Route {
    /// Where to send a command again after this error, or the error if that is no use.
    async fn after(error: RedisError, first: &Route) -> RedisResult<Self> {
        let node = error.redirect_node();
        let address = node.and_then(|(node, _)| parse_address(node));
        match (error.retry_method(), address) {
            (RetryMethod::AskRedirect, Some(address)) => return Ok(Self::Asking(address)),
            (RetryMethod::MovedRedirect, Some(address)) => {
                return Ok(Self::To(RoutingInfo::SingleNode(address)));
            }
            (RetryMethod::NoRetry, _) => return Err(error),
            (RetryMethod::WaitAndRetry, _) => tokio::time::sleep(PAUSE).await,
            // The connection mends itself before it sends the next command.
            _ => {}
        }
        Ok(first.clone())
    }
}

/// Reads `host:port`; the host may be an IPv6 address, with colons of its own.
pub(super) fn parse_address(address: &str) -> Option<SingleNodeRoutingInfo> {
    let (host, port) = address.rsplit_once(':')?;
    if host.is_empty() {
        return None;
    }
    Some(SingleNodeRoutingInfo::ByAddress {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_right() {
        let address = |host: &str, port| {
            Some(SingleNodeRoutingInfo::ByAddress {
                host: host.to_owned(),
                port,
            })
        };
        assert_eq!(parse_address("10.0.0.1:6379"), address("10.0.0.1", 6379));
        assert_eq!(parse_address("::1:6379"), address("::1", 6379));
        for malformed in ["nowhere", ":6379", "host:", "host:65536"] {
            assert_eq!(parse_address(malformed), None, "{malformed}");
        }
    }
}
