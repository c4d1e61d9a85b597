//! A backend that misbehaves, from a seed.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use fast_cache_core::local::LocalStore;
use fast_cache_core::{Backend, BoxFuture, Bus, Error, Subscription};
use fastrand::Rng;
use tokio::sync::watch;

/// A backend that fails, delays, loses and corrupts with given odds.
///
/// It shows what a service does when its store misbehaves. All it does is drawn from one seed, so that the
/// same operations in the same order meet the same faults, and a test that fails can be run again from
/// its number. Odds are from 0.0, never, to 1.0, always. Clones share their state.
///
/// ```
/// use std::time::Duration;
/// use fast_cache::{Cache, Config, cache, testing::ChaosBackend};
/// # use fast_cache::Backend;
///
/// #[cache(expire = 60)]
/// async fn double(n: u64) -> u64 { n * 2 }
///
/// # async fn test(redis: impl Backend) {
/// let chaos = ChaosBackend::new(redis, 42)
///     .fail(0.2)
///     .corrupt(0.1)
///     .delay(0.5, Duration::from_millis(50));
/// let cache = Cache::new(Config::new(chaos.clone()));
/// for n in 0..100 {
///     assert_eq!(cache.scope(double(n)).await, n * 2);
/// }
/// chaos.outage(true);
/// assert_eq!(cache.scope(double(1)).await, 2);
/// # }
/// ```
///
/// If the inner backend has a [`Bus`], its messages are lost and delayed too; a delayed message is overtaken
/// by later ones.
pub struct ChaosBackend<B> {
    inner: Arc<B>,
    odds: Odds,
    dice: Arc<Dice>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Odds {
    fail: f64,
    fail_after: f64,
    corrupt: f64,
    lose: f64,
    delay: (f64, Duration),
    bus_lose: f64,
    bus_delay: (f64, Duration),
}

#[derive(Debug)]
struct Dice {
    rng: Mutex<Rng>,
    is_out: watch::Sender<bool>,
    is_calm: AtomicBool,
}

impl<B: Backend> ChaosBackend<B> {
    /// Behaves well until it is given odds, and then from this seed.
    #[must_use]
    pub fn new(inner: B, seed: u64) -> Self {
        Self {
            inner: Arc::new(inner),
            odds: Odds::default(),
            dice: Arc::new(Dice {
                rng: Mutex::new(Rng::with_seed(seed)),
                is_out: watch::Sender::new(false),
                is_calm: AtomicBool::new(false),
            }),
        }
    }

    /// Sets the odds that an operation is not carried out, and is an error.
    #[must_use]
    pub fn fail(mut self, odds: f64) -> Self {
        self.odds.fail = odds;
        self
    }

    /// Sets the odds that an operation is carried out, and is an error all the same, as when the answer is
    /// lost.
    #[must_use]
    pub fn fail_after(mut self, odds: f64) -> Self {
        self.odds.fail_after = odds;
        self
    }

    /// Sets the odds that a read gives other bytes than those that are stored: some flipped, some cut
    /// off, some of something else.
    #[must_use]
    pub fn corrupt(mut self, odds: f64) -> Self {
        self.odds.corrupt = odds;
        self
    }

    /// Sets the odds that a read finds nothing, as after an eviction. What is stored stays.
    #[must_use]
    pub fn lose(mut self, odds: f64) -> Self {
        self.odds.lose = odds;
        self
    }

    /// Sets the odds that an operation begins, and that it ends, later by up to this long.
    #[must_use]
    pub fn delay(mut self, odds: f64, up_to: Duration) -> Self {
        self.odds.delay = (odds, up_to);
        self
    }

    /// Sets the odds that a message never comes.
    #[must_use]
    pub fn bus_lose(mut self, odds: f64) -> Self {
        self.odds.bus_lose = odds;
        self
    }

    /// Sets the odds that a message comes later by up to this long.
    #[must_use]
    pub fn bus_delay(mut self, odds: f64, up_to: Duration) -> Self {
        self.odds.bus_delay = (odds, up_to);
        self
    }

    /// Begins or ends an outage, in which every operation is an error, and every subscription ends.
    pub fn outage(&self, is_out: bool) {
        self.dice.is_out.send_replace(is_out);
    }

    /// Switches all faults but an outage off, or on again.
    pub fn calm(&self, is_calm: bool) {
        self.dice.is_calm.store(is_calm, Ordering::SeqCst);
    }

    /// The backend that is disturbed.
    #[must_use]
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// Carries an operation out, or not.
    async fn disturb<T>(
        &self,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.wait().await;
        if self.dice.is_out() || self.dice.hits(self.odds.fail) {
            return Err(refused());
        }
        let result = operation.await;
        self.wait().await;
        if self.dice.is_out() || self.dice.hits(self.odds.fail_after) {
            return Err(refused());
        }
        result
    }

