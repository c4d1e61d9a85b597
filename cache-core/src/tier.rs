//! Two tiers: what keeps the values of this process in step with the store that others share.
//!
//! Whoever changes something tells the others by a message: that a key, a namespace, a tag or
//! everything is not what it was. They drop what they hold of it, and look into the shared store
//! next time. A message that comes late, twice or for nothing costs a lookup and does no harm. While the
//! messages do not come, nothing that is held here is relied on; and when they come again, it is
//! dropped, since some may have been missed.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::future;
use tokio::task::JoinHandle;

use crate::bus::Bus;
use crate::clock::{Clock, milliseconds};
use crate::entry::unique;
use crate::error::Error;
use crate::key::name_digest;
use crate::registry::WeakCache;
use crate::timer::sleep;

/// How long to wait before subscribing again, at first.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// And at most.
const LAST_RETRY: Duration = Duration::from_secs(5);

/// How often the listener says that it runs.
const BEAT: Duration = Duration::from_millis(250);
/// For how long that holds.
const ALIVE: Duration = Duration::from_secs(1);

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
    clock: Clock,
    /// Until when every message is known to come, in milliseconds of the clock: the listener says so again and again, and
    /// one that does not run is not relied on.
    up_until: AtomicU64,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl Wire {
    pub(crate) fn new(bus: Arc<dyn Bus>, prefix: &str, clock: Clock) -> Self {
        Self {
            bus,
            channel: channel(prefix),
            node: unique(),
            clock,
            up_until: AtomicU64::new(0),
            listener: Mutex::default(),
        }
    }

    /// Whether every message comes, at a moment of the clock.
    #[inline]
    pub(crate) fn is_up(&self, now: u64) -> bool {
        now < self.up_until.load(Ordering::Acquire)
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
        self.stop();
        let (bus, channel, node) = (Arc::clone(&self.bus), self.channel.clone(), self.node);
        *listener = Some(runtime.spawn(listen(bus, channel, node, cache())));
    }

    /// Notes that every message has come so far.
    pub(crate) fn beat(&self) {
        let until = match self.clock.is_manual() {
            // It jumps, and the listener waits by another one.
            true => u64::MAX,
            false => self.clock.now().saturating_add(milliseconds(ALIVE)),
        };
        self.up_until.store(until, Ordering::Release);
    }

    /// Notes that messages may be missed from now on.
    pub(crate) fn stop(&self) {
        self.up_until.store(0, Ordering::Release);
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

/// The listener, until this is dropped: by a runtime that ends, too.
struct Listening(WeakCache);

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(cache) = self.0.upgrade() {
            cache.engine().lose_touch();
        }
    }
}

/// Listens until the cache is gone.
async fn listen(bus: Arc<dyn Bus>, channel: String, node: u64, cache: WeakCache) {
    let _listening = Listening(cache.clone());
    let mut retry = FIRST_RETRY;
    loop {
        let outcome = subscribe(&*bus, &channel, node, &cache, &mut retry).await;
        let Some(cache) = cache.upgrade() else { return };
        cache.engine().lose_touch();
        if let Err(error) = outcome {
            tracing::warn!(%error, "other processes cannot be heard: local values are not relied on");
        }
        drop(cache);
        sleep(retry).await;
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
        let message = beating(cache, subscription.next()).await?;
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

/// Awaits a message, and says now and then that none has come.
///
/// A runtime that was blocked has other tasks to run before this one hears of what has come meanwhile, and so a beat that
/// is late does not count: the next one does.
async fn beating<M>(cache: &WeakCache, message: impl Future<Output = M>) -> M {
    let mut message = pin!(message);
    let mut last = Instant::now();
    loop {
        let beat = async {
            sleep(BEAT).await;
            None
        };
        let message = async { Some(message.as_mut().await) };
        if let Some(message) = future::or(message, beat).await {
            return message;
        }
        let is_late = last.elapsed() > ALIVE / 2;
        last = Instant::now();
        if !is_late && let Some(cache) = cache.upgrade() {
            cache.engine().keep_touch();
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
