//! Messages between processes, by publishing and subscribing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fast_cache_core::{BoxFuture, Bus, Error, ErrorKind, Subscription};
use futures_util::StreamExt as _;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{RedisError, RedisResult};

use super::{Sender, failure, timed_out};

/// How long nothing may come before the server is asked whether it is still there.
const IDLE: Duration = Duration::from_secs(5);

/// Makes a connection for a subscription, within a time that it bounds itself.
pub(super) type Dial = dyn Fn() -> BoxFuture<'static, RedisResult<PubSub>> + Send + Sync;

/// Publishes on the connection that commands share, and subscribes on connections of its own.
///
/// Servers of a cluster pass messages on to one another, and masters to their replicas.
///
/// The alternative would be client-side tracking, by which a server itself tells which keys were
/// written. It lists keys alone, so that an invalidated namespace would have to be spelled out; it also
/// reports every first value, which nobody can hold; it has to be switched on again on each new
/// connection, on each server of a cluster; and it takes servers from Redis 6 on.
pub(super) struct RedisBus {
    pub(super) sender: Arc<Sender>,
    pub(super) response_timeout: Duration,
    pub(super) dial: Arc<Dial>,
}

impl Bus for RedisBus {
    fn publish<'a>(&'a self, channel: &'a str, message: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let mut command = redis::cmd("PUBLISH");
            command.arg(channel).arg(&message[..]);
            let published = self.sender.send("PUBLISH", &command, self.response_timeout);
            published
                .await
                .map(drop)
                .map_err(|error| permit(error, channel))
        })
    }

    fn subscribe<'a>(
        &'a self,
        channel: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, Error>> {
        Box::pin(async move {
            let connection = (self.dial)().await;
            let mut connection = connection.map_err(|error| failure("SUBSCRIBE", error))?;
            let subscribed = connection.subscribe(channel);
            tokio::time::timeout(self.response_timeout, subscribed)
                .await
                .map_err(|_| timed_out("SUBSCRIBE"))?
                .map_err(|error| permit(failure("SUBSCRIBE", error), channel))?;
            let (pings, messages) = connection.split();
            Ok(Box::new(RedisSubscription {
                pings,
                messages,
                response_timeout: self.response_timeout,
            }) as Box<dyn Subscription>)
        })
    }
}

struct RedisSubscription {
    pings: PubSubSink,
    messages: PubSubStream,
    response_timeout: Duration,
}

impl Subscription for RedisSubscription {
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes, Error>> {
        Box::pin(async move {
            loop {
                match tokio::time::timeout(IDLE, self.messages.next()).await {
                    Ok(Some(message)) => {
                        return Ok(Bytes::copy_from_slice(message.get_payload_bytes()));
                    }
                    Ok(None) => return Err(lost()),
                    Err(_) => self.ping().await?,
                }
            }
        })
    }
}

impl RedisSubscription {
    async fn ping(&mut self) -> Result<(), Error> {
        let ping = self.pings.ping::<redis::Value>();
        let answer = tokio::time::timeout(self.response_timeout, ping).await;
        answer
            .map_err(|_| timed_out("PING"))?
            .map(drop)
            .map_err(|error| failure("PING", error))
    }
}

/// Bounds the time that a connection for a subscription takes.
pub(super) async fn within(
    limit: Duration,
    dialing: impl Future<Output = RedisResult<PubSub>>,
) -> RedisResult<PubSub> {
    tokio::time::timeout(limit, dialing)
        .await
        .map_err(|_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))?
}

/// Says what is missing where the server does not let a user into a channel.
fn permit(error: Error, channel: &str) -> Error {
    if !error.to_string().contains("NOPERM") {
        return error;
    }
    let message = format!(
        "the redis user may not use the channel `{channel}`, which two tiers need: allow `&~bus:*`, and \
         the commands PUBLISH, SUBSCRIBE and PING"
    );
    Error::new(ErrorKind::Backend, message).with_source(error)
}

fn lost() -> Error {
    Error::new(
        ErrorKind::Backend,
        "the connection that redis sends messages on was lost",
    )
}