    async fn wait(&self) {
        if let Some(delay) = self.dice.delay(self.odds.delay) {
            tokio::time::sleep(delay).await;
        }
    }
}

impl<B: Backend> Backend for ChaosBackend<B> {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let found = self.disturb(self.inner.get(key)).await?;
        if self.dice.hits(self.odds.lose) {
            return Ok(None);
        }
        Ok(match found {
            Some(bytes) if self.dice.hits(self.odds.corrupt) => Some(self.dice.corrupt(&bytes)),
            found => found,
        })
    }

    async fn set(&self, key: &str, value: Bytes, expire: Option<Duration>) -> Result<(), Error> {
        self.disturb(self.inner.set(key, value, expire)).await
    }

    async fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> Result<bool, Error> {
        self.disturb(self.inner.replace(key, seen, value, expire))
            .await
    }

    async fn clear(&self, prefix: &str) -> Result<u64, Error> {
        self.disturb(self.inner.clear(prefix)).await
    }

    fn local(&self) -> Option<&LocalStore> {
        self.inner.local()
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn bus(&self) -> Option<Arc<dyn Bus>> {
        Some(Arc::new(ChaosBus {
            inner: self.inner.bus()?,
            odds: self.odds,
            dice: Arc::clone(&self.dice),
        }))
    }
}

impl<B> Clone for ChaosBackend<B> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            odds: self.odds,
            dice: Arc::clone(&self.dice),
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for ChaosBackend<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosBackend")
            .field("inner", &self.inner)
            .field("odds", &self.odds)
            .field("is_out", &self.dice.is_out())
            .finish_non_exhaustive()
    }
}

/// Disturbs messages where they are published.
struct ChaosBus {
    inner: Arc<dyn Bus>,
    odds: Odds,
    dice: Arc<Dice>,
}

impl Bus for ChaosBus {
    fn publish<'a>(&'a self, channel: &'a str, message: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            if self.dice.is_out() || self.dice.hits(self.odds.fail) {
                return Err(refused());
            }
            if self.dice.hits(self.odds.bus_lose) {
                return Ok(());
            }
            let Some(delay) = self.dice.delay(self.odds.bus_delay) else {
                return self.inner.publish(channel, message).await;
            };
            let (bus, channel) = (Arc::clone(&self.inner), channel.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                // Whoever published it has been told that it is on its way.
                let _ = bus.publish(&channel, message).await;
            });
            Ok(())
        })
    }

    fn subscribe<'a>(
        &'a self,
        channel: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Subscription>, Error>> {
        Box::pin(async move {
            if self.dice.is_out() || self.dice.hits(self.odds.fail) {
                return Err(refused());
            }
            Ok(Box::new(ChaosSubscription {
                inner: self.inner.subscribe(channel).await?,
                is_out: self.dice.is_out.subscribe(),
            }) as Box<dyn Subscription>)
        })
    }
}

/// A subscription that ends with an outage.
struct ChaosSubscription {
    inner: Box<dyn Subscription>,
    is_out: watch::Receiver<bool>,
}

impl Subscription for ChaosSubscription {
    fn next(&mut self) -> BoxFuture<'_, Result<Bytes, Error>> {
        Box::pin(async move {
            let mut outage = pin!(self.is_out.wait_for(|is_out| *is_out));
            let mut message = self.inner.next();
            poll_fn(|context| {
                if outage.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Err(refused()));
                }
                message.as_mut().poll(context)
            })
            .await
        })
    }
}

impl Dice {
    fn is_out(&self) -> bool {
        *self.is_out.borrow()
    }

    /// Draws only where there is something to draw for, so that odds of zero change nothing.
    fn hits(&self, odds: f64) -> bool {
        let is_calm = self.is_calm.load(Ordering::SeqCst);
        odds > 0.0 && !is_calm && self.roll(|rng| rng.f64() < odds)
    }

    fn delay(&self, (odds, up_to): (f64, Duration)) -> Option<Duration> {
        self.hits(odds)
            .then(|| self.roll(|rng| up_to.mul_f64(rng.f64())))
    }

    fn corrupt(&self, bytes: &[u8]) -> Bytes {
        self.roll(|rng| match rng.u8(0..3) {
            0 if !bytes.is_empty() => {
                let mut flipped = bytes.to_vec();
                let at = rng.usize(0..flipped.len());
                flipped[at] ^= 1 << rng.u8(0..8);
                Bytes::from(flipped)
            }
            1 => Bytes::copy_from_slice(&bytes[..rng.usize(0..=bytes.len())]),
            _ => std::iter::repeat_with(|| rng.u8(..)).take(40).collect(),
        })
    }

    fn roll<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn refused() -> Error {
    Error::backend("the chaos backend refused this")
}
