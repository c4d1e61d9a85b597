//! Parts of a stored response (RFC 9110 section 14).

use std::ops::Range;
use std::time::{Duration, SystemTime};

use ::http::HeaderMap;
use ::http::header::{DATE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http_range_header::{EndPosition, StartPosition, parse_range_header};

use super::date::date;
use super::validators::is_strong;

/// What a request wants of a complete response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: there is no `Range`, or none that has to be respected.
    Whole,
    /// These bytes.
    Part(Range<usize>),
    /// Bytes that it does not have: 416.
    Unsatisfiable,
}

/// What a request wants of a response of so many bytes.
///
/// Of several ranges at once, of units other than bytes, and of what is not well-formed, the whole is
/// the answer, as section 14.2 lets it be. So it is of a response without a strong entity tag: the client may have
/// the beginning of it in another coding, and its parts would not fit (section 8.8.1).
pub(crate) fn wanted(request: &HeaderMap, response: &HeaderMap, length: usize) -> Wanted {
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Wanted::Whole;
    };
    let parsed = line.to_str().ok().map(parse_range_header);
    let Some(Ok(parsed)) = parsed else {
        return Wanted::Whole;
    };
    let [range] = &parsed.ranges[..] else {
        return Wanted::Whole;
    };
    if !is_still_the_same(request, response) {
        return Wanted::Whole;
    }
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let start = match range.start {
        StartPosition::Index(start) => index(start),
        StartPosition::FromLast(count) => length.saturating_sub(index(count)),
    };
    let end = match range.end {
        EndPosition::Index(last) => index(last).saturating_add(1).min(length),
        EndPosition::LastByte => length,
    };
    if start >= length {
        return Wanted::Unsatisfiable;
    }
    if start >= end {
        return Wanted::Whole;
    }
    Wanted::Part(start..end)
}

/// Whether the parts that the client has are of this response. A tag must be strong on both sides, and a
/// date the very same, and so long ago that the response did not change again in its second (sections 8.8.2.2
/// and 13.1.5).
fn is_still_the_same(request: &HeaderMap, response: &HeaderMap) -> bool {
    let Some(tag) = response.get(ETAG).filter(|tag| is_strong(tag)) else {
        return false;
    };
    let mut lines = request.get_all(IF_RANGE).iter();
    let Some(line) = lines.next() else {
        return true;
    };
    if lines.next().is_some() {
        return false;
    }
    let line = line.as_bytes().trim_ascii();
    if line.starts_with(b"\"") {
        return tag.as_bytes() == line;
    }
    let known = date(request, IF_RANGE);
    known.is_some() && known == strong_date(response)
}

/// When a response was last modified, if that is at least a second before it was made.
fn strong_date(response: &HeaderMap) -> Option<SystemTime> {
    let modified = date(response, LAST_MODIFIED)?;
    let rest = date(response, DATE)?.duration_since(modified).ok()?;
    (rest >= Duration::from_secs(1)).then_some(modified)
}

#[cfg(test)]
mod tests {
    use super::super::testing::headers;
    use super::*;

    fn range(line: &'static str) -> Wanted {
        range_of("\"a\"", line)
    }

    fn range_of(etag: &'static str, line: &'static str) -> Wanted {
        let response = headers(&[("etag", etag)]);
        wanted(&headers(&[("range", line)]), &response, 10)
    }

    #[test]
    fn one_range_is_cut_out() {
        assert_eq!(range("bytes=0-1"), Wanted::Part(0..2));
        assert_eq!(range("bytes=1-"), Wanted::Part(1..10));
        assert_eq!(range("bytes=-3"), Wanted::Part(7..10));
        assert_eq!(range("bytes=-30"), Wanted::Part(0..10));
        assert_eq!(range("bytes=5-99"), Wanted::Part(5..10));
        assert_eq!(range("bytes=9-9"), Wanted::Part(9..10));
    }

    #[test]
    fn what_is_not_there_cannot_be_satisfied() {
        assert_eq!(range("bytes=10-"), Wanted::Unsatisfiable);
        assert_eq!(range("bytes=99-100"), Wanted::Unsatisfiable);
    }

    #[test]
    fn everything_else_is_answered_by_the_whole() {
        for line in [
            "",
            "bytes",
            "bytes=",
            "bytes=5-2",
            "bytes=-0",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=a-b",
        ] {
            assert_eq!(range(line), Wanted::Whole, "{line}");
        }
        let response = headers(&[("etag", "\"a\"")]);
        assert_eq!(wanted(&HeaderMap::new(), &response, 10), Wanted::Whole);
        let twice = headers(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]);
        assert_eq!(wanted(&twice, &response, 10), Wanted::Whole);
    }

    #[test]
    fn of_a_response_without_a_strong_tag_there_are_no_parts() {
        for etag in ["W/\"a\"", "a", "\"a", ""] {
            for line in ["bytes=0-1", "bytes=-3", "bytes=99-"] {
                assert_eq!(range_of(etag, line), Wanted::Whole, "{etag} {line}");
            }
        }
        let untagged = headers(&[("range", "bytes=0-1")]);
        assert_eq!(wanted(&untagged, &HeaderMap::new(), 10), Wanted::Whole);
    }

    #[test]
    fn a_part_of_something_else_is_not_completed() {
        const DAY: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
        const NEXT_DAY: &str = "Thu, 02 Jan 2020 00:00:00 GMT";
        let part_of = |condition, lines: &[_]| {
            let request = headers(&[("range", "bytes=0-1"), ("if-range", condition)]);
            wanted(&request, &headers(lines), 10) == Wanted::Part(0..2)
        };
        let part = |condition, etag, modified| {
            let made = ("date", "Fri, 03 Jan 2020 00:00:00 GMT");
            part_of(
                condition,
                &[("etag", etag), ("last-modified", modified), made],
            )
        };
        assert!(part("\"a\"", "\"a\"", DAY));
        assert!(!part("\"b\"", "\"a\"", DAY));
        assert!(!part("W/\"a\"", "W/\"a\"", DAY));
        assert!(!part("\"a\"", "W/\"a\"", DAY));
        assert!(part(DAY, "\"a\"", DAY));
        assert!(!part(NEXT_DAY, "\"a\"", DAY));
        assert!(!part("x", "\"a\"", DAY));
        // A date stands for no bytes that a weak tag does not stand for.
        assert!(!part(DAY, "W/\"a\"", DAY));
        assert!(!part_of(DAY, &[("last-modified", DAY), ("date", NEXT_DAY)]));
        // In the second in which it was made, it may have changed again.
        let tag = ("etag", "\"a\"");
        assert!(!part_of(DAY, &[tag, ("last-modified", DAY), ("date", DAY)]));
        assert!(!part_of(DAY, &[tag, ("last-modified", DAY)]));
    }
}
