//! One computation per key for every process that shares a store.
//!
//! Whoever misses takes a lease under a key of its own beside the entry's, and computes; the others look
//! for the value now and then. A lease ends by itself, so a process that dies holds nobody up for
//! longer. It is an optimisation and no more: a value is stored only where what was seen still is,
//! whoever holds the lease, and where none can be had, everybody computes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use md5::{Digest, Md5};
use tokio::time::Instant;

use crate::backend::DynBackend;
use crate::entry::new_barrier;
use crate::error::Error;
use crate::timer::sleep;

/// What is under the key of a lease that was given back. It begins like no record.
const FREE: &[u8] = b"free";

/// How long that stays. A store may count in seconds, and could not delete it at once.
const KEPT: Duration = Duration::from_secs(1);

/// How long those who do not have the lease wait before they look again, at first.
const FIRST_LOOK: Duration = Duration::from_millis(5);
/// And at most.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// A lease that is held, until this is dropped.
pub(crate) struct Lease {
    backend: Arc<dyn DynBackend>,
    key: String,
    token: Bytes,
}

impl Lease {
    /// Takes the lease of a printed key for `length`; `None` if somebody else has it.
    pub(crate) async fn take(
        backend: Arc<dyn DynBackend>,
        printed: &str,
        length: Duration,
    ) -> Result<Option<Self>, Error> {
        let key = lease_key(printed);
        // A record that no other write equals, so that only its holder can give the lease back.
        let (_, token) = new_barrier();
        let taken = backend
            .replace(&key, Some(FREE), token.clone(), Some(length))
            .await?;
        Ok(taken.then_some(Self {
            backend,
            key,
            token,
        }))
    }
}

impl Drop for Lease {
    /// Gives the lease back, unless it has ended and somebody else has taken it. Nobody waits for
    /// that, and where there is no runtime any more, it ends by itself.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let backend = Arc::clone(&self.backend);
        let (key, token) = (std::mem::take(&mut self.key), self.token.clone());
        let free = Bytes::from_static(FREE);
        runtime.spawn(async move {
            // If it fails, the lease ends by itself.
            let _ = backend.replace(&key, Some(&token), free, Some(KEPT)).await;
        });
    }
}

/// The patience of somebody who does not have the lease.
pub(crate) struct Patience {
    until: Instant,
    next: Duration,
}

impl Patience {
    pub(crate) fn new(length: Duration) -> Self {
        Self {
            until: Instant::now() + length,
            next: FIRST_LOOK,
        }
    }

    /// Whether nobody has waited yet.
    pub(crate) fn is_new(&self) -> bool {
        self.next == FIRST_LOOK
    }

    /// Waits before the next look; false if it has lasted long enough.
    pub(crate) async fn wait(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        sleep(self.next).await;
        self.next = (self.next * 2).min(LAST_LOOK);
        true
    }
}

/// Beside the barriers of the cache, whose keys end with a colon, as this one does not.
fn lease_key(printed: &str) -> String {
    let digest = Md5::digest(printed);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let prefix = printed.split_inclusive(':').next().unwrap_or_default();
    format!("~{prefix}#lease:{hex}")
}
