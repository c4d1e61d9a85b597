//! Whether a response is stored, for how long, and for which requests.

use std::time::{Duration, SystemTime};

use http::header::AGE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::clock::milliseconds;
use crate::http::{
    Candidate, HttpSettings, Overview, Reason, ResponseDirectives, add_date, add_vary, admit,
    explicit_lifetime, has_validator, heuristic_lifetime, initial_age, moment, strip_hop_by_hop,
    vary_names,
};
use crate::policy::Aging;

use super::Settings;
use super::asked::{Asked, MOST_HEADERS};
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

/// What decides on a response.
pub(super) struct Planner<'a> {
    pub(super) asked: &'a Asked,
    pub(super) layer: &'a Settings,
    pub(super) http: &'a HttpSettings,
    pub(super) aging: Aging,
    /// How long responses are fresh that do not say it; `None` for not at all.
    pub(super) default: Option<Duration>,
}

impl Planner<'_> {
    /// How a response is stored, or why it is not.
    pub(super) fn plan(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        arrival: Arrival,
    ) -> Result<Plan, Reason> {
        let directives = ResponseDirectives::parse(headers);
        let freshness = self.freshness(status, headers, &directives, arrival)?;
        let for_validation = match has_validator(headers) {
            true => KEPT_FOR_VALIDATION,
            false => Duration::ZERO,
        };
        let retention = freshness.retention(for_validation);
        let names = self.names(headers)?;
        let size = Overview::of(headers, &self.http.notable).size;
        if names.len() > MOST_NAMES {
            return Err(Reason::VaryMany);
        }
        if size > MOST_HEADERS {
            return Err(Reason::HeadersTooLarge);
        }
        if retention < Duration::from_millis(1) {
            return Err(Reason::NoLifetime);
        }
        let mut headers = headers.clone();
        let age = headers.remove(AGE);
        strip_hop_by_hop(&mut headers);
        add_date(&mut headers, moment(arrival.at));
        add_vary(&mut headers, &self.layer.vary_names());
        Ok(Plan {
            freshness,
            names,
            retention,
            headers,
            age,
        })
    }

    /// The headers that a response names in `Vary`, but for those that take part in the key of every response.
    fn names(&self, headers: &HeaderMap) -> Result<Vec<HeaderName>, Reason> {
        let mut names = vary_names(headers).ok_or(Reason::VaryAll)?;
        names.retain(|name| !self.layer.vary.contains(name));
        Ok(names)
    }

    fn freshness(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        directives: &ResponseDirectives,
        arrival: Arrival,
    ) -> Result<Freshness, Reason> {
        let received = moment(arrival.at);
        let explicit = explicit_lifetime(headers, directives, received);
        admit(Candidate {
            status,
            headers,
            directives,
            is_authorized: self.asked.is_authorized,
            shares_cookies: self.layer.stores_cookies && explicit.is_some(),
            keyed: &self.layer.vary_names(),
            keys_vary: true,
            validates: true,
        })?;
        let (lifetime, is_assigned) = match explicit {
            Some(lifetime) => (lifetime, false),
            // It is of use if it can be validated.
            None if directives.no_cache => (Duration::ZERO, false),
            None => (self.assigned(status, headers, directives, received)?, true),
        };
        let may_be_stale = !directives.forbids_stale() && !directives.no_cache;
        let stale = |own: Option<u64>, default: Duration| {
            let stale = own.map_or(default, Duration::from_secs);
            if may_be_stale { milliseconds(stale) } else { 0 }
        };
        let took = Duration::from_millis(arrival.took);
        let Aging {
            stale_while_revalidate,
            stale_if_error,
            ..
        } = self.aging;
        Ok(Freshness {
            initial_age: milliseconds(initial_age(headers, received, took)),
            lifetime: milliseconds(lifetime),
            stale_while_revalidate: stale(
                directives.stale_while_revalidate,
                stale_while_revalidate,
            ),
            stale_if_error: stale(directives.stale_if_error, stale_if_error),
            may_be_stale,
            must_validate: directives.no_cache,
            is_assigned,
        })
    }

    /// The lifetime that a response is given that does not say it.
    fn assigned(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        directives: &ResponseDirectives,
        received: SystemTime,
    ) -> Result<Duration, Reason> {
        if self.asked.is_personal {
            return Err(Reason::Personal);
        }
        if status == StatusCode::OK
            && let Some(default) = self.default
        {
            return Ok(self.aging.spread(default));
        }
        let heuristic = || heuristic_lifetime(status, headers, directives, received);
        let lifetime = self.layer.heuristic.then(heuristic).flatten();
        lifetime.ok_or(Reason::NoLifetime)
    }
}
