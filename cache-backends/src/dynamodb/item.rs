//! What an item looks like, and when it is there.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use fast_cache_core::{Error, ErrorKind};

pub(super) const KEY: &str = "key";
pub(super) const TTL: &str = "ttl";
const VALUE: &str = "value";
const EXPIRES_AT: &str = "expires_at";

/// What DynamoDB allows an item, names and values together: 400 KB, in bytes.
const MAX_ITEM: usize = 400 * 1024;
/// The longest lifetime that is stored; these are 35,000 years.
const MAX_LIFETIME: Duration = Duration::from_millis(1 << 50);

/// An item that is about to be stored.
#[derive(Clone)]
pub(super) struct Item<'a> {
    key: &'a str,
    value: Bytes,
    /// In milliseconds since the Unix epoch.
    expires_at: Option<u64>,
}

impl<'a> Item<'a> {
    pub(super) fn new(key: &'a str, value: Bytes, expire: Option<Duration>) -> Self {
        let expires_at =
            expire.map(|expire| milliseconds(since_epoch() + expire.min(MAX_LIFETIME)));
        Self {
            key,
            value,
            expires_at,
        }
    }

    /// The attributes, or an error if DynamoDB would refuse them for their size.
    pub(super) fn into_attributes(self) -> Result<HashMap<String, AttributeValue>, Error> {
        let numbers = self.expires_at.map(|expires_at| {
            let ttl = expires_at.div_ceil(1000).to_string();
            [(EXPIRES_AT, expires_at.to_string()), (TTL, ttl)]
        });
        self.check_size(numbers.as_ref().map_or(&[], |numbers| numbers))?;

        let value = Blob::new(Vec::from(self.value));
        let mut attributes = HashMap::from([
            (KEY.to_owned(), AttributeValue::S(self.key.to_owned())),
            (VALUE.to_owned(), AttributeValue::B(value)),
        ]);
        for (name, number) in numbers.into_iter().flatten() {
            attributes.insert(name.to_owned(), AttributeValue::N(number));
        }
        Ok(attributes)
    }

    /// Counts as the documentation of DynamoDB does: the bytes of names, texts and binary values,
    /// and for a number one byte and one more for every two digits.
    fn check_size(&self, numbers: &[(&str, String)]) -> Result<(), Error> {
        let number_sizes = numbers
            .iter()
            .map(|(name, number)| name.len() + number.len().div_ceil(2) + 1);
        let text_sizes = KEY.len() + self.key.len() + VALUE.len() + self.value.len();
        let size = text_sizes + number_sizes.sum::<usize>();
        if size <= MAX_ITEM {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Backend,
            format!(
                "an item of {size} bytes, {} of them the value's, is over dynamodb's limit of \
                 {MAX_ITEM} bytes",
                self.value.len()
            ),
        ))
    }
}

/// Takes the value out of an item, unless it has expired by `now`, in milliseconds since the Unix
/// epoch.
pub(super) fn read(
    mut attributes: HashMap<String, AttributeValue>,
    now: u64,
) -> Result<Option<Bytes>, Error> {
    if expires_at(&attributes)?.is_some_and(|expires_at| expires_at <= now) {
        return Ok(None);
    }
    match attributes.remove(VALUE) {
        Some(AttributeValue::B(value)) => Ok(Some(Bytes::from(value.into_inner()))),
        _ => Err(foreign(VALUE, "binary")),
    }
}

/// The value of an item, whether it has expired or not.
pub(super) fn value(attributes: &HashMap<String, AttributeValue>) -> Option<&[u8]> {
    let value = attributes.get(VALUE)?.as_b().ok()?;
    Some(value.as_ref())
}

/// In milliseconds since the Unix epoch. Whoever wrote an item without our own attribute may have
/// given it the one that DynamoDB deletes by.
fn expires_at(attributes: &HashMap<String, AttributeValue>) -> Result<Option<u64>, Error> {
    if let Some(milliseconds) = number(attributes, EXPIRES_AT)? {
        return Ok(Some(milliseconds));
    }
    let seconds = number(attributes, TTL)?;
    Ok(seconds.map(|seconds| seconds.saturating_mul(1000)))
}

fn number(
    attributes: &HashMap<String, AttributeValue>,
    name: &'static str,
) -> Result<Option<u64>, Error> {
    match attributes.get(name) {
        None => Ok(None),
        Some(AttributeValue::N(number)) => match number.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(foreign(name, "a whole number")),
        },
        Some(_) => Err(foreign(name, "a number")),
    }
}

fn foreign(name: &'static str, wanted: &'static str) -> Error {
    Error::new(
        ErrorKind::Decode,
        format!("the item was not written by fast-cache: `{name}` is not {wanted}"),
    )
}

/// Holds if nothing is there, or what is no value, or what has expired.
const NOT_THERE: &str = "attribute_not_exists(#key) \
    OR NOT attribute_type(#value, :binary) \
    OR #expires_at <= :now \
    OR (attribute_not_exists(#expires_at) AND #ttl <= :now_in_seconds)";

