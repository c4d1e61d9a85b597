//! `Cache-Control`, of requests and of responses (RFC 9111 section 5.2).

use ::http::HeaderMap;
use ::http::header::{CACHE_CONTROL, PRAGMA};

/// What a request asks of a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    /// In seconds.
    pub(crate) max_age: Option<u64>,
    /// In seconds.
    pub(crate) min_fresh: Option<u64>,
    pub(crate) only_if_cached: bool,
}

impl RequestDirectives {
    /// Reads the directives of a request. `Pragma: no-cache` counts where there is no
    /// `Cache-Control` (RFC 9111 section 5.4).
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        let mut parsed = Self::default();
        if !headers.contains_key(CACHE_CONTROL) {
            parsed.no_cache = members(headers, PRAGMA).any(|member| member.is("no-cache"));
            return parsed;
        }
        for member in members(headers, CACHE_CONTROL) {
            if member.is("no-store") {
                parsed.no_store = true;
            } else if member.is("no-cache") {
                parsed.no_cache = true;
            } else if member.is("max-age") {
                parsed.max_age = stricter(parsed.max_age, member.seconds().unwrap_or(0), u64::min);
            } else if member.is("min-fresh") {
                parsed.min_fresh = stricter(
                    parsed.min_fresh,
                    member.seconds().unwrap_or(LONGEST),
                    u64::max,
                );
            } else if member.is("only-if-cached") {
                parsed.only_if_cached = true;
            }
        }
        parsed
    }
}

/// What a response says about being stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResponseDirectives {
    pub(crate) no_store: bool,
    /// With field names too, which a cache may take for the unqualified form (section 5.2.2.7).
    pub(crate) private: bool,
    /// With field names too, as for `private` (section 5.2.2.4).
    pub(crate) no_cache: bool,
    max_age: Option<u64>,
    s_maxage: Option<u64>,
}

impl ResponseDirectives {
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        let mut parsed = Self::default();
        for member in members(headers, CACHE_CONTROL) {
            if member.is("no-store") {
                parsed.no_store = true;
            } else if member.is("private") {
                parsed.private = true;
            } else if member.is("no-cache") {
                parsed.no_cache = true;
            } else if member.is("max-age") {
                parsed.max_age = stricter(parsed.max_age, member.seconds().unwrap_or(0), u64::min);
            } else if member.is("s-maxage") {
                parsed.s_maxage =
                    stricter(parsed.s_maxage, member.seconds().unwrap_or(0), u64::min);
            }
        }
        parsed
    }

    /// How long a shared cache may keep the response, in seconds: `s-maxage`, else `max-age`
    /// (section 4.2.1).
    pub(crate) fn lifetime(&self) -> Option<u64> {
        self.s_maxage.or(self.max_age)
    }
}

/// A count of seconds that cannot be represented is taken for this one (section 1.2.2).
const LONGEST: u64 = 1 << 31;

/// Of a directive that is repeated, the value that allows less counts (section 4.2.1).
fn stricter(before: Option<u64>, now: u64, choose: fn(u64, u64) -> u64) -> Option<u64> {
    Some(before.map_or(now, |before| choose(before, now)))
}

/// One member of a directive list: `name`, `name=token` or `name="text"`.
struct Member<'a> {
    name: &'a [u8],
    value: Option<&'a [u8]>,
}

impl<'a> Member<'a> {
    fn of(member: &'a [u8]) -> Self {
        match member.iter().position(|byte| *byte == b'=') {
            None => Self {
                name: member,
                value: None,
            },
            Some(at) => Self {
                name: member[..at].trim_ascii(),
                value: Some(member[at + 1..].trim_ascii()),
            },
        }
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value as a count of seconds, quoted or not (section 1.2.2 and 5.2); `None` if it is
    /// none.
    fn seconds(&self) -> Option<u64> {
        let value = self.value?;
        let digits = value
            .strip_prefix(b"\"")
            .and_then(|value| value.strip_suffix(b"\""))
            .unwrap_or(value);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number = digits.iter().fold(0_u64, |number, digit| {
            number
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        });
        Some(number.min(LONGEST))
    }
}

/// The members of all lines of a list header. Members that are not well-formed are no directive
/// that anybody asks for.
fn members(headers: &HeaderMap, name: ::http::HeaderName) -> impl Iterator<Item = Member<'_>> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| split_list(line.as_bytes()))
        .map(Member::of)
}

