//! The stored form of a response.

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::error::Error;
use crate::http::{entity_tag, strip_hop_by_hop};
use crate::value::{Codec, Payload};

use super::hit_headers::HitHeaders;
use super::message::Message;

/// A stored response: status, headers and the whole body.
///
/// Its headers hold an `ETag`, and neither what belongs to one connection nor what is computed for
/// each reply (`Age`, the cache's own `Cache-Control`, and the status header).
#[derive(Clone, Debug)]
pub struct CachedResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// Whether the `ETag` was made here, so that the origin does not know it.
    has_made_tag: bool,
    /// Whether the body is here, or still on its way.
    is_complete: bool,
    pub(super) hit_headers: HitHeaders,
}

impl CachedResponse {
    /// A response to store, for [`CacheEntry::set`](crate::CacheEntry::set). Without an `ETag`, it
    /// is given one, which is weak: a layer above may compress the body.
    #[must_use]
    pub fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self::complete(status, headers, body, false)
    }

    /// The same, where `strong_etags` says that the bytes of the body reach the client as they are.
    pub(crate) fn complete(
        status: StatusCode,
        mut headers: HeaderMap,
        body: Bytes,
        strong_etags: bool,
    ) -> Self {
        strip_hop_by_hop(&mut headers);
        headers.remove(AGE);
        headers.remove(CONTENT_LENGTH);
        let mut response = Self::announced(status, headers);
        response.take_body(body);
        response.tag(strong_etags);
        response
    }

    /// A response whose body is on its way. Its headers are ready to be stored.
    pub(crate) fn announced(status: StatusCode, headers: HeaderMap) -> Self {
        Self {
            status,
            headers,
            body: Bytes::new(),
            has_made_tag: false,
            is_complete: false,
            hit_headers: HitHeaders::default(),
        }
    }

    /// The same response with newer headers, which its origin has sent.
    pub(crate) fn with_headers(&self, headers: HeaderMap) -> Self {
        let mut newer = Self::announced(self.status, headers);
        newer.take_body(self.body.clone());
        if let Some(tag) = self.headers.get(ETAG).filter(|_| self.has_made_tag)
            && !newer.headers.contains_key(ETAG)
        {
            newer.headers.insert(ETAG, tag.clone());
            newer.has_made_tag = true;
        }
        newer
    }

    pub(crate) fn take_body(&mut self, body: Bytes) {
        self.body = body;
        self.is_complete = true;
    }

    /// Gives a response without a tag one that is made of its body.
    pub(crate) fn tag(&mut self, strong_etags: bool) {
        if !self.headers.contains_key(ETAG) {
            let tag = entity_tag(&self.body, strong_etags);
            self.headers.insert(ETAG, tag);
            self.has_made_tag = true;
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The headers that its origin has sent.
    pub(crate) fn origin_headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        if self.has_made_tag {
            headers.remove(ETAG);
        }
        headers
    }

    /// Whether the origin can be asked if this is still current.
    pub(crate) fn can_be_validated(&self) -> bool {
        let knows_tag = !self.has_made_tag && self.headers.contains_key(ETAG);
        knows_tag || self.headers.contains_key(LAST_MODIFIED)
    }

    /// Whether a body is all that was announced (RFC 9111 section 3.3).
    pub(crate) fn announces(&self, body: &[u8]) -> bool {
        let announced = self.headers.get(CONTENT_LENGTH);
        announced.is_none_or(|announced| *announced == HeaderValue::from(body.len()))
    }

    /// Whether a response to HEAD may be of the same body (RFC 9111 section 4.3.5).
    pub(crate) fn agrees_with(&self, head: &HeaderMap) -> bool {
        let length = HeaderValue::from(self.body.len());
        let tag = self.headers.get(ETAG).filter(|_| !self.has_made_tag);
        let is_same = |name: HeaderName, own: Option<&HeaderValue>| {
            let (one, other) = (own, head.get(name));
            one.is_none() || other.is_none() || one == other
        };
        is_same(ETAG, tag)
            && is_same(LAST_MODIFIED, self.headers.get(LAST_MODIFIED))
            && is_same(CONTENT_LENGTH, Some(&length))
    }
}

/// Two responses are equal if clients cannot tell them apart.
impl PartialEq for CachedResponse {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            status,
            headers,
            body,
            ..
        } = self;
        *status == other.status && *headers == other.headers && *body == other.body
    }
}

impl Eq for CachedResponse {}

/// As [`Message`] has it.
impl Payload for CachedResponse {
    fn encode<C: Codec>(&self, codec: &C) -> Result<Vec<u8>, Error> {
        let message = Message {
            status: self.status,
            headers: self.headers.clone(),
            body: self.body.clone(),
            has_made_tag: self.has_made_tag,
        };
        message.encode(codec)
    }

    fn decode<C: Codec>(codec: &C, bytes: &[u8]) -> Result<Self, Error> {
        let message = Message::decode(codec, bytes)?;
        let mut response = Self::announced(message.status, message.headers);
        response.take_body(message.body);
        response.has_made_tag = message.has_made_tag;
        Ok(response)
    }

    fn size(&self) -> usize {
        // Hits keep headers of their own.
        let headers = 2 * Message::size(&self.headers);
        size_of::<Self>() + headers + self.body.len()
    }
}
