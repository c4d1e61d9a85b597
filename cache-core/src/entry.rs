//! What is kept in a shared store: values in envelopes, tombstones, and barriers.
//!
//! Every record begins with the same head:
//!
//! | offset | bytes | content |
//! | --- | --- | --- |
//! | 0 | 4 | magic: `f8 66 63 0a` |
//! | 4 | 1 | format version: 1 |
//! | 5 | 8 | id, new with every write; of a barrier, its generation |
//! | 13 | 1 | kind: 0 a value, 1 a tombstone, 2 a barrier |
//!
//! A barrier is a head alone. A tombstone goes on with the time until which it is needed:
//!
//! | offset | bytes | content |
//! | --- | --- | --- |
//! | 14 | 8 | guarded until |
//!
//! A value goes on with all that a reader checks:
//!
//! | offset | bytes | content |
//! | --- | --- | --- |
//! | 14 | 4 | CRC-32 of all that is not this |
//! | 18 | 8 | guarded until; 0: not guarded |
//! | 26 | 8 | made at |
//! | 34 | 8 | fresh until; all ones: no end |
//! | 42 | 8 | useful until; all ones: no end |
//! | 50 | 8 | how long the computation took, in milliseconds |
//! | 58 | 8 | generation of the cache |
//! | 66 | 8 | generation of the namespace |
//! | 74 | 8 | fingerprint of the value's type and key |
//! | 82 | 8 | `version` of the function |
//! | 90 | 1 + n | the coder's id, behind its length |
//! | | 2 + n | reserved, behind its length; written empty, and skipped |
//! | | 2 | how many tags there are |
//! | | 2 + n + 8 | for each, the tag behind its length, and its generation |
//! | | rest | the value, as the coder wrote it |
//!
//! Numbers are big-endian, and times are milliseconds since the Unix epoch. Whatever differs from
//! what the reader expects is a miss: the bytes come from a store that others can write to.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use md5::{Digest, Md5};

use crate::error::{Error, ErrorKind};

const MAGIC: [u8; 4] = [0xf8, b'f', b'c', 0x0a];
const FORMAT: u8 = 1;
const VALUE: u8 = 0;
const TOMBSTONE: u8 = 1;
const BARRIER: u8 = 2;
const NEVER: u64 = u64::MAX;
/// The length of nothing.
const RESERVED: [u8; 2] = [0; 2];
/// Where the checksum of a value stands.
const CHECKSUM: std::ops::Range<usize> = 14..18;

/// The first bytes of a record, its id included: no two writes share them.
pub(crate) type Seen = [u8; 13];

/// One of the things that are stored under keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A value, with what is known about it.
    Value(Envelope<'a>, &'a [u8]),
    /// The key was invalidated.
    Tombstone(Tombstone),
    /// The number of a barrier's current generation.
    Barrier(u64),
}

/// What is stored beside a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope<'a> {
    /// Until when the value is kept in the tombstone's place that it was stored over, in
    /// milliseconds since the Unix epoch; 0 if it was not.
    pub(crate) guarded_until: u64,
    /// When the value was made, in milliseconds since the Unix epoch.
    pub(crate) made_at: u64,
    /// When it expires, in milliseconds since the Unix epoch; `None` if it does not.
    pub(crate) fresh_until: Option<u64>,
    /// Until when it is of any use, in milliseconds since the Unix epoch; `None` for no end.
    pub(crate) useful_until: Option<u64>,
    /// How long its computation took, in milliseconds.
    pub(crate) took: u64,
    /// The barriers that were in force when its computation began.
    pub(crate) generations: Generations,
    /// See [`fingerprint`].
    pub(crate) fingerprint: u64,
    /// The `version` of the function.
    pub(crate) version: u64,
    /// The id of the coder that wrote the value.
    pub(crate) coder: &'a str,
    /// What the value can be invalidated by beside its key and its namespace.
    pub(crate) tags: Tags<'a>,
}

/// The generations of the barriers that cover an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generations {
    pub(crate) cache: u64,
    pub(crate) namespace: u64,
}

/// What an invalidation leaves under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tombstone {
    /// Until when a computation that began before the invalidation may try to store its value, in
    /// milliseconds since the Unix epoch.
    pub(crate) guarded_until: u64,
}

