//! `Cache-Control`, of requests and of responses (RFC 9111 section 5.2).

use ::http::header::{CACHE_CONTROL, PRAGMA};
use ::http::{HeaderMap, HeaderName, HeaderValue};

use super::list::{self, comma_after};

/// What a request asks of a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    /// In seconds.
    pub(crate) max_age: Option<u64>,
    /// In seconds.
    pub(crate) min_fresh: Option<u64>,
    /// For how long a response may have been stale, in seconds; `None` if it must not have been.
    pub(crate) max_stale: Option<u64>,
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
            } else if member.is("max-stale") {
                // Without a value, any response will do (section 5.2.1.2).
                let most = member.value.map_or(Some(LONGEST), |_| member.seconds());
                parsed.max_stale = stricter(parsed.max_stale, most.unwrap_or(0), u64::min);
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
    pub(crate) public: bool,
    /// With field names too, which a cache may take for the unqualified form (section 5.2.2.7).
    pub(crate) private: bool,
    /// With field names too, as for `private` (section 5.2.2.4).
    pub(crate) no_cache: bool,
    /// Stored only by caches that know its status, who may then disregard `no-store`
    /// (section 5.2.2.3).
    pub(crate) must_understand: bool,
    /// In seconds (RFC 5861 section 3).
    pub(crate) stale_while_revalidate: Option<u64>,
    /// In seconds (RFC 5861 section 4).
    pub(crate) stale_if_error: Option<u64>,
    /// In seconds.
    max_age: Option<u64>,
    /// In seconds.
    s_maxage: Option<u64>,
    must_revalidate: bool,
    proxy_revalidate: bool,
}

impl ResponseDirectives {
    /// Reads the directives of a response: of `CDN-Cache-Control` if it is there and well-formed,
    /// which then stands for all that `Cache-Control` and `Expires` say (RFC 9213 section 2), else of
    /// `Cache-Control`.
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        if let Some(targeted) = targeted(headers) {
            return targeted;
        }
        let mut parsed = Self::default();
        for member in members(headers, CACHE_CONTROL) {
            let seconds = member.seconds();
            parsed.add(|name| member.is(name), seconds);
        }
        parsed
    }

    /// Takes in one directive. Seconds that make no sense are the strictest.
    fn add(&mut self, is: impl Fn(&str) -> bool, seconds: Option<u64>) {
        let least = |before| stricter(before, seconds.unwrap_or(0), u64::min);
        if is("no-store") {
            self.no_store = true;
        } else if is("public") {
            self.public = true;
        } else if is("private") {
            self.private = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("max-age") {
            self.max_age = least(self.max_age);
        } else if is("s-maxage") {
            self.s_maxage = least(self.s_maxage);
        } else if is("must-revalidate") {
            self.must_revalidate = true;
        } else if is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("stale-while-revalidate") {
            self.stale_while_revalidate = least(self.stale_while_revalidate);
        } else if is("stale-if-error") {
            self.stale_if_error = least(self.stale_if_error);
        }
    }

    /// Whether the response must not be served stale (sections 5.2.2.2, 5.2.2.8 and 5.2.2.10).
    pub(crate) fn forbids_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some()
    }

    /// Whether the response may be shared though its request had `Authorization` (section 3.5).
    pub(crate) fn shares_authorized(&self) -> bool {
        self.public || self.must_revalidate || self.s_maxage.is_some()
    }

    /// How long a shared cache may keep the response, in seconds: `s-maxage`, else `max-age`
    /// (section 4.2.1).
    pub(crate) fn lifetime(&self) -> Option<u64> {
        self.s_maxage.or(self.max_age)
    }
}

/// The directives that are meant for caches such as this one; `None` if there are none, or if the
/// header is no dictionary (RFC 9213 section 2.1, RFC 9651 section 3.2).
pub(super) fn targeted(headers: &HeaderMap) -> Option<ResponseDirectives> {
    let lines: Vec<&[u8]> = headers
        .get_all(CDN_CACHE_CONTROL)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.is_empty() {
        return None;
    }
    let dictionary: sfv::Dictionary = sfv::Parser::new(&lines.join(&b", "[..])).parse().ok()?;
    if dictionary.is_empty() {
        return None;
    }
    let mut parsed = ResponseDirectives::default();
    for (name, entry) in &dictionary {
        let sfv::ListEntry::Item(item) = entry else {
            continue;
        };
        let seconds = match &item.bare_item {
            // What is switched off in so many words is not asked for.
            sfv::BareItem::Boolean(false) => continue,
            sfv::BareItem::Integer(seconds) => u64::try_from(i64::from(*seconds)).ok(),
            _ => None,
        };
        let seconds = seconds.map(|seconds| seconds.min(LONGEST));
        parsed.add(|directive| directive == name.as_str(), seconds);
    }
    Some(parsed)
}

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

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
        delta_seconds(digits)
    }
}

