//! What a request asks of the cache.

use http::{HeaderMap, Method};

use crate::http::{Forward, HttpSettings, Overview, Reason, RequestDirectives, names_end_to_end};
use crate::response::Form;

/// What a request asks of the cache, whichever front it comes to.
#[derive(Clone, Debug)]
pub(super) struct Asks {
    pub(super) form: Form,
    pub(super) directives: RequestDirectives,
    pub(super) overview: Overview,
}

impl Asks {
    /// Reads a request. It is an error, with the reason, if the request is passed on: by another method than GET and
    /// HEAD, with `no-store` (RFC 9111 section 5.2.1.5), or if its `Connection` names headers that a proxy then leaves
    /// out, so that what answers it sees another request than the cache (RFC 9110 section 7.6.1).
    pub(super) fn of(
        method: &Method,
        headers: &HeaderMap,
        settings: &HttpSettings,
    ) -> Result<Self, (Forward, Option<Reason>)> {
        let is_head = match *method {
            Method::GET => false,
            Method::HEAD => true,
            _ => return Err((Forward::Method, None)),
        };
        let overview = Overview::of(headers, &settings.notable);
        let directives = match overview.has_directives {
            true => settings.directives(headers),
            false => RequestDirectives::default(),
        };
        if directives.no_store {
            return Err((Forward::Bypass, Some(Reason::AskedNoStore)));
        }
        if overview.has_connection && names_end_to_end(headers) {
            return Err((Forward::Bypass, Some(Reason::Connection)));
        }
        Ok(Self {
            form: Form::new(is_head, &overview),
            directives,
            overview,
        })
    }

    /// Whether any stored response would do.
    pub(super) fn may_be_answered(&self) -> bool {
        !self.directives.no_cache && self.directives.max_age != Some(0)
    }

    /// Whether a response that another request fetches would do. A response to HEAD is not stored, and no request
    /// waits for a computation that it would not have begun itself.
    pub(super) fn may_share(&self) -> bool {
        self.may_be_answered() && !self.directives.only_if_cached && !self.form.is_head
    }

    /// Whether a response of this age would do, that is fresh for so long, both in milliseconds (RFC 9111
    /// section 5.2.1). `rest` is `None` for one that does not expire.
    pub(super) fn accepts(&self, age: u64, rest: Option<i64>) -> bool {
        let is_old = |seconds: u64| age >= seconds.saturating_mul(1000);
        let is_short = |seconds: u64| {
            let wanted = i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
            rest.is_some_and(|rest| rest < wanted)
        };
        self.may_be_answered()
            && !self.directives.max_age.is_some_and(is_old)
            && !self.directives.min_fresh.is_some_and(is_short)
    }
}
