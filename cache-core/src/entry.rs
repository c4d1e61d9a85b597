//! The envelope around a value in a shared store.
//!
//! | offset | bytes | content |
//! | --- | --- | --- |
//! | 0 | 4 | magic: `f8 66 63 0a` |
//! | 4 | 1 | format version: 1 |
//! | 5 | 8 | made at, milliseconds since the Unix epoch |
//! | 13 | 8 | fresh until, milliseconds since the Unix epoch; all ones: no end |
//! | 21 | 8 | fingerprint of the value's type |
//! | 29 | 8 | `version` of the function |
//! | 37 | 1 | length `n` of the coder's id |
//! | 38 | n | the coder's id |
//! | 38 + n | rest | the value, as the coder wrote it |
//!
//! Numbers are big-endian. Whatever differs from what the reader expects is a miss: the bytes come
//! from a store that others can write to.

use bytes::Bytes;
use md5::{Digest, Md5};

use crate::error::{Error, ErrorKind};

const MAGIC: [u8; 4] = [0xf8, b'f', b'c', 0x0a];
const FORMAT: u8 = 1;
const FIXED: usize = 38;
const NEVER: u64 = u64::MAX;

/// What is stored beside a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Envelope<'a> {
    /// When the value was made, in milliseconds since the Unix epoch.
    pub(crate) made_at: u64,
    /// When it expires, in milliseconds since the Unix epoch; `None` if it does not.
    pub(crate) fresh_until: Option<u64>,
    /// See [`fingerprint`].
    pub(crate) fingerprint: u64,
    /// The `version` of the function.
    pub(crate) version: u64,
    /// The id of the coder that wrote the value.
    pub(crate) coder: &'a str,
}

impl Envelope<'_> {
    /// Puts the envelope around an encoded value.
    pub(crate) fn seal(&self, payload: &[u8]) -> Bytes {
        let (length, coder) = coder_id(self.coder);
        let mut bytes = Vec::with_capacity(FIXED + coder.len() + payload.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.made_at.to_be_bytes());
        bytes.extend_from_slice(&self.fresh_until.unwrap_or(NEVER).to_be_bytes());
        bytes.extend_from_slice(&self.fingerprint.to_be_bytes());
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.push(length);
        bytes.extend_from_slice(coder);
        bytes.extend_from_slice(payload);
        Bytes::from(bytes)
    }

    /// Reads an envelope, and gives it with the value inside, which is still encoded.
    pub(crate) fn open(bytes: &Bytes) -> Result<(Envelope<'_>, &[u8]), Error> {
        let (fixed, rest) = bytes
            .split_first_chunk::<FIXED>()
            .ok_or_else(|| foreign("it is too short"))?;
        if fixed[..4] != MAGIC {
            return Err(foreign("it was not written by fast-cache"));
        }
        if fixed[4] != FORMAT {
            return Err(foreign("its format version is unknown"));
        }
        let (coder, payload) = rest
            .split_at_checked(usize::from(fixed[37]))
            .ok_or_else(|| foreign("it is cut off"))?;
        let coder = std::str::from_utf8(coder).map_err(|_| foreign("its coder has no name"))?;
        let fresh_until = number(fixed, 13);
        let envelope = Envelope {
            made_at: number(fixed, 5),
            fresh_until: (fresh_until != NEVER).then_some(fresh_until),
            fingerprint: number(fixed, 21),
            version: number(fixed, 29),
            coder,
        };
        Ok((envelope, payload))
    }

    /// Checks that the value was written by this function, under this coder.
    pub(crate) fn check(&self, expected: &Envelope<'_>) -> Result<(), Error> {
        if self.coder.as_bytes() != coder_id(expected.coder).1 {
            return Err(foreign("it was written by another coder"));
        }
        if self.version != expected.version {
            return Err(foreign("it was written for another `version`"));
        }
        if self.fingerprint != expected.fingerprint {
            return Err(foreign("it holds a value of another type"));
        }
        Ok(())
    }
}

/// Tells the type `T` from others across processes: the first bytes of the MD5 of its name.
pub(crate) fn fingerprint<T: ?Sized>() -> u64 {
    let digest = Md5::digest(std::any::type_name::<T>());
    digest
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The id of a coder as it is stored: at most 255 bytes of it.
fn coder_id(id: &str) -> (u8, &[u8]) {
    let length = u8::try_from(id.len()).unwrap_or(u8::MAX);
    (length, &id.as_bytes()[..usize::from(length)])
}

fn number(fixed: &[u8; FIXED], at: usize) -> u64 {
    fixed[at..at + 8]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn foreign(why: &'static str) -> Error {
    Error::new(
        ErrorKind::Decode,
        format!("the stored entry cannot be used: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope() -> Envelope<'static> {
        Envelope {
            made_at: 1_767_225_600_000,
            fresh_until: Some(1_767_225_660_000),
            fingerprint: fingerprint::<String>(),
            version: 3,
            coder: "json",
        }
    }

    #[test]
    fn what_is_sealed_opens_to_the_same() {
        let sealed = envelope().seal(b"\"value\"");
        let (opened, payload) = Envelope::open(&sealed).unwrap();
        assert_eq!(opened, envelope());
        assert_eq!(payload, b"\"value\"");
        assert!(opened.check(&envelope()).is_ok());
    }

    #[test]
    fn another_coder_version_or_type_is_refused() {
        let expected = envelope();
        for other in [
            Envelope {
                coder: "msgpack",
                ..expected
            },
            Envelope {
                version: 4,
                ..expected
            },
            Envelope {
                fingerprint: fingerprint::<u64>(),
                ..expected
            },
        ] {
            let sealed = other.seal(b"");
            let (opened, _) = Envelope::open(&sealed).unwrap();
            let error = opened.check(&expected).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode);
        }
    }

    #[test]
    fn every_cut_of_an_envelope_is_an_error_or_an_empty_value() {
        let sealed = envelope().seal(b"");
        for end in 0..sealed.len() {
            assert!(Envelope::open(&sealed.slice(..end)).is_err());
        }
        assert!(Envelope::open(&sealed).unwrap().1.is_empty());
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Envelope::open(&Bytes::from(bytes));
        }

        #[test]
        fn foreign_bytes_behind_our_magic_never_panic(rest: Vec<u8>) {
            let bytes = [&MAGIC[..], &[FORMAT], &rest].concat();
            let _ = Envelope::open(&Bytes::from(bytes));
        }
    }
}
