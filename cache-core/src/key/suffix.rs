//! What a request adds to a key that is a text: `;` and a digest, whose length is fixed, so that it cannot be
//! mistaken for a part of the text.

use super::print;

/// `;` and a digest.
pub(super) const LENGTH: usize = 1 + print::DIGEST;

/// The suffix of a text, after one more part: in the place of the suffix that it has, if it has one.
pub(super) fn suffix(before: &[u8], part: &[u8]) -> String {
    let digest = match before.is_empty() {
        true => print::digest([part]),
        false => print::digest([before, part]),
    };
    format!(";{digest}")
}

/// The suffix of a text to which the request adds nothing. It is needed where the text ends as if it had one,
/// since a caller may have chosen the text.
pub(crate) fn suffix_of_nothing(text: &[u8]) -> Option<String> {
    looks_suffixed(text).then(|| suffix(b"", b""))
}

fn looks_suffixed(text: &[u8]) -> bool {
    let end = text.len().checked_sub(LENGTH).map(|at| &text[at..]);
    end.is_some_and(|end| end[0] == b';' && end[1..].iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_imitates_a_suffix_is_given_one() {
        let forged = format!("page{}", suffix(b"", b"/acme"));
        let end = suffix_of_nothing(forged.as_bytes()).expect("a suffix");
        assert_eq!(end.len(), LENGTH);
        for text in ["", "page", ";", "0123456789abcdef0123456789abcdef"] {
            assert_eq!(suffix_of_nothing(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn parts_count_in_their_order() {
        let (a, b) = (suffix(b"", b"a"), suffix(b"", b"b"));
        let both = [suffix(a.as_bytes(), b"b"), suffix(b.as_bytes(), b"a")];
        assert_ne!(both[0], both[1]);
        assert!(!both.contains(&suffix(b"", b"ab")));
    }
}
