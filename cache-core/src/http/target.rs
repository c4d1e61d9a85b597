//! Which resource a request is for, and which others its response speaks of.

use ::axum::extract::OriginalUri;
use ::http::header::{CONTENT_LOCATION, FORWARDED, HOST, LOCATION};
use ::http::request::Parts;
use ::http::uri::{Authority, PathAndQuery};
use ::http::{HeaderMap, HeaderValue, Uri};
use fluent_uri::UriRef;

use super::notable::{NotableHeaders, of_the_uri};
use super::reason::Reason;

/// The longest path and query that is part of a key, in bytes: the length that RFC 9110 section 4.1 wants
/// to be supported.
const LONGEST_TARGET: usize = 8000;

/// The resource that a request is for: its host, in lowercase, and its path and query, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) path_and_query: String,
}

impl Target {
    /// The target of a request, or why it is not certain what that is, or too long: such a request has nothing to do
    /// with a cache.
    ///
    /// In a router that is nested in another one, the URI lacks its beginning, which axum has put aside.
    pub(crate) fn of(parts: &Parts) -> Result<Self, Reason> {
        let original = original_uri(parts).unwrap_or(&parts.uri);
        if !is_of_the_web(&parts.uri) || !is_of_the_web(original) {
            return Err(Reason::Scheme);
        }
        let host = host(parts).ok_or(Reason::Host)?;
        let path_and_query = path_and_query(original);
        if path_and_query.len() > LONGEST_TARGET {
            return Err(Reason::TargetTooLong);
        }
        Ok(Self {
            host,
            path_and_query: path_and_query.to_owned(),
        })
    }

    /// The resources of the same host that a response names beside its own (RFC 9111 section 4.4). Those
    /// of other hosts are not its business.
    pub(crate) fn named_by(&self, response: &HeaderMap) -> Vec<Self> {
        [LOCATION, CONTENT_LOCATION]
            .iter()
            .filter_map(|name| self.resolve(response.get(name)?.to_str().ok()?))
            .collect()
    }

    fn resolve(&self, reference: &str) -> Option<Self> {
        // The scheme that the client used is unknown behind a proxy, and does not count.
        let base = format!("http://{}{}", self.host, self.path_and_query);
        let base = fluent_uri::Uri::parse(base).ok()?;
        let resolved = UriRef::parse(reference).ok()?.resolve_against(&base).ok()?;
        if !matches!(resolved.scheme().as_str(), "http" | "https") {
            return None;
        }
        let host = resolved.authority()?.as_str().to_ascii_lowercase();
        let mut path_and_query = resolved.path().as_str().to_owned();
        if path_and_query.is_empty() {
            path_and_query.push('/');
        }
        if let Some(query) = resolved.query() {
            path_and_query.push('?');
            path_and_query.push_str(query.as_str());
        }
        (host == self.host).then_some(Self {
            host,
            path_and_query,
        })
    }
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// The URI of a request before routers took its beginning away, if they have put it aside.
fn original_uri(parts: &Parts) -> Option<&Uri> {
    let original = parts.extensions.get::<OriginalUri>()?;
    Some(&original.0)
}

/// Whether a URI is of a resource that HTTP can ask for (RFC 9110 section 4.2), or does not say its scheme, as most
/// requests do not (RFC 9112 section 3.2.1).
fn is_of_the_web(uri: &Uri) -> bool {
    uri.scheme().is_none() || known_scheme(uri).is_some()
}

fn known_scheme(uri: &Uri) -> Option<&'static str> {
    let scheme = uri.scheme_str()?;
    ["http", "https"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(scheme))
}

/// The scheme that whoever answers a request sees in its URI, in lowercase: that of a request in absolute form
/// (RFC 9112 section 3.2.2), or by HTTP/2 and later (RFC 9113 section 8.3.1). Programs write links with it.
pub(crate) fn scheme_seen(parts: &Parts) -> Option<&'static str> {
    known_scheme(&parts.uri)
}

/// The path and query that whoever answers a request sees, if that is not the end of what the client asked
/// for.
pub(crate) fn rewritten(parts: &Parts) -> Option<&str> {
    let original = original_uri(parts)?;
    let seen = path_and_query(&parts.uri);
    (!path_and_query(original).ends_with(seen)).then_some(seen)
}

