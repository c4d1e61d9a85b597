//! Texts and numbers to try.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::written::Written;

/// How many texts are taken from what the type itself wrote.
const MOST_SAMPLES: usize = 24;

/// Texts in the formats that are usual in requests, at least two of each, in ascending order.
const TEXTS: &[&str] = &[
    "7",
    "8",
    "a",
    "b",
    "true",
    "false",
    "1.5",
    "2.5",
    "-7",
    "2024-01-02",
    "2025-03-04",
    "2024-01-02T03:04:05Z",
    "2025-03-04T04:05:06Z",
    "2024-01-02T03:04:05",
    "2025-03-04T04:05:06",
    "2024-01-02T03:04:05+00:00",
    "2025-03-04T04:05:06+00:00",
    "2024-01-02 03:04:05",
    "2025-03-04 04:05:06",
    "2024-01-02 03:04:05.0",
    "2025-03-04 04:05:06.0",
    "2024-01-02 03:04:05.0 +00:00:00",
    "2025-03-04 04:05:06.0 +00:00:00",
    "2024-01-02T03:04:05+00:00[UTC]",
    "2025-03-04T04:05:06+00:00[UTC]",
    "Tue, 02 Jan 2024 03:04:05 GMT",
    "Tue, 04 Mar 2025 04:05:06 GMT",
    "Tue, 02 Jan 2024 03:04:05 +0000",
    "Tue, 04 Mar 2025 04:05:06 +0000",
    "03:04:05",
    "04:05:06",
    "03:04:05.0",
    "04:05:06.0",
    "03:04",
    "04:05",
    "2024-01",
    "2025-03",
    "2024-W01",
    "2025-W02",
    "PT1S",
    "PT2S",
    "P1D",
    "P2D",
    "1s",
    "2s",
    "+01:00",
    "+02:00",
    "Monday",
    "Tuesday",
    "Jan",
    "Feb",
    "550e8400-e29b-41d4-a716-446655440000",
    "67e55044-10b1-426f-9247-bb680e5fe0c8",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "01BX5ZZKBKACTAV9WEVGEMMVRZ",
    "507f1f77bcf86cd799439011",
    "607f1f77bcf86cd799439012",
    "00112233445566778899aabbccddeeff",
    "10112233445566778899aabbccddeeff",
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    "10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    "192.0.2.1",
    "192.0.2.2",
    "2001:db8::1",
    "2001:db8::2",
    "192.0.2.1:80",
    "192.0.2.2:81",
    "[2001:db8::1]:80",
    "[2001:db8::2]:81",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "example.com",
    "example.org",
    "https://example.com/a",
    "https://example.org/b",
    "a@example.com",
    "b@example.org",
    "+4930123456",
    "+4930123457",
    "/a",
    "/b",
    "1.2.3",
    "2.3.4",
    "text/plain",
    "text/html",
    "en",
    "de",
    "en-US",
    "de-DE",
    "DE",
    "FR",
    "EUR",
    "USD",
    "UTC",
    "Europe/Paris",
    "asc",
    "desc",
    "id",
    "name",
    "yes",
    "no",
    "on",
    "off",
    "#112233",
    "#445566",
    "YQ==",
    "Yg==",
    "a,b",
    "b,c",
    "1,2",
    "3,4",
    "1-2",
    "3-4",
    "a:b",
    "c:d",
    "[1]",
    "[2]",
    "{\"a\":1}",
    "{\"b\":2}",
    "password",
    "correct horse battery staple",
    "",
];

/// Numbers of usual sizes; the first ones are handed out in turn.
const NUMBERS: &[i128] = &[
    1,
    2,
    3,
    4,
    5,
    0,
    10,
    24,
    50,
    100,
    443,
    1_000,
    2_024,
    10_000,
    86_400,
    1_000_000,
    1_700_000_000,
    1_700_000_000_000,
    -1,
    -100,
    i64::MAX as i128,
    i128::MAX,
];

