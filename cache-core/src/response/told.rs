//! What clients are told of how long a reply is good for.

use http::HeaderValue;

use crate::engine::Engine;
use crate::http::HttpSettings;
use crate::site::Site;

/// What clients are told of how long a reply is good for, where the stored response does not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing.
    Nothing,
    /// This `Cache-Control`.
    Given(HeaderValue),
    /// That any cache may keep it for as long as it is fresh here, and serve it stale for so many seconds (RFC 5861).
    Shared {
        stale_while_revalidate: u64,
        stale_if_error: u64,
    },
    /// That it is for this client alone, which asks each time whether it is current (RFC 9111 sections 5.2.2.7
    /// and 5.2.2.4).
    Private,
}

impl Told {
    /// The header, for a reply that is still fresh for `ttl` seconds; `None` if it does not expire.
    pub(super) fn cache_control(self, ttl: Option<i64>) -> Option<HeaderValue> {
        let (while_revalidate, if_error) = match self {
            Self::Nothing => return None,
            Self::Given(value) => return Some(value),
            Self::Private => return Some(HeaderValue::from_static("private, no-cache")),
            Self::Shared {
                stale_while_revalidate,
                stale_if_error,
            } => (stale_while_revalidate, stale_if_error),
        };
        // What does not expire may be invalidated at any moment, which no client would hear of.
        let max_age = ttl?.max(0);
        let mut text = format!("max-age={max_age}");
        for (name, seconds) in [
            ("stale-while-revalidate", while_revalidate),
            ("stale-if-error", if_error),
        ] {
            if seconds > 0 {
                text.push_str(&format!(", {name}={seconds}"));
            }
        }
        HeaderValue::try_from(text).ok()
    }
}

/// Who decides what clients are told.
#[derive(Clone, Copy)]
pub(crate) enum Teller<'a> {
    /// The origin alone: a layer tells no lifetime that it made up.
    Origin,
    /// The options of a handler, those of its cache, and what the handler can see.
    Handler {
        site: &'static Site,
        engine: &'a Engine,
        /// Whether the reply shows nothing of who asks.
        is_shared: bool,
    },
}

impl Teller<'_> {
    /// What the attribute says, else what the cache says, else what follows from what the handler can see. A reply that
    /// may depend on who asks is offered to no shared cache.
    pub(super) fn tell(&self, settings: &HttpSettings) -> Told {
        let Self::Handler {
            site,
            engine,
            is_shared,
        } = *self
        else {
            return Told::Nothing;
        };
        if let Some(given) = site.cache_control_value() {
            return Told::Given(HeaderValue::from_static(given));
        }
        match &settings.cache_control {
            Some(given) if is_shared || given.keeps_apart => Told::Given(given.value.clone()),
            _ if is_shared => {
                let aging = engine.aging(site);
                Told::Shared {
                    stale_while_revalidate: aging.stale_while_revalidate.as_secs(),
                    stale_if_error: aging.stale_if_error.as_secs(),
                }
            }
            _ => Told::Private,
        }
    }

    /// Whether the reply is offered to shared caches.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Handler { is_shared, .. } if *is_shared)
    }

    /// The handler, if it is one's.
    pub(super) fn site(&self) -> Option<&'static Site> {
        match self {
            Self::Origin => None,
            Self::Handler { site, .. } => Some(site),
        }
    }
}