/// Tags and their generations, as they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tags<'a> {
    count: u16,
    bytes: &'a [u8],
}

impl<'a> Tags<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each tag and its generation. One that is not UTF-8 is none that anybody could invalidate.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a str, u64)> + use<'a> {
        let mut reader = Reader(self.bytes);
        (0..self.count).map_while(move |_| {
            let tag = reader.counted().ok()?;
            let generation = reader.number().ok()?;
            Some((std::str::from_utf8(tag).ok()?, generation))
        })
    }
}

/// Tags and their generations, ready to be stored.
#[derive(Debug, Default)]
pub(crate) struct SealedTags {
    count: u16,
    bytes: Vec<u8>,
}

impl SealedTags {
    /// Puts tags beside their generations.
    ///
    /// # Errors
    ///
    /// If there are more than 65,535, or one is longer than so many bytes.
    pub(crate) fn new(tags: &[String], generations: &[u64]) -> Result<Self, Error> {
        let too_many = |_| Error::new(ErrorKind::Encode, "the value has too many or too long tags");
        let count = u16::try_from(tags.len()).map_err(too_many)?;
        let mut bytes = Vec::new();
        for (tag, generation) in tags.iter().zip(generations) {
            let length = u16::try_from(tag.len()).map_err(too_many)?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(tag.as_bytes());
            bytes.extend_from_slice(&generation.to_be_bytes());
        }
        Ok(Self { count, bytes })
    }

    pub(crate) fn as_tags(&self) -> Tags<'_> {
        Tags {
            count: self.count,
            bytes: &self.bytes,
        }
    }
}

impl Tombstone {
    pub(crate) fn seal(self) -> Bytes {
        let mut bytes = head(unique(), TOMBSTONE);
        bytes.extend_from_slice(&self.guarded_until.to_be_bytes());
        Bytes::from(bytes)
    }
}

impl Envelope<'_> {
    /// Puts the envelope around an encoded value.
    pub(crate) fn seal(&self, payload: &[u8]) -> Bytes {
        let (coder_length, coder) = coder_id(self.coder);
        let mut bytes = head(unique(), VALUE);
        bytes.extend_from_slice(&[0; CHECKSUM.end - CHECKSUM.start]);
        bytes.reserve(104 + coder.len() + self.tags.bytes.len() + payload.len());
        for number in [
            self.guarded_until,
            self.made_at,
            self.fresh_until.unwrap_or(NEVER),
            self.useful_until.unwrap_or(NEVER),
            self.took,
            self.generations.cache,
            self.generations.namespace,
            self.fingerprint,
            self.version,
        ] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.push(coder_length);
        bytes.extend_from_slice(coder);
        bytes.extend_from_slice(&RESERVED);
        bytes.extend_from_slice(&self.tags.count.to_be_bytes());
        bytes.extend_from_slice(self.tags.bytes);
        bytes.extend_from_slice(payload);
        let checksum = checksum(&bytes).to_be_bytes();
        bytes[CHECKSUM].copy_from_slice(&checksum);
        Bytes::from(bytes)
    }

    /// Checks that the value was written by this function, under this coder.
    pub(crate) fn check(&self, expected: &Expected) -> Result<(), Error> {
        if self.coder.as_bytes() != coder_id(expected.coder).1 {
            return Err(foreign("it was written by another coder"));
        }
        if self.version != expected.version {
            return Err(foreign("it was written for another `version`"));
        }
        if self.fingerprint != expected.fingerprint {
            return Err(foreign(
                "it holds a value of another type, or of another key",
            ));
        }
        Ok(())
    }
}

/// What a reader can decode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) coder: &'static str,
    pub(crate) version: u64,
    pub(crate) fingerprint: u64,
}

impl<'a> Record<'a> {
    /// Reads a record.
    ///
    /// # Errors
    ///
    /// Of the kind `Decode`, for bytes that are none.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader(bytes);
        if reader.take::<4>()? != MAGIC {
            return Err(foreign("it was not written by fast-cache"));
        }
        let [format] = reader.take()?;
        if format != FORMAT {
            return Err(foreign("its format version is unknown"));
        }
        let id = reader.number()?;
        let [kind] = reader.take()?;
        match kind {
            VALUE => {
                let expected = u32::from_be_bytes(reader.take()?);
                if checksum(bytes) != expected {
                    return Err(foreign("it is damaged"));
                }
                reader.envelope()
            }
            TOMBSTONE => Ok(Self::Tombstone(Tombstone {
                guarded_until: reader.number()?,
            })),
            BARRIER => Ok(Self::Barrier(id)),
            _ => Err(foreign("its kind is unknown")),
        }
    }
}

