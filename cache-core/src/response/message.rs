//! A whole response, as a coder writes and reads it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::error::{Error, ErrorKind};
use crate::value::Codec;

/// A response as a coder sees it: the length of the encoded head in four bytes, big-endian, the head, and
/// the body. Header values are bytes, as HTTP has them.
pub(super) struct Message {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the `ETag` was made by the cache.
    pub(super) has_made_tag: bool,
}

/// The head: status, whether the tag was made by the cache, and headers.
type Head = (u16, bool, Vec<(String, Vec<u8>)>);

impl Message {
    pub(super) fn encode<C: Codec>(&self, codec: &C) -> Result<Vec<u8>, Error> {
        let headers: Vec<(&str, &[u8])> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let head = codec.encode(&(self.status.as_u16(), self.has_made_tag, headers))?;
        let body = codec.encode_body(&self.body)?;
        Ok([&counted(&head)?[..], &body].concat())
    }

    pub(super) fn decode<C: Codec>(codec: &C, bytes: &[u8]) -> Result<Self, Error> {
        let (head, body) = split_counted(bytes)?;
        let (status, has_made_tag, pairs) = codec.decode::<Head>(head)?;
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::try_from(name).map_err(|_| damaged())?;
            let value = HeaderValue::try_from(value).map_err(|_| damaged())?;
            headers.try_append(name, value).map_err(|_| damaged())?;
        }
        Ok(Self {
            status: StatusCode::from_u16(status).map_err(|_| damaged())?,
            headers,
            body: Bytes::from(codec.decode_body(body)?),
            has_made_tag,
        })
    }

    /// About how many bytes headers take in this process.
    pub(super) fn size(headers: &HeaderMap) -> usize {
        let header =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 64;
        headers.iter().map(header).sum()
    }
}

/// Puts bytes behind their length.
pub(crate) fn counted(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let length = u32::try_from(bytes.len())
        .map_err(|_| Error::new(ErrorKind::Encode, "the response's head is too large"))?;
    Ok([&length.to_be_bytes()[..], bytes].concat())
}

/// Bytes that stand behind their length, and what comes after them.
pub(crate) fn split_counted(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let (length, rest) = bytes.split_first_chunk().ok_or_else(damaged)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| damaged())?;
    rest.split_at_checked(length).ok_or_else(damaged)
}

pub(crate) fn damaged() -> Error {
    Error::new(ErrorKind::Decode, "the stored response is damaged")
}
