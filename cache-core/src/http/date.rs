//! Dates in header values (RFC 9110 section 5.6.7).

use std::time::{Duration, SystemTime};

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

/// Whether a header is a date.
pub(super) fn names_a_date(headers: &HeaderMap, name: HeaderName) -> bool {
    date(headers, name).is_some()
}

/// The moment that is so many milliseconds after the Unix epoch.
pub(crate) fn moment(milliseconds: u64) -> SystemTime {
    let since_epoch = Duration::from_millis(milliseconds);
    SystemTime::UNIX_EPOCH
        .checked_add(since_epoch)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Writes a date; `None` for one that headers cannot hold, after the year 9999.
pub(crate) fn date_value(moment: SystemTime) -> Option<HeaderValue> {
    let last = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(253_402_300_799))?;
    let text = (moment <= last).then(|| httpdate::fmt_http_date(moment))?;
    HeaderValue::try_from(text).ok()
}
