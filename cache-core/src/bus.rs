//! How processes that share a store tell each other what has changed in it.

use bytes::Bytes;

use crate::backend::BoxFuture;
use crate::error::Error;

/// Messages between the processes that share a store.
///
/// A [`Backend`](crate::Backend) that has one gives it by [`bus`](crate::Backend::bus), and caches
/// with two tiers use it to keep their local values up to date. What the messages say is up to the
/// engine, which takes them for input from anybody.
pub trait Bus: Send + Sync + 'static {
    /// Sends a message to everybody who has subscribed to `channel`, the sender included.
    ///
    /// # Behavior
    ///
    /// When this returns, the service that passes messages on has the message. The future may be
    /// dropped, and it is unknown then whether the message was sent.
    ///
    /// # Errors
    ///
    /// When the service cannot be reached or answers with an error, within a bounded time.
    fn publish<'a>(&'a self, channel: &'a str, message: Bytes) -> BoxFuture<'a, Result<(), Error>>;

    /// Subscribes to `channel`.
    ///
    /// # Behavior
    ///
    /// When this returns, the subscription is in force: it gives every message that is published
    /// from now on, in the order of the publisher.
    ///
    /// # Errors
    ///
    /// When the service cannot be reached or refuses, within a bounded time.
    fn subscribe<'a>(
        &'a self,
        channel: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, Error>>;
}

/// A subscription to a channel of a [`Bus`]. Dropping it ends it.
pub trait Subscription: Send {
    /// Waits for the next message.
    ///
    /// # Behavior
    ///
    /// The future may be dropped, and no message is lost by that.
    ///
    /// # Errors
    ///
    /// When the connection is lost, which is noticed within a bounded time also where the other
    /// side has vanished. Messages may have been missed then, and this subscription gives none any
    /// more.
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes, Error>>;
}
