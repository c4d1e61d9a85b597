//! Two tiers: what keeps the values of this process in step with the store that others share.
//!
//! Whoever changes something tells the others by a message: that a key, a namespace, a tag or
//! everything is not what it was. They drop what they hold of it, and look into the shared store
//! next time. A message that comes late, twice or for nothing costs a lookup and does no harm. While the
//! messages do not come, nothing that is held here is relied on; and when they come again, it is
//! dropped, since some may have been missed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::bus::Bus;
use crate::entry::unique;
use crate::error::Error;
use crate::key::name_digest;
use crate::registry::WeakCache;

/// How long to wait before subscribing again, at first.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// And at most.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// What is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    /// The value under a printed key.
    Key(String),
    /// Everything in a namespace.
    Namespace(String),
    /// Everything under a tag.
    Tag(String),
    /// Everything.
    Cache,
}

/// The connection of one cache to the others.
pub(crate) struct Wire {
    bus: Arc<dyn Bus>,
    channel: String,
    /// Which cache this is: its own messages tell it nothing.
    node: u64,
    /// Whether every message comes.
    is_up: AtomicBool,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl Wire {
    pub(crate) fn new(bus: Arc<dyn Bus>, prefix: &str) -> Self {
        Self {
            bus,
            channel: channel(prefix),
            node: unique(),
            is_up: AtomicBool::new(false),
            listener: Mutex::default(),
        }
    }

    #[inline]
    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }

    /// Tells the others.
    pub(crate) async fn tell(&self, change: &Change) -> Result<(), Error> {
        let message = change.write(self.node);
        self.bus.publish(&self.channel, message).await
    }

    /// Begins to listen, unless somebody does: the first call of a cache begins, or the first one after
    /// the runtime of the last listener has ended.
    pub(crate) fn listen(&self, cache: impl FnOnce() -> WeakCache) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        self.is_up.store(false, Ordering::Release);
        let (bus, channel, node) = (Arc::clone(&self.bus), self.channel.clone(), self.node);
        *listener = Some(runtime.spawn(listen(bus, channel, node, cache())));
    }

    pub(crate) fn set_up(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::Release);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let listener = self
            .listener
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.take() {
            listener.abort();
        }
    }
}

/// Listens until the cache is gone.
async fn listen(bus: Arc<dyn Bus>, channel: String, node: u64, cache: WeakCache) {
    let mut retry = FIRST_RETRY;
    loop {
        let outcome = subscribe(&*bus, &channel, node, &cache, &mut retry).await;
        let Some(cache) = cache.upgrade() else { return };
        cache.engine().lose_touch();
        if let Err(error) = outcome {
            tracing::warn!(%error, "other processes cannot be heard: local values are not relied on");
        }
        drop(cache);
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(LAST_RETRY);
    }
}

/// Listens until the connection is lost, or the cache gone.
async fn subscribe(
    bus: &dyn Bus,
    channel: &str,
    node: u64,
    cache: &WeakCache,
    retry: &mut Duration,
) -> Result<(), Error> {
    let mut subscription = bus.subscribe(channel).await?;
    let Some(subscriber) = cache.upgrade() else {
        return Ok(());
    };
    subscriber.engine().find_touch();
    drop(subscriber);
    *retry = FIRST_RETRY;
    loop {
        let message = subscription.next().await?;
        let Some(cache) = cache.upgrade() else {
            return Ok(());
        };
        // What cannot be read may have been anything.
        let (sender, change) = Change::read(&message).unwrap_or((!node, Change::Cache));
        if sender != node {
            cache.engine().notice(&change);
        }
    }
}

/// The channel of the caches with a prefix.
fn channel(prefix: &str) -> String {
    format!("~bus:{}", name_digest([prefix.as_bytes()]))
}

const MAGIC: [u8; 4] = [0xf8, b'f', b'b', 0x01];
const KEY: u8 = 0;
const NAMESPACE: u8 = 1;
const TAG: u8 = 2;
const CACHE: u8 = 3;

impl Change {
    /// A message: four bytes of magic and version, eight of the sender, one of the kind, and the name of
    /// what has changed.
    fn write(&self, node: u64) -> Bytes {
        let (kind, name) = match self {
            Self::Key(key) => (KEY, key.as_str()),
            Self::Namespace(namespace) => (NAMESPACE, namespace.as_str()),
            Self::Tag(tag) => (TAG, tag.as_str()),
            Self::Cache => (CACHE, ""),
        };
        let message = [&MAGIC[..], &node.to_be_bytes(), &[kind], name.as_bytes()];
        Bytes::from(message.concat())
    }

    /// `None` for what is no message.
    fn read(message: &[u8]) -> Option<(u64, Self)> {
        let (magic, rest) = message.split_first_chunk()?;
        if *magic != MAGIC {
            return None;
        }
        let (node, rest) = rest.split_first_chunk()?;
        let (kind, name) = rest.split_first()?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        let change = match *kind {
            KEY => Self::Key(name),
            NAMESPACE => Self::Namespace(name),
            TAG => Self::Tag(name),
            CACHE => Self::Cache,
            _ => return None,
        };
        Some((u64::from_be_bytes(*node), change))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn changes_are_read_as_they_were_written() {
        for change in [
            Change::Key("shop:users:1".to_owned()),
            Change::Namespace(String::new()),
            Change::Tag("user:1".to_owned()),
            Change::Cache,
        ] {
            assert_eq!(Change::read(&change.write(7)), Some((7, change)));
        }
    }

    proptest! {
        #[test]
        fn foreign_messages_never_panic(message: Vec<u8>, kind: u8) {
            let _ = Change::read(&message);
            let ours = [&MAGIC[..], &[0; 8], &[kind], &message].concat();
            let _ = Change::read(&ours);
        }
    }
}