/// The first bytes of a record, to recognize it by; `None` if the bytes are too few for one.
pub(crate) fn seen(bytes: &[u8]) -> Option<Seen> {
    bytes.first_chunk().copied()
}

/// A barrier of a new generation.
pub(crate) fn new_barrier() -> (u64, Bytes) {
    let generation = unique();
    (generation, Bytes::from(head(generation, BARRIER)))
}

/// Tells the values of type `T` under a printed key from all others, across processes: the first
/// bytes of the MD5 of the type's name and the key. A value that a store, or the way to it, gives out
/// for another key is noticed by this.
pub(crate) fn fingerprint<T: ?Sized>(key: &str) -> u64 {
    let mut md5 = Md5::new();
    md5.update(std::any::type_name::<T>());
    // Which is in no name of a type.
    md5.update([0]);
    md5.update(key);
    md5.finalize()
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The CRC-32 of a value's record without its checksum. Not every coder notices a bit that was flipped.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..CHECKSUM.start]);
    crc.update(&bytes[CHECKSUM.end..]);
    crc.finalize()
}

fn head(id: u64, kind: u8) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(FORMAT);
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.push(kind);
    bytes
}

/// A number that no other call gives, in this process or in another, and that nobody can guess: a
/// count, under a keyed hash whose key the system's randomness makes.
pub(crate) fn unique() -> u64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    KEY.hash_one(COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The bytes of a record that are not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn envelope(mut self) -> Result<Record<'a>, Error> {
        let envelope = Envelope {
            guarded_until: self.number()?,
            made_at: self.number()?,
            fresh_until: self.time()?,
            useful_until: self.time()?,
            took: self.number()?,
            generations: Generations {
                cache: self.number()?,
                namespace: self.number()?,
            },
            fingerprint: self.number()?,
            version: self.number()?,
            coder: self.coder()?,
            tags: self.counted().and_then(|_| self.tags())?,
        };
        Ok(Record::Value(envelope, self.0))
    }

    fn coder(&mut self) -> Result<&'a str, Error> {
        let [length] = self.take()?;
        std::str::from_utf8(self.split(usize::from(length))?)
            .map_err(|_| foreign("its coder has no name"))
    }

    fn tags(&mut self) -> Result<Tags<'a>, Error> {
        let count = u16::from_be_bytes(self.take()?);
        let start = self.0;
        for _ in 0..count {
            self.counted()?;
            self.number()?;
        }
        Ok(Tags {
            count,
            bytes: &start[..start.len() - self.0.len()],
        })
    }

    /// Bytes behind their length.
    fn counted(&mut self) -> Result<&'a [u8], Error> {
        let length = u16::from_be_bytes(self.take()?);
        self.split(usize::from(length))
    }

    fn time(&mut self) -> Result<Option<u64>, Error> {
        let time = self.number()?;
        Ok((time != NEVER).then_some(time))
    }

    fn number(&mut self) -> Result<u64, Error> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(cut_off)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn split(&mut self, at: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(at).ok_or_else(cut_off)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// The id of a coder as it is stored: at most 255 bytes of it.
fn coder_id(id: &str) -> (u8, &[u8]) {
    let length = u8::try_from(id.len()).unwrap_or(u8::MAX);
    (length, &id.as_bytes()[..usize::from(length)])
}

fn cut_off() -> Error {
    foreign("it is cut off")
}

pub(crate) fn foreign(why: &'static str) -> Error {
    Error::new(
        ErrorKind::Decode,
        format!("the stored entry cannot be used: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backend::TOMBSTONE_BYTES;

    const EXPECTED: Expected = Expected {
        coder: "json",
        version: 3,
        fingerprint: 7,
    };

    fn envelope() -> Envelope<'static> {
        Envelope {
            guarded_until: 0,
            made_at: 1_767_225_600_000,
            fresh_until: Some(1_767_225_660_000),
            useful_until: None,
            took: 4,
            generations: Generations {
                cache: 1,
                namespace: 2,
            },
            fingerprint: 7,
            version: 3,
            coder: "json",
            tags: Tags {
                count: 1,
                bytes: b"\x00\x04user\0\0\0\0\0\0\0\x09",
            },
        }
    }

    #[test]
    fn what_is_sealed_is_read_as_it_was() {
        let sealed = envelope().seal(b"\"value\"");
        let record = Record::read(&sealed).unwrap();
        assert_eq!(record, Record::Value(envelope(), b"\"value\""));
        assert!(envelope().check(&EXPECTED).is_ok());

        let tombstone = Tombstone { guarded_until: 5 };
        let sealed = tombstone.seal();
        assert_eq!(sealed.len(), TOMBSTONE_BYTES);
        assert_eq!(Record::read(&sealed).unwrap(), Record::Tombstone(tombstone));

        let (generation, sealed) = new_barrier();
        assert_eq!(Record::read(&sealed).unwrap(), Record::Barrier(generation));
    }

    #[test]
    fn tags_are_read_as_they_were_sealed() {
        let tags = ["user".to_owned(), String::new()];
        let sealed = SealedTags::new(&tags, &[9, 10]).unwrap();
        let read: Vec<_> = sealed.as_tags().iter().collect();
        assert_eq!(read, [("user", 9), ("", 10)]);
        assert_eq!(envelope().tags.iter().collect::<Vec<_>>(), [("user", 9)]);
        assert!(SealedTags::new(&["x".repeat(1 << 16)], &[1]).is_err());
    }

    #[test]
    fn no_two_writes_look_the_same() {
        let seal = || seen(&envelope().seal(b"")).unwrap();
        assert_ne!(seal(), seal());
        assert_ne!(new_barrier().0, new_barrier().0);
        let tombstone = Tombstone { guarded_until: 5 };
        assert_ne!(tombstone.seal(), tombstone.seal());
    }

    #[test]
    fn another_coder_version_or_type_is_refused() {
        let changes: [fn(&mut Envelope<'_>); 3] = [
            |envelope| envelope.coder = "msgpack",
            |envelope| envelope.version = 4,
            |envelope| envelope.fingerprint = 8,
        ];
        for change in changes {
            let mut other = envelope();
            change(&mut other);
            let error = other.check(&EXPECTED).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode);
        }
    }

    #[test]
    fn every_cut_of_a_head_is_an_error() {
        let sealed = envelope().seal(b"");
        for end in 0..sealed.len() {
            assert!(Record::read(&sealed[..end]).is_err(), "cut at {end}");
        }
        assert_eq!(
            Record::read(&sealed).unwrap(),
            Record::Value(envelope(), b"")
        );
    }

    #[test]
    fn the_coder_of_a_long_name_is_recognized() {
        static LONG: LazyLock<String> = LazyLock::new(|| "x".repeat(300));
        let mut envelope = envelope();
        envelope.coder = &LONG;
        let sealed = envelope.seal(b"");
        let Record::Value(read, _) = Record::read(&sealed).unwrap() else {
            panic!("a value was stored");
        };
        assert!(
            read.check(&Expected {
                coder: &LONG,
                ..EXPECTED
            })
            .is_ok()
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let sealed = envelope().seal(b"value");
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut damaged = sealed.to_vec();
                damaged[at] ^= 1 << bit;
                let read = Record::read(&damaged);
                let is_value = matches!(read, Ok(Record::Value(..)));
                assert!(!is_value, "bit {bit} of byte {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Record::read(&bytes);
        }

        #[test]
        fn foreign_bytes_behind_our_head_never_panic(kind in 0..4_u8, rest: Vec<u8>) {
            let _ = Record::read(&[head(1, kind), rest].concat());
        }

        #[test]
        fn envelopes_that_fit_their_checksum_never_panic(at in 0..140_usize, byte: u8) {
            let mut sealed = envelope().seal(b"value").to_vec();
            let at = at % sealed.len();
            sealed[at] = byte;
            let checksum = checksum(&sealed).to_be_bytes();
            sealed[CHECKSUM].copy_from_slice(&checksum);
            let _ = Record::read(&sealed);
        }
    }
}
