//! What a request to a layer asks of the cache.

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderName, Method};

use crate::http::{
    Forward, HttpSettings, Reason, Target, forwarded, is_personal, rewritten, scheme_seen,
    selecting_value,
};
use crate::key::{Key, KeyBytes, write_bytes, write_optional, write_str};
use crate::serve::asks::Asks;

use super::Settings;

/// The most bytes of headers that a response that is stored may have, and its request.
pub(super) const MOST_HEADERS: usize = 32 * 1024;

/// A request that the cache may answer, and whose response it may store.
pub(super) struct Asked {
    /// The head of the request, as it came. Its body is empty.
    pub(super) parts: Parts,
    pub(super) target: Target,
    pub(super) asks: Asks,
    /// Whether it has `Authorization`, which does not take part in the key.
    pub(super) is_authorized: bool,
    /// Whether it tells who sent it, by a header that does not take part in the key.
    pub(super) is_personal: bool,
    /// What takes part in the key beside the target and what responses name in `Vary`.
    extra: KeyBytes,
}

/// What is to be done with a request, whose head is given back where the cache does not need it.
#[expect(
    clippy::large_enum_variant,
    reason = "the largest one is that of every hit, which a box would make slower"
)]
pub(super) enum Kind {
    /// To be answered by the cache, if it can.
    Asked(Asked),
    /// To be passed on, to a resource that it may change.
    Unsafe(Parts, Target),
    /// To be passed on, for a reason.
    Passed(Parts, Forward, Option<Reason>),
}

impl Kind {
    /// Sorts a request. `has_body` says whether it has one, or may have.
    pub(super) fn of(parts: Parts, has_body: bool, layer: &Settings, http: &HttpSettings) -> Self {
        match Asked::of(&parts, has_body, layer, http) {
            Ok((asks, target)) => Self::Asked(Asked::new(parts, asks, target, layer, http)),
            Err((Forward::Method, reason)) => match Target::of(&parts) {
                Ok(target) if may_change(&parts.method) => Self::Unsafe(parts, target),
                _ => Self::Passed(parts, Forward::Method, reason),
            },
            Err((forward, reason)) => Self::Passed(parts, forward, reason),
        }
    }
}

/// Whether a request by this method may change its resource (RFC 9110 section 9.2.1).
fn may_change(method: &Method) -> bool {
    !matches!(*method, Method::OPTIONS | Method::TRACE)
}

impl Asked {
    /// Reads a request, or says why it is passed on: among other reasons, since what answers it may understand it in
    /// another way than the cache.
    fn of(
        parts: &Parts,
        has_body: bool,
        layer: &Settings,
        http: &HttpSettings,
    ) -> Result<(Asks, Target), (Forward, Option<Reason>)> {
        let asks = Asks::of(&parts.method, &parts.headers, http)?;
        let overview = &asks.overview;
        let reason = if has_body {
            Reason::Body
        } else if overview.has_condition {
            Reason::Condition
        } else if overview.is_disguised {
            Reason::MethodOverride
        } else if overview.size > MOST_HEADERS {
            Reason::AskedTooMuch
        } else if layer
            .only_if
            .as_ref()
            .is_some_and(|only_if| !only_if(parts))
        {
            Reason::OnlyIf
        } else {
            match Target::of(parts) {
                Ok(target) => return Ok((asks, target)),
                Err(reason) => reason,
            }
        };
        Err((Forward::Bypass, Some(reason)))
    }

    fn new(
        parts: Parts,
        asks: Asks,
        target: Target,
        layer: &Settings,
        http: &HttpSettings,
    ) -> Self {
        let headers = &parts.headers;
        let has_credentials = asks.overview.has_credentials;
        let is_keyed = |name: &HeaderName| layer.vary.contains(name);
        Self {
            is_authorized: has_credentials
                && headers.contains_key(AUTHORIZATION)
                && !is_keyed(&AUTHORIZATION),
            is_personal: has_credentials
                && is_personal(headers, &layer.vary_names(), &http.notable),
            extra: extra(&parts, &asks, layer, http),
            parts,
            target,
            asks,
        }
    }

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
}

/// The key of a resource.
pub(super) fn key_of(target: &Target, prefix: u32, layer: &Settings) -> Option<Key> {
    let mut bytes = KeyBytes::new();
    write_str(&mut bytes, &target.host);
    write_str(&mut bytes, &target.path_and_query);
    Key::from_bytes(prefix, layer.site, bytes)
}

/// What the service can see of a request beside its target and what responses name in `Vary`: each under a name, so
/// that one is not taken for another.
fn extra(parts: &Parts, asks: &Asks, layer: &Settings, http: &HttpSettings) -> KeyBytes {
    let mut bytes = KeyBytes::new();
    if let Some(key_by) = &layer.key_by {
        write_str(&mut bytes, "key_by");
        write_str(&mut bytes, &key_by(parts));
    }
    for name in &layer.vary {
        let value = selecting_value(&parts.headers, name.as_str());
        write_str(&mut bytes, name.as_str());
        write_optional(&mut bytes, value.as_deref());
    }
    if let Some(scheme) = scheme_seen(parts) {
        write_str(&mut bytes, "scheme");
        write_str(&mut bytes, scheme);
    }
    if let Some(seen) = rewritten(parts) {
        write_str(&mut bytes, "path");
        write_str(&mut bytes, seen);
    }
    if asks.overview.is_forwarded {
        for (name, value) in forwarded(&parts.headers, &http.notable) {
            write_str(&mut bytes, name);
            write_bytes(&mut bytes, &value);
        }
    }
    bytes
}
