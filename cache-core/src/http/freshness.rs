//! How long a response is fresh, and how old it is (RFC 9111 section 4.2).

use std::time::{Duration, SystemTime};

use ::http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use ::http::{HeaderMap, StatusCode};

use super::date::date;
use super::directives::{ResponseDirectives, delta_seconds, targeted};
use super::list::{self, comma};

/// The share of the time since its last change for which a response that says nothing is taken to be
/// fresh, where that is asked for (section 4.2.2).
const HEURISTIC_SHARE: u32 = 10;

/// The longest lifetime that is made up.
const LONGEST_HEURISTIC: Duration = Duration::from_secs(24 * 60 * 60);

/// For how long a response says that a shared cache may serve it, from the moment when it was made:
/// `s-maxage`, else `max-age`, else `Expires` (section 4.2.1). A date that is none has passed
/// (section 5.3).
pub(crate) fn explicit_lifetime(
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    received: SystemTime,
) -> Option<Duration> {
    if let Some(seconds) = directives.lifetime() {
        return Some(Duration::from_secs(seconds));
    }
    if !headers.contains_key(EXPIRES) || targeted(headers).is_some() {
        return None;
    }
    let made = date(headers, DATE).unwrap_or(received);
    let lifetime = date(headers, EXPIRES).and_then(|expires| expires.duration_since(made).ok());
    Some(lifetime.unwrap_or_default())
}

/// The lifetime of a response that says nothing, made up from its last change (section 4.2.2); `None`
/// where none may be.
pub(crate) fn heuristic_lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    received: SystemTime,
) -> Option<Duration> {
    if !is_heuristically_cacheable(status) && !directives.public {
        return None;
    }
    let made = date(headers, DATE).unwrap_or(received);
    let unchanged = made.duration_since(date(headers, LAST_MODIFIED)?).ok()?;
    Some((unchanged / HEURISTIC_SHARE).min(LONGEST_HEURISTIC))
}

/// How old a response was when it came.
///
/// The sum is that of section 4.2.3, in whole seconds where dates are concerned, since they have no
/// finer ones.
pub(crate) fn initial_age(headers: &HeaderMap, received: SystemTime, delay: Duration) -> Duration {
    let apparent = date(headers, DATE)
        .and_then(|made| received.duration_since(made).ok())
        .map(|age| Duration::from_secs(age.as_secs()))
        .unwrap_or_default();
    // Without `Age` the response did not come through a cache, and its delay is part of its computation.
    let told = told_age(headers).map(|age| age.saturating_add(delay));
    apparent.max(told.unwrap_or_default())
}

/// What `Age` says: the first member of the list that all of its lines make. What is no non-negative integer is
/// ignored, as if it were absent (section 5.1).
fn told_age(headers: &HeaderMap) -> Option<Duration> {
    let first = list::members(headers, AGE, comma).next()?;
    delta_seconds(first).map(Duration::from_secs)
}

/// Whether responses of a status may be given a lifetime that they do not name (RFC 9110
/// section 15.1). Parts of responses are not stored, so that 206 is left out.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