/// The host that a request is for, in lowercase; empty if it names none. `None` if it names several, or
/// something that is none: whoever answers it may take another one than its cache does.
///
/// A `Host` that is not that of the URI is not overruled by it, as RFC 9112 section 3.2.2 would have it: programs read
/// either. A port that goes without saying makes another host, which is refused where it stands on one side alone.
fn host(parts: &Parts) -> Option<String> {
    let mut lines = parts.headers.get_all(HOST).iter();
    let header = lines.next().map(HeaderValue::to_str).transpose().ok()?;
    if lines.next().is_some() {
        return None;
    }
    let own = parts.uri.authority().map(Authority::as_str);
    let original = original_uri(parts).and_then(Uri::authority);
    if original
        .is_some_and(|original| own.is_none_or(|own| !original.as_str().eq_ignore_ascii_case(own)))
    {
        return None;
    }
    let host = match (own, header) {
        (None, None) => return Some(String::new()),
        (Some(own), None) => own,
        (None, Some(header)) => header,
        (Some(own), Some(header)) if header.eq_ignore_ascii_case(own) => own,
        (Some(_), Some(_)) => return None,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
    let is_host =
        host.bytes().all(is_plain) || !host.contains('@') && host.parse::<Authority>().is_ok();
    is_host.then(|| host.to_ascii_lowercase())
}

/// What a request says of the URI that the client asked for, beside its target: names and values.
pub(crate) fn forwarded<'a>(
    headers: &'a HeaderMap,
    added: &NotableHeaders,
) -> impl Iterator<Item = (&'a str, Vec<u8>)> + use<'a> {
    let lines = of_the_uri(headers, added).into_iter();
    lines.map(|(name, line)| match *name == FORWARDED {
        true => (name.as_str(), without_nodes(line.as_bytes())),
        false => (name.as_str(), line.as_bytes().to_vec()),
    })
}

/// A line of `Forwarded` without the addresses of clients and proxies, by which every client would have
/// entries of its own (RFC 7239 section 4). Where a quoted text holds a separator, the whole line counts.
fn without_nodes(line: &[u8]) -> Vec<u8> {
    let pairs = || line.split(|byte| matches!(byte, b',' | b';'));
    let is_open = |pair: &[u8]| pair.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
    if line.contains(&b'\\') || pairs().any(is_open) {
        return line.to_vec();
    }
    let is_node = |pair: &&[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        let name = name.trim_ascii();
        name.eq_ignore_ascii_case(b"for") || name.eq_ignore_ascii_case(b"by")
    };
    let kept: Vec<&[u8]> = pairs()
        .filter(|pair| !is_node(pair))
        .map(<[u8]>::trim_ascii)
        .collect();
    kept.join(&b";"[..])
}

#[cfg(test)]
mod tests {
    use ::http::Request;

    use super::*;

    fn parts(uri: &str, lines: &[(&'static str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn host_of(uri: &str, lines: &[(&'static str, &str)]) -> Option<String> {
        let target = Target::of(&parts(uri, lines));
        match target {
            Ok(target) => Some(target.host),
            Err(reason) => {
                assert_eq!(reason, Reason::Host);
                None
            }
        }
    }

    #[test]
    fn the_host_is_certain_or_there_is_none() {
        assert_eq!(
            host_of("/", &[("host", "Shop.Example:80")]).as_deref(),
            Some("shop.example:80")
        );
        assert_eq!(host_of("http://a/", &[]).as_deref(), Some("a"));
        assert_eq!(host_of("http://a/", &[("host", "A")]).as_deref(), Some("a"));
        assert_eq!(host_of("/", &[]).as_deref(), Some(""));
        assert_eq!(host_of("http://a/", &[("host", "b")]), None);
        // The evil one may be any part of it, and a port that goes without saying is one as well.
        for other in [
            "evil",
            "",
            "shop:80",
            "shop:443",
            "shop.",
            "u@shop",
            "shop, evil",
        ] {
            assert_eq!(host_of("http://shop/", &[("host", other)]), None, "{other}");
            assert_eq!(
                host_of("https://shop/", &[("host", other)]),
                None,
                "{other}"
            );
        }
        assert_eq!(host_of("http://u@shop/", &[]), None);
        assert_eq!(host_of("/", &[("host", "a"), ("host", "a")]), None);
        for odd in ["a b", "a/b", "u@a", "a?b", "a\u{e9}", "a, b"] {
            assert_eq!(host_of("/", &[("host", odd)]), None, "{odd}");
        }
    }

    #[test]
    fn the_path_counts_byte_for_byte() {
        for path in ["/a/../b", "//a", "/a%2fb", "/A", "/a/?", "/a;x"] {
            assert_eq!(Target::of(&parts(path, &[])).unwrap().path_and_query, path);
        }
        let long = format!("/{}", "a".repeat(LONGEST_TARGET));
        let target = Target::of(&parts(&long, &[]));
        assert_eq!(target, Err(Reason::TargetTooLong));
    }

    #[test]
    fn the_scheme_is_that_of_the_web_or_not_said() {
        for (uri, scheme) in [
            ("/", None),
            ("http://a/", Some("http")),
            ("https://a/", Some("https")),
            ("HTTPS://a/", Some("https")),
        ] {
            let parts = parts(uri, &[("host", "a")]);
            assert!(Target::of(&parts).is_ok(), "{uri}");
            assert_eq!(scheme_seen(&parts), scheme, "{uri}");
        }
        for uri in [
            "javascript://a/",
            "ftp://a/",
            "ws://a/",
            "httpx://a/",
            "file://a/",
        ] {
            let parts = parts(uri, &[("host", "a")]);
            assert_eq!(Target::of(&parts), Err(Reason::Scheme), "{uri}");
            assert_eq!(scheme_seen(&parts), None, "{uri}");
        }
    }

    #[test]
    fn what_was_put_aside_has_to_agree() {
        let target = |uri: &str, original: &'static str| {
            let mut parts = parts(uri, &[("host", "shop")]);
            let original = OriginalUri(Uri::from_static(original));
            parts.extensions.insert(original);
            Target::of(&parts).map(|target| target.path_and_query)
        };
        assert_eq!(
            target("http://shop/b", "http://SHOP/a/b").as_deref(),
            Ok("/a/b")
        );
        assert_eq!(target("http://shop/b", "/a/b").as_deref(), Ok("/a/b"));
        assert_eq!(
            target("http://shop/b", "http://evil/a/b"),
            Err(Reason::Host)
        );
        assert_eq!(target("/b", "http://evil/a/b"), Err(Reason::Host));
        assert_eq!(target("/b", "javascript://shop/a/b"), Err(Reason::Scheme));
    }

    #[test]
    fn the_uri_that_the_client_asked_for_counts() {
        let seen = |uri: &str| {
            let mut parts = parts(uri, &[]);
            let original = OriginalUri(Uri::from_static("/api/users?a"));
            parts.extensions.insert(original);
            let target = Target::of(&parts).unwrap();
            assert_eq!(target.path_and_query, "/api/users?a");
            rewritten(&parts).map(str::to_owned)
        };
        assert_eq!(seen("/users?a"), None);
        assert_eq!(seen("/api/users?a"), None);
        assert_eq!(seen("/users?b").as_deref(), Some("/users?b"));
        assert_eq!(rewritten(&parts("/users", &[])), None);
    }

    #[test]
    fn locations_of_the_same_host_are_resolved() {
        let target = Target::of(&parts("/a/b?c", &[("host", "shop")])).unwrap();
        let named = |location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, HeaderValue::from_str(location).unwrap());
            let named = target.named_by(&headers).pop();
            named.map(|target| target.path_and_query)
        };
        assert_eq!(named("/x?y").as_deref(), Some("/x?y"));
        assert_eq!(named("x").as_deref(), Some("/a/x"));
        assert_eq!(named("../x#y").as_deref(), Some("/x"));
        assert_eq!(named("?z").as_deref(), Some("/a/b?z"));
        assert_eq!(named("").as_deref(), Some("/a/b?c"));
        assert_eq!(named("https://SHOP").as_deref(), Some("/"));
        for foreign in [
            "http://other/x",
            "//other/x",
            "ftp://shop/x",
            "http://shop:81/x",
            "a b",
            "::",
        ] {
            assert_eq!(named(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn of_forwarded_the_uri_counts() {
        let form = |line: &str| {
            let parts = parts("/", &[("forwarded", line)]);
            let added = NotableHeaders::default();
            let (_, form) = forwarded(&parts.headers, &added).next().unwrap();
            String::from_utf8(form).unwrap()
        };
        assert_eq!(
            form("for=1.2.3.4; host=a;proto=https, FOR=5"),
            "host=a;proto=https"
        );
        assert_eq!(form("for=\"[::1]:80\";host=\"a\""), "host=\"a\"");
        for odd in ["host=\"a;for=b\"", "host=\"a,by=b\"", "host=\"\\\";for=b\""] {
            assert_eq!(form(odd), odd);
        }
    }
}
