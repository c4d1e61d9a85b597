//! The rules of HTTP caching (RFC 9110 and RFC 9111), without any I/O.

mod date;
mod directives;
mod failure;
mod freshen;
mod freshness;
mod hop;
mod list;
mod media_type;
mod names;
mod notable;
mod range;
mod reason;
mod settings;
mod status;
mod storable;
mod target;
mod validators;
mod vary;

pub(crate) use date::{add_date, moment};
pub(crate) use directives::{RequestDirectives, ResponseDirectives};
pub(crate) use failure::stands_in_for;
pub(crate) use freshen::{freshened, has_validator, make_complete, selects};
pub(crate) use freshness::{explicit_lifetime, heuristic_lifetime, initial_age};
pub(crate) use hop::{names_end_to_end, strip_hop_by_hop};
pub(crate) use notable::{Overview, is_personal};
pub(crate) use range::{Wanted, wanted};
pub(crate) use reason::Reason;
pub(crate) use settings::{HttpConfig, HttpSettings, InvalidSetting};
pub(crate) use status::{CacheStatus, Forward};
pub(crate) use storable::{Candidate, admit};
pub(crate) use target::{Target, forwarded, rewritten, scheme_seen};
pub(crate) use validators::{
    entity_tag, may_have_body, not_modified, not_modified_unstored, strip_for_not_modified,
};
pub(crate) use vary::{add_vary, selecting_lines, selecting_value, sort as sort_names, vary_names};

#[cfg(test)]
mod testing {
    use ::http::{HeaderMap, HeaderValue};

    /// Headers with these lines.
    pub(super) fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }
}
