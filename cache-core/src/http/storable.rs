//! Which responses may be stored.

use ::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_RANGE, ORIGIN, SET_COOKIE};
use ::http::{HeaderMap, HeaderName, StatusCode};

use super::directives::ResponseDirectives;
use super::media_type::is_endless;
use super::reason::Reason;
use super::vary::members;

/// A response that a shared cache may store, and what the cache does with those it stores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) directives: &'a ResponseDirectives,
    /// The request headers that are part of the key of every response, in any case.
    pub(crate) keyed: &'a [&'a str],
    /// Whether the request headers that the response names in `Vary` become part of its key as well.
    pub(crate) keys_vary: bool,
    /// Whether a response that is not fresh for any time is of use, since it is validated.
    pub(crate) validates: bool,
    /// Whether its request had `Authorization`, which is not part of the key.
    pub(crate) is_authorized: bool,
    /// Whether cookies that it sets may be given to others.
    pub(crate) shares_cookies: bool,
}

/// Whether a shared cache may store a response, as far as its status and headers say (RFC 9111
/// section 3).
pub(crate) fn admit(response: Candidate<'_>) -> Result<(), Reason> {
    let headers = response.headers;
    admit_status(response.status, response.directives)?;
    // Where the response is a whole, it says nothing (RFC 9110 section 14.4).
    if headers.contains_key(CONTENT_RANGE) && response.status != StatusCode::OK {
        return Err(Reason::Part);
    }
    admit_directives(&response)?;
    if headers.contains_key(SET_COOKIE) && !response.shares_cookies {
        return Err(Reason::SetCookie);
    }
    admit_vary(&response)?;
    if !allows_any_origin(headers) && !response.keys(ORIGIN.as_str().as_bytes()) {
        return Err(Reason::AllowOrigin);
    }
    match is_endless(headers) {
        true => Err(Reason::Endless),
        false => Ok(()),
    }
}

fn admit_status(status: StatusCode, directives: &ResponseDirectives) -> Result<(), Reason> {
    let is_understood = !directives.must_understand || is_understood(status);
    match is_ever_stored(status) && is_understood {
        true => Ok(()),
        false => Err(Reason::Status),
    }
}

/// Whether responses of a status are stored at all, whatever lifetime they name: they are final and whole
/// (RFC 9111 sections 3 and 3.3), and not about one client or its network (RFC 6585 sections 3 to 6).
fn is_ever_stored(status: StatusCode) -> bool {
    !matches!(
        status.as_u16(),
        100..=199 | 206 | 304 | 428 | 429 | 431 | 511
    )
}

/// Whether a status has a meaning that is known here: those of RFC 9110 section 15 that are final.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=205 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

fn admit_directives(response: &Candidate<'_>) -> Result<(), Reason> {
    let directives = response.directives;
    // Who understands the status disregards `no-store` (RFC 9111 section 5.2.2.3).
    if directives.no_store && !directives.must_understand {
        return Err(Reason::NoStore);
    }
    if directives.private {
        return Err(Reason::Private);
    }
    if response.is_authorized && !directives.shares_authorized() {
        return Err(Reason::Authorization);
    }
    if response.validates {
        return Ok(());
    }
    if directives.no_cache {
        return Err(Reason::NoCache);
    }
    match directives.lifetime() {
        Some(0) => Err(Reason::NoLifetime),
        _ => Ok(()),
    }
}

fn admit_vary(response: &Candidate<'_>) -> Result<(), Reason> {
    for name in members(response.headers) {
        // What is no name of a header cannot be compared either.
        if HeaderName::from_bytes(name).is_err() || name == b"*" {
            return Err(Reason::VaryAll);
        }
        if !response.keys(name) {
            return Err(Reason::VaryUnkeyed);
        }
    }
    Ok(())
}

