//! Entity tags, and requests that are answered with 304 (RFC 9110 sections 8.8 and 13).

use ::http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, TRAILER, TRANSFER_ENCODING,
};
use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use md5::{Digest, Md5};

use super::date::date;
use super::list::{self, comma_after};

/// The entity tag of a body: a digest of its bytes, the same on every machine.
///
/// It is a weak one unless a `strong` one is asked for, which must be where nothing on the way to the client
/// changes the bytes: whoever compresses them would leave the tag on what is another body (section 8.8.1).
pub(crate) fn entity_tag(body: &[u8], strong: bool) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";

    let mut tag = Vec::with_capacity(36);
    if !strong {
        tag.extend_from_slice(b"W/");
    }
    tag.push(b'"');
    for byte in Md5::digest(body) {
        tag.push(HEX[usize::from(byte >> 4)]);
        tag.push(HEX[usize::from(byte & 15)]);
    }
    tag.push(b'"');
    HeaderValue::from_bytes(&tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Whether an entity tag is a strong one: the same tag then means the same bytes (section 8.8.3).
pub(crate) fn is_strong(tag: &HeaderValue) -> bool {
    let inner = tag.as_bytes().strip_prefix(b"\"");
    let inner = inner.and_then(|inner| inner.strip_suffix(b"\""));
    inner.is_some_and(|inner| !inner.contains(&b'"'))
}

/// Whether two entity tags are the same one by the weak comparison (section 8.8.3.2).
pub(super) fn are_weakly_equal(one: &HeaderValue, other: &HeaderValue) -> bool {
    opaque(one.as_bytes()) == opaque(other.as_bytes())
}

/// Whether the copy that the client has of a stored response is current, so that 304 is the answer.
///
/// A response that does not say when it was last modified was no later than it was made (RFC 9111 section
/// 4.3.2).
pub(crate) fn not_modified(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let modified = match stored.contains_key(LAST_MODIFIED) {
        true => LAST_MODIFIED,
        false => DATE,
    };
    is_current(request, stored, modified)
}

/// Whether 304 is the answer where a response has just come, which is not stored: by the validators that it has
/// itself, and by nothing else.
pub(crate) fn not_modified_unstored(request: &HeaderMap, response: &HeaderMap) -> bool {
    is_current(request, response, LAST_MODIFIED)
}

/// Whether the copy that the client has is current; `modified` is the header that says how old a response is.
///
/// `If-None-Match` is compared weakly, and where it is present, `If-Modified-Since` does not count
/// (sections 13.1.2, 13.1.3 and 13.2.2).
fn is_current(request: &HeaderMap, response: &HeaderMap, modified: HeaderName) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        return response
            .get(ETAG)
            .is_some_and(|tag| names_tag(request, opaque(tag.as_bytes())));
    }
    let Some(since) = date(request, IF_MODIFIED_SINCE) else {
        return false;
    };
    date(response, modified).is_some_and(|modified| modified <= since)
}

/// Whether responses of a status may have a body (RFC 9110 section 6.4.1).
pub(crate) fn may_have_body(status: StatusCode) -> bool {
    let never = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    !never && !status.is_informational()
}

/// Takes out of a 304 what describes a body that it does not have, or how that is sent
/// (section 15.4.5).
pub(crate) fn strip_for_not_modified(headers: &mut HeaderMap) {
    for name in [
        CONTENT_ENCODING,
        CONTENT_LANGUAGE,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        TRAILER,
        TRANSFER_ENCODING,
    ] {
        headers.remove(name);
    }
    if headers.contains_key(ETAG) {
        headers.remove(LAST_MODIFIED);
    }
}

/// Whether `If-None-Match` names the tag, or is a lone `*`, which stands for any.
fn names_tag(request: &HeaderMap, tag: &[u8]) -> bool {
    let named = || list::members(request, IF_NONE_MATCH, tag_end);
    named().eq([b"*"]) || named().any(|named| opaque(named) == tag)
}

/// The end of an entity tag in a list. Within its marks a comma and a backslash are characters
/// like any other: nothing is escaped (section 8.8.3).
fn tag_end(list: &[u8]) -> usize {
    let tag = opaque(list.trim_ascii_start());
    let start = list.len() - tag.len();
    let length = tag
        .strip_prefix(b"\"")
        .and_then(|inner| inner.iter().position(|byte| *byte == b'"'))
        .map_or(0, |at| at + 2);
    comma_after(list, start + length)
}

