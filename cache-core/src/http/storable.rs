//! What may be stored, and what of the request belongs into the key.

use ::http::header::{AUTHORIZATION, CONTENT_RANGE, COOKIE, SET_COOKIE, VARY};
use ::http::{HeaderMap, HeaderValue};

use super::directives::ResponseDirectives;
use super::list::{self, comma};

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It sets a cookie, which is for one client.
    SetCookie,
    /// It is a part of something (RFC 9111 section 3.4).
    ContentRange,
    /// It says `no-store`.
    NoStore,
    /// It says `private`: it is for one client.
    Private,
    /// It says `no-cache`: it would have to be validated for each reply.
    NoCache,
    /// It says that it is not fresh for any time.
    NoLifetime,
    /// It varies with what no key can hold: `Vary: *`.
    VaryAll,
    /// It varies with a request header that is not in the key.
    VaryUnkeyed,
}

/// Whether a handler's response may be stored, as far as its headers say; `vary` names the request
/// headers, in lowercase, that are part of the key.
pub(crate) fn may_store(headers: &HeaderMap, vary: &[&str]) -> Result<(), Refusal> {
    if headers.contains_key(SET_COOKIE) {
        return Err(Refusal::SetCookie);
    }
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Refusal::ContentRange);
    }
    may_store_directives(&ResponseDirectives::parse(headers))?;
    for name in vary_names(headers) {
        if name == b"*" {
            return Err(Refusal::VaryAll);
        }
        if !is_named(name, vary) {
            return Err(Refusal::VaryUnkeyed);
        }
    }
    Ok(())
}

fn may_store_directives(directives: &ResponseDirectives) -> Result<(), Refusal> {
    if directives.no_store {
        return Err(Refusal::NoStore);
    }
    if directives.private {
        return Err(Refusal::Private);
    }
    if directives.no_cache {
        return Err(Refusal::NoCache);
    }
    if directives.lifetime() == Some(0) {
        return Err(Refusal::NoLifetime);
    }
    Ok(())
}

/// Whether a request tells who sent it: it has `Authorization` (RFC 9111 section 3.5) or `Cookie`,
/// and `vary` does not make that header part of the key.
pub(crate) fn is_personal(request: &HeaderMap, vary: &[&str]) -> bool {
    [AUTHORIZATION, COOKIE]
        .iter()
        .any(|name| request.contains_key(name) && !is_named(name.as_str().as_bytes(), vary))
}

/// Says in `Vary` which request headers took part in the key, besides what it says already.
pub(crate) fn add_vary(headers: &mut HeaderMap, names: &[&str]) {
    for name in names {
        if vary_names(headers).any(|named| named.eq_ignore_ascii_case(name.as_bytes())) {
            continue;
        }
        if let Ok(value) = HeaderValue::from_str(name) {
            headers.append(VARY, value);
        }
    }
}

/// The lines of one request header, trimmed; none if it is absent. `name` may be in any case.
///
/// The map is asked by the text itself, since a `HeaderName` of an unregistered name is allocated,
/// and this runs on every hit.
pub(crate) fn key_values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .map(|line| line.as_bytes().trim_ascii())
}

/// The members of `Vary`, over all of its lines.
fn vary_names(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    list::members(headers, VARY, comma)
}

fn is_named(name: &[u8], names: &[&str]) -> bool {
    names
        .iter()
        .any(|named| named.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn store(lines: &[(&'static str, &'static str)], vary: &[&str]) -> Result<(), Refusal> {
        may_store(&headers(lines), vary)
    }

    #[test]
    fn a_plain_response_is_stored() {
        assert_eq!(store(&[("content-type", "text/html")], &[]), Ok(()));
    }

    #[test]
    fn what_is_for_one_client_is_not_stored() {
        assert_eq!(
            store(&[("set-cookie", "a=b")], &[]),
            Err(Refusal::SetCookie)
        );
        assert_eq!(
            store(&[("content-range", "bytes 0-1/2")], &[]),
            Err(Refusal::ContentRange)
        );
        for (value, refusal) in [
            ("private", Refusal::Private),
            ("private=\"x\"", Refusal::Private),
            ("max-age=5, x=\"oops, private", Refusal::Private),
            ("max-age=5, No-Store", Refusal::NoStore),
            ("no-cache", Refusal::NoCache),
            ("max-age=0", Refusal::NoLifetime),
            ("max-age=5, s-maxage=0", Refusal::NoLifetime),
        ] {
            assert_eq!(store(&[("cache-control", value)], &[]), Err(refusal));
        }
        assert_eq!(
            store(&[("cache-control", "public, max-age=5")], &[]),
            Ok(())
        );
    }

    #[test]
    fn what_varies_with_something_unkeyed_is_not_stored() {
        let lines = [("vary", "Accept-Language"), ("vary", "accept-encoding")];
        assert_eq!(
            store(&lines, &["accept-language"]),
            Err(Refusal::VaryUnkeyed)
        );
        assert_eq!(
            store(&lines, &["accept-language", "accept-encoding"]),
            Ok(())
        );
        assert_eq!(
            store(&[("vary", "*")], &["accept-language"]),
            Err(Refusal::VaryAll)
        );
    }

    #[test]
    fn personal_requests_are_known_by_two_headers() {
        assert!(is_personal(&headers(&[("authorization", "Basic x")]), &[]));
        assert!(is_personal(
            &headers(&[("cookie", "a=b")]),
            &["authorization"]
        ));
        assert!(!is_personal(&headers(&[("cookie", "a=b")]), &["cookie"]));
        assert!(!is_personal(&headers(&[("accept", "text/html")]), &[]));
    }

    #[test]
    fn vary_is_merged_without_repeating() {
        let mut merged = headers(&[("vary", "Accept-Language")]);
        add_vary(&mut merged, &["accept-language", "accept"]);
        let lines: Vec<_> = merged.get_all(VARY).iter().collect();
        assert_eq!(lines, ["Accept-Language", "accept"]);
    }

    #[test]
    fn absent_and_empty_lines_differ() {
        let map = headers(&[("x-a", ""), ("x-b", " 1 "), ("x-b", "2")]);
        let read = |name| key_values(&map, name).collect::<Vec<_>>();
        assert_eq!(read("x-a"), [b""]);
        assert_eq!(read("x-b"), [b"1", b"2"]);
        assert!(read("x-c").is_empty());
        assert_eq!(read("X-A"), [b""]);
        assert!(read("not a name").is_empty());
    }
}
