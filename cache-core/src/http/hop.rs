//! Headers that belong to one connection (RFC 9110 section 7.6.1).

use ::http::header::{
    CONNECTION, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use ::http::{HeaderMap, HeaderName};

use super::list::{self, comma};

const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What a `Connection` may name without taking anything away that an origin would see. What a proxy is told of its
/// client is not among it: some pass it on, unless it is named (RFC 9110 section 11.7.2).
const OF_THE_CONNECTION: [HeaderName; 8] = [
    HeaderName::from_static("close"),
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Whether a `Connection` names a header of the request that is meant for whoever answers it. Such a request is
/// answered as if that header were absent, or is not, by those who pass it on.
pub(crate) fn names_end_to_end(request: &HeaderMap) -> bool {
    named(request).any(|name| !OF_THE_CONNECTION.contains(&name) && request.contains_key(name))
}

/// The headers and options that `Connection` names.
fn named(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    list::members(headers, CONNECTION, comma)
        .filter_map(|member| HeaderName::from_bytes(member).ok())
}

/// Takes out what belongs to the connection that a message came by, with all that its `Connection` names
/// (RFC 9111 section 3.1). The host stays, which no connection may take away (RFC 9110 section 7.2).
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = named(headers).filter(|name| *name != HOST).collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::headers;
    use super::*;

    #[test]
    fn a_connection_must_not_name_what_is_for_others() {
        for (connection, name) in [
            ("accept", "accept"),
            ("Host", "host"),
            ("close, X-A", "x-a"),
            ("keep-alive,,\tcookie ", "cookie"),
        ] {
            let lines = [
                (name, "x"),
                ("connection", "close"),
                ("connection", connection),
            ];
            assert!(names_end_to_end(&headers(&lines)), "{connection}");
        }
        for lines in [
            &[("connection", "close")][..],
            &[("connection", "keep-alive"), ("keep-alive", "timeout=5")],
            &[
                ("connection", "Upgrade, HTTP2-Settings"),
                ("upgrade", "h2c"),
                ("http2-settings", "x"),
            ],
            &[
                ("connection", "te, trailer"),
                ("te", "trailers"),
                ("trailer", "x"),
            ],
            &[
                ("connection", "proxy-connection"),
                ("proxy-connection", "x"),
            ],
            &[("connection", "x-a")],
            &[("connection", "close"), ("close", "x")],
            &[("connection", "a b"), ("accept", "x")],
            &[("accept", "x")],
        ] {
            assert!(!names_end_to_end(&headers(lines)), "{lines:?}");
        }
    }

    #[test]
    fn the_host_stays() {
        let mut request = headers(&[
            ("connection", "Host, accept"),
            ("host", "a"),
            ("accept", "b"),
        ]);
        strip_hop_by_hop(&mut request);
        assert_eq!(request, headers(&[("host", "a")]));
    }

    proptest! {
        #[test]
        fn what_was_stripped_names_nothing(named in proptest::collection::vec("[a-c]|close|te|host", 0..5)) {
            let mut request = headers(&[("a", "1"), ("b", "2"), ("host", "3"), ("te", "4")]);
            request.append(CONNECTION, named.join(", ").parse().unwrap());
            let is_odd = named.iter().any(|name| ["a", "b", "host"].contains(&name.as_str()));
            prop_assert_eq!(names_end_to_end(&request), is_odd);
            strip_hop_by_hop(&mut request);
            prop_assert!(!names_end_to_end(&request));
        }
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        let mut headers = headers(&[
            ("connection", "a, B"),
            ("connection", "close"),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["c"]);
    }
}
