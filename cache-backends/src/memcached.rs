//! Bytes in Memcached.

mod limits;
mod options;
mod pool;

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use deadpool::managed::{Object, PoolError};
use fast_cache_core::{Backend, Error, ErrorKind};

use self::limits::expiration;
pub use self::options::MemcachedOptions;
use self::pool::{Dial, Pool, Protocol};

/// Values in a Memcached server.
///
/// Calls take a connection from a pool for one exchange. A connection whose call was dropped, took
/// too long or failed is thrown away, so that an answer that comes late reaches nobody; after the
/// server is back, calls make new ones.
///
/// A read is one `get`. A write is an `add`, or a `cas` of what was read just before, since these are
/// answered; a plain `set` of the client is not, and the server drops it without a word when it has
/// no memory for it. Servers from Memcached 1.4 on are supported.
///
/// Memcached counts lifetimes in seconds, so entries stay up to two seconds longer there than they
/// are served. It cannot list keys: [`clear`](Backend::clear) frees nothing and counts zero, and what
/// was cleared stays until it expires or is evicted.
///
/// ```no_run
/// use fast_cache_backends::MemcachedBackend;
///
/// # async fn run() -> Result<(), fast_cache_core::Error> {
/// let backend = MemcachedBackend::connect("cache.internal:11211").await?;
/// # Ok(()) }
/// ```
pub struct MemcachedBackend {
    pool: Pool,
    options: MemcachedOptions,
}

/// What a conditional write came to.
enum Written {
    Yes,
    /// What is there begins otherwise.
    Differs,
    /// Somebody wrote in between: look again.
    Raced,
}

impl MemcachedBackend {
    /// Connects with the default [`MemcachedOptions`]; see [`MemcachedOptions::connect`].
    ///
    /// # Errors
    ///
    /// When the server does not answer within the connect timeout.
    pub async fn connect(address: &str) -> Result<Self, Error> {
        MemcachedOptions::new().connect(address).await
    }

    async fn connection(&self) -> io::Result<Object<Dial>> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            error => io::Error::other(error),
        })
    }

    /// Stores a value where nothing is there, or where `may_replace` lets it.
    async fn write(
        &self,
        key: &str,
        value: &[u8],
        expire: Option<Duration>,
        may_replace: impl Fn(&[u8]) -> bool,
    ) -> io::Result<bool> {
        let expiration = expiration(expire, SystemTime::now());
        let mut connection = self.connection().await?;
        let protocol = connection.begin();
        if add(protocol, key, value, expiration).await? {
            connection.end();
            return Ok(true);
        }
        loop {
            match write_over(protocol, key, value, expiration, &may_replace).await? {
                Written::Raced => {}
                written => {
                    connection.end();
                    return Ok(matches!(written, Written::Yes));
                }
            }
        }
    }

    /// Waits for an exchange until the response timeout.
    async fn bounded<T>(
        &self,
        name: &'static str,
        exchange: impl Future<Output = io::Result<T>>,
    ) -> Result<T, Error> {
        let error = match tokio::time::timeout(self.options.response_timeout, exchange).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => failure(name, error),
            Err(_) => timed_out(name),
        };
        // The server may have gone, and with it what the idle connections lead to.
        self.pool.retain(|_, _| false);
        Err(error)
    }

    fn check(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        limits::check_key(key)?;
        limits::check_size(key, value, self.options.max_item)
    }
}

impl Backend for MemcachedBackend {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        limits::check_key(key)?;
        let exchange = async {
            let mut connection = self.connection().await?;
            let found = found(connection.begin().get(key).await)?;
            connection.end();
            Ok(found.map(Bytes::from))
        };
        self.bounded("get", exchange).await
    }

    async fn set(&self, key: &str, value: Bytes, expire: Option<Duration>) -> Result<(), Error> {
        self.check(key, &value)?;
        let exchange = self.write(key, &value, expire, |_| true);
        self.bounded("set", exchange).await.map(drop)
    }

    async fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> Result<bool, Error> {
        self.check(key, &value)?;
        let is_seen = |there: &[u8]| seen.is_some_and(|seen| there.starts_with(seen));
        let exchange = self.write(key, &value, expire, is_seen);
        self.bounded("replace", exchange).await
    }
}

impl fmt::Debug for MemcachedBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemcachedBackend")
            .field("address", &self.pool.manager().address())
            .field("options", &self.options)
            .finish()
    }
}

/// Stores a value if there is none.
async fn add(
    protocol: &mut Protocol,
    key: &str,
    value: &[u8],
    expiration: u32,
) -> io::Result<bool> {
    match protocol.add(key, value, expiration).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Stores a value over another one that was read, and only over it.
async fn write_over(
    protocol: &mut Protocol,
    key: &str,
    value: &[u8],
    expiration: u32,
    may_replace: impl Fn(&[u8]) -> bool,
) -> io::Result<Written> {
    let Some((there, number)) = found(protocol.gets_cas(key).await)? else {
        return Ok(match add(protocol, key, value, expiration).await? {
            true => Written::Yes,
            false => Written::Raced,
        });
    };
    if !may_replace(&there) {
        return Ok(Written::Differs);
    }
    match protocol.cas(key, value, number, expiration).await {
        Ok(true) => Ok(Written::Yes),
        Ok(false) => Ok(Written::Raced),
        // The client takes this answer for an error.
        Err(error) if error.to_string().starts_with("NOT_FOUND") => Ok(Written::Raced),
        Err(error) => Err(error),
    }
}

/// Absence is no error.
fn found<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn failure(name: &'static str, error: io::Error) -> Error {
    Error::new(ErrorKind::Backend, format!("memcached failed at {name}")).with_source(error)
}

fn timed_out(name: &'static str) -> Error {
    Error::new(
        ErrorKind::Backend,
        format!("memcached did not answer {name} in time"),
    )
}