/// How many numbers are handed out in turn, so that two fields seldom have the same.
pub(super) const TURNS: usize = 5;

pub(super) const FLOATS: &[f32] = &[1.5, 2.5, 0.0, 0.25, 10.0, 100.0, 45.5, 1000.0, -1.0];

pub(super) const CHARS: &[char] = &['a', 'b', '7', '8', 'A', ' ', '-', 'é'];

/// How many entries a list or map has. One is enough, where its type allows it.
pub(super) const LENGTHS: &[usize] = &[1, 2, 0, 3, 4, 5, 6, 7, 8, 12, 16, 20, 32, 64];

/// The place of "none" among the lengths.
pub(super) const NO_LENGTH: usize = 2;

/// What to feed one type with: the usual values, and what the type itself wrote.
pub(super) struct Leaves<'a> {
    written: &'a Written,
    /// The samples of each field.
    samples: RefCell<HashMap<String, Rc<[String]>>>,
}

impl<'a> Leaves<'a> {
    pub(super) fn new(written: &'a Written) -> Self {
        Self {
            written,
            samples: RefCell::default(),
        }
    }

    /// How many texts there are for a field.
    pub(super) fn count_texts(&self, field: &str) -> usize {
        TEXTS.len() + self.samples(field).len()
    }

    pub(super) fn text(&self, field: &str, index: usize) -> Option<String> {
        match index.checked_sub(TEXTS.len()) {
            None => TEXTS.get(index).map(|text| (*text).to_owned()),
            Some(index) => self.samples(field).get(index).cloned(),
        }
    }

    pub(super) fn numbers<N: TryFrom<i128>>(&self, field: &str) -> Vec<N> {
        let own = self
            .written
            .numbers
            .iter()
            .filter(|(name, _)| name == field);
        let own = own.flat_map(|(_, number)| [*number, number.wrapping_add(1)]);
        let mut numbers = NUMBERS.to_vec();
        for number in own.take(MOST_SAMPLES) {
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        let numbers = numbers.into_iter();
        numbers
            .filter_map(|number| N::try_from(number).ok())
            .collect()
    }

    /// What the type wrote, the field itself first, and the same with a small change. No text is there
    /// twice: the same value again is not another one.
    fn samples(&self, field: &str) -> Rc<[String]> {
        if let Some(samples) = self.samples.borrow().get(field) {
            return samples.clone();
        }
        let mut samples = Vec::new();
        let texts = self.written.texts.iter();
        let (own, others): (Vec<_>, Vec<_>) = texts.partition(|(name, _)| name == field);
        for (_, text) in own.into_iter().chain(others) {
            let changed = [changed(text, true), changed(text, false)];
            for sample in changed.into_iter().flatten().chain([text.clone()]) {
                let is_known = TEXTS.contains(&sample.as_str()) || samples.contains(&sample);
                if !is_known && samples.len() < MOST_SAMPLES {
                    samples.push(sample);
                }
            }
        }
        let samples: Rc<[String]> = samples.into();
        let copy = samples.clone();
        self.samples.borrow_mut().insert(field.to_owned(), copy);
        samples
    }
}

/// A text of the same form: its last (or first) letter or digit is another one.
fn changed(text: &str, is_last: bool) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let index = if is_last {
        bytes.iter().rposition(u8::is_ascii_alphanumeric)?
    } else {
        bytes.iter().position(u8::is_ascii_alphanumeric)?
    };
    bytes[index] = match bytes[index] {
        b'9' => b'8',
        digit @ b'0'..=b'8' => digit + 1,
        b'a' => b'b',
        b'A' => b'B',
        b'B'..=b'Z' => b'A',
        _ => b'a',
    };
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_changed_in_one_character() {
        assert_eq!(changed("usr_19", true).as_deref(), Some("usr_18"));
        assert_eq!(changed("usr_19", false).as_deref(), Some("asr_19"));
        assert_eq!(changed("é:A-", true).as_deref(), Some("é:B-"));
        assert_eq!(changed("--", true), None);
    }
}
