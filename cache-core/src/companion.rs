//! The entry of one call, to read and to change by hand.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::access::Access;
use crate::engine::{Found, Stored, Terms, Ticket};
use crate::error::{Error, ErrorKind};
use crate::key::{Key, KeyWriter};
#[cfg(feature = "axum")]
use crate::key::{UnmountedKey, headers_suffix, mounted_suffix};
use crate::policy::Verdict;
use crate::registry::Cache;
use crate::runtime::{CallKey, MakeKeyBuilder, choose_builder};
use crate::site::Site;
use crate::tags::TagList;
#[cfg(feature = "axum")]
use crate::value::CoderChoice;

/// The entry that one call of a cached function has in the cache.
///
/// `get_user::entry(42)` makes it, from the arguments that count. It belongs to the cache that was
/// the current one then.
///
/// ```ignore
/// let entry = get_user::entry(42);
/// entry.set(user).await?;
/// assert!(entry.get().await?.is_some());
/// entry.invalidate().await?;
/// ```
pub struct CacheEntry<T> {
    site: &'static Site,
    target: Result<Target, Error>,
    expire: Option<Duration>,
    tags: TagList,
    access: Access<T>,
    #[cfg(feature = "axum")]
    mount: Option<Box<Unmounted>>,
}

/// The state of the store when a computation began, for [`CacheEntry::set_on`].
#[derive(Clone, Debug)]
pub struct EntryTicket {
    key: Key,
    ticket: Ticket,
    /// The generations of its tags.
    before: Vec<u64>,
}

/// The cache and the key in it.
struct Target {
    cache: Cache,
    key: CallKey,
}

