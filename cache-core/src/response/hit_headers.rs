//! The headers of hits, made once a second.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use http::{HeaderMap, HeaderName};

use super::reply::Facts;

/// The headers that the hits of one response have had last: one set for replies that are shared, and one for
/// replies that are private.
///
/// They say how old the response is and how long it is still fresh, in seconds, so that all hits within a second have
/// the same ones.
#[derive(Default)]
pub(super) struct HitHeaders([RwLock<Option<Arc<Made>>>; 2]);

struct Made {
    facts: Facts,
    /// The name of the header that says that it is a hit, which is the cache's own.
    status_header: HeaderName,
    headers: HeaderMap,
}

impl HitHeaders {
    /// The headers of a hit; `make` makes them if the last ones were for other facts.
    pub(super) fn get(
        &self,
        facts: &Facts,
        status_header: &HeaderName,
        make: impl FnOnce() -> HeaderMap,
    ) -> HeaderMap {
        let slot = &self.0[usize::from(facts.told.is_private())];
        let last = slot.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(last) = last
            && last.facts == *facts
            && last.status_header == *status_header
        {
            return last.headers.clone();
        }
        let headers = make();
        let made = Some(Arc::new(Made {
            facts: facts.clone(),
            status_header: status_header.clone(),
            headers: headers.clone(),
        }));
        let replaced = {
            let mut last = slot.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *last, made)
        };
        drop(replaced);
        headers
    }
}

/// A copy of a response makes its own.
impl Clone for HitHeaders {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for HitHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HitHeaders")
    }
}
