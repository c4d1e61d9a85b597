//! Where the responses of a resource are stored.
//!
//! A resource whose responses are all alike has one under its own key. Where they differ, there is an index
//! under that key instead: the request headers that select a response, and a number that nobody can guess. The
//! responses are under keys made of all this, so that none of them is found any more when the index is gone.

use crate::engine::Ticket;
use crate::key::Key;

use super::asked::Asked;
use super::stored::Variants;

/// Where a request looks.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) key: Key,
    /// `None` for the key of the resource itself.
    pub(super) index: Option<Box<Index>>,
}

/// What was found under the key of a resource whose responses differ.
#[derive(Clone)]
pub(super) struct Index {
    pub(super) key: Key,
    pub(super) variants: Variants,
    pub(super) ticket: Ticket,
    /// For how long it is there, in milliseconds; `None` for good.
    pub(super) rest: Option<u64>,
}

impl Place {
    /// The key of a resource.
    pub(super) fn of(key: Key) -> Self {
        Self { key, index: None }
    }

    /// Where the response to a request is, of a resource whose index has been found here.
    pub(super) fn variant(
        &self,
        variants: &Variants,
        asked: &Asked,
        ticket: Ticket,
        rest: Option<u64>,
    ) -> Self {
        Self {
            key: variant_key(&self.key, variants, asked),
            index: Some(Box::new(Index {
                key: self.key.clone(),
                variants: variants.clone(),
                ticket,
                rest,
            })),
        }
    }
}

/// The key of the response to a request, among those of its resource.
pub(super) fn variant_key(index: &Key, variants: &Variants, asked: &Asked) -> Key {
    let variant = asked.variant(&variants.names);
    index.extended(&[&variants.id.to_be_bytes()[..], &variant].concat())
}
