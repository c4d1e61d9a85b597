//! The headers of hits, made once a second.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use http::{HeaderMap, HeaderName};

use crate::policy::Aging;

/// The headers that the hits of one response have had last.
///
/// They say how old the response is and how long it is still fresh, in seconds, so that all hits within a second have
/// the same ones.
#[derive(Default)]
pub(crate) struct HitHeaders(RwLock<Option<Arc<Made>>>);

struct Made {
    of: Facts,
    /// The name of the header that says that it is a hit, which is the cache's own.
    status_header: HeaderName,
    headers: HeaderMap,
}

/// What the headers of a hit depend on, beside the response and the name of the status header. Times are in
/// seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) age: u64,
    /// For how long it is still fresh; `None` if it does not expire.
    pub(crate) rest: Option<u64>,
    /// For how long it may be served stale, while it is made anew and for errors.
    pub(crate) stale: (u64, u64),
}

impl Facts {
    /// The facts of a response of this age, which is fresh for so long, both in milliseconds.
    pub(crate) fn new(age: u64, rest: Option<u64>, aging: &Aging) -> Self {
        let stale = (aging.stale_while_revalidate, aging.stale_if_error);
        Self {
            age: age / 1000,
            rest: rest.map(|rest| rest / 1000),
            stale: (stale.0.as_secs(), stale.1.as_secs()),
        }
    }
}

impl HitHeaders {
    /// The headers of a hit; `make` makes them if the last ones were for other facts.
    pub(crate) fn get(
        &self,
        of: Facts,
        status_header: &HeaderName,
        make: impl FnOnce() -> HeaderMap,
    ) -> HeaderMap {
        let last = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(last) = last
            && last.of == of
            && last.status_header == *status_header
        {
            return last.headers.clone();
        }
        let headers = make();
        let made = Made {
            of,
            status_header: status_header.clone(),
            headers: headers.clone(),
        };
        let made = Some(Arc::new(made));
        let replaced = {
            let mut last = self.0.write().unwrap_or_else(PoisonError::into_inner);
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

/// They are no part of what a response is.
impl PartialEq for HitHeaders {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for HitHeaders {}

impl fmt::Debug for HitHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HitHeaders")
    }
}