impl<T> CacheEntry<T> {
    /// The printed key: `{prefix}:{namespace}:{md5 or text}`, as logs and remote backends show it.
    ///
    /// Empty if there is no cache, or if an argument cannot be part of a key.
    ///
    /// # Panics
    ///
    /// If an async key builder is in force and does not finish at once; use
    /// [`resolve_key`](Self::resolve_key) then.
    #[must_use]
    pub fn key(&self) -> String {
        let resolved = pin!(self.resolve_key());
        match resolved.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(key) => key.unwrap_or_default(),
            Poll::Pending => panic!(
                "the key of `{}` is made by an async key builder that has to wait: use \
                 `resolve_key().await`",
                self.site
            ),
        }
    }

    /// The printed key, after an async key builder has made it.
    ///
    /// # Errors
    ///
    /// `NotInitialized`, and `Key` if an argument cannot be part of a key.
    pub async fn resolve_key(&self) -> Result<String, Error> {
        let (cache, key) = self.target().await?;
        Ok(key.printed(cache.engine().prefix()))
    }

    /// Reads the value; `None` if it is absent or has expired.
    ///
    /// # Errors
    ///
    /// Those of the backend, `Decode` for an entry that cannot be used, `NotInitialized`, and
    /// `Key` if an argument cannot be part of a key.
    pub async fn get(&self) -> Result<Option<T>, Error> {
        let (cache, key) = self.target().await?;
        Ok(self.find(cache, &key).await?.map(|found| found.value))
    }

    /// Stores a value, for as long as the function's `expire` says, else the registry's.
    ///
    /// A call that is being computed at that moment does not overwrite it. The value is stored whatever was invalidated
    /// while it was made: for one that was computed, [`set_on`](Self::set_on) takes care of that.
    ///
    /// # Errors
    ///
    /// Those of the backend, `Encode` if the coder refuses the value, `NotInitialized`, and `Key`
    /// if an argument cannot be part of a key.
    pub async fn set(&self, value: T) -> Result<(), Error> {
        let (cache, key) = self.target().await?;
        let ticket = cache.engine().supersede(self.site, &key).await?;
        self.store(cache, ticket, &[], &key, &value).await?;
        Ok(())
    }

    /// Looks into the store, for a value that is computed after this and stored by [`set_on`](Self::set_on).
    ///
    /// # Errors
    ///
    /// Those of the backend, `NotInitialized`, and `Key` if an argument cannot be part of a key.
    pub async fn ticket(&self) -> Result<EntryTicket, Error> {
        let (cache, key) = self.target().await?;
        let sought = (self.access.operations().find)(cache.engine(), self.site, &key).await;
        match sought.found {
            Err(error) if error.kind().is_out_of_reach() => Err(error),
            _ => {
                let (ticket, tags) = (sought.ticket, self.tags.as_slice());
                let before = cache.engine().tags_before(ticket, tags).await;
                Ok(EntryTicket {
                    key,
                    ticket,
                    before,
                })
            }
        }
    }

    /// Stores a value that was computed after `ticket` was taken, unless it was invalidated since, or another value was
    /// stored; tells whether it was stored.
    ///
    /// ```ignore
    /// let entry = get_user::entry(42);
    /// let ticket = entry.ticket().await?;
    /// let user = db.load(42).await?;
    /// entry.set_on(ticket, user).await?;
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`set`](Self::set), and `Key` for the ticket of another entry.
    pub async fn set_on(&self, ticket: EntryTicket, value: T) -> Result<bool, Error> {
        let (cache, key) = self.target().await?;
        if ticket.key != key {
            let message = "the ticket is that of another entry: take one of this entry";
            return Err(Error::new(ErrorKind::Key, message));
        }
        let EntryTicket { ticket, before, .. } = ticket;
        let stored = self.store(cache, ticket, &before, &key, &value).await?;
        Ok(matches!(stored, Stored::Yes))
    }

    async fn store(
        &self,
        cache: &Cache,
        ticket: Ticket,
        before: &[u64],
        key: &Key,
        value: &T,
    ) -> Result<Stored, Error> {
        let engine = cache.engine();
        let terms = Terms {
            fresh: self.expire.or_else(|| cache.expire()),
            stale: engine.aging(self.site).stale(),
            took: 0,
            tags: self.tags.as_slice(),
            before,
        };
        (self.access.operations().store)(engine, ticket, self.site, key, value, &terms).await
    }

    /// Removes the value, and tells whether there was one. A call that is being computed at that
    /// moment is not stored.
    ///
    /// # Errors
    ///
    /// Those of the backend, `NotInitialized`, and `Key` if an argument cannot be part of a key.
    pub async fn invalidate(&self) -> Result<bool, Error> {
        let (cache, key) = self.target().await?;
        cache.engine().remove(&key).await
    }

    /// Writes the tags that a value gets by [`set`](Self::set); generated code calls it.
    #[doc(hidden)]
    #[must_use]
    pub fn tags(mut self, write: impl FnOnce(&mut TagList)) -> Self {
        write(&mut self.tags);
        self
    }

    /// How long the value stays fresh, precise to the millisecond; `None` if it is absent or has
    /// expired, and [`Duration::MAX`] if it does not expire.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn ttl(&self) -> Result<Option<Duration>, Error> {
        let (cache, key) = self.target().await?;
        let found = self.find(cache, &key).await?;
        Ok(found.map(|found| match found.times.remaining {
            Some(milliseconds) => Duration::from_millis(milliseconds),
            None => Duration::MAX,
        }))
    }

    async fn find(&self, cache: &Cache, key: &Key) -> Result<Option<Found<T>>, Error> {
        let sought = (self.access.operations().find)(cache.engine(), self.site, key).await;
        Ok(sought.found?.filter(|found| !found.times.is_stale()))
    }

    async fn target(&self) -> Result<(&Cache, Key), Error> {
        let Target { cache, key } = self.target.as_ref().map_err(Error::repeat)?;
        let key = match key {
            CallKey::Known(key) => key.clone(),
            CallKey::Built(built) => built.build(cache, self.site).await,
        };
        Ok((cache, key))
    }
}

impl<T> fmt::Debug for CacheEntry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheEntry")
            .field("function", &format_args!("{}", self.site))
            .finish_non_exhaustive()
    }
}

