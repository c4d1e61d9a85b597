//! Which resource a request is for, and which others its response speaks of.

use ::axum::extract::OriginalUri;
use ::http::header::{CONTENT_LOCATION, FORWARDED, HOST, LOCATION};
use ::http::request::Parts;
use ::http::uri::{Authority, PathAndQuery};
use ::http::{HeaderMap, HeaderValue, Uri};
use fluent_uri::UriRef;

use super::notable::of_the_uri;

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
    /// The target of a request. `None` if it is not certain what that is, or if it is too long: such a
    /// request has nothing to do with a cache.
    ///
    /// In a router that is nested in another one, the URI lacks its beginning, which axum has put aside.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        let host = host(parts)?;
        let original = parts.extensions.get::<OriginalUri>();
        let path_and_query = path_and_query(original.map_or(&parts.uri, |original| &original.0));
        (path_and_query.len() <= LONGEST_TARGET).then(|| Self {
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

/// The path and query that whoever answers a request sees, if that is not the end of what the client asked
/// for.
pub(crate) fn rewritten(parts: &Parts) -> Option<&str> {
    let original = parts.extensions.get::<OriginalUri>()?;
    let seen = path_and_query(&parts.uri);
    (!path_and_query(original).ends_with(seen)).then_some(seen)
}

/// The host that a request is for, in lowercase; empty if it names none. `None` if it names several, or
/// something that is none: whoever answers it may take another one than its cache does.
fn host(parts: &Parts) -> Option<String> {
    let mut lines = parts.headers.get_all(HOST).iter();
    let header = lines.next().map(HeaderValue::to_str).transpose().ok()?;
    if lines.next().is_some() {
        return None;
    }
    let own = parts.uri.authority().map(Authority::as_str);
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
pub(crate) fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = (&str, Vec<u8>)> {
    let lines = of_the_uri(headers).into_iter();
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
        Target::of(&parts(uri, lines)).map(|target| target.host)
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
        assert_eq!(Target::of(&parts(&long, &[])), None);
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
            let (_, form) = forwarded(&parts.headers).next().unwrap();
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
