//! `Cache-Status`: what a cache did with a request (RFC 9211).

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sfv::{BareItem, FieldType as _, Integer, Item, KeyRef, List, ListEntry, Token};

use super::reason::Reason;

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
    /// Why the response is not stored, or the request has nothing to do with the cache.
    pub(crate) detail: Option<Reason>,
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
    /// What was stored answers.
    pub(crate) const HIT: Self = Self {
        hit: true,
        forward: None,
        forward_status: None,
        ttl: None,
        stored: false,
        collapsed: false,
        detail: None,
    };

    /// Another request has fetched the response.
    pub(crate) const COLLAPSED: Self = Self {
        hit: false,
        forward: Some(Forward::UriMiss),
        collapsed: true,
        ..Self::HIT
    };

    /// The origin was asked, for a reason.
    pub(crate) fn forwarded(forward: Forward) -> Self {
        Self {
            forward: Some(forward),
            ..Self::default()
        }
    }

    /// The same, where that is why something was not done.
    pub(crate) fn because(self, detail: Option<Reason>) -> Self {
        Self { detail, ..self }
    }

    /// The same, where the origin answered with another status than the reply has.
    pub(crate) fn answered(self, status: StatusCode) -> Self {
        Self {
            forward_status: Some(status.as_u16()),
            ..self
        }
    }

    /// The same, where the response was stored, or was not.
    pub(crate) fn stored(self, stored: bool) -> Self {
        Self { stored, ..self }
    }

    /// Adds this to a response, behind what caches closer to the origin have said (section 2).
    ///
    /// The key is never told: it may show of a request what others must not see (section 6).
    pub(crate) fn append(&self, headers: &mut HeaderMap, cache: &str) {
        if let Some(value) = self.value(cache) {
            headers.append(CACHE_STATUS, value);
        }
    }

    fn value(&self, cache: &str) -> Option<HeaderValue> {
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
        add("detail", self.detail.and_then(|reason| text(reason.text())));
        let list: List = vec![ListEntry::Item(item)];
        HeaderValue::try_from(list.serialize()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(status: CacheStatus, cache: &str) -> String {
        let value = status.value(cache).unwrap();
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_status_is_an_item_with_parameters() {
        let hit = CacheStatus {
            hit: true,
            ttl: Some(-3),
            ..CacheStatus::default()
        };
        assert_eq!(value(hit, "fast-cache"), "fast-cache;hit;ttl=-3");
        let miss = CacheStatus {
            forward: Some(Forward::Stale),
            forward_status: Some(304),
            stored: true,
            collapsed: true,
            ..CacheStatus::default()
        };
        let expected = "\"my cache\";fwd=stale;fwd-status=304;stored;collapsed";
        assert_eq!(value(miss, "my cache"), expected);
    }

    #[test]
    fn the_reason_is_a_text() {
        let not_stored = CacheStatus {
            forward: Some(Forward::UriMiss),
            detail: Some(Reason::SetCookie),
            ..CacheStatus::default()
        };
        let expected = "edge;fwd=uri-miss;detail=\"not stored: set-cookie\"";
        assert_eq!(value(not_stored, "edge"), expected);
        let bypass = CacheStatus {
            forward: Some(Forward::Bypass),
            detail: Some(Reason::OnlyIf),
            ..CacheStatus::default()
        };
        let expected = "edge;fwd=bypass;detail=\"bypass: only_if\"";
        assert_eq!(value(bypass, "edge"), expected);
    }

    #[test]
    fn what_others_said_comes_first() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_STATUS, HeaderValue::from_static("origin;hit"));
        CacheStatus::default().append(&mut headers, "edge");
        let lines: Vec<_> = headers.get_all(CACHE_STATUS).iter().collect();
        assert_eq!(lines, ["origin;hit", "edge"]);
    }

    #[test]
    fn a_name_that_is_no_text_says_nothing() {
        let mut headers = HeaderMap::new();
        CacheStatus::default().append(&mut headers, "not ascii: \u{e9}");
        assert!(headers.is_empty());
    }
}
