//! Validating a stored response, and bringing it up to date (RFC 9111 sections 3.2 and 4.3).

use std::time::SystemTime;

use ::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED, RANGE,
};
use ::http::{HeaderMap, HeaderName};

use super::date::add_date;
use super::hop::strip_hop_by_hop;

/// Headers that belong to the body that is stored, which a 304 does not bring. `Content-Length` must not
/// be taken over; the others may be left alone, and without their body they would be wrong (section 3.2).
const OF_THE_BODY: [HeaderName; 7] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    HeaderName::from_static("content-md5"),
    CONTENT_RANGE,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    ETAG,
];

/// Whether the origin can be asked if a stored response is still current.
pub(crate) fn has_validator(response: &HeaderMap) -> bool {
    response.contains_key(ETAG) || response.contains_key(LAST_MODIFIED)
}

/// Makes a request one that is answered with a complete response, or, if there is a stored response, with
/// 304 if that is still current (section 4.3.1). What the client has is compared here.
pub(crate) fn make_complete(request: &mut HeaderMap, stored: Option<&HeaderMap>) {
    for name in [IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE] {
        request.remove(name);
    }
    let Some(stored) = stored else { return };
    if let Some(tag) = stored.get(ETAG) {
        request.insert(IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = stored.get(LAST_MODIFIED) {
        request.insert(IF_MODIFIED_SINCE, modified.clone());
    }
}

/// The headers of a stored response after a 304 (section 3.2), which counts as made when it was received if
/// it does not say it itself.
pub(crate) fn freshened(
    stored: &HeaderMap,
    mut update: HeaderMap,
    received: SystemTime,
) -> HeaderMap {
    strip_hop_by_hop(&mut update);
    add_date(&mut update, received);
    for name in &OF_THE_BODY {
        update.remove(name);
    }
    let mut headers = stored.clone();
    for name in update.keys() {
        headers.remove(name);
    }
    headers.extend(update);
    headers
}

#[cfg(test)]
mod tests {
    use super::super::testing::headers;
    use super::*;

    #[test]
    fn the_clients_conditions_give_way_to_ours() {
        let lines = [
            ("if-none-match", "\"x\""),
            ("range", "bytes=0-1"),
            ("if-range", "\"x\""),
            ("if-modified-since", "x"),
            ("if-match", "\"x\""),
        ];
        let mut request = headers(&lines);
        make_complete(&mut request, Some(&headers(&[("etag", "W/\"a\"")])));
        let expected = headers(&[("if-match", "\"x\""), ("if-none-match", "W/\"a\"")]);
        assert_eq!(request, expected);
        make_complete(&mut request, None);
        assert_eq!(request, headers(&[("if-match", "\"x\"")]));
    }

    #[test]
    fn a_304_updates_all_but_what_belongs_to_the_body() {
        let stored = headers(&[
            ("a", "1"),
            ("b", "1"),
            ("b", "2"),
            ("etag", "\"a\""),
            ("content-encoding", "br"),
            ("content-type", "text/plain"),
        ]);
        let update = headers(&[
            ("b", "3"),
            ("c", "4"),
            ("c", "5"),
            ("etag", "\"b\""),
            ("content-encoding", "gzip"),
            ("content-length", "0"),
            ("content-type", "text/html"),
            ("connection", "d"),
            ("d", "6"),
            ("date", "Wed, 01 Jan 2020 00:00:00 GMT"),
        ]);
        let expected = headers(&[
            ("a", "1"),
            ("b", "3"),
            ("c", "4"),
            ("c", "5"),
            ("etag", "\"a\""),
            ("content-encoding", "br"),
            ("content-type", "text/html"),
            ("date", "Wed, 01 Jan 2020 00:00:00 GMT"),
        ]);
        assert_eq!(freshened(&stored, update, SystemTime::UNIX_EPOCH), expected);
        let silent = freshened(&stored, HeaderMap::new(), SystemTime::UNIX_EPOCH);
        assert_eq!(silent["date"], "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