/// A count of seconds (section 1.2.2); `None` for what is no non-negative integer.
pub(super) fn delta_seconds(digits: &[u8]) -> Option<u64> {
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

/// The directives of all lines of a header. Members that are not well-formed are no directive that
/// anybody asks for.
fn members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = Member<'_>> {
    list::members(headers, name, directive_end).map(Member::of)
}

/// The end of a directive: the first comma that is not in its quoted value.
///
/// Only a quotation mark that opens the value and is closed again hides commas. A stray one must
/// not: it would hide the `private` that comes after it, and share what is for one client.
fn directive_end(list: &[u8]) -> usize {
    let Some(at) = list.iter().position(|byte| matches!(byte, b',' | b'=')) else {
        return list.len();
    };
    if list[at] == b',' {
        return at;
    }
    let value = list[at + 1..].trim_ascii_start();
    let value_start = list.len() - value.len();
    comma_after(list, value_start + quoted_length(value).unwrap_or(0))
}

/// The length of the quoted string at the start, with both marks (RFC 9110 section 5.6.4); `None`
/// if there is none, or if it is never closed.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let inner = text.strip_prefix(b"\"")?;
    let mut escaped = false;
    for (at, byte) in inner.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 2),
            _ => {}
        }
    }
    None
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
            max_stale: None,
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
    fn a_stray_quotation_mark_hides_nothing() {
        for line in [
            "max-age=5, x=\"oops, private",
            "x\"y, private, z\"",
            "\"x, private\"=1, private",
            "x=a\"b, private, c\"",
            "x=\"ends in an escape\\\", private",
        ] {
            assert!(response(&[line]).private, "{line}");
        }
        assert!(response(&["x=\"oops", "private"]).private);
        assert!(!response(&["x = \"a, private\""]).private);
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
        for strict in ["must-revalidate", "Proxy-Revalidate", "s-maxage=5"] {
            assert!(response(&[strict]).forbids_stale());
        }
        assert!(!response(&["max-age=5"]).forbids_stale());
    }

    #[test]
    fn max_stale_has_a_bound_or_none() {
        assert_eq!(request(&["max-stale=5"]).max_stale, Some(5));
        assert_eq!(request(&["max-stale"]).max_stale, Some(LONGEST));
        assert_eq!(request(&["max-stale=x"]).max_stale, Some(0));
        assert_eq!(request(&["max-age=1"]).max_stale, None);
    }

    #[test]
    fn what_was_authorized_is_shared_only_if_it_says_so() {
        for shared in ["public", "must-revalidate", "s-maxage=5"] {
            assert!(response(&[shared]).shares_authorized(), "{shared}");
        }
        for own in ["max-age=5", "proxy-revalidate", ""] {
            assert!(!response(&[own]).shares_authorized(), "{own}");
        }
    }

    #[test]
    fn a_targeted_field_stands_for_all_others() {
        let with = |targeted: &'static str| {
            let mut headers = headers(&["no-store, max-age=5"]);
            headers.insert(CDN_CACHE_CONTROL, HeaderValue::from_static(targeted));
            ResponseDirectives::parse(&headers)
        };
        assert_eq!(with("max-age=60").lifetime(), Some(60));
        assert!(!with("max-age=60").no_store);
        assert!(with("private, max-age=60").private);
        assert!(!with("private=?0, max-age=60").private);
        assert_eq!(with("max-age=\"60\"").lifetime(), Some(0));
        // What is no dictionary does not count (RFC 9213 section 2.1).
        for ignored in ["", "max-age=60 private", "Max-Age=60", "max-age=60,"] {
            assert!(with(ignored).no_store, "{ignored}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_targeted_fields_never_panic(line: Vec<u8>) {
            if let Ok(line) = HeaderValue::from_bytes(&line) {
                let mut headers = HeaderMap::new();
                headers.append(CDN_CACHE_CONTROL, line);
                ResponseDirectives::parse(&headers);
            }
        }

        #[test]
        fn whatever_comes_first_a_directive_on_its_own_line_counts(line: String) {
            if let Ok(line) = HeaderValue::from_str(&line) {
                let mut headers = HeaderMap::new();
                headers.append(CACHE_CONTROL, line);
                headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
                prop_assert!(ResponseDirectives::parse(&headers).private);
            }
        }

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
