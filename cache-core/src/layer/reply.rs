//! Replies made of stored responses.

use axum_core::body::Body;
use http::header::{AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, ETAG};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::engine::Times;
use crate::handler::Status;
use crate::hit_headers::Facts;
use crate::http::{
    CacheStatus, Forward, Wanted, may_have_body, not_modified, strip_for_not_modified, wanted,
};
use crate::key::Key;
use crate::registry::Cache;

use super::Settings;
use super::asked::Asked;
use super::stored::StoredResponse;

/// Makes the replies to a request.
#[derive(Clone, Copy)]
pub(super) struct Replies<'a> {
    pub(super) cache: &'a Cache,
    pub(super) layer: &'a Settings,
    pub(super) asked: &'a Asked,
    /// Under which responses are stored.
    pub(super) key: &'a Key,
}

impl Replies<'_> {
    /// The reply of a response that the service was not asked for, or that stands in for its answer, which
    /// `status` then tells.
    pub(super) fn hit(
        &self,
        stored: &StoredResponse,
        times: Times,
        status: CacheStatus,
    ) -> Response<Body> {
        let rest = stored.freshness.rest(times);
        let facts = Facts {
            age: stored.freshness.age(times) / 1000,
            rest: Some(u64::try_from(rest).unwrap_or(0) / 1000),
            stale: (0, 0),
        };
        let status_header = &self.cache.http().status_header;
        let headers = stored.hit_headers.get(facts, status_header, || {
            let mut headers = self.common_headers(stored, times, Status::Hit);
            headers.insert(AGE, HeaderValue::from(facts.age));
            headers
        });
        let status = CacheStatus {
            ttl: Some(rest.div_euclid(1000)),
            ..status
        };
        self.finish(stored, headers, status)
    }

    /// The reply of a response that the service has made or validated; `age` is what it says of its age.
    pub(super) fn miss(
        &self,
        stored: &StoredResponse,
        age: Option<&HeaderValue>,
        status: CacheStatus,
    ) -> Response<Body> {
        let mut headers = self.common_headers(stored, Times::new(None), Status::Miss);
        if let Some(age) = age {
            headers.insert(AGE, age.clone());
        }
        self.finish(stored, headers, status)
    }

    /// The reply of a response that is not stored. Whether the client has it already was not asked of the
    /// service, and is said here.
    pub(super) fn unstored(&self, response: Response<Body>, reason: Forward) -> Response<Body> {
        let mut reply = self.layer.passed_on(response, reason);
        let request = &self.asked.parts.headers;
        if reply.status() == StatusCode::OK && not_modified(request, reply.headers()) {
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
            strip_for_not_modified(reply.headers_mut());
            *reply.body_mut() = Body::empty();
        }
        reply
    }

    fn finish(
        &self,
        stored: &StoredResponse,
        mut headers: HeaderMap,
        cache_status: CacheStatus,
    ) -> Response<Body> {
        if let Some(name) = &self.layer.cache_status {
            let key = self.key.printed(self.cache.prefix());
            cache_status.append(&mut headers, name, Some(&key));
        }
        answer(stored, self.asked, headers)
    }

    /// The headers that every reply has.
    fn common_headers(&self, stored: &StoredResponse, times: Times, status: Status) -> HeaderMap {
        let mut headers = stored.headers.clone();
        if let Some(etag) = &stored.etag {
            headers.insert(ETAG, etag.clone());
        }
        if stored.freshness.is_assigned && !headers.contains_key(CACHE_CONTROL) {
            let rest = u64::try_from(stored.freshness.rest(times)).unwrap_or(0);
            headers.insert(CACHE_CONTROL, max_age(rest / 1000));
        }
        headers.insert(self.cache.http().status_header.clone(), status.value());
        // The server would add it to every reply, at the cost of a larger map each time.
        if !stored.is_on_its_way && may_have_body(stored.status) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(stored.body.len()));
        }
        headers
    }
}

/// What a `Cache-Status` says of a response that the service was not asked for.
pub(super) const HIT: CacheStatus = CacheStatus {
    hit: true,
    forward: None,
    forward_status: None,
    ttl: None,
    stored: false,
    collapsed: false,
};

/// What it says of a response that another request has fetched.
pub(super) const COLLAPSED: CacheStatus = CacheStatus {
    hit: false,
    forward: Some(Forward::UriMiss),
    collapsed: true,
    ..HIT
};

/// What it says of a response that the service was asked for.
pub(super) fn forwarded(reason: Forward, stored: bool) -> CacheStatus {
    CacheStatus {
        forward: Some(reason),
        stored,
        ..CacheStatus::default()
    }
}

/// The reply if the client wants none but a stored response, and there is none (RFC 9111
/// section 5.2.1.7).
pub(super) fn not_stored() -> Response<Body> {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    reply
}

/// Answers a request that a response is good for: with all of it, with the part that is asked for, or with the
/// news that the client has it already. `headers` are those of the whole.
fn answer(stored: &StoredResponse, asked: &Asked, mut headers: HeaderMap) -> Response<Body> {
    let request = &asked.parts.headers;
    let (mut status, mut body) = (stored.status, stored.body.clone());
    if asked.has_validators && status.is_success() && not_modified(request, &headers) {
        status = StatusCode::NOT_MODIFIED;
        strip_for_not_modified(&mut headers);
        body.clear();
    } else if stored.is_on_its_way {
        // Nobody knows its parts yet.
    } else if asked.is_head {
        body.clear();
    } else if asked.is_ranged && status == StatusCode::OK {
        let length = body.len();
        match wanted(request, &headers, length) {
            Wanted::Whole => {}
            Wanted::Part(part) => {
                status = StatusCode::PARTIAL_CONTENT;
                let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                set_range(&mut headers, &range, part.len());
                body = body.slice(part);
            }
            Wanted::Unsatisfiable => {
                status = StatusCode::RANGE_NOT_SATISFIABLE;
                set_range(&mut headers, &format!("bytes */{length}"), 0);
                body.clear();
            }
        }
    }
    let mut reply = Response::new(Body::from(body));
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    reply
}

fn set_range(headers: &mut HeaderMap, range: &str, length: usize) {
    if let Ok(range) = HeaderValue::from_str(range) {
        headers.insert(CONTENT_RANGE, range);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
}

fn max_age(seconds: u64) -> HeaderValue {
    HeaderValue::try_from(format!("max-age={seconds}"))
        .unwrap_or_else(|_| HeaderValue::from_static("max-age=0"))
}
