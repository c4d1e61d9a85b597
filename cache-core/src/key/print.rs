//! The printed key: `{prefix}:{namespace}:{text}`.
//!
//! It is legal in every store: at most 250 bytes of printable ASCII without spaces, which is
//! Memcached's limit. Escapes are those of URLs, `%3A` for a colon, so a person can read them.
//! Parts that are too long are cut and given a digest of the whole, behind a `~`; a `~` in a part
//! is escaped, so that a cut part equals no uncut one.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use md5::{Digest, Md5};

/// The longest key, in bytes.
const LONGEST_KEY: usize = 250;
/// The longest prefix and the longest namespace, in bytes.
const LONGEST_PART: usize = 80;
/// An MD5 in hex.
pub(super) const DIGEST: usize = 32;
/// `~` and a digest.
const MARK: usize = 1 + DIGEST;

/// `{prefix}:{namespace}:`, which the keys of a namespace start with, and no others.
pub(crate) fn key_prefix(prefix: &str, namespace: &str) -> String {
    // With room for the digest that follows in most keys.
    let mut out = String::with_capacity(prefix.len() + namespace.len() + 2 + DIGEST);
    push_part(&mut out, prefix);
    push_part(&mut out, namespace);
    out
}

/// `{prefix}:`, which the keys of a cache start with, and no others.
pub(crate) fn cache_prefix(prefix: &str) -> String {
    let mut out = String::new();
    push_part(&mut out, prefix);
    out
}

/// A whole key, from what [`key_prefix`] gave and a text.
///
/// A text that looks like a [`digest`] has its first character escaped: the key of a function that
/// is keyed by digest stands in the same place, and a caller's text must not name its entry.
pub(crate) fn printed(key_prefix: &str, text: &str) -> String {
    let mut escaped = escape(text, |_| true);
    if looks_like_digest(text) {
        let first = format!("%{:02X}", text.as_bytes()[0]);
        escaped.to_mut().replace_range(..1, &first);
    }
    let text = shorten(&escaped, text, LONGEST_KEY - key_prefix.len());
    format!("{key_prefix}{text}")
}

/// The lowercase MD5 hex of some parts, each preceded by its length, so that they do not run
/// together.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update((part.len() as u64).to_be_bytes());
        md5.update(part);
    }
    hex(&md5.finalize())
}

/// Escapes a value that stands in `key = "user:{id}"`. Every character that could be taken for the
/// template's own text is escaped: `%`, `:`, `/` and the given separators, beside what no key may
/// hold.
pub fn escaped<'a>(value: fmt::Arguments<'a>, separators: &'static str) -> Escaped<'a> {
    Escaped { value, separators }
}

/// See [`escaped`].
#[derive(Debug)]
pub struct Escaped<'a> {
    value: fmt::Arguments<'a>,
    separators: &'static str,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escaping<'f, 'g> {
            out: &'f mut fmt::Formatter<'g>,
            separators: &'static str,
        }

        impl fmt::Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                let separators = self.separators.as_bytes();
                let is_plain = |byte: u8| {
                    (byte.is_ascii_alphanumeric() || b"_-.@+=,".contains(&byte))
                        && !separators.contains(&byte)
                };
                write_escaped(self.out, text, is_plain)
            }
        }

        let separators = self.separators;
        Escaping { out: f, separators }.write_fmt(self.value)
    }
}

/// Appends a prefix or a namespace, with the colon that ends it.
fn push_part(out: &mut String, part: &str) {
    let escaped = escape(part, |byte| byte != b':');
    out.push_str(&shorten(&escaped, part, LONGEST_PART));
    out.push(':');
}

/// Escapes what no key may hold, `%` and `~`, and what is not `allowed` besides.
fn escape(text: &str, allowed: impl Fn(u8) -> bool) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"%~".contains(&byte) && allowed(byte);
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    // Writing to a `String` does not fail.
    let _ = write_escaped(&mut out, text, is_plain);
    Cow::Owned(out)
}

fn looks_like_digest(text: &str) -> bool {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == DIGEST && text.bytes().all(is_digit)
}

fn write_escaped(
    out: &mut impl fmt::Write,
    text: &str,
    is_plain: impl Fn(u8) -> bool,
) -> fmt::Result {
    for byte in text.bytes() {
        if is_plain(byte) {
            out.write_char(char::from(byte))?;
        } else {
            write!(out, "%{byte:02X}")?;
        }
    }
    Ok(())
}