impl Candidate<'_> {
    /// Whether a request header is part of the key of the response.
    fn keys(&self, name: &[u8]) -> bool {
        let is_name = |named: &[u8]| named.eq_ignore_ascii_case(name);
        self.keyed.iter().any(|named| is_name(named.as_bytes()))
            || self.keys_vary && members(self.headers).any(is_name)
    }
}

/// Whether pages of any origin may read a response, or none but those of its own: there is a lone `*` or
/// nothing. With anything else it is for one origin, whose name others would get (Fetch, "CORS protocol and HTTP
/// caches").
fn allows_any_origin(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter();
    match (lines.next(), lines.next()) {
        (None, _) => true,
        (Some(line), None) => line.as_bytes().trim_ascii() == b"*",
        (Some(_), Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;
    use ::http::header::{AUTHORIZATION, CACHE_CONTROL};
    use proptest::prelude::*;

    use super::super::testing::headers;
    use super::*;

    type Line = (&'static str, &'static str);

    /// As the layer asks: it validates, and what `Vary` names becomes part of the key.
    fn candidate<'a>(
        status: u16,
        headers: &'a HeaderMap,
        directives: &'a ResponseDirectives,
    ) -> Candidate<'a> {
        Candidate {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            directives,
            keyed: &[],
            keys_vary: true,
            validates: true,
            is_authorized: headers.contains_key(AUTHORIZATION),
            shares_cookies: headers.contains_key("x-cookies-too"),
        }
    }

    fn layer(status: u16, lines: &[Line], keyed: &[&str]) -> Result<(), Reason> {
        let headers = headers(lines);
        let directives = ResponseDirectives::parse(&headers);
        admit(Candidate {
            keyed,
            ..candidate(status, &headers, &directives)
        })
    }

    /// As a handler asks: its key is made before there is a response, and a hit asks nobody.
    fn handler(status: u16, lines: &[Line], keyed: &[&str]) -> Result<(), Reason> {
        let headers = headers(lines);
        let directives = ResponseDirectives::parse(&headers);
        admit(Candidate {
            keyed,
            keys_vary: false,
            validates: false,
            ..candidate(status, &headers, &directives)
        })
    }

    #[test]
    fn both_leave_alone_what_is_for_one_client() {
        for (line, reason) in [
            (("cache-control", "max-age=5, No-Store"), Reason::NoStore),
            (("cache-control", "private, max-age=60"), Reason::Private),
            (("cache-control", "private=\"x\""), Reason::Private),
            (
                ("cache-control", "max-age=5, x=\"oops, private"),
                Reason::Private,
            ),
            (("authorization", "x"), Reason::Authorization),
            (("set-cookie", "a=b"), Reason::SetCookie),
            (("vary", "accept, *"), Reason::VaryAll),
            (("vary", "*"), Reason::VaryAll),
            (("vary", "a b"), Reason::VaryAll),
            (("content-type", "text/event-stream"), Reason::Endless),
            (
                ("access-control-allow-origin", "https://a"),
                Reason::AllowOrigin,
            ),
        ] {
            assert_eq!(layer(200, &[line], &["accept"]), Err(reason), "{line:?}");
            assert_eq!(handler(200, &[line], &["accept"]), Err(reason), "{line:?}");
        }
    }

    #[test]
    fn a_content_range_counts_where_the_response_is_no_whole() {
        let part = &[("content-range", "bytes */2")];
        assert_eq!(layer(416, part, &[]), Err(Reason::Part));
        assert_eq!(handler(416, part, &[]), Err(Reason::Part));
        assert_eq!(layer(200, part, &[]), Ok(()));
        assert_eq!(handler(200, part, &[]), Ok(()));
    }

    #[test]
    fn both_take_what_may_be_shared() {
        for lines in [
            &[("content-type", "text/html")][..],
            &[("cache-control", "public, max-age=5")],
            &[("authorization", "x"), ("cache-control", "public")],
            &[("set-cookie", "a=b"), ("x-cookies-too", "")],
            &[("access-control-allow-origin", "*")],
            &[],
        ] {
            assert_eq!(layer(200, lines, &[]), Ok(()), "{lines:?}");
            assert_eq!(handler(200, lines, &[]), Ok(()), "{lines:?}");
        }
    }

    #[test]
    fn some_statuses_are_never_stored() {
        let strong = [("cache-control", "public, s-maxage=60, must-understand")];
        let long = [("cache-control", "public, max-age=60")];
        for status in [100, 101, 103, 199, 206, 304, 428, 429, 431, 511] {
            for lines in [&long, &strong] {
                assert_eq!(layer(status, lines, &[]), Err(Reason::Status), "{status}");
                assert_eq!(handler(status, lines, &[]), Err(Reason::Status), "{status}");
            }
        }
        for status in [200, 204, 301, 404, 410, 430, 500, 599] {
            assert_eq!(layer(status, &long, &[]), Ok(()), "{status}");
            assert_eq!(handler(status, &long, &[]), Ok(()), "{status}");
        }
    }

    #[test]
    fn who_understands_a_status_disregards_no_store() {
        let strict = [("cache-control", "must-understand, no-store")];
        for admit in [layer, handler] {
            assert_eq!(admit(200, &strict, &[]), Ok(()));
            assert_eq!(admit(599, &strict, &[]), Err(Reason::Status));
        }
    }

    #[test]
    fn what_has_to_be_validated_is_for_those_who_do_it() {
        for (value, reason) in [
            ("no-cache", Reason::NoCache),
            ("no-cache=\"x\"", Reason::NoCache),
            ("max-age=0", Reason::NoLifetime),
            ("max-age=5, s-maxage=0", Reason::NoLifetime),
        ] {
            let lines = [("cache-control", value)];
            assert_eq!(handler(200, &lines, &[]), Err(reason), "{value}");
            assert_eq!(layer(200, &lines, &[]), Ok(()), "{value}");
        }
    }

    #[test]
    fn what_varies_with_something_unkeyed_is_not_stored() {
        let lines = [("vary", "Accept-Language"), ("vary", "accept-encoding")];
        let keyed = ["accept-language", "Accept-Encoding"];
        assert_eq!(handler(200, &lines, &keyed[..1]), Err(Reason::VaryUnkeyed));
        assert_eq!(handler(200, &lines, &keyed), Ok(()));
        assert_eq!(layer(200, &lines, &[]), Ok(()));
    }

    #[test]
    fn what_is_for_one_origin_needs_the_origin_in_its_key() {
        const NAME: &str = "access-control-allow-origin";
        for lines in [
            &[(NAME, "https://a.example")][..],
            &[(NAME, "null")],
            &[(NAME, "")],
            &[(NAME, "*, *")],
            &[(NAME, "*"), (NAME, "*")],
        ] {
            for admit in [layer, handler] {
                assert_eq!(admit(200, lines, &["accept"]), Err(Reason::AllowOrigin));
                assert_eq!(admit(200, lines, &["Origin"]), Ok(()), "{lines:?}");
            }
            let varied = [lines, &[("vary", "accept, ORIGIN")]].concat();
            assert_eq!(layer(200, &varied, &[]), Ok(()), "{varied:?}");
            assert_eq!(handler(200, &varied, &["accept", "origin"]), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn no_lifetime_makes_a_status_storable(status in 100_u16..1000, seconds: u32) {
            let mut headers = HeaderMap::new();
            let control = HeaderValue::try_from(format!("public, max-age={seconds}")).unwrap();
            headers.insert(CACHE_CONTROL, control);
            let directives = ResponseDirectives::parse(&headers);
            let is_stored = admit(candidate(status, &headers, &directives)).is_ok();
            let never = [206, 304, 428, 429, 431, 511].contains(&status) || status < 200;
            prop_assert_eq!(is_stored, !never);
        }
    }
}