/// Makes the entry of a call; generated code writes the arguments that count.
pub fn entry<T>(
    site: &'static Site,
    access: Access<T>,
    builder: Option<MakeKeyBuilder>,
    rules: Verdict,
    write_key: impl FnOnce(&mut KeyWriter),
) -> CacheEntry<T> {
    CacheEntry {
        site,
        target: Target::new(site, builder, write_key),
        expire: rules.lifetime(),
        tags: TagList::default(),
        access,
        #[cfg(feature = "axum")]
        mount: None,
    }
}

impl Target {
    fn new(
        site: &'static Site,
        builder: Option<MakeKeyBuilder>,
        write_key: impl FnOnce(&mut KeyWriter),
    ) -> Result<Self, Error> {
        let cache = Cache::try_current()?;
        let mut writer = KeyWriter::recording();
        write_key(&mut writer);
        if let Some(error) = writer.take_refusal() {
            return Err(error);
        }
        let key = match choose_builder(&cache, builder, &writer) {
            Some(builder) => CallKey::build(builder, writer),
            None => writer
                .into_key(cache.engine().prefix_number(), site)
                .map(CallKey::Known)
                .ok_or_else(Error::ambiguous)?,
        };
        Ok(Self { cache, key })
    }
}

/// Makes the entry of a request to a handler. `headers` are the request's, for a handler that
/// names some with `vary`.
#[cfg(feature = "axum")]
pub fn response_entry<C: CoderChoice>(
    site: &'static Site,
    _coder: C,
    builder: Option<MakeKeyBuilder>,
    rules: Verdict,
    headers: Option<&http::HeaderMap>,
    write_key: impl FnOnce(&mut KeyWriter),
) -> CacheEntry<crate::CachedResponse> {
    let none = http::HeaderMap::new();
    let headers = headers.unwrap_or(&none);
    let names = site.vary_names();
    let mut unmounted = None;
    let mut entry = entry(site, Access::new::<C>(), builder, rules, |key| {
        write_key(key);
        key.headers(headers, names);
        unmounted = Some(key.unmounted());
        key.mount(None);
    });
    if let (Ok(target), Some(unmounted)) = (&mut entry.target, unmounted) {
        entry.mount = Some(Box::new(match &mut target.key {
            CallKey::Known(_) => Unmounted::Known(unmounted),
            CallKey::Built(built) => {
                let suffix = headers_suffix(headers, names);
                built.suffix = Some(suffix.clone());
                Unmounted::Built(suffix)
            }
        }));
    }
    entry
}

/// The key of a handler's entry before the place where the handler is mounted joins it.
#[cfg(feature = "axum")]
enum Unmounted {
    Known(UnmountedKey),
    /// The suffix that the headers add to the text of a key builder.
    Built(String),
}

#[cfg(feature = "axum")]
impl CacheEntry<crate::CachedResponse> {
    /// The entry of a handler whose router is nested under `mount`, as it was given to `Router::nest`; of
    /// routers in one another, one text behind the other: `/api/v2`. The last one given counts.
    ///
    /// Without it, this is the entry of a handler that is not nested.
    ///
    /// ```ignore
    /// let app = Router::new().nest("/acme", shop.clone()).nest("/globex", shop);
    /// show::entry(Path(7)).at("/acme").invalidate().await?;
    /// ```
    #[must_use]
    pub fn at(mut self, mount: impl AsRef<str>) -> Self {
        let mount = mount.as_ref();
        if let (Ok(target), Some(unmounted)) = (&mut self.target, self.mount.as_deref()) {
            match (&mut target.key, unmounted) {
                (CallKey::Known(key), Unmounted::Known(unmounted)) => {
                    *key = key.with_bytes(unmounted.at(mount));
                }
                (CallKey::Built(built), Unmounted::Built(before)) => {
                    built.suffix = Some(mounted_suffix(before, mount));
                }
                _ => {}
            }
        }
        self
    }
}