/// Cuts an escaped part to at most `longest` bytes, the digest of the original included, and leaves
/// no half of an escape at the cut.
fn shorten<'a>(escaped: &'a str, original: &str, longest: usize) -> Cow<'a, str> {
    if escaped.len() <= longest {
        return Cow::Borrowed(escaped);
    }
    let head = &escaped[..longest - MARK];
    let head = match head.rfind('%') {
        Some(escape) if head.len() - escape < 3 => &head[..escape],
        _ => head,
    };
    Cow::Owned(format!("{head}~{}", hex(&Md5::digest(original))))
}

/// Every lookup in a shared store prints a digest, which the formatting of numbers would make slow.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    let digit = |half: u8| char::from(DIGITS[usize::from(half & 0xf)]);
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(*byte));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_namespace_is_no_prefix_of_another() {
        assert_eq!(key_prefix("shop", "users"), "shop:users:");
        assert_eq!(key_prefix("shop", "users:admin"), "shop:users%3Aadmin:");
        assert!(!key_prefix("shop", "users2").starts_with(&key_prefix("shop", "users")));
        assert_eq!(key_prefix("", ""), "::");
    }

    #[test]
    fn texts_stay_readable() {
        assert_eq!(printed("shop:users:", "user:42"), "shop:users:user:42");
        assert_eq!(
            printed("shop:users:", "a b\r\n%~é"),
            "shop:users:a%20b%0D%0A%25%7E%C3%A9"
        );
    }

    #[test]
    fn a_long_text_is_cut_and_marked() {
        let long = "x".repeat(300);
        let key = printed("shop:users:", &long);
        assert_eq!(key.len(), LONGEST_KEY);
        assert_ne!(key, printed("shop:users:", &"x".repeat(301)));
        // The text of a cut key, given as a text, does not meet it.
        assert_ne!(
            key,
            printed("shop:users:", key.strip_prefix("shop:users:").unwrap())
        );
    }

    #[test]
    fn a_cut_leaves_no_half_of_an_escape() {
        for indent in 0..3 {
            let text = " ".repeat(200);
            let key = printed("shop:users:", &format!("{}{text}", "x".repeat(indent)));
            let (head, _) = key.split_once('~').unwrap();
            assert!(head.ends_with("%20"), "{key}");
        }
    }

    #[test]
    fn a_text_cannot_imitate_a_digest() {
        let digest = digest([&b"another function's arguments"[..]]);
        let key = printed("shop:users:", &digest);
        assert_ne!(key, format!("shop:users:{digest}"));
        let escaped = format!("%{:02X}{}", digest.as_bytes()[0], &digest[1..]);
        assert_ne!(key, printed("shop:users:", &escaped));
        assert_eq!(
            printed("shop:users:", "0123456789ABCDEF0123456789ABCDEF"),
            "shop:users:0123456789ABCDEF0123456789ABCDEF"
        );
    }

    #[test]
    fn digests_keep_parts_apart() {
        assert_ne!(digest([&b"ab"[..], b"c"]), digest([&b"a"[..], b"bc"]));
        assert_eq!(digest([&b""[..]]).len(), 32);
    }

    #[test]
    fn values_cannot_imitate_the_template() {
        let value = escaped(format_args!("{}", "a:b/c-d e~"), "-").to_string();
        assert_eq!(value, "a%3Ab%2Fc%2Dd%20e%7E");
        let uuid = "550e8400-e29b-41d4-a716-446655440000";
        assert_eq!(escaped(format_args!("{uuid}"), "").to_string(), uuid);
        assert_eq!(
            escaped(format_args!("{:>4}", 7), "").to_string(),
            "%20%20%207"
        );
    }

    proptest! {
        #[test]
        fn keys_are_legal_everywhere(prefix: String, namespace: String, text: String, long in 0..400_usize) {
            let text = text + &"é".repeat(long);
            let key = printed(&key_prefix(&prefix, &namespace), &text);
            prop_assert!(key.len() <= LONGEST_KEY);
            prop_assert!(key.bytes().all(|byte| byte.is_ascii_graphic()));
        }

        #[test]
        fn different_parts_give_different_keys(
            a in (".{0,8}", ".{0,8}", ".{0,8}"),
            b in (".{0,8}", ".{0,8}", ".{0,8}"),
        ) {
            prop_assume!(a != b);
            let key = |(prefix, namespace, text): &(String, String, String)| {
                printed(&key_prefix(prefix, namespace), text)
            };
            prop_assert_ne!(key(&a), key(&b));
        }
    }
}
