//! What Memcached takes: keys, sizes, and lifetimes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fast_cache_core::{Error, ErrorKind};

/// The longest key, in bytes; see `protocol.txt` of Memcached.
const LONGEST_KEY: usize = 250;

/// What an item takes beside its key and its value, in bytes, and a little more.
const ITEM_OVERHEAD: usize = 128;

/// The largest number that is taken for a lifetime, in seconds: 30 days. Larger ones are dates.
const LONGEST_LIFETIME: u64 = 30 * 24 * 60 * 60;

/// The number that stands for no end.
const NEVER: u32 = 0;
/// A date that has passed: the first one that is no lifetime.
const PAST: u32 = LONGEST_LIFETIME as u32 + 1;

/// Refuses what would end a command early and begin another one: the client sends keys as they are.
pub(super) fn check_key(key: &str) -> Result<(), Error> {
    if key.len() > LONGEST_KEY {
        return Err(Error::new(
            ErrorKind::Backend,
            format!(
                "the key has {} bytes, and memcached takes {LONGEST_KEY}",
                key.len()
            ),
        ));
    }
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::new(
            ErrorKind::Backend,
            "the key is empty or holds other than printable ascii without spaces, which memcached \
             does not take",
        ));
    }
    Ok(())
}

/// Refuses what the server would refuse, before it is sent.
pub(super) fn check_size(key: &str, value: &[u8], max_item: usize) -> Result<(), Error> {
    let size = key.len() + value.len() + ITEM_OVERHEAD;
    if size <= max_item {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Backend,
        format!(
            "the entry takes {size} bytes, and the server is said to take {max_item}: raise \
             memcached's `-I` and `MemcachedOptions::max_item`, or store less"
        ),
    ))
}

/// A lifetime as Memcached takes it.
///
/// Its clock ticks once a second, so that a lifetime of one second ends with the next tick: a second
/// more is given.
pub(super) fn expiration(lifetime: Option<Duration>, now: SystemTime) -> u32 {
    let Some(lifetime) = lifetime else {
        return NEVER;
    };
    if lifetime.is_zero() {
        return PAST;
    }
    let seconds = lifetime.as_nanos().div_ceil(1_000_000_000) + 1;
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
    if seconds <= LONGEST_LIFETIME {
        return seconds as u32;
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let date = now.as_secs().saturating_add(seconds);
    // Dates are signed 32-bit numbers there. What lasts longer than they do has no end, and the
    // engine sees to it that it is not served for longer.
    i32::try_from(date).map_or(NEVER, |date| date as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn lifetimes_are_whole_seconds_dates_or_nothing() {
        let now = at(1_800_000_000);
        let day = Duration::from_secs(24 * 60 * 60);
        let expiration = |lifetime| expiration(Some(lifetime), now);
        assert_eq!(super::expiration(None, now), 0);
        assert_eq!(expiration(Duration::ZERO), 2_592_001);
        assert_eq!(expiration(Duration::from_nanos(1)), 2);
        assert_eq!(expiration(Duration::from_secs(60)), 61);
        assert_eq!(expiration(Duration::from_millis(60_001)), 62);
        assert_eq!(expiration(day * 30 - Duration::from_secs(1)), 2_592_000);
        assert_eq!(expiration(day * 30), 1_800_000_000 + 2_592_001);
        assert_eq!(expiration(day * 36_500), 0);
        assert_eq!(expiration(Duration::MAX), 0);
    }

    #[test]
    fn keys_cannot_end_a_command() {
        for key in ["", "a b", "a\r\nflush_all", "a\n", "é", "a\u{7f}"] {
            assert!(check_key(key).is_err(), "{key:?}");
        }
        assert!(check_key(&"x".repeat(251)).is_err());
        assert!(check_key(&"x".repeat(250)).is_ok());
        assert!(check_key("shop:users:~%3A").is_ok());
    }

    #[test]
    fn sizes_are_named_when_they_are_too_large() {
        assert!(check_size("key", &[0; 1000], 2000).is_ok());
        let error = check_size("key", &[0; 2000], 2000).unwrap_err();
        assert!(error.to_string().contains("2131 bytes"), "{error}");
        assert!(error.to_string().contains("take 2000"), "{error}");
    }
}
