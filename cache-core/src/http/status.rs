//! `Cache-Status`: what a cache did with a request (RFC 9211).

use ::http::{HeaderMap, HeaderName, HeaderValue};
use sfv::{BareItem, FieldType as _, Integer, Item, KeyRef, List, ListEntry, Token};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What a cache did with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheStatus {
    /// Whether what was stored answered, without the origin.
    pub(crate) hit: bool,
    /// Why the origin was asked.
    pub(crate) forward: Option<Forward>,
    /// What it answered, where that is not the status of the response.
    pub(crate) forward_status: Option<u16>,
    /// For how many seconds the response is still fresh; below zero if it is stale.
    pub(crate) ttl: Option<i64>,
    pub(crate) stored: bool,
    /// Whether another request fetched the response.
    pub(crate) collapsed: bool,
}

/// Why a request went to the origin (section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// The cache has nothing to do with it.
    Bypass,
    /// Its method wants the origin.
    Method,
    /// Nothing is stored under its URI.
    UriMiss,
    /// What is stored is for requests that differ.
    VaryMiss,
    /// What is stored is fresh, but the request wants more.
    Request,
    /// What is stored is stale.
    Stale,
    /// What is stored is not all that is asked for.
    Partial,
}

impl Forward {
    fn name(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

impl CacheStatus {
    /// Adds this to a response, behind what caches closer to the origin have said (section 2). `key` is
    /// the key under which the response is stored, if there is one.
    pub(crate) fn append(&self, headers: &mut HeaderMap, cache: &str, key: Option<&str>) {
        if let Some(value) = self.value(cache, key) {
            headers.append(CACHE_STATUS, value);
        }
    }

    fn value(&self, cache: &str, key: Option<&str>) -> Option<HeaderValue> {
        let cache: BareItem = match Token::from_string(cache.to_owned()) {
            Ok(token) => token.into(),
            Err((_, cache)) => sfv::String::from_string(cache).ok()?.into(),
        };
        let mut item = Item::new(cache);
        let mut add = |name: &str, value: Option<BareItem>| {
            if let (Ok(name), Some(value)) = (KeyRef::from_str(name), value) {
                item.params.insert(name.to_owned(), value);
            }
        };
        let token = |name: &str| Token::from_string(name.to_owned()).ok().map(BareItem::from);
        let number = |number: i64| Integer::try_from(number).ok().map(BareItem::from);
        let text = |text: &str| {
            sfv::String::from_string(text.to_owned())
                .ok()
                .map(BareItem::from)
        };
        add("hit", self.hit.then_some(true.into()));
        add(
            "fwd",
            self.forward.and_then(|forward| token(forward.name())),
        );
        add(
            "fwd-status",
            self.forward_status.and_then(|status| number(status.into())),
        );
        add("ttl", self.ttl.and_then(number));
        add("stored", self.stored.then_some(true.into()));
        add("collapsed", self.collapsed.then_some(true.into()));
        add("key", key.and_then(text));
        let list: List = vec![ListEntry::Item(item)];
        HeaderValue::try_from(list.serialize()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(status: CacheStatus, cache: &str, key: Option<&str>) -> String {
        let value = status.value(cache, key).unwrap();
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_status_is_an_item_with_parameters() {
        let hit = CacheStatus {
            hit: true,
            ttl: Some(-3),
            ..CacheStatus::default()
        };
        assert_eq!(value(hit, "fast-cache", None), "fast-cache;hit;ttl=-3");
        let miss = CacheStatus {
            forward: Some(Forward::Stale),
            forward_status: Some(304),
            stored: true,
            collapsed: true,
            ..CacheStatus::default()
        };
        let expected = "\"my cache\";fwd=stale;fwd-status=304;stored;collapsed;key=\"a\\\"b\"";
        assert_eq!(value(miss, "my cache", Some("a\"b")), expected);
    }

    #[test]
    fn what_others_said_comes_first() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_STATUS, HeaderValue::from_static("origin;hit"));
        CacheStatus::default().append(&mut headers, "edge", Some("not ascii: \u{e9}"));
        let lines: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
        assert_eq!(lines, ["origin;hit", "edge"]);
    }
}
