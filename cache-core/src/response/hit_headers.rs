//! The heads of hits, made once a second.

use std::fmt;
use std::ptr;
use std::sync::{PoisonError, RwLock};

use http::Response;

use crate::http::HttpSettings;
use crate::site::Site;

use super::reply::{Facts, Replies};

/// The heads that the hits of one response have had last: one for replies that are shared, and one for those
/// that are private.
///
/// They say how old the response is and how long it is still fresh, in seconds, so that all hits within a second have
/// the same one.
#[derive(Default)]
pub(super) struct HitHeaders([RwLock<Option<Made>>; 2]);

struct Made {
    facts: Facts,
    origin: Origin,
    /// The status and the headers.
    head: Response<()>,
}

/// What else the head of a hit depends on: the handler and the settings, by their addresses. Both outlive what is
/// stored under them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Origin {
    site: usize,
    settings: usize,
}

impl Origin {
    fn of(replies: &Replies<'_>) -> Self {
        let site = replies.teller.site();
        Self {
            site: site.map_or(0, |site| ptr::from_ref::<Site>(site).addr()),
            settings: ptr::from_ref::<HttpSettings>(replies.settings).addr(),
        }
    }
}

impl HitHeaders {
    /// The head of a hit; `make` makes it if the last one was for other facts.
    pub(super) fn get(
        &self,
        facts: Facts,
        replies: &Replies<'_>,
        make: impl FnOnce() -> Response<()>,
    ) -> Response<()> {
        let origin = Origin::of(replies);
        let slot = &self.0[usize::from(replies.teller.is_shared())];
        let last = slot.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && last.facts == facts
            && last.origin == origin
        {
            return last.head.clone();
        }
        drop(last);
        let head = make();
        let made = Some(Made {
            facts,
            origin,
            head: head.clone(),
        });
        let replaced = {
            let mut last = slot.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *last, made)
        };
        drop(replaced);
        head
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
