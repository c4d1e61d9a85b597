//! Validating a stored response, and bringing it up to date (RFC 9111 sections 3.2 and 4.3).

use std::time::SystemTime;

use ::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED, RANGE,
};
use ::http::{HeaderMap, HeaderName};

use super::date::{add_date, date};
use super::hop::strip_hop_by_hop;
use super::validators::{are_weakly_equal, is_strong};

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

/// Whether a 304 speaks of the stored response that its origin was asked about (RFC 9111 section 4.3.4), and so
/// brings that up to date. If it does not, the origin has to be asked anew, without conditions.
///
/// A strong tag has to be that of the stored response; a weak one has to equal it by the weak comparison. Without a
/// tag, the date of the last change has to be the same. With neither, it can only speak of the one response whose
/// validators the request had.
pub(crate) fn selects(stored: &HeaderMap, update: &HeaderMap) -> bool {
    let own = stored.get(ETAG);
    let tags: Vec<_> = update.get_all(ETAG).iter().collect();
    if tags.iter().any(|tag| is_strong(tag)) {
        return own.is_some_and(|own| is_strong(own) && tags.contains(&own));
    }
    if !tags.is_empty() {
        return own.is_some_and(|own| tags.iter().any(|tag| are_weakly_equal(own, tag)));
    }
    if !update.contains_key(LAST_MODIFIED) {
        return true;
    }
    let change = date(update, LAST_MODIFIED);
    change.is_some() && change == date(stored, LAST_MODIFIED)
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
    fn a_304_speaks_of_the_response_with_its_validator() {
        const DAY: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
        const SAME_DAY: &str = "Wednesday, 01-Jan-20 00:00:00 GMT";
        const NEXT_DAY: &str = "Thu, 02 Jan 2020 00:00:00 GMT";
        let tag = |tag| ("etag", tag);
        let day = |day| ("last-modified", day);
        let strong = [tag("\"a\""), day(DAY)];
        let weak = [tag("W/\"a\""), day(DAY)];
        let untagged = [day(DAY)];
        let selects = |stored: &[_], update: &[_]| selects(&headers(stored), &headers(update));

        // A strong tag: the very same one, whatever the date.
        assert!(selects(&strong, &[tag("\"a\"")]));
        assert!(selects(&strong, &[tag("\"a\""), day(NEXT_DAY)]));
        assert!(selects(&strong, &[tag("\"b\""), tag("\"a\"")]));
        assert!(!selects(&strong, &[tag("\"b\"")]));
        assert!(!selects(&strong, &[tag("\"b\""), day(DAY)]));
        assert!(!selects(&strong, &[tag("\"b\""), tag("W/\"a\"")]));
        assert!(!selects(&weak, &[tag("\"a\"")]));
        assert!(!selects(&untagged, &[tag("\"a\""), day(DAY)]));

        // A weak tag: by the weak comparison.
        assert!(selects(&weak, &[tag("W/\"a\"")]));
        assert!(selects(&strong, &[tag("W/\"a\"")]));
        assert!(!selects(&weak, &[tag("W/\"b\""), day(DAY)]));
        assert!(!selects(&untagged, &[tag("W/\"a\"")]));

        // No tag: the same date, however it is written.
        for stored in [&strong[..], &weak, &untagged] {
            assert!(selects(stored, &[day(DAY)]));
            assert!(selects(stored, &[day(SAME_DAY)]));
            assert!(!selects(stored, &[day(NEXT_DAY)]));
            assert!(!selects(stored, &[day("yesterday")]));
            assert!(selects(stored, &[("x", "y")]));
        }
        assert!(!selects(&strong[..1], &[day(DAY)]));
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
