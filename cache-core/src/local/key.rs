//! Keys of the local store, which are hashed once.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use equivalent::Equivalent;
use foldhash::fast::RandomState;
use smallvec::SmallVec;

/// A key as a caller holds it.
#[derive(Clone, Copy, Debug)]
pub struct LocalKey<'a> {
    pub(crate) space: u64,
    pub(crate) bytes: &'a [u8],
    hash: u64,
}

/// A key as the store holds it.
#[derive(Debug)]
pub struct StoredKey {
    space: u64,
    bytes: SmallVec<[u8; 24]>,
    pub(super) printed: u64,
    hash: u64,
}

static RANDOM: LazyLock<RandomState> = LazyLock::new(RandomState::default);

impl<'a> LocalKey<'a> {
    /// A key of bytes that belong to a space; keys of different spaces are different.
    #[inline(always)]
    #[must_use]
    pub fn new(space: u64, bytes: &'a [u8]) -> Self {
        let hash = hash(space, bytes);
        Self { space, bytes, hash }
    }

    /// The same to keep, with the hash of the printed key.
    pub(super) fn store(self, printed: u64) -> StoredKey {
        StoredKey {
            space: self.space,
            bytes: SmallVec::from_slice(self.bytes),
            printed,
            hash: self.hash,
        }
    }
}

impl StoredKey {
    /// Who the bytes belong to.
    #[must_use]
    pub fn space(&self) -> u64 {
        self.space
    }

    /// What tells the key from others of its space.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn as_local(&self) -> LocalKey<'_> {
        LocalKey {
            space: self.space,
            bytes: &self.bytes,
            hash: self.hash,
        }
    }
}

/// Most keys are a tag with a number, or with a text behind its length. A processor has to wait if it reads
/// in one piece what was written a moment ago in two, so what begins a key is read by itself. Where the
/// length is known when this is compiled, nothing is read back at all.
#[inline(always)]
fn hash(space: u64, bytes: &[u8]) -> u64 {
    let (head, rest) = match bytes {
        [tag, length, rest @ ..] if rest.len() == usize::from(*length) => {
            (u64::from(u16::from_ne_bytes([*tag, *length])), rest)
        }
        [tag, rest @ ..] => (u64::from(*tag), rest),
        [] => (0, bytes),
    };
    let head = space ^ head << 16;
    let words = (rest.first_chunk(), rest.last_chunk());
    let (Some(first), Some(last), 8..=16) = (words.0, words.1, rest.len()) else {
        return hash_rest(head, rest);
    };
    let mut hasher = RANDOM.build_hasher();
    hasher.write_u64(head);
    hasher.write_u64(u64::from_ne_bytes(*first));
    if rest.len() > 8 {
        hasher.write_u64(u64::from_ne_bytes(*last));
    }
    hasher.finish()
}

#[inline(never)]
fn hash_rest(head: u64, rest: &[u8]) -> u64 {
    let mut hasher = RANDOM.build_hasher();
    hasher.write_u64(head);
    hasher.write(rest);
    hasher.finish()
}

/// Most keys are short, and to call `memcmp` takes longer than to compare them.
#[inline]
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    match one.len() {
        length if length != other.len() => false,
        8..=16 => {
            let begin_alike = one.first_chunk::<8>() == other.first_chunk::<8>();
            begin_alike && one.last_chunk::<8>() == other.last_chunk::<8>()
        }
        _ => one == other,
    }
}

impl PartialEq for StoredKey {
    fn eq(&self, other: &Self) -> bool {
        self.space == other.space && self.bytes == other.bytes
    }
}

impl Eq for StoredKey {}

impl Hash for LocalKey<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for StoredKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Arc<StoredKey>> for LocalKey<'_> {
    #[inline]
    fn equivalent(&self, key: &Arc<StoredKey>) -> bool {
        self.space == key.space && are_equal(self.bytes, &key.bytes)
    }
}

/// Takes the hash of a key for what it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hashed(u64);

impl BuildHasher for Hashed {
    type Hasher = Self;

    #[inline]
    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for Hashed {
    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are hashed already");
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_equal_if_all_of_them_are() {
        let bytes: Vec<u8> = (0..40).collect();
        for length in 0..bytes.len() {
            let one = &bytes[..length];
            assert!(are_equal(one, one));
            assert!(!are_equal(one, &bytes[..=length]));
            for place in 0..length {
                let mut other = one.to_vec();
                other[place] ^= 1;
                assert!(!are_equal(one, &other), "{place} of {length}");
            }
        }
    }

    #[test]
    fn keys_of_one_byte_that_differ_have_hashes_that_do() {
        let bytes = [3, 8, 1, 2, 3, 4, 5, 6, 7, 8];
        let expected = LocalKey::new(7, &bytes).hash;
        for length in 0..bytes.len() {
            assert_ne!(LocalKey::new(7, &bytes[..length]).hash, expected);
        }
        for place in 0..bytes.len() {
            let mut other = bytes;
            other[place] ^= 1;
            assert_ne!(LocalKey::new(7, &other).hash, expected);
        }
        assert_ne!(LocalKey::new(8, &bytes).hash, expected);
    }
}
