//! What a request asks of the cache.

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderName, Method};

use crate::handler::HttpSettings;
use crate::http::{
    Overview, RequestDirectives, Target, forwarded, is_personal, rewritten, selecting_value,
};
use crate::key::{Key, KeyBytes, write_bytes, write_optional, write_str};

use super::Settings;

/// The most bytes of headers that a response that is stored may have, and its request.
pub(super) const MOST_HEADERS: usize = 32 * 1024;

/// A request that the cache may answer, and whose response it may store.
pub(super) struct Asked {
    /// The head of the request, as it came. Its body is empty.
    pub(super) parts: Parts,
    pub(super) target: Target,
    pub(super) directives: RequestDirectives,
    pub(super) is_head: bool,
    /// Whether it says which response the client has.
    pub(super) has_validators: bool,
    pub(super) is_ranged: bool,
    /// Whether it has `Authorization`, which does not take part in the key.
    pub(super) is_authorized: bool,
    /// Whether it tells who sent it, by a header that does not take part in the key.
    pub(super) is_personal: bool,
    /// What takes part in the key beside the target and what responses name in `Vary`.
    extra: KeyBytes,
}

/// What is to be done with a request, whose head is given back where the cache does not need it.
pub(super) enum Kind {
    /// To be answered by the cache, if it can.
    Asked(Asked),
    /// To be passed on, to a resource that it may change.
    Unsafe(Parts, Target),
    /// To be passed on.
    Bypass(Parts),
}

impl Kind {
    /// Sorts a request. `has_body` says whether it has one, or may have.
    pub(super) fn of(parts: Parts, has_body: bool, layer: &Settings, http: &HttpSettings) -> Self {
        let is_head = match parts.method {
            Method::GET => false,
            Method::HEAD => true,
            Method::OPTIONS | Method::TRACE => return Self::Bypass(parts),
            _ => {
                return match Target::of(&parts) {
                    Some(target) => Self::Unsafe(parts, target),
                    None => Self::Bypass(parts),
                };
            }
        };
        let overview = Overview::of(&parts.headers);
        let directives = match overview.has_directives {
            true => http.directives(&parts.headers),
            false => RequestDirectives::default(),
        };
        if has_body || directives.no_store || !is_for_cache(&parts, &overview, layer) {
            return Self::Bypass(parts);
        }
        let Some(target) = Target::of(&parts) else {
            return Self::Bypass(parts);
        };
        let vary: Vec<&str> = layer.vary.iter().map(HeaderName::as_str).collect();
        let headers = &parts.headers;
        let has_credentials = overview.has_credentials;
        Self::Asked(Asked {
            target,
            directives,
            is_head,
            has_validators: overview.has_validators,
            is_ranged: overview.is_ranged,
            is_authorized: has_credentials
                && headers.contains_key(AUTHORIZATION)
                && !vary.contains(&"authorization"),
            is_personal: has_credentials && is_personal(headers, &vary),
            extra: extra(&parts, &overview, layer),
            parts,
        })
    }
}

/// Whether the cache understands a request as whoever answers it does, and is to deal with it.
fn is_for_cache(parts: &Parts, overview: &Overview, layer: &Settings) -> bool {
    let is_plain = !overview.has_condition && !overview.is_disguised;
    let is_wanted = || layer.only_if.as_ref().is_none_or(|only_if| only_if(parts));
    is_plain && overview.size <= MOST_HEADERS && is_wanted()
}

impl Asked {
    /// The key of the resource.
    pub(super) fn key(&self, prefix: u32, layer: &Settings) -> Option<Key> {
        key_of(&self.target, prefix, layer)
    }

    /// Whether responses to this request and to others of the same URI are told apart.
    pub(super) fn has_extra(&self) -> bool {
        !self.extra.is_empty()
    }

    /// What tells this request from others of the same URI, if responses depend on the headers of these
    /// names.
    pub(super) fn variant(&self, names: &[HeaderName]) -> KeyBytes {
        let mut bytes = self.extra.clone();
        for name in names {
            let value = selecting_value(&self.parts.headers, name.as_str());
            write_str(&mut bytes, name.as_str());
            write_optional(&mut bytes, value.as_deref());
        }
        bytes
    }

    /// Whether any stored response would do.
    pub(super) fn may_be_answered(&self) -> bool {
        !self.directives.no_cache && self.directives.max_age != Some(0)
    }
}

/// The key of a resource.
pub(super) fn key_of(target: &Target, prefix: u32, layer: &Settings) -> Option<Key> {
    let mut bytes = KeyBytes::new();
    write_str(&mut bytes, &target.host);
    write_str(&mut bytes, &target.path_and_query);
    Key::from_bytes(prefix, layer.site, bytes)
}

fn extra(parts: &Parts, overview: &Overview, layer: &Settings) -> KeyBytes {
    let mut bytes = KeyBytes::new();
    if let Some(key_by) = &layer.key_by {
        write_str(&mut bytes, &key_by(parts));
    }
    for name in &layer.vary {
        let value = selecting_value(&parts.headers, name.as_str());
        write_optional(&mut bytes, value.as_deref());
    }
    if let Some(seen) = rewritten(parts) {
        write_str(&mut bytes, seen);
    }
    if overview.is_forwarded {
        for (name, value) in forwarded(&parts.headers) {
            write_str(&mut bytes, name);
            write_bytes(&mut bytes, &value);
        }
    }
    bytes
}
