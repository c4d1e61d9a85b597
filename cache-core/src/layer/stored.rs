//! What is stored under the key of a resource, and what it is good for.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::clock::milliseconds;
use crate::engine::Times;
use crate::error::Error;
use crate::hit_headers::HitHeaders;
use crate::key::KeyBytes;
use crate::message::{Message, counted, damaged, split_counted};
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
    pub(super) status: StatusCode,
    /// Without what belongs to one connection, and without `Age`.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the body has not come yet.
    pub(super) is_on_its_way: bool,
    /// The tag of a response that has none, which its origin does not know.
    pub(super) etag: Option<HeaderValue>,
    pub(super) freshness: Freshness,
    /// The request headers that it depends on, sorted.
    pub(super) names: Vec<HeaderName>,
    /// What tells its request from others of the same URI.
    pub(super) variant: KeyBytes,
    pub(super) hit_headers: HitHeaders,
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
pub(super) enum Merit {
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
    /// What the response is good for.
    pub(super) fn merit(&self, asked: &Asked, times: Times) -> Merit {
        if self.variant != asked.variant(&self.names)
            || asked.is_personal && self.freshness.is_assigned
        {
            return Merit::Foreign;
        }
        let Freshness {
            may_be_stale,
            must_validate,
            ..
        } = self.freshness;
        let rest = self.freshness.rest(times);
        let stale = rest.checked_neg().filter(|stale| *stale >= 0);
        if must_validate || !asked.accepts(self.freshness.age(times), rest) {
            return Merit::Validated { stands_in: false };
        }
        let Some(stale) = stale.and_then(|stale| u64::try_from(stale).ok()) else {
            return Merit::Served;
        };
        let most = asked.directives.max_stale.unwrap_or(0).saturating_mul(1000);
        let stands_in = stale < self.freshness.stale_if_error;
        if !may_be_stale {
            Merit::Validated { stands_in: false }
        } else if stale < most {
            Merit::Served
        } else if stale < self.freshness.stale_while_revalidate {
            Merit::ServedStale
        } else {
            Merit::Validated { stands_in }
        }
    }

    /// Whether a response to HEAD may be of the same body.
    pub(super) fn agrees_with(&self, head: &HeaderMap) -> bool {
        let length = HeaderValue::from(self.body.len());
        let is_same = |name: HeaderName, own: Option<&HeaderValue>| {
            let (one, other) = (own, head.get(name));
            one.is_none() || other.is_none() || one == other
        };
        is_same(ETAG, self.headers.get(ETAG))
            && is_same(LAST_MODIFIED, self.headers.get(LAST_MODIFIED))
            && is_same(CONTENT_LENGTH, Some(&length))
    }
}

impl Asked {
    /// Whether a response of this age would do, that is fresh for so long, both in milliseconds (RFC 9111
    /// section 5.2.1).
    fn accepts(&self, age: u64, rest: i64) -> bool {
        let old = |seconds: u64| age >= seconds.saturating_mul(1000);
        let short = |seconds: u64| {
            let wanted = i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
            rest < wanted
        };
        self.may_be_answered()
            && !self.directives.max_age.is_some_and(old)
            && !self.directives.min_fresh.is_some_and(short)
    }
}

/// What of a response is encoded by the coder, beside its head.
type Facts = (Freshness, Option<Vec<u8>>, Vec<String>, Vec<u8>);

const RESPONSE: u8 = 0;
const VARIANTS: u8 = 1;

/// As a coder sees it: a byte that says what it is; then, of variants, their id and names; of a response,
/// its facts behind their length, and the response as [`Message`] has it.
impl Payload for Stored {
    fn encode<C: Codec>(&self, codec: &C) -> Result<Vec<u8>, Error> {
        match self {
            Self::Variants(variants) => {
                let facts = codec.encode(&(variants.id, texts(&variants.names)))?;
                Ok([&[VARIANTS][..], &facts].concat())
            }
            Self::Response(response) => {
                let etag = response.etag.as_ref().map(|etag| etag.as_bytes().to_vec());
                let facts: Facts = (
                    response.freshness,
                    etag,
                    texts(&response.names),
                    response.variant.to_vec(),
                );
                let facts = counted(&codec.encode(&facts)?)?;
                let headers = response.headers.iter();
                let message = Message::encode(codec, response.status, headers, &response.body)?;
                Ok([&[RESPONSE][..], &facts, &message].concat())
            }
        }
    }

    fn decode<C: Codec>(codec: &C, _: &[u8], bytes: &[u8]) -> Result<Self, Error> {
        let (kind, bytes) = bytes.split_first().ok_or_else(damaged)?;
        match *kind {
            VARIANTS => {
                let (id, texts) = codec.decode::<(u64, Vec<String>)>(bytes)?;
                let names = names(&texts)?;
                Ok(Self::Variants(Variants { id, names }))
            }
            RESPONSE => {
                let (facts, rest) = split_counted(bytes)?;
                let (freshness, etag, texts, variant) = codec.decode::<Facts>(facts)?;
                let etag = etag.map(HeaderValue::try_from).transpose();
                let Message {
                    status,
                    headers,
                    body,
                } = Message::decode(codec, rest)?;
                Ok(Self::Response(Box::new(StoredResponse {
                    status,
                    headers,
                    body,
                    is_on_its_way: false,
                    etag: etag.map_err(|_| damaged())?,
                    freshness,
                    names: names(&texts)?,
                    variant: KeyBytes::from_slice(&variant),
                    hit_headers: HitHeaders::default(),
                })))
            }
            _ => Err(damaged()),
        }
    }

    fn size(&self) -> usize {
        let inner = match self {
            Self::Variants(variants) => variants.names.len() * 64,
            Self::Response(response) => {
                let facts = response.names.len() * 64 + response.variant.len() + 64;
                // Hits keep headers of their own.
                let hits = Message::size(&response.headers, &[]);
                facts + hits + Message::size(&response.headers, &response.body)
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