/// Splits a list at its commas, save those in quoted strings (RFC 9110 section 5.6.1). Empty
/// members are left out.
pub(super) fn split_list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = member_end(rest);
            let member = rest[..end].trim_ascii();
            rest = rest.get(end + 1..).unwrap_or_default();
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    })
}

fn member_end(list: &[u8]) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in list.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return at,
            _ => {}
        }
    }
    list.len()
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let line = |line: &&str| (CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        headers
    }

    fn request(lines: &[&str]) -> RequestDirectives {
        RequestDirectives::parse(&headers(lines))
    }

    fn response(lines: &[&str]) -> ResponseDirectives {
        ResponseDirectives::parse(&headers(lines))
    }

    #[test]
    fn directives_are_read_from_lists_in_any_case() {
        let parsed = request(&[
            "No-Cache , max-age=5,,",
            "ONLY-IF-CACHED, min-fresh=\"3\", x=1",
        ]);
        let expected = RequestDirectives {
            no_store: false,
            no_cache: true,
            max_age: Some(5),
            min_fresh: Some(3),
            only_if_cached: true,
        };
        assert_eq!(parsed, expected);
        assert_eq!(request(&[]), RequestDirectives::default());
    }

    #[test]
    fn a_quoted_string_hides_what_is_in_it() {
        assert!(!request(&["x=\"a, no-store, \\\", no-store\""]).no_store);
        assert!(request(&["x=\"a\", no-store"]).no_store);
        assert!(!request(&["no-storeX, xno-store"]).no_store);
    }

    #[test]
    fn seconds_that_make_no_sense_are_the_strictest() {
        assert_eq!(request(&["max-age=abc"]).max_age, Some(0));
        assert_eq!(request(&["max-age=-1"]).max_age, Some(0));
        assert_eq!(request(&["max-age"]).max_age, Some(0));
        assert_eq!(
            request(&["max-age=99999999999999999999999"]).max_age,
            Some(LONGEST)
        );
        assert_eq!(request(&["min-fresh=x"]).min_fresh, Some(LONGEST));
        assert_eq!(request(&["max-age=9, max-age=3"]).max_age, Some(3));
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        let mut headers = HeaderMap::new();
        headers.insert(PRAGMA, HeaderValue::from_static("No-Cache"));
        assert!(RequestDirectives::parse(&headers).no_cache);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        assert!(!RequestDirectives::parse(&headers).no_cache);
    }

    #[test]
    fn a_response_may_name_fields_and_two_lifetimes() {
        assert!(response(&["private=\"x-a, x-b\""]).private);
        assert!(response(&["no-cache=\"set-cookie\""]).no_cache);
        assert_eq!(response(&["max-age=5, s-maxage=9"]).lifetime(), Some(9));
        assert_eq!(response(&["max-age=5"]).lifetime(), Some(5));
        assert_eq!(response(&["public"]).lifetime(), None);
    }

    proptest! {
        #[test]
        fn arbitrary_lines_never_panic(lines: Vec<Vec<u8>>) {
            let mut headers = HeaderMap::new();
            for line in lines {
                if let Ok(value) = HeaderValue::from_bytes(&line) {
                    headers.append(CACHE_CONTROL, value.clone());
                    headers.append(PRAGMA, value);
                }
            }
            RequestDirectives::parse(&headers);
            ResponseDirectives::parse(&headers);
        }
    }
}
