//! Where values live: the trait that a backend implements, and the form in which the engine holds it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::bus::Bus;
use crate::error::Error;
use crate::local::LocalStore;

/// How long a tombstone is, in bytes: what is left under a key that was invalidated. Every value
/// that the engine stores is longer.
pub const TOMBSTONE_BYTES: usize = 22;

/// A store of bytes under text keys, with lifetimes.
///
/// Implement it with plain `async fn`s and pass the value to
/// [`FastCache::init`](crate::FastCache::init). What a backend stores is opaque to it: the engine
/// encodes values, checks what comes back, and survives every error, so an implementation reports
/// failures instead of hiding them.
///
/// Keys are at most 250 bytes of printable ASCII without spaces. Every method may be called
/// concurrently, and its future may be dropped at any await point.
///
/// ```
/// use std::{collections::HashMap, sync::Mutex, time::{Duration, Instant}};
/// use bytes::Bytes;
/// use fast_cache_core::{Backend, Error};
///
/// #[derive(Default)]
/// struct Map(Mutex<HashMap<String, (Bytes, Option<Instant>)>>);
///
/// impl Backend for Map {
///     async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
///         let map = self.0.lock().unwrap();
///         let live = |at: &Option<Instant>| at.is_none_or(|at| Instant::now() < at);
///         Ok(map.get(key).filter(|(_, at)| live(at)).map(|(value, _)| value.clone()))
///     }
///     async fn set(&self, key: &str, value: Bytes, expire: Option<Duration>) -> Result<(), Error> {
///         let at = expire.and_then(|expire| Instant::now().checked_add(expire));
///         self.0.lock().unwrap().insert(key.to_owned(), (value, at));
///         Ok(())
///     }
///     async fn replace(
///         &self, key: &str, seen: Option<&[u8]>, value: Bytes, expire: Option<Duration>,
///     ) -> Result<bool, Error> {
///         let now = Instant::now();
///         let mut map = self.0.lock().unwrap();
///         let there = map.get(key).filter(|(_, at)| at.is_none_or(|at| now < at));
///         let may = there.is_none_or(|(there, _)| seen.is_some_and(|seen| there.starts_with(seen)));
///         if may {
///             map.insert(key.to_owned(), (value, expire.and_then(|expire| now.checked_add(expire))));
///         }
///         Ok(may)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cache backend",
    label = "not a backend",
    note = "pass `InMemoryBackend::new()` or another backend, or implement `Backend` for `{Self}`"
)]
pub trait Backend: Send + Sync + 'static {
    /// Reads the value under `key`.
    ///
    /// # Behavior
    ///
    /// Gives the bytes of the last `set` that has neither expired nor been removed, else `None`.
    ///
    /// # Errors
    ///
    /// When the store cannot be reached or answers with an error. Absence is no error.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send;

    /// Stores `value` under `key`, over what was there.
    ///
    /// # Behavior
    ///
    /// With `expire`, the value is gone after that long; millisecond precision is wanted, and a
    /// coarser store may keep it longer, since the engine checks lifetimes itself. Without it, the
    /// value stays until it is removed or evicted.
    ///
    /// # Errors
    ///
    /// When the store cannot be reached, or refuses the value, for example for its size.
    fn set(
        &self,
        key: &str,
        value: Bytes,
        expire: Option<Duration>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Stores `value` under `key` unless something else is there by now, and tells whether it did.
    ///
    /// # Behavior
    ///
    /// The value is stored if there is nothing under `key`, or if what is there begins with `seen`.
    /// Looking and storing are one step that nothing comes between, also when other processes
    /// share the store: of any number of callers that have seen the same, one succeeds. What has
    /// expired is not there. `expire` means what it means in [`set`](Self::set).
    ///
    /// This is what makes invalidation final: a computation that began before an invalidation has
    /// seen something else than what the invalidation left under the key.
    ///
    /// # Errors
    ///
    /// When the store cannot be reached, or refuses the value. It is then unknown whether the value
    /// was stored.
    fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Frees every value whose key starts with `prefix`, if the store can list its keys, and counts
    /// them.
    ///
    /// # Behavior
    ///
    /// The prefix is compared byte by byte; it holds no wildcards. What is no longer than
    /// [`TOMBSTONE_BYTES`] is not counted, and stays where the store can tell in the step that frees a value: it may be what
    /// an invalidation has left just now. The engine has made the values unreachable already, so a store that cannot list its keys keeps this default, which frees nothing and
    /// counts zero, and leaves them to expire.
    ///
    /// # Errors
    ///
    /// When the store cannot be reached or answers with an error.
    fn clear(&self, prefix: &str) -> impl Future<Output = Result<u64, Error>> + Send {
        let _ = prefix;
        async { Ok(0) }
    }

    /// The store of typed values in this process, for backends that have one.
    ///
    /// The engine then keeps values there as they are, and neither encodes nor decodes them.
    fn local(&self) -> Option<&LocalStore> {
        None
    }

    /// Whether other processes share what is stored; by default, if there is no
    /// [`local`](Self::local) store. A backend that shares and has a local store too has two tiers.
    fn is_shared(&self) -> bool {
        self.local().is_none()
    }

    /// How the processes that share the store tell each other what has changed, if it offers that.
    fn bus(&self) -> Option<Arc<dyn Bus>> {
        None
    }
}

impl<B: Backend> Backend for Arc<B> {
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send {
        B::get(self, key)
    }

    fn set(
        &self,
        key: &str,
        value: Bytes,
        expire: Option<Duration>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        B::set(self, key, value, expire)
    }

    fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        B::replace(self, key, seen, value, expire)
    }

    fn clear(&self, prefix: &str) -> impl Future<Output = Result<u64, Error>> + Send {
        B::clear(self, prefix)
    }

    fn local(&self) -> Option<&LocalStore> {
        B::local(self)
    }

    fn is_shared(&self) -> bool {
        B::is_shared(self)
    }

    fn bus(&self) -> Option<Arc<dyn Bus>> {
        B::bus(self)
    }
}

/// A boxed future that can be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`Backend`] with boxed futures, so that the registry can hold any of them.
///
/// Every [`Backend`] is one; it is not implemented by hand.
pub trait DynBackend: Send + Sync + 'static {
    /// See [`Backend::get`].
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>>;

    /// See [`Backend::set`].
    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        expire: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// See [`Backend::replace`].
    fn replace<'a>(
        &'a self,
        key: &'a str,
        seen: Option<&'a [u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// See [`Backend::clear`].
    fn clear<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<u64, Error>>;

    /// See [`Backend::local`].
    fn local(&self) -> Option<&LocalStore>;

    /// See [`Backend::is_shared`].
    fn is_shared(&self) -> bool;

    /// See [`Backend::bus`].
    fn bus(&self) -> Option<Arc<dyn Bus>>;
}

impl<B: Backend> DynBackend for B {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        Box::pin(Backend::get(self, key))
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Bytes,
        expire: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(Backend::set(self, key, value, expire))
    }

    fn replace<'a>(
        &'a self,
        key: &'a str,
        seen: Option<&'a [u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(Backend::replace(self, key, seen, value, expire))
    }

    fn clear<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(Backend::clear(self, prefix))
    }

    fn local(&self) -> Option<&LocalStore> {
        Backend::local(self)
    }

    fn is_shared(&self) -> bool {
        Backend::is_shared(self)
    }

    fn bus(&self) -> Option<Arc<dyn Bus>> {
        Backend::bus(self)
    }
}
