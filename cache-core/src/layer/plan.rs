//! Whether a response is stored, for how long, and for which requests.

use std::time::Duration;

use http::header::AGE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::clock::milliseconds;
use crate::http::{
    Candidate, ResponseDirectives, add_date, add_vary, explicit_lifetime, has_validator,
    heuristic_lifetime, initial_age, may_share, moment, sort_names, strip_hop_by_hop, vary_names,
};
use crate::policy::Aging;

use super::Settings;
use super::asked::Asked;
use super::stored::Freshness;

/// For how long a response that can be validated is kept after it has become stale.
const KEPT_FOR_VALIDATION: Duration = Duration::from_secs(60 * 60);

/// By how many request headers responses of one URI may differ.
pub(super) const MOST_NAMES: usize = 32;

/// How a response is stored.
pub(super) struct Plan {
    pub(super) freshness: Freshness,
    /// The request headers that the response depends on, sorted.
    pub(super) names: Vec<HeaderName>,
    /// For how long it is of use.
    pub(super) retention: Duration,
    /// Its headers, without what belongs to one connection, and without `Age`.
    pub(super) headers: HeaderMap,
    /// The `Age` that it came with.
    pub(super) age: Option<HeaderValue>,
}

/// When a response came, and how long that took, in milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    /// Since the Unix epoch.
    pub(super) at: u64,
    pub(super) took: u64,
}

impl Plan {
    /// `None` for a response that is not stored.
    pub(super) fn of(
        status: StatusCode,
        headers: &HeaderMap,
        arrival: Arrival,
        asked: &Asked,
        layer: &Settings,
        aging: &Aging,
        default: Option<Duration>,
    ) -> Option<Self> {
        let received = moment(arrival.at);
        let directives = ResponseDirectives::parse(headers);
        let explicit = explicit_lifetime(headers, &directives, received);
        let candidate = Candidate {
            status,
            headers,
            directives: &directives,
            is_authorized: asked.is_authorized,
            shares_cookies: layer.stores_cookies && explicit.is_some(),
        };
        may_share(candidate).ok()?;
        let assigned = || {
            if asked.is_personal || directives.no_cache {
                return None;
            }
            let given = layer
                .expire
                .or(default)
                .filter(|_| status == StatusCode::OK);
            let given = given.map(|lifetime| aging.spread(lifetime));
            let heuristic = || heuristic_lifetime(status, headers, &directives, received);
            given.or_else(|| layer.heuristic.then(heuristic).flatten())
        };
        let (lifetime, is_assigned) = match explicit {
            Some(lifetime) => (lifetime, false),
            None if directives.no_cache => (Duration::ZERO, false),
            None => (assigned()?, true),
        };
        let took = Duration::from_millis(arrival.took);
        let may_be_stale = !directives.forbids_stale() && !directives.no_cache;
        let stale = |own: Option<u64>, default: Duration| {
            let stale = own.map_or(default, Duration::from_secs);
            if may_be_stale { milliseconds(stale) } else { 0 }
        };
        let freshness = Freshness {
            initial_age: initial_age(headers, received, took).map_or(u64::MAX, milliseconds),
            lifetime: milliseconds(lifetime),
            stale_while_revalidate: stale(
                directives.stale_while_revalidate,
                aging.stale_while_revalidate,
            ),
            stale_if_error: stale(directives.stale_if_error, aging.stale_if_error),
            may_be_stale,
            must_validate: directives.no_cache,
            is_assigned,
        };
        let for_validation = match has_validator(headers) {
            true => KEPT_FOR_VALIDATION,
            false => Duration::ZERO,
        };
        let retention = freshness.retention(for_validation);
        let mut headers = headers.clone();
        let vary: Vec<&str> = layer.vary.iter().map(HeaderName::as_str).collect();
        add_vary(&mut headers, &vary);
        let mut names = vary_names(&headers)?;
        // They take part in the key of every response.
        names.retain(|name| !layer.vary.contains(name));
        sort_names(&mut names);
        let is_of_use = retention >= Duration::from_millis(1) && names.len() <= MOST_NAMES;
        is_of_use.then(|| {
            let age = headers.remove(AGE);
            strip_hop_by_hop(&mut headers);
            add_date(&mut headers, received);
            Self {
                freshness,
                names,
                retention,
                headers,
                age,
            }
        })
    }
}
