//! Dates in header values (RFC 9110 section 5.6.7).

use std::time::{Duration, SystemTime};

use ::http::header::DATE;
use ::http::{HeaderMap, HeaderName, HeaderValue};

/// The date in a header; `None` if it is absent, repeated or no date. Dates before 1970 are none.
pub(super) fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?.to_str().ok()?;
    if lines.next().is_some() {
        return None;
    }
    parse(line, SystemTime::now)
}

/// Reads a date in one of its three forms, in any case. `now` is asked only for a date that does not say its
/// century.
fn parse(text: &str, now: impl FnOnce() -> SystemTime) -> Option<SystemTime> {
    let read = |text: &str| httpdate::parse_http_date(text).ok();
    // Those of RFC 850 alone have dashes, and are left to the rule for their years.
    if !text.contains('-')
        && let Some(date) = read(text)
    {
        return Some(date);
    }
    let text = in_usual_case(text.trim());
    // A leap second is a second that other clocks do not have.
    let text = text.replace("23:59:60", "23:59:59");
    match text.contains('-') {
        true => with_century(&text, now()),
        false => read(&text),
    }
}

/// A date with its words as they are usually written: `Sun`, `Nov`, `GMT`.
fn in_usual_case(text: &str) -> String {
    let mut in_word = false;
    let recased: String = text
        .chars()
        .map(|letter| {
            let starts = !std::mem::replace(&mut in_word, letter.is_ascii_alphabetic());
            match starts {
                true => letter.to_ascii_uppercase(),
                false => letter.to_ascii_lowercase(),
            }
        })
        .collect();
    match recased.strip_suffix(" Gmt") {
        Some(rest) => format!("{rest} GMT"),
        None => recased,
    }
}