#[cfg(test)]
mod tests {
    use ::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    /// Thursday, 1 January 1970, 00:16:40.
    const NOW: Duration = Duration::from_secs(1000);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + NOW
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn at(offset: i64) -> String {
        let seconds = NOW.as_secs().checked_add_signed(offset).unwrap();
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn lifetime(lines: &[(&'static str, &str)]) -> Option<u64> {
        let headers = headers(lines);
        let directives = ResponseDirectives::parse(&headers);
        explicit_lifetime(&headers, &directives, now()).map(|lifetime| lifetime.as_secs())
    }

    fn age(lines: &[(&'static str, &str)]) -> u64 {
        let delay = Duration::from_secs(3);
        initial_age(&headers(lines), now(), delay).as_secs()
    }

    #[test]
    fn directives_come_before_expires() {
        let later = at(60);
        assert_eq!(lifetime(&[("expires", &later)]), Some(60));
        let both = [("expires", &*later), ("cache-control", "max-age=5")];
        assert_eq!(lifetime(&both), Some(5));
        let shared = [("cache-control", "max-age=5, s-maxage=7")];
        assert_eq!(lifetime(&shared), Some(7));
        assert_eq!(lifetime(&[("cache-control", "public")]), None);
        let targeted = [("expires", &*later), ("cdn-cache-control", "public")];
        assert_eq!(lifetime(&targeted), None);
    }

    #[test]
    fn expires_counts_from_the_date_of_the_response() {
        let (date, expires) = (at(-10), at(20));
        assert_eq!(
            lifetime(&[("date", &date), ("expires", &expires)]),
            Some(30)
        );
        assert_eq!(lifetime(&[("date", "x"), ("expires", &expires)]), Some(20));
        assert_eq!(lifetime(&[("date", &expires), ("expires", &date)]), Some(0));
        assert_eq!(lifetime(&[("expires", "0")]), Some(0));
        let twice = [("expires", &*expires), ("expires", &*expires)];
        assert_eq!(lifetime(&twice), Some(0));
    }

    #[test]
    fn a_lifetime_is_made_up_for_some_statuses_alone() {
        let changed = at(-1000);
        let heuristic = |status: u16, control: &'static str| {
            let headers = headers(&[("last-modified", &changed), ("cache-control", control)]);
            let directives = ResponseDirectives::parse(&headers);
            let status = StatusCode::from_u16(status).unwrap();
            heuristic_lifetime(status, &headers, &directives, now())
        };
        assert_eq!(heuristic(200, ""), Some(Duration::from_secs(100)));
        assert_eq!(heuristic(403, ""), None);
        assert_eq!(heuristic(403, "public"), Some(Duration::from_secs(100)));
        let silent = HeaderMap::new();
        let directives = ResponseDirectives::default();
        let made_up = heuristic_lifetime(StatusCode::OK, &silent, &directives, now());
        assert_eq!(made_up, None);
    }

    #[test]
    fn the_greater_of_two_ages_counts() {
        let date = at(-10);
        assert_eq!(age(&[]), 0);
        assert_eq!(age(&[("date", &date)]), 10);
        assert_eq!(age(&[("date", &date), ("age", "4")]), 10);
        assert_eq!(age(&[("date", &date), ("age", "20")]), 23);
        let future = at(10);
        assert_eq!(age(&[("date", &future)]), 0);
    }

    #[test]
    fn of_several_ages_the_first_counts() {
        for line in ["1", "1,2", "1, 2", " 1 , old", ",, 1, 2", "001"] {
            assert_eq!(age(&[("age", line)]), 4, "{line}");
        }
        assert_eq!(age(&[("age", "1"), ("age", "2")]), 4);
        assert_eq!(age(&[("age", ""), ("age", "1")]), 4);
        assert_eq!(age(&[("age", "1"), ("age", "old")]), 4);
    }

    #[test]
    fn an_age_that_is_no_number_is_ignored() {
        for line in [
            "old", "-1", "+1", "1.0", "1;x=y", "\"1\"", "1 2", "", ",", "\t",
        ] {
            assert_eq!(age(&[("age", line)]), 0, "{line}");
        }
        assert_eq!(age(&[("age", "old, 7")]), 0);
        assert_eq!(age(&[("age", "old"), ("age", "7")]), 0);
        let date = at(-10);
        assert_eq!(age(&[("date", &date), ("age", "old")]), 10);
    }

    #[test]
    fn an_age_that_cannot_be_represented_is_a_very_old_one() {
        let digits = "9".repeat(400);
        assert!(age(&[("age", &digits)]) >= 1 << 31);
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic(lines: Vec<(usize, Vec<u8>)>) {
            let names = [AGE, DATE, EXPIRES, LAST_MODIFIED];
            let mut headers = HeaderMap::new();
            for (name, line) in lines {
                if let Ok(line) = HeaderValue::from_bytes(&line) {
                    headers.append(&names[name % names.len()], line);
                }
            }
            let directives = ResponseDirectives::parse(&headers);
            let _ = explicit_lifetime(&headers, &directives, now());
            let _ = heuristic_lifetime(StatusCode::OK, &headers, &directives, now());
            let _ = initial_age(&headers, now(), Duration::MAX);
        }
    }
}
