//! What is stored under the key of a resource, and what it is good for.

use std::time::Duration;

use http::HeaderName;
use serde::{Deserialize, Serialize};

use crate::clock::milliseconds;
use crate::engine::Times;
use crate::error::Error;
use crate::key::KeyBytes;
use crate::response::{CachedResponse, Facts as ReplyFacts, counted, damaged, split_counted};
use crate::value::{Codec, Payload};

use super::asked::Asked;

/// What is stored under a key.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    Response(Box<StoredResponse>),
    /// Responses to requests of the same URI differ, and are stored under keys of their own.
    Variants(Variants),
}

/// By what the responses of one URI differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variants {
    /// Part of the keys of the responses, so that none of them is found when this is gone.
    pub(super) id: u64,
    /// The request headers that select a response, sorted.
    pub(super) names: Vec<HeaderName>,
}

/// A response, and all that has to be known to serve it.
#[derive(Clone, Debug)]
pub(super) struct StoredResponse {
    /// Its headers are those of its origin, without what belongs to one connection, and without `Age`.
    pub(super) response: CachedResponse,
    pub(super) freshness: Freshness,
    /// The request headers that it depends on, sorted.
    pub(super) names: Vec<HeaderName>,
    /// What tells its request from others of the same URI.
    pub(super) variant: KeyBytes,
}

/// How a response ages. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Freshness {
    /// How old the response was when it came.
    pub(super) initial_age: u64,
    /// The age up to which it is fresh.
    pub(super) lifetime: u64,
    /// For how long it is served after that, while it is validated.
    pub(super) stale_while_revalidate: u64,
    /// For how long it stands in after that, for an origin that fails.
    pub(super) stale_if_error: u64,
    /// Whether it may be served stale at all.
    pub(super) may_be_stale: bool,
    /// Whether it has to be validated each time.
    pub(super) must_validate: bool,
    /// Whether the lifetime was given to it here, and not by itself: it does not say then that it may be
    /// shared by those whom it may know.
    pub(super) is_assigned: bool,
}

/// What a stored response is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usability {
    /// To be served.
    Served,
    /// To be served while it is validated.
    ServedStale,
    /// To be validated.
    Validated {
        /// Whether it stands in if its origin fails.
        stands_in: bool,
    },
    /// Nothing: it is for other requests.
    Foreign,
}

impl Freshness {
    /// For how long the response is of use from the moment when it came. `for_validation` is for how long it
    /// is kept to be validated.
    pub(super) fn retention(&self, for_validation: Duration) -> Duration {
        let fresh = self.lifetime.saturating_sub(self.initial_age);
        let stale = match self.may_be_stale {
            true => self.stale_while_revalidate.max(self.stale_if_error),
            false => 0,
        };
        let after = stale.max(milliseconds(for_validation));
        Duration::from_millis(fresh.saturating_add(after))
    }

    /// The age of the response, when its entry has these times.
    pub(super) fn age(&self, times: Times) -> u64 {
        self.initial_age.saturating_add(times.age)
    }

    /// For how many milliseconds it is still fresh; below zero if it is stale.
    pub(super) fn rest(&self, times: Times) -> i64 {
        let part = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        part(self.lifetime).saturating_sub(part(self.age(times)))
    }
}

impl StoredResponse {
    /// What a reply says of the response when its entry has these times. What the response does not say itself is
    /// not said: a lifetime that it was given here is the cache's own.
    pub(super) fn facts(&self, times: Times) -> ReplyFacts {
        ReplyFacts {
            age: self.freshness.age(times) / 1000,
            ttl: Some(self.freshness.rest(times).div_euclid(1000)),
        }
    }

    /// What the response is good for.
    pub(super) fn usability(&self, asked: &Asked, times: Times) -> Usability {
        if self.variant != asked.variant(&self.names)
            || asked.is_personal && self.freshness.is_assigned
        {
            return Usability::Foreign;
        }
        let Freshness {
            may_be_stale,
            must_validate,
            ..
        } = self.freshness;
        let rest = self.freshness.rest(times);
        let stale = rest.checked_neg().filter(|stale| *stale >= 0);
        if must_validate || !asked.asks.accepts(self.freshness.age(times), Some(rest)) {
            return Usability::Validated { stands_in: false };
        }
        let Some(stale) = stale.and_then(|stale| u64::try_from(stale).ok()) else {
            return Usability::Served;
        };
        let most = asked
            .asks
            .directives
            .max_stale
            .unwrap_or(0)
            .saturating_mul(1000);
        let stands_in = stale < self.freshness.stale_if_error;
        if !may_be_stale {
            Usability::Validated { stands_in: false }
        } else if stale < most {
            Usability::Served
        } else if stale < self.freshness.stale_while_revalidate {
            Usability::ServedStale
        } else {
            Usability::Validated { stands_in }
        }
    }
}

/// What is encoded beside the response.
type Facts = (Freshness, Vec<String>, Vec<u8>);

const RESPONSE: u8 = 0;
const VARIANTS: u8 = 1;

/// As a coder sees it: a byte that says what it is; then, of variants, their id and names; of a response,
/// its facts behind their length, and the response as handlers store it.
impl Payload for Stored {
    fn encode<C: Codec>(&self, codec: &C) -> Result<Vec<u8>, Error> {
        match self {
            Self::Variants(variants) => {
                let facts = codec.encode(&(variants.id, texts(&variants.names)))?;
                Ok([&[VARIANTS][..], &facts].concat())
            }
            Self::Response(stored) => {
                let facts: Facts = (
                    stored.freshness,
                    texts(&stored.names),
                    stored.variant.to_vec(),
                );
                let facts = counted(&codec.encode(&facts)?)?;
                let response = stored.response.encode(codec)?;
                Ok([&[RESPONSE][..], &facts, &response].concat())
            }
        }
    }

    fn decode<C: Codec>(codec: &C, bytes: &[u8]) -> Result<Self, Error> {
        let (kind, bytes) = bytes.split_first().ok_or_else(damaged)?;
        match *kind {
            VARIANTS => {
                let (id, texts) = codec.decode::<(u64, Vec<String>)>(bytes)?;
                let names = names(&texts)?;
                Ok(Self::Variants(Variants { id, names }))
            }
            RESPONSE => {
                let (facts, rest) = split_counted(bytes)?;
                let (freshness, texts, variant) = codec.decode::<Facts>(facts)?;
                Ok(Self::Response(Box::new(StoredResponse {
                    response: CachedResponse::decode(codec, rest)?,
                    freshness,
                    names: names(&texts)?,
                    variant: KeyBytes::from_slice(&variant),
                })))
            }
            _ => Err(damaged()),
        }
    }

    fn size(&self) -> usize {
        let inner = match self {
            Self::Variants(variants) => variants.names.len() * 64,
            Self::Response(stored) => {
                stored.names.len() * 64 + stored.variant.len() + 64 + stored.response.size()
            }
        };
        size_of::<Self>() + inner
    }
}

fn texts(names: &[HeaderName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn names(texts: &[String]) -> Result<Vec<HeaderName>, Error> {
    let name = |text: &String| HeaderName::try_from(text).map_err(|_| damaged());
    texts.iter().map(name).collect()
}