/// When an item may take the place of what is under its key.
pub(super) enum Condition<'a> {
    /// If nothing is there at this time, in milliseconds since the Unix epoch, or what begins with
    /// the bytes that were seen, of which there is at least one. What is no value, or has expired,
    /// is not there.
    Free { seen: Option<&'a [u8]>, now: u64 },
    /// If exactly this value is there.
    Is(&'a [u8]),
}

impl Condition<'_> {
    pub(super) fn expression(&self) -> String {
        match self {
            Self::Free { seen: None, .. } => NOT_THERE.to_owned(),
            Self::Free { seen: Some(_), .. } => {
                format!("{NOT_THERE} OR begins_with(#value, :seen)")
            }
            Self::Is(_) => "#value = :seen".to_owned(),
        }
    }

    /// What stands for names in the expression: `value` and `ttl` are words of its language.
    pub(super) fn names(&self) -> HashMap<String, String> {
        let names: &[&str] = match self {
            Self::Free { .. } => &[KEY, VALUE, EXPIRES_AT, TTL],
            Self::Is(_) => &[VALUE],
        };
        let placeholder = |name: &&str| (format!("#{name}"), (*name).to_owned());
        names.iter().map(placeholder).collect()
    }

    /// What stands for values in the expression.
    pub(super) fn values(&self) -> HashMap<String, AttributeValue> {
        let number = |number: u64| AttributeValue::N(number.to_string());
        let (seen, now) = match *self {
            Self::Free { seen, now } => (seen, Some(now)),
            Self::Is(value) => (Some(value), None),
        };
        let mut values = HashMap::new();
        if let Some(seen) = seen {
            values.insert(":seen".to_owned(), AttributeValue::B(Blob::new(seen)));
        }
        if let Some(now) = now {
            values.insert(":now".to_owned(), number(now));
            values.insert(":now_in_seconds".to_owned(), number(now / 1000));
            values.insert(":binary".to_owned(), AttributeValue::S("B".to_owned()));
        }
        values
    }
}

/// Milliseconds since the Unix epoch, rounded down.
pub(super) fn now() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Whole milliseconds, rounded up: a lifetime is never cut short.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(expires_at: Option<u64>) -> HashMap<String, AttributeValue> {
        let item = Item {
            key: "a",
            value: Bytes::from_static(b"v"),
            expires_at,
        };
        item.into_attributes().unwrap()
    }

    fn n(number: &str) -> AttributeValue {
        AttributeValue::N(number.to_owned())
    }

    #[test]
    fn seconds_are_rounded_up_and_milliseconds_are_exact() {
        let stored = attributes(Some(1_000_001));
        assert_eq!(stored[EXPIRES_AT], n("1000001"));
        assert_eq!(stored[TTL], n("1001"));
        assert_eq!(read(stored.clone(), 1_000_000).unwrap().unwrap(), "v");
        assert_eq!(read(stored, 1_000_001).unwrap(), None);

        let stored = attributes(None);
        assert_eq!(stored.len(), 2);
        assert_eq!(read(stored, u64::MAX).unwrap().unwrap(), "v");
    }

    #[test]
    fn the_longest_lifetimes_are_bounded() {
        let item = Item::new("a", Bytes::new(), Some(Duration::MAX));
        let expires_at = item.expires_at.unwrap();
        assert!(expires_at > 1 << 50 && expires_at < 1 << 51);
        let item = Item::new("a", Bytes::new(), Some(Duration::ZERO));
        assert!(item.expires_at.unwrap() <= now() + 1);
    }

    #[test]
    fn items_of_others_are_read_by_their_ttl_or_refused() {
        let with = |changes: &[(&str, Option<AttributeValue>)]| {
            let mut item = attributes(Some(5_000));
            for (name, value) in changes {
                match value {
                    Some(value) => item.insert((*name).to_owned(), value.clone()),
                    None => item.remove(*name),
                };
            }
            item
        };
        let ancestor = with(&[(EXPIRES_AT, None)]);
        assert!(read(ancestor.clone(), 4_999).unwrap().is_some());
        assert!(read(ancestor, 5_000).unwrap().is_none());
        let far = with(&[(EXPIRES_AT, None), (TTL, Some(n("18446744073709551615")))]);
        assert!(read(far, 5_000).unwrap().is_some());

        let text = AttributeValue::S("x".to_owned());
        let foreign = [
            with(&[(VALUE, Some(text.clone()))]),
            with(&[(VALUE, None)]),
            with(&[(EXPIRES_AT, Some(text.clone()))]),
            with(&[(EXPIRES_AT, Some(n("-1.5")))]),
            with(&[(EXPIRES_AT, None), (TTL, Some(text))]),
            with(&[(EXPIRES_AT, None), (TTL, Some(n("1E+30")))]),
        ];
        for item in foreign {
            assert_eq!(read(item, 0).unwrap_err().kind(), ErrorKind::Decode);
        }
    }
}
