//! The request headers that a cache has to know, found in one pass.

use ::http::{HeaderMap, HeaderName, HeaderValue};

/// What a header is to a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notable {
    /// It tells who sent the request: that of RFC 9110 section 11.6.2, cookies, and what is in use for keys
    /// and tokens.
    Credential,
    /// It says which URI the client asked for, before somebody on the way changed it. Programs write links
    /// with it, so that responses to requests that differ in it may differ.
    OfTheUri,
    /// It says that the request is not what it seems.
    Disguise,
    /// Whoever answers has to judge it.
    Condition,
    Directive,
    /// It says which response the client has.
    Validator,
    Range,
}

fn notable(name: &HeaderName) -> Option<Notable> {
    Some(match name.as_str() {
        "authorization"
        | "cookie"
        | "proxy-authorization"
        | "x-access-token"
        | "x-api-key"
        | "x-auth-token" => Notable::Credential,
        "forwarded" | "x-forwarded-host" | "x-forwarded-port" | "x-forwarded-prefix"
        | "x-forwarded-proto" | "x-forwarded-scheme" | "x-forwarded-server" | "x-host"
        | "x-original-url" | "x-rewrite-url" => Notable::OfTheUri,
        "x-http-method" | "x-http-method-override" | "x-method-override" => Notable::Disguise,
        "if-match" | "if-unmodified-since" | "upgrade" => Notable::Condition,
        "cache-control" | "pragma" => Notable::Directive,
        "if-none-match" | "if-modified-since" => Notable::Validator,
        "range" => Notable::Range,
        _ => return None,
    })
}

/// What there is of note in the headers of a request, and how large the headers of any message are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overview {
    /// The bytes of all names and values.
    pub(crate) size: usize,
    pub(crate) has_credentials: bool,
    pub(crate) is_forwarded: bool,
    pub(crate) is_disguised: bool,
    pub(crate) has_condition: bool,
    pub(crate) has_directives: bool,
    pub(crate) has_validators: bool,
    pub(crate) is_ranged: bool,
}

impl Overview {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut overview = Self::default();
        for (name, value) in headers {
            overview.size += name.as_str().len() + value.len();
            match notable(name) {
                None => {}
                Some(Notable::Credential) => overview.has_credentials = true,
                Some(Notable::OfTheUri) => overview.is_forwarded = true,
                Some(Notable::Disguise) => overview.is_disguised = true,
                Some(Notable::Condition) => overview.has_condition = true,
                Some(Notable::Directive) => overview.has_directives = true,
                Some(Notable::Validator) => overview.has_validators = true,
                Some(Notable::Range) => overview.is_ranged = true,
            }
        }
        overview
    }
}

/// Whether a request tells who sent it, by a header that `vary` does not make part of the key.
pub(crate) fn is_personal(request: &HeaderMap, vary: &[&str]) -> bool {
    let is_named = |name: &HeaderName| {
        let named = |named: &&str| named.eq_ignore_ascii_case(name.as_str());
        vary.iter().any(named)
    };
    request
        .keys()
        .any(|name| notable(name) == Some(Notable::Credential) && !is_named(name))
}

/// What a request says of the URI that the client asked for, beside its target: names and lines, sorted by
/// name.
pub(super) fn of_the_uri(headers: &HeaderMap) -> Vec<(&HeaderName, &HeaderValue)> {
    let mut lines: Vec<_> = headers
        .iter()
        .filter(|(name, _)| notable(name) == Some(Notable::OfTheUri))
        .collect();
    // The lines of one header keep their order.
    lines.sort_by_key(|(name, _)| name.as_str());
    lines
}

#[cfg(test)]
mod tests {
    use super::super::testing::headers;
    use super::*;

    #[test]
    fn personal_requests_are_known_by_their_headers() {
        assert!(is_personal(&headers(&[("Authorization", "x")]), &[]));
        assert!(is_personal(
            &headers(&[("cookie", "x")]),
            &["authorization"]
        ));
        assert!(is_personal(&headers(&[("x-api-key", "x")]), &[]));
        assert!(!is_personal(&headers(&[("cookie", "x")]), &["Cookie"]));
        assert!(!is_personal(&headers(&[("accept", "x")]), &[]));
    }

    #[test]
    fn an_overview_tells_what_there_is() {
        let plain = Overview::of(&headers(&[("accept", "*/*"), ("host", "a")]));
        let size = 14;
        assert_eq!(
            plain,
            Overview {
                size,
                ..Overview::default()
            }
        );
        let all = Overview::of(&headers(&[
            ("cookie", "a"),
            ("x-host", "a"),
            ("x-http-method", "a"),
            ("upgrade", "a"),
            ("pragma", "a"),
            ("if-none-match", "a"),
            ("range", "a"),
        ]));
        let expected = Overview {
            size: 63,
            has_credentials: true,
            is_forwarded: true,
            is_disguised: true,
            has_condition: true,
            has_directives: true,
            has_validators: true,
            is_ranged: true,
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn lines_are_sorted_by_name_and_else_as_they_came() {
        let lines = [
            ("x-host", "1"),
            ("forwarded", "2"),
            ("x-host", "0"),
            ("accept", "3"),
        ];
        let headers = headers(&lines);
        let lines = of_the_uri(&headers);
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, line)| (name.as_str(), line.to_str().unwrap()))
            .collect();
        assert_eq!(
            lines,
            [("forwarded", "2"), ("x-host", "1"), ("x-host", "0")]
        );
    }
}
