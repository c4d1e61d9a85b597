//! The bytes of a key while it is written.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// How many bytes there is room for without an allocation, which is enough for most keys.
const INLINE: usize = 96;

/// Bytes that are appended to.
///
/// Appending a piece of known length takes a check and a store or two, and nothing is called: that is most
/// of what writing a key takes on a hit. `SmallVec` calls `memmove` for each piece.
#[derive(Clone)]
pub(crate) struct KeyBytes {
    inline: [u8; INLINE],
    /// How many of the inline ones are written.
    length: usize,
    /// All of them, once they are too many; never empty then.
    spilled: Vec<u8>,
}

impl KeyBytes {
    #[inline]
    pub(crate) const fn new() -> Self {
        Self {
            inline: [0; INLINE],
            length: 0,
            spilled: Vec::new(),
        }
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Self {
        let mut copy = Self::new();
        copy.extend_from_slice(bytes);
        copy
    }

    #[inline]
    pub(crate) fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    #[inline]
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        let end = self.length.saturating_add(bytes.len());
        if self.spilled.is_empty()
            && let Some(free) = self.inline.get_mut(self.length..end)
        {
            free.copy_from_slice(bytes);
            self.length = end;
            return;
        }
        self.spill(bytes);
    }

    pub(crate) fn clear(&mut self) {
        self.length = 0;
        self.spilled.clear();
    }

    /// Keeps the first `length` bytes.
    #[cfg(any(feature = "axum", test))]
    pub(crate) fn truncate(&mut self, length: usize) {
        match self.spilled.is_empty() {
            true => self.length = self.length.min(length),
            // What is left may be nothing, which means that the inline bytes count.
            false => *self = Self::from_slice(&self.spilled[..length.min(self.spilled.len())]),
        }
    }

    /// Whether there was no allocation.
    #[inline]
    pub(crate) fn is_inline(&self) -> bool {
        self.spilled.capacity() == 0
    }

    #[cold]
    fn spill(&mut self, bytes: &[u8]) {
        if self.spilled.is_empty() {
            self.spilled.extend_from_slice(&self.inline[..self.length]);
        }
        self.spilled.extend_from_slice(bytes);
    }
}

impl Default for KeyBytes {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for KeyBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self.spilled.is_empty() {
            true => self.inline.get(..self.length).unwrap_or_default(),
            false => &self.spilled,
        }
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

impl PartialEq for KeyBytes {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for KeyBytes {}

impl PartialOrd for KeyBytes {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyBytes {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self[..].cmp(&other[..])
    }
}

impl Hash for KeyBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_of_any_length_are_kept_in_order(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..70), 0..6),
        ) {
            let mut bytes = KeyBytes::from_slice(b"to be cleared");
            bytes.clear();
            for piece in &pieces {
                bytes.extend_from_slice(piece);
            }
            prop_assert_eq!(&bytes[..], &pieces.concat()[..]);
            prop_assert_eq!(&bytes, &KeyBytes::from_slice(&pieces.concat()));
        }
    }

    #[test]
    fn a_part_can_be_cut_off() {
        for length in [0, 1, INLINE, INLINE + 1, INLINE + 9] {
            for kept in [0, 1, INLINE, INLINE + 5] {
                let mut bytes = KeyBytes::from_slice(&vec![7; length]);
                bytes.truncate(kept);
                assert_eq!(&bytes[..], vec![7; length.min(kept)], "{kept} of {length}");
            }
        }
    }

    #[test]
    fn what_is_inline_and_what_is_not_compare_by_their_bytes() {
        let (long, short) = ([1; INLINE + 1], [1; INLINE]);
        let (long, short) = (KeyBytes::from_slice(&long), KeyBytes::from_slice(&short));
        assert!(short < long);
        assert_ne!(short, long);
    }
}
