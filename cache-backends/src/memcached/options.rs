//! How to connect.

use std::time::Duration;

use fast_cache_core::{Error, ErrorKind};

use super::pool::{self, Dial};
use super::{MemcachedBackend, failure};

/// How to connect to Memcached: timeouts, and how much the server takes.
///
/// ```no_run
/// use std::time::Duration;
/// use fast_cache_backends::MemcachedOptions;
///
/// # async fn run() -> Result<(), fast_cache_core::Error> {
/// let backend = MemcachedOptions::new()
///     .response_timeout(Duration::from_millis(100))
///     .max_item(8 << 20)
///     .connect("cache.internal:11211")
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct MemcachedOptions {
    connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    max_connections: usize,
    pub(super) max_item: usize,
}

/// The port of an address that names none.
const DEFAULT_PORT: u16 = 11211;

impl MemcachedOptions {
    /// A connect timeout of one second, a response timeout of 250 milliseconds, at most 16
    /// connections, and items of at most 1 MiB, as a server takes that was not told otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_millis(250),
            max_connections: 16,
            max_item: 1 << 20,
        }
    }

    /// Sets how long [`connect`](Self::connect) may wait for the server.
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self {
            connect_timeout: timeout,
            ..self
        }
    }

    /// Sets how long a call may take, waiting for a connection included.
    #[must_use]
    pub fn response_timeout(self, timeout: Duration) -> Self {
        Self {
            response_timeout: timeout,
            ..self
        }
    }

    /// Sets how many connections there are at most; zero counts as one. Each serves one call at a
    /// time, for as long as the server takes to answer.
    #[must_use]
    pub fn max_connections(self, connections: usize) -> Self {
        Self {
            max_connections: connections,
            ..self
        }
    }

    /// Sets the size of the largest item that the server takes, in bytes, which is its option `-I`.
    /// Larger ones are an error before they are sent.
    #[must_use]
    pub fn max_item(self, bytes: usize) -> Self {
        Self {
            max_item: bytes,
            ..self
        }
    }

    /// Connects to a server: `host:port`, with or without `memcached://` before it. The port is 11211
    /// where there is none.
    ///
    /// # Errors
    ///
    /// When the server does not answer within the connect timeout.
    pub async fn connect(self, address: &str) -> Result<MemcachedBackend, Error> {
        let dial = Dial::new(with_port(address));
        let pool = pool::build(dial, self.max_connections)
            .map_err(|error| Error::backend(error.to_string()))?;
        // A connection is not made before the server has told its version.
        match tokio::time::timeout(self.connect_timeout, pool.get()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(failure("connecting", std::io::Error::other(error))),
            Err(_) => {
                return Err(Error::new(
                    ErrorKind::Backend,
                    "memcached did not answer in time when it was connected to",
                ));
            }
        }
        Ok(MemcachedBackend {
            pool,
            options: self,
        })
    }
}

impl Default for MemcachedOptions {
    fn default() -> Self {
        Self::new()
    }
}

fn with_port(address: &str) -> String {
    let address = address.strip_prefix("memcached://").unwrap_or(address);
    let address = address.trim_end_matches('/');
    // The colons of an IPv6 address stand between brackets.
    let after_brackets = address.rsplit(']').next().unwrap_or(address);
    match after_brackets.contains(':') {
        true => address.to_owned(),
        false => format!("{address}:{DEFAULT_PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port() {
        for (address, expected) in [
            ("localhost", "localhost:11211"),
            ("localhost:1234", "localhost:1234"),
            ("memcached://cache.internal/", "cache.internal:11211"),
            ("memcached://[::1]", "[::1]:11211"),
            ("[::1]:1234", "[::1]:1234"),
        ] {
            assert_eq!(with_port(address), expected);
        }
    }
}