const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// Reads `Sunday, 06-Nov-94 08:49:37 GMT`. A year that would be more than 50 years in the future is the most
/// recent one in the past that ends in the same digits.
fn with_century(text: &str, now: SystemTime) -> Option<SystemTime> {
    let (weekday, rest) = text.split_once(", ")?;
    let (date, time) = rest.split_once(' ')?;
    let mut parts = date.split('-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let is_year = year.len() == 2 && year.bytes().all(|byte| byte.is_ascii_digit());
    if parts.next().is_some() || !is_year || !WEEKDAYS.contains(&weekday) {
        return None;
    }
    let latest = now.checked_add(FIFTY_YEARS)?;
    let century = year_of(now)? / 100;
    [century + 1, century, century.checked_sub(1)?]
        .iter()
        .filter_map(|century| {
            let date = format!("{}, {day} {month} {century}{year} {time}", &weekday[..3]);
            httpdate::parse_http_date(&date).ok()
        })
        .find(|date| *date <= latest)
}

const FIFTY_YEARS: Duration = Duration::from_secs(50 * 31_557_600);

/// The year of a moment, as dates write it.
fn year_of(moment: SystemTime) -> Option<u32> {
    let date = date_value(moment)?;
    date.to_str().ok()?.get(12..16)?.parse().ok()
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

/// Writes a date; `None` for one that is not written here, before 1970 or after the year 9999.
fn date_value(moment: SystemTime) -> Option<HeaderValue> {
    let first = SystemTime::UNIX_EPOCH;
    let last = first.checked_add(Duration::from_secs(253_402_300_799))?;
    let is_written = (first..=last).contains(&moment);
    let text = is_written.then(|| httpdate::fmt_http_date(moment))?;
    HeaderValue::try_from(text).ok()
}

#[cfg(test)]
mod tests {
    use ::http::header::EXPIRES;
    use proptest::prelude::*;

    use super::super::testing::headers;
    use super::*;

    /// In the year 2026.
    const NOW: u64 = 1_780_000_000;
    const USUAL: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn read(text: &str) -> Option<String> {
        read_at(text, at(NOW))
    }

    fn read_at(text: &str, now: SystemTime) -> Option<String> {
        parse(text, || now).map(httpdate::fmt_http_date)
    }

    #[test]
    fn there_are_three_forms_in_any_case() {
        for text in [
            USUAL,
            "sun, 06 nov 1994 08:49:37 gmt",
            "SUN, 06 NOV 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "sunday, 06-nov-94 08:49:37 gmt",
            "SUNDAY, 06-NOV-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "sun nov  6 08:49:37 1994",
            "SUN NOV  6 08:49:37 1994",
            " sUN, 06 nOV 1994 08:49:37 gMT ",
        ] {
            assert_eq!(read(text).as_deref(), Some(USUAL), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "0",
            "-1",
            "yesterday",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06-Nov-94-1 08:49:37 GMT",
            "Sunday, 06-Nov-+4 08:49:37 GMT",
            "Someday, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37",
            "\u{e9}un, 06-Nov-94 08:49:37 GMT",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_year_of_two_digits_is_at_most_fifty_years_ahead() {
        for (text, expected) in [
            (
                "Thursday, 28-May-26 08:00:00 GMT",
                "Thu, 28 May 2026 08:00:00 GMT",
            ),
            (
                "Saturday, 01-Jan-00 00:00:00 GMT",
                "Sat, 01 Jan 2000 00:00:00 GMT",
            ),
            (
                "Wednesday, 01-Jan-76 00:00:00 GMT",
                "Wed, 01 Jan 2076 00:00:00 GMT",
            ),
            (
                "Saturday, 01-Jan-77 00:00:00 GMT",
                "Sat, 01 Jan 1977 00:00:00 GMT",
            ),
            // Its day of the week says which one is meant.
            (
                "Thursday, 01-Jan-70 00:00:00 GMT",
                "Thu, 01 Jan 1970 00:00:00 GMT",
            ),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        let in_2080 = at(3_471_300_000);
        let text = "Wednesday, 01-Jan-10 00:00:00 GMT";
        let expected = "Wed, 01 Jan 2110 00:00:00 GMT";
        assert_eq!(read_at(text, in_2080).as_deref(), Some(expected));
    }

    #[test]
    fn a_leap_second_is_a_second() {
        let text = "Sat, 31 Dec 2016 23:59:60 GMT";
        let expected = "Sat, 31 Dec 2016 23:59:59 GMT";
        assert_eq!(read(text).as_deref(), Some(expected));
    }

    #[test]
    fn a_date_that_is_repeated_or_absent_is_none() {
        assert_eq!(date(&HeaderMap::new(), EXPIRES), None);
        let once = headers(&[("expires", USUAL)]);
        assert!(date(&once, EXPIRES).is_some());
        let twice = headers(&[("expires", USUAL), ("expires", USUAL)]);
        assert_eq!(date(&twice, EXPIRES), None);
    }

    proptest! {
        #[test]
        fn every_form_of_a_date_is_that_date(offset in -1_500_000_000_i64..1_500_000_000) {
            let moment = at(NOW.saturating_add_signed(offset));
            let usual = httpdate::fmt_http_date(moment);
            let weekday = WEEKDAYS.iter().find(|weekday| usual.starts_with(&weekday[..3])).unwrap();
            let (day, month, year) = (&usual[5..7], &usual[8..11], &usual[12..16]);
            let time = &usual[17..25];
            let short = day.trim_start_matches('0');
            for text in [
                usual.clone(),
                format!("{weekday}, {day}-{month}-{} {time} GMT", &year[2..]),
                format!("{} {month} {short:>2} {time} {year}", &weekday[..3]),
            ] {
                for text in [text.to_ascii_lowercase(), text.to_ascii_uppercase(), text] {
                    prop_assert_eq!(parse(&text, || at(NOW)), Some(moment), "{}", text);
                }
            }
        }

        #[test]
        fn arbitrary_texts_never_panic(text: String, now: u64) {
            if let Some(now) = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(now)) {
                parse(&text, || now);
                parse(&format!("Sunday, {text}-Nov-94 08:49:37 GMT"), || now);
            }
        }
    }
}
