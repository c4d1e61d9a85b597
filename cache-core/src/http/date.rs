//! Dates in header values (RFC 9110 section 5.6.7).

use std::time::{Duration, SystemTime};

use ::http::header::DATE;
use ::http::{HeaderMap, HeaderName, HeaderValue};

/// The date in a header; `None` if it is absent, repeated or no date.
pub(super) fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?.to_str().ok()?;
    if lines.next().is_some() {
        return None;
    }
    httpdate::parse_http_date(line).ok()
}

/// The moment that is so many milliseconds after the Unix epoch.
pub(crate) fn moment(milliseconds: u64) -> SystemTime {
    let since_epoch = Duration::from_millis(milliseconds);
    SystemTime::UNIX_EPOCH
        .checked_add(since_epoch)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Says when a response was made, if it does not say it itself: when it was received (RFC 9110
/// section 6.6.1).
pub(crate) fn add_date(headers: &mut HeaderMap, received: SystemTime) {
    if date(headers, DATE).is_none()
        && let Some(value) = date_value(received)
    {
        headers.insert(DATE, value);
    }
}

/// Writes a date; `None` for one that headers cannot hold, after the year 9999.
fn date_value(moment: SystemTime) -> Option<HeaderValue> {
    let last = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(253_402_300_799))?;
    let text = (moment <= last).then(|| httpdate::fmt_http_date(moment))?;
    HeaderValue::try_from(text).ok()
}
