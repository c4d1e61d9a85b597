//! The replies that are made from stored responses: by handlers and by layers, on hits and on misses.

use axum_core::body::Body;
use bytes::Bytes;
use http::header::{AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::http::{
    CacheStatus, HttpSettings, Overview, Wanted, may_have_body, not_modified,
    not_modified_unstored, strip_for_not_modified, wanted,
};

use super::stored::CachedResponse;
use super::told::Teller;

/// The form that a request wants its reply in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Form {
    pub(crate) is_head: bool,
    /// Whether it says which response the client has.
    pub(crate) has_validators: bool,
    pub(crate) is_ranged: bool,
}

impl Form {
    pub(crate) fn new(is_head: bool, overview: &Overview) -> Self {
        Self {
            is_head,
            has_validators: overview.has_validators,
            is_ranged: overview.is_ranged,
        }
    }
}

/// What a reply says of the age of the stored response, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) age: u64,
    /// For how long it is still fresh, below zero if it is stale; `None` if it does not expire.
    pub(crate) ttl: Option<i64>,
}

/// Makes the replies to one request.
#[derive(Clone, Copy)]
pub(crate) struct Replies<'a> {
    pub(crate) settings: &'a HttpSettings,
    /// The name under which `Cache-Status` speaks of the cache, where that is asked for.
    pub(crate) cache_status: Option<&'a str>,
    pub(crate) teller: Teller<'a>,
    pub(crate) form: Form,
    /// The headers of the request.
    pub(crate) request: &'a HeaderMap,
}

impl Replies<'_> {
    /// The reply of a response that was there already, or that stands in for another, which `status` tells.
    pub(crate) fn hit(
        &self,
        stored: &CachedResponse,
        facts: Facts,
        status: CacheStatus,
    ) -> Response<Body> {
        let head = stored.hit_headers.get(facts, self, || {
            let age = HeaderValue::from(facts.age);
            self.head(stored, facts, "HIT", Some(age))
        });
        let ttl = facts.ttl;
        self.finish(stored, head, CacheStatus { ttl, ..status })
    }

    /// The reply of a response that has just been made or validated. `age` is what that says of its age.
    pub(crate) fn miss(
        &self,
        stored: &CachedResponse,
        facts: Facts,
        age: Option<&HeaderValue>,
        status: CacheStatus,
    ) -> Response<Body> {
        let head = self.head(stored, facts, "MISS", age.cloned());
        self.finish(stored, head, status)
    }

    /// The reply of a response that is not stored, to a request whose conditions the origin has not seen: they
    /// are judged here, by the validators that the response has.
    pub(crate) fn unstored(&self, response: Response<Body>, status: CacheStatus) -> Response<Body> {
        let mut reply = with_cache_status(response, self.cache_status, status);
        if reply.status() == StatusCode::OK && not_modified_unstored(self.request, reply.headers())
        {
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
            strip_for_not_modified(reply.headers_mut());
            *reply.body_mut() = Body::empty();
        }
        reply
    }

    /// The reply to a request that wants none but a stored response, where there is none (RFC 9111 section
    /// 5.2.1.7).
    pub(crate) fn not_stored(&self, status: CacheStatus) -> Response<Body> {
        let mut reply = Response::new(Body::empty());
        *reply.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        with_cache_status(reply, self.cache_status, status)
    }

    /// The status and the headers of the whole response, before it is known what of it the request wants.
    fn head(
        &self,
        stored: &CachedResponse,
        facts: Facts,
        status: &'static str,
        age: Option<HeaderValue>,
    ) -> Response<()> {
        let mut headers = stored.headers().clone();
        if !headers.contains_key(CACHE_CONTROL)
            && let Some(told) = self.teller.tell(self.settings).cache_control(facts.ttl)
        {
            headers.insert(CACHE_CONTROL, told);
        }
        let status_header = self.settings.status_header.clone();
        headers.insert(status_header, HeaderValue::from_static(status));
        if let Some(age) = age {
            headers.insert(AGE, age);
        }
        // The server would add it to every reply, at the cost of a larger map each time.
        if stored.is_complete() && may_have_body(stored.status()) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(stored.body().len()));
        }
        let mut head = Response::new(());
        *head.status_mut() = stored.status();
        *head.headers_mut() = headers;
        head
    }

    /// Answers with all of a response, with the part that is asked for, or with the news that the client has
    /// it already. `head` is that of the whole.
    fn finish(
        &self,
        stored: &CachedResponse,
        mut head: Response<()>,
        cache_status: CacheStatus,
    ) -> Response<Body> {
        if let Some(name) = self.cache_status {
            cache_status.append(head.headers_mut(), name);
        }
        let Form {
            is_head,
            has_validators,
            is_ranged,
        } = self.form;
        let mut body = stored.body().clone();
        // What is not a success is answered as it is (RFC 9110 section 13.2.1).
        if has_validators
            && head.status().is_success()
            && not_modified(self.request, head.headers())
        {
            *head.status_mut() = StatusCode::NOT_MODIFIED;
            strip_for_not_modified(head.headers_mut());
            body.clear();
        } else if !stored.is_complete() {
            // Its parts are not known yet.
        } else if is_head {
            body.clear();
        } else if is_ranged && head.status() == StatusCode::OK {
            body = self.part(&mut head, body);
        }
        head.map(|()| Body::from(body))
    }

    /// The part of a body that is asked for, which the head then tells.
    fn part(&self, head: &mut Response<()>, mut body: Bytes) -> Bytes {
        let length = body.len();
        match wanted(self.request, head.headers(), length) {
            Wanted::Whole => {}
            Wanted::Part(part) => {
                *head.status_mut() = StatusCode::PARTIAL_CONTENT;
                let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                set_range(head.headers_mut(), &range, part.len());
                body = body.slice(part);
            }
            Wanted::Unsatisfiable => {
                *head.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                set_range(head.headers_mut(), &format!("bytes */{length}"), 0);
                body.clear();
            }
        }
        body
    }
}

/// Says what the cache did with a request, where that is asked for (RFC 9211).
pub(crate) fn with_cache_status(
    mut reply: Response<Body>,
    cache: Option<&str>,
    status: CacheStatus,
) -> Response<Body> {
    if let Some(cache) = cache {
        status.append(reply.headers_mut(), cache);
    }
    reply
}

fn set_range(headers: &mut HeaderMap, range: &str, length: usize) {
    if let Ok(range) = HeaderValue::from_str(range) {
        headers.insert(CONTENT_RANGE, range);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
}
