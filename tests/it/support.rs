//! What the tests share.
#![allow(dead_code, reason = "each feature set uses a part of it")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fast_cache::{Backend, BoxFuture, Bus, Error, Subscription, TOMBSTONE_BYTES};
use tokio::sync::{mpsc, watch};

/// Counts how often a function was computed.
#[derive(Debug, Default)]
pub(crate) struct Calls(AtomicU64);

impl Calls {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one call, and gives its number, from 1.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A computation that waits until it is let go, and how often it began.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) calls: Arc<Calls>,
    open: watch::Sender<bool>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            calls: Arc::default(),
            open: watch::Sender::new(false),
        }
    }

    pub(crate) async fn pass(&self) -> u64 {
        let call = self.calls.next();
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.unwrap();
        call
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Runs a future with a cache of its own.
#[cfg(feature = "memory")]
pub(crate) async fn cached<F: Future>(future: F) -> F::Output {
    fast_cache::Cache::new(fast_cache::InMemoryBackend::new())
        .scope(future)
        .await
}

/// Stores bytes in a map that the test can reach into, and fails on demand. It knows no time: the
/// engine checks lifetimes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remote(Arc<State>, Option<Hub>);

#[derive(Debug, Default)]
struct State {
    map: Mutex<HashMap<String, Bytes>>,
    is_down: std::sync::atomic::AtomicBool,
    gets: AtomicU64,
}

impl Remote {
    /// The same store, with a bus.
    pub(crate) fn with_bus(&self, hub: &Hub) -> Self {
        Self(Arc::clone(&self.0), Some(hub.clone()))
    }

    pub(crate) fn fail(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::SeqCst);
    }

    pub(crate) fn gets(&self) -> u64 {
        self.0.gets.load(Ordering::SeqCst)
    }

    /// The keys of entries; those of barriers begin with a tilde.
    pub(crate) fn keys(&self) -> Vec<String> {
        let map = self.0.map.lock().unwrap();
        let keys = map.keys().filter(|key| !key.starts_with('~'));
        let mut keys: Vec<_> = keys.cloned().collect();
        keys.sort();
        keys
    }

    /// Those of barriers, too.
    pub(crate) fn all_keys(&self) -> Vec<String> {
        self.0.map.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn remove(&self, key: &str) {
        self.0.map.lock().unwrap().remove(key);
    }

    pub(crate) fn read(&self, key: &str) -> Option<Bytes> {
        self.0.map.lock().unwrap().get(key).cloned()
    }

    pub(crate) fn write(&self, key: &str, value: impl Into<Bytes>) {
        self.0
            .map
            .lock()
            .unwrap()
            .insert(key.to_owned(), value.into());
    }

    fn check(&self) -> Result<(), Error> {
        if self.0.is_down.load(Ordering::SeqCst) {
            return Err(Error::backend("connection refused"));
        }
        Ok(())
    }
}

impl Backend for Remote {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.check()?;
        self.0.gets.fetch_add(1, Ordering::SeqCst);
        Ok(self.read(key))
    }

    async fn set(&self, key: &str, value: Bytes, _: Option<Duration>) -> Result<(), Error> {
        self.check()?;
        self.write(key, value);
        Ok(())
    }

    async fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        _: Option<Duration>,
    ) -> Result<bool, Error> {
        self.check()?;
        let mut map = self.0.map.lock().unwrap();
        let is_seen = |there: &Bytes| seen.is_some_and(|seen| there.starts_with(seen));
        let stores = map.get(key).is_none_or(is_seen);
        if stores {
            map.insert(key.to_owned(), value);
        }
        Ok(stores)
    }

    async fn clear(&self, prefix: &str) -> Result<u64, Error> {
        self.check()?;
        let mut map = self.0.map.lock().unwrap();
        let freed = map.extract_if(|key, _| key.starts_with(prefix));
        Ok(freed
            .filter(|(_, value)| value.len() > TOMBSTONE_BYTES)
            .count() as u64)
    }

    fn bus(&self) -> Option<Arc<dyn Bus>> {
        let hub = self.1.clone()?;
        Some(Arc::new(hub))
    }
}

/// Remembers the warnings that are logged while it is in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// Runs a future, and gives what it logged.
    pub(crate) async fn of<F: Future>(future: F) -> (F::Output, String) {
        use tracing::instrument::WithSubscriber as _;

        // While there is just one subscriber, an event that another thread reaches first is taken for one
        // that nobody wants, since that thread has none.
        static SECOND: LazyLock<tracing::Dispatch> = LazyLock::new(|| {
            let sink = tracing_subscriber::fmt().with_writer(std::io::sink);
            tracing::Dispatch::new(sink.finish())
        });
        LazyLock::force(&SECOND);
        let logs = Self::default();
        let writer = logs.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_writer(move || writer.clone())
            .finish();
        let output = future.with_subscriber(subscriber).await;
        let text = String::from_utf8(logs.0.lock().unwrap().clone()).unwrap();
        (output, text)
    }
}

impl std::io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Passes messages between caches of this process, and can be cut and held up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hub(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    subscribers: Vec<(String, mpsc::UnboundedSender<Bytes>)>,
    held: Option<Vec<(String, Bytes)>>,
    is_down: bool,
    published: u64,
}

impl Hub {
    /// Ends all subscriptions. New ones are refused until it is mended.
    pub(crate) fn cut(&self) {
        let mut lines = self.0.lock().unwrap();
        lines.is_down = true;
        lines.subscribers.clear();
    }

    pub(crate) fn mend(&self) {
        self.0.lock().unwrap().is_down = false;
    }

    /// Keeps messages back until they are released.
    pub(crate) fn hold(&self) {
        self.0.lock().unwrap().held = Some(Vec::new());
    }

    pub(crate) fn release(&self) {
        let held = self.0.lock().unwrap().held.take();
        for (channel, message) in held.into_iter().flatten() {
            self.pass(&channel, message);
        }
    }

    pub(crate) fn published(&self) -> u64 {
        self.0.lock().unwrap().published
    }

    fn pass(&self, channel: &str, message: Bytes) {
        let mut lines = self.0.lock().unwrap();
        if let Some(held) = &mut lines.held {
            held.push((channel.to_owned(), message));
            return;
        }
        lines
            .subscribers
            .retain(|(name, sender)| name != channel || sender.send(message.clone()).is_ok());
    }
}

impl Bus for Hub {
    fn publish<'a>(&'a self, channel: &'a str, message: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            {
                let mut lines = self.0.lock().unwrap();
                if lines.is_down {
                    return Err(Error::backend("the bus is down"));
                }
                lines.published += 1;
            }
            self.pass(channel, message);
            Ok(())
        })
    }

    fn subscribe<'a>(
        &'a self,
        channel: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, Error>> {
        Box::pin(async move {
            let (sender, receiver) = mpsc::unbounded_channel();
            let mut lines = self.0.lock().unwrap();
            if lines.is_down {
                return Err(Error::backend("the bus is down"));
            }
            lines.subscribers.push((channel.to_owned(), sender));
            Ok(Box::new(Line(receiver)) as Box<dyn Subscription>)
        })
    }
}

struct Line(mpsc::UnboundedReceiver<Bytes>);

impl Subscription for Line {
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes, Error>> {
        Box::pin(async move {
            let message = self.0.recv().await;
            message.ok_or_else(|| Error::backend("the bus was cut"))
        })
    }
}

/// Lets every task of this thread come to where it waits.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