/// An entity tag without the mark of a weak one.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::headers;
    use super::*;

    fn matches(lines: &[&'static str], tag: &'static str) -> bool {
        let lines: Vec<_> = lines.iter().map(|line| ("if-none-match", *line)).collect();
        not_modified(&headers(&lines), &headers(&[("etag", tag)]))
    }

    #[test]
    fn tags_are_quoted_and_depend_on_the_content_alone() {
        let strong = "\"d41d8cd98f00b204e9800998ecf8427e\"";
        assert_eq!(entity_tag(b"", true), strong);
        assert_eq!(entity_tag(b"", false), *format!("W/{strong}"));
        for strong in [true, false] {
            assert_ne!(entity_tag(b"a", strong), entity_tag(b"b", strong));
            assert_eq!(is_strong(&entity_tag(b"a", strong)), strong);
        }
    }

    #[test]
    fn strong_tags_are_quoted_and_nothing_else() {
        let is_strong = |tag: &'static str| is_strong(&HeaderValue::from_static(tag));
        for tag in ["\"\"", "\"a\"", "\"a, b\"", "\"W/\"", r#""a\""#] {
            assert!(is_strong(tag), "{tag}");
        }
        for tag in [
            "",
            "\"",
            "a",
            "W/\"a\"",
            "w/\"a\"",
            "\"a",
            "a\"",
            "\"a\", \"b\"",
        ] {
            assert!(!is_strong(tag), "{tag}");
        }
    }

    #[test]
    fn a_response_that_is_not_stored_has_to_have_the_validator() {
        const EARLIER: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
        let since = headers(&[("if-modified-since", LATER)]);
        let made = headers(&[("date", EARLIER)]);
        assert!(not_modified(&since, &made));
        assert!(!not_modified_unstored(&since, &made));
        let changed = headers(&[("date", LATER), ("last-modified", EARLIER)]);
        assert!(not_modified_unstored(&since, &changed));
        let tagged = headers(&[("etag", "\"a\""), ("date", EARLIER)]);
        assert!(!not_modified_unstored(&since, &tagged));
        let same = headers(&[("if-none-match", "W/\"a\"")]);
        assert!(not_modified_unstored(&same, &tagged));
        assert!(!not_modified_unstored(&same, &changed));
        let any = headers(&[("if-none-match", "*")]);
        assert!(!not_modified_unstored(&any, &changed));
    }

    #[test]
    fn if_none_match_takes_lists_stars_and_weak_tags() {
        assert!(matches(&["\"a\""], "\"a\""));
        assert!(matches(&["W/\"a\""], "\"a\""));
        assert!(matches(&["\"a\""], "W/\"a\""));
        assert!(matches(&["\"x\", \"a\""], "\"a\""));
        assert!(matches(&["\"x\"", "\"y\" ,W/\"a\""], "\"a\""));
        assert!(matches(&["*"], "\"a\""));
        assert!(matches(&["\"with, comma\""], "\"with, comma\""));
        assert!(matches(&[r#""a\", "b""#], "\"b\""));
        assert!(matches(&[r#""x", "a\""#], r#""a\""#));
        assert!(matches(&[",, \"x\",", "", "\"a\""], "\"a\""));
        assert!(!matches(&["\"x, \"a\", y\""], "\"y\""));
        assert!(!matches(&["\"x\", *"], "\"a\""));
        assert!(!matches(&["*", "*"], "\"a\""));
        assert!(!matches(&["\"x\""], "\"a\""));
        assert!(!matches(&["a"], "\"a\""));
        assert!(!matches(&["\"a"], "\"a\""));
        assert!(!matches(&[""], "\"a\""));
    }

    #[test]
    fn if_modified_since_counts_only_alone_and_with_a_date() {
        const EARLIER: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const LATER: &str = "Sunday, 06-Nov-94 08:49:38 GMT";
        let ask = |since, modified| {
            not_modified(
                &headers(&[("if-modified-since", since)]),
                &headers(&[("last-modified", modified)]),
            )
        };
        assert!(ask(EARLIER, EARLIER));
        assert!(ask(LATER, EARLIER));
        assert!(!ask(EARLIER, LATER));
        assert!(!ask("yesterday", EARLIER));
        assert!(!not_modified(
            &headers(&[("if-modified-since", LATER)]),
            &headers(&[])
        ));
        assert!(!not_modified(
            &headers(&[("if-none-match", "\"x\""), ("if-modified-since", LATER)]),
            &headers(&[("etag", "\"a\""), ("last-modified", EARLIER)]),
        ));
    }

    #[test]
    fn a_304_keeps_what_a_200_would_say_of_caching() {
        let mut left = headers(&[
            ("etag", "\"a\""),
            ("cache-control", "max-age=5"),
            ("vary", "accept"),
            ("content-type", "text/html"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x-a"),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ]);
        strip_for_not_modified(&mut left);
        let mut names: Vec<_> = left.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "etag", "vary"]);
    }

    #[test]
    fn without_a_tag_a_304_keeps_its_date() {
        let date = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        let mut left = headers(&[date, ("content-type", "text/html")]);
        strip_for_not_modified(&mut left);
        assert_eq!(left, headers(&[date]));
    }

    proptest! {
        #[test]
        fn a_tag_is_found_among_any_others(
            tag in "[!#-~]{0,9}",
            others in proptest::collection::vec("(W/)?\"[!#-~]{0,9}\"", 0..4),
        ) {
            let tag = HeaderValue::try_from(format!("\"{tag}\"")).unwrap();
            let mut request = HeaderMap::new();
            let list = format!("{}, W/{}", others.join(","), tag.to_str().unwrap());
            request.append(IF_NONE_MATCH, HeaderValue::try_from(list).unwrap());
            let mut response = HeaderMap::new();
            response.append(ETAG, tag);
            prop_assert!(not_modified(&request, &response));
        }

        #[test]
        fn arbitrary_preconditions_never_panic(none_match: Vec<u8>, since: Vec<u8>) {
            let mut request = HeaderMap::new();
            for (name, value) in [(IF_NONE_MATCH, none_match), (IF_MODIFIED_SINCE, since)] {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    request.append(name, value);
                }
            }
            not_modified(&request, &headers(&[("etag", "\"a\"")]));
        }
    }
}
