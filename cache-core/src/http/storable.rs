//! What may be stored, and what of the request belongs into the key.

use ::http::header::{CONTENT_RANGE, SET_COOKIE};
use ::http::{HeaderMap, StatusCode};

use super::directives::ResponseDirectives;
use super::vary::{members, vary_names};

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
    /// It is for a request with `Authorization`, and does not say that others may have it.
    Authorized,
    /// Its status is not one that can be stored, or that the response wants to be understood.
    Status,
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
    for name in members(headers) {
        if name == b"*" {
            return Err(Refusal::VaryAll);
        }
        if !is_named(name, vary) {
            return Err(Refusal::VaryUnkeyed);
        }
    }
    Ok(())
}

/// A response that a shared cache may store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) directives: &'a ResponseDirectives,
    /// Whether its request had `Authorization`, which is not in the key.
    pub(crate) is_authorized: bool,
    /// Whether cookies that it sets may be given to others.
    pub(crate) shares_cookies: bool,
}

/// Whether a shared cache may store a response, as far as its status and headers say (RFC 9111
/// section 3). It may be of no use without being validated.
pub(crate) fn may_share(response: Candidate<'_>) -> Result<(), Refusal> {
    let Candidate {
        status,
        headers,
        directives,
        ..
    } = response;
    let is_final = !status.is_informational();
    let is_whole = !matches!(
        status,
        StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
    );
    if !is_final || !is_whole || directives.must_understand && !is_understood(status) {
        return Err(Refusal::Status);
    }
    if directives.no_store && !directives.must_understand {
        return Err(Refusal::NoStore);
    }
    if directives.private {
        return Err(Refusal::Private);
    }
    if response.is_authorized && !directives.shares_authorized() {
        return Err(Refusal::Authorized);
    }
    if headers.contains_key(SET_COOKIE) && !response.shares_cookies {
        return Err(Refusal::SetCookie);
    }
    if vary_names(headers).is_none() {
        return Err(Refusal::VaryAll);
    }
    Ok(())
}

/// Whether a status has a meaning that is known here: those of RFC 9110 section 15 that are final.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
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

fn is_named(name: &[u8], names: &[&str]) -> bool {
    names
        .iter()
        .any(|named| named.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use ::http::header::AUTHORIZATION;

    use super::super::testing::headers;
    use super::*;

    fn store(lines: &[(&'static str, &'static str)], vary: &[&str]) -> Result<(), Refusal> {
        may_store(&headers(lines), vary)
    }

    fn share(status: u16, lines: &[(&'static str, &'static str)]) -> Result<(), Refusal> {
        let headers = headers(lines);
        may_share(Candidate {
            status: StatusCode::from_u16(status).unwrap(),
            headers: &headers,
            directives: &ResponseDirectives::parse(&headers),
            is_authorized: headers.contains_key(AUTHORIZATION),
            shares_cookies: headers.contains_key("x-cookies-too"),
        })
    }

    #[test]
    fn a_shared_cache_leaves_alone_what_is_for_one_client() {
        let refusals = [
            (("cache-control", "no-store"), Refusal::NoStore),
            (("cache-control", "private, max-age=60"), Refusal::Private),
            (("authorization", "x"), Refusal::Authorized),
            (("set-cookie", "a=b"), Refusal::SetCookie),
            (("vary", "accept, *"), Refusal::VaryAll),
        ];
        for (line, refusal) in refusals {
            assert_eq!(share(200, &[line]), Err(refusal));
        }
        let public = [("authorization", "x"), ("cache-control", "public")];
        assert_eq!(share(200, &public), Ok(()));
        let cookies = [("set-cookie", "a=b"), ("x-cookies-too", "")];
        assert_eq!(share(200, &cookies), Ok(()));
        assert_eq!(share(200, &[("cache-control", "no-cache")]), Ok(()));
    }

    #[test]
    fn statuses_are_whole_and_understood_if_they_have_to_be() {
        for status in [200, 204, 301, 404, 500, 599] {
            assert_eq!(share(status, &[]), Ok(()), "{status}");
        }
        for status in [101, 206, 304] {
            assert_eq!(share(status, &[]), Err(Refusal::Status), "{status}");
        }
        let strict = [("cache-control", "must-understand, no-store")];
        assert_eq!(share(200, &strict), Ok(()));
        assert_eq!(share(599, &strict), Err(Refusal::Status));
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
}
