//! Canonical bytes: one value, one encoding, the same in every process and build.
//!
//! Every value begins with a tag for its kind and width, so `1u8` and `1u64` differ. Integers are
//! big-endian, floats are their bits (so `-0.0` and `0.0` differ, which costs a miss at most), and
//! texts and byte strings carry their length. Sequences, maps and structs end with a tag that no
//! element begins with. No encoding is the beginning of another, so arguments in a row cannot run
//! together. Fields and variants are written by name: a field that is left out, or a variant that
//! moved, changes nothing else. Map entries are sorted by their encoded keys.

use std::fmt::{self, Write as _};

use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
};
use serde::{Serialize, Serializer};

use super::KeyBytes;

/// How deep values may nest.
const DEEPEST: u32 = 128;

/// The first byte of every encoding.
pub(super) mod tag {
    pub(crate) const END: u8 = 0x00;
    pub(crate) const FALSE: u8 = 0x01;
    pub(crate) const TRUE: u8 = 0x02;
    pub(crate) const U8: u8 = 0x03;
    pub(crate) const U16: u8 = 0x04;
    pub(crate) const U32: u8 = 0x05;
    pub(crate) const U64: u8 = 0x06;
    pub(crate) const U128: u8 = 0x07;
    pub(crate) const I8: u8 = 0x08;
    pub(crate) const I16: u8 = 0x09;
    pub(crate) const I32: u8 = 0x0a;
    pub(crate) const I64: u8 = 0x0b;
    pub(crate) const I128: u8 = 0x0c;
    pub(crate) const F32: u8 = 0x0d;
    pub(crate) const F64: u8 = 0x0e;
    pub(crate) const CHAR: u8 = 0x0f;
    pub(crate) const STR: u8 = 0x10;
    pub(crate) const BYTES: u8 = 0x11;
    pub(crate) const NONE: u8 = 0x12;
    pub(crate) const SOME: u8 = 0x13;
    pub(crate) const UNIT: u8 = 0x14;
    pub(crate) const VARIANT: u8 = 0x15;
    pub(crate) const SEQ: u8 = 0x16;
    pub(crate) const MAP: u8 = 0x17;
    pub(crate) const STRUCT: u8 = 0x18;
}

/// Why a value has no canonical bytes.
#[derive(Debug)]
pub(crate) struct CanonicalError(String);

impl fmt::Display for CanonicalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CanonicalError {}

impl serde::ser::Error for CanonicalError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Appends the canonical bytes of a value.
#[inline]
pub(crate) fn write<T: Serialize + ?Sized>(
    out: &mut KeyBytes,
    value: &T,
) -> Result<(), CanonicalError> {
    value.serialize(Canonical {
        sink: out,
        depth: 0,
    })
}

/// Appends a text.
pub(crate) fn write_str(out: &mut KeyBytes, text: &str) {
    write_text(out, tag::STR, text.as_bytes());
}

/// Appends a byte string.
#[cfg(feature = "axum")]
pub(crate) fn write_bytes(out: &mut KeyBytes, bytes: &[u8]) {
    write_text(out, tag::BYTES, bytes);
}

/// Appends the elements of a set, sorted by their encoding.
pub(crate) fn write_set<'a, T: Serialize + 'a>(
    out: &mut KeyBytes,
    items: impl Iterator<Item = &'a T>,
) -> Result<(), CanonicalError> {
    let mut elements = Vec::new();
    for item in items {
        let mut element = KeyBytes::new();
        write(&mut element, item)?;
        elements.push(element);
    }
    elements.sort_unstable();
    out.put_byte(tag::SEQ);
    for element in elements {
        out.put(&element);
    }
    out.put_byte(tag::END);
    Ok(())
}

/// About how many bytes a value holds: the length of its encoding, without making it. A value that
/// cannot be encoded counts as far as it could be.
pub(crate) fn encoded_size<T: Serialize + ?Sized>(value: &T) -> usize {
    let mut counter = Counter(0);
    let sink = &mut counter;
    // A value that fails to serialize is refused by the coder, if one is asked.
    let _ = value.serialize(Canonical { sink, depth: 0 });
    counter.0
}

/// Where encoded bytes go.
pub(crate) trait Sink {
    /// Whether the order of map entries matters.
    const SORTS: bool;

    fn put(&mut self, bytes: &[u8]);

    /// A single byte: most of what is written are tags and short lengths.
    fn put_byte(&mut self, byte: u8);
}

impl Sink for KeyBytes {
    const SORTS: bool = true;

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn put_byte(&mut self, byte: u8) {
        self.push(byte);
    }
}

struct Counter(usize);

impl Sink for Counter {
    const SORTS: bool = false;

    fn put(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }

    fn put_byte(&mut self, _: u8) {
        self.0 = self.0.saturating_add(1);
    }
}

#[inline]
fn write_text<S: Sink>(sink: &mut S, tag: u8, text: &[u8]) {
    if text.len() <= 0x7f {
        // Both in one piece, so that there is one check for room; and as one number, since a processor has
        // to wait if it reads in one piece what was written a moment ago in two.
        let head = u16::from(tag) | (text.len() as u16) << 8;
        sink.put(&head.to_le_bytes());
    } else {
        sink.put_byte(tag);
        write_length(sink, text.len());
    }
    sink.put(text);
}

/// A length in as many bytes as it takes, seven bits each, the lowest first.
#[inline]
fn write_length<S: Sink>(sink: &mut S, mut length: usize) {
    while length > 0x7f {
        sink.put_byte((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    sink.put_byte(length as u8);
}

fn write_name<S: Sink>(sink: &mut S, name: &str) {
    write_length(sink, name.len());
    sink.put(name.as_bytes());
}

/// A serializer that appends to a sink.
struct Canonical<'a, S> {
    sink: &'a mut S,
    depth: u32,
}

impl<'a, S: Sink> Canonical<'a, S> {
    /// The serializer of what is inside of a value.
    fn deeper(self) -> Result<Self, CanonicalError> {
        if self.depth == DEEPEST {
            return Err(CanonicalError::custom("it nests too deeply"));
        }
        Ok(Self {
            sink: self.sink,
            depth: self.depth + 1,
        })
    }

    #[inline]
    fn open(self, tag: u8) -> Result<Compound<'a, S>, CanonicalError> {
        let Self { sink, depth } = self.deeper()?;
        sink.put_byte(tag);
        Ok(Compound {
            sink,
            depth,
            entries: Vec::new(),
        })
    }

    fn variant(self, name: &str) -> Self {
        self.sink.put_byte(tag::VARIANT);
        write_name(self.sink, name);
        self
    }
}

macro_rules! numbers {
    ($($method:ident($number:ty) = $tag:ident;)*) => {
        $(
            #[inline]
            fn $method(self, number: $number) -> Result<(), CanonicalError> {
                // In one piece, so that there is one check for room.
                let mut tagged = [tag::$tag; 1 + size_of::<$number>()];
                tagged[1..].copy_from_slice(&number.to_be_bytes());
                self.sink.put(&tagged);
                Ok(())
            }
        )*
    };
}

impl<'a, S: Sink> Serializer for Canonical<'a, S> {
    type Ok = ();
    type Error = CanonicalError;
    type SerializeSeq = Compound<'a, S>;
    type SerializeTuple = Compound<'a, S>;
    type SerializeTupleStruct = Compound<'a, S>;
    type SerializeTupleVariant = Compound<'a, S>;
    type SerializeMap = Compound<'a, S>;
    type SerializeStruct = Compound<'a, S>;
    type SerializeStructVariant = Compound<'a, S>;

    numbers! {
        serialize_u8(u8) = U8;
        serialize_u16(u16) = U16;
        serialize_u32(u32) = U32;
        serialize_u64(u64) = U64;
        serialize_u128(u128) = U128;
        serialize_i8(i8) = I8;
        serialize_i16(i16) = I16;
        serialize_i32(i32) = I32;
        serialize_i64(i64) = I64;
        serialize_i128(i128) = I128;
        serialize_f32(f32) = F32;
        serialize_f64(f64) = F64;
    }

    /// Keys are for machines: addresses and ids are then written in their short form.
    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), CanonicalError> {
        self.sink
            .put_byte(if value { tag::TRUE } else { tag::FALSE });
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), CanonicalError> {
        self.sink.put_byte(tag::CHAR);
        self.sink.put(&u32::from(value).to_be_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), CanonicalError> {
        write_text(self.sink, tag::STR, text.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), CanonicalError> {
        write_text(self.sink, tag::BYTES, bytes);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), CanonicalError> {
        self.sink.put_byte(tag::NONE);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CanonicalError> {
        self.sink.put_byte(tag::SOME);
        value.serialize(self.deeper()?)
    }

    fn serialize_unit(self) -> Result<(), CanonicalError> {
        self.sink.put_byte(tag::UNIT);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CanonicalError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), CanonicalError> {
        self.variant(variant).serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        value.serialize(self.deeper()?)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        value.serialize(self.variant(variant).deeper()?)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'a, S>, CanonicalError> {
        self.open(tag::SEQ)
    }

    fn serialize_tuple(self, _: usize) -> Result<Compound<'a, S>, CanonicalError> {
        self.open(tag::SEQ)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Compound<'a, S>, CanonicalError> {
        self.open(tag::SEQ)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a, S>, CanonicalError> {
        self.variant(variant).open(tag::SEQ)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'a, S>, CanonicalError> {
        self.open(tag::MAP)
    }

    fn serialize_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Compound<'a, S>, CanonicalError> {
        self.open(tag::STRUCT)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a, S>, CanonicalError> {
        self.variant(variant).open(tag::STRUCT)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), CanonicalError> {
        struct Text(KeyBytes);

        impl fmt::Write for Text {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }

        let mut text = Text(KeyBytes::new());
        write!(text, "{value}").map_err(CanonicalError::custom)?;
        write_text(self.sink, tag::STR, &text.0);
        Ok(())
    }
}

/// What is written between a value's first tag and its last.
struct Compound<'a, S> {
    sink: &'a mut S,
    depth: u32,
    /// The encoded entries of a map, until all are there to be sorted: keys with their values.
    entries: Vec<(KeyBytes, KeyBytes)>,
}

impl<S: Sink> Compound<'_, S> {
    fn inner(&mut self) -> Canonical<'_, S> {
        Canonical {
            sink: &mut *self.sink,
            depth: self.depth,
        }
    }

    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        value.serialize(self.inner())
    }

    /// Every field begins with a byte that is not [`tag::END`].
    fn field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        self.sink.put_byte(tag::STR);
        write_name(self.sink, name);
        self.element(value)
    }

    /// Kept out of line, so that what holds no map entries closes with one byte.
    #[inline(never)]
    fn write_sorted(&mut self) {
        self.entries.sort_unstable();
        for (key, value) in &self.entries {
            self.sink.put(key);
            self.sink.put(value);
        }
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<KeyBytes, CanonicalError> {
        let mut bytes = KeyBytes::new();
        let depth = self.depth;
        value.serialize(Canonical {
            sink: &mut bytes,
            depth,
        })?;
        Ok(bytes)
    }

    #[inline]
    fn close(mut self) -> Result<(), CanonicalError> {
        if !self.entries.is_empty() {
            self.write_sorted();
        }
        self.sink.put_byte(tag::END);
        Ok(())
    }
}

impl<S: Sink> SerializeMap for Compound<'_, S> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CanonicalError> {
        if !S::SORTS {
            return self.element(key);
        }
        let key = self.encode(key)?;
        self.entries.push((key, KeyBytes::new()));
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        if !S::SORTS {
            return self.element(value);
        }
        let encoded = self.encode(value)?;
        match self.entries.last_mut() {
            Some((_, value)) => *value = encoded,
            None => return Err(CanonicalError::custom("a map has a value without a key")),
        }
        Ok(())
    }

    fn end(self) -> Result<(), CanonicalError> {
        self.close()
    }
}

macro_rules! elements {
    ($($kind:ident::$method:ident;)*) => {
        $(
            impl<S: Sink> $kind for Compound<'_, S> {
                type Ok = ();
                type Error = CanonicalError;

                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
                    self.element(value)
                }

                fn end(self) -> Result<(), CanonicalError> {
                    self.close()
                }
            }
        )*
    };
}

elements! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

macro_rules! fields {
    ($($kind:ident;)*) => {
        $(
            impl<S: Sink> $kind for Compound<'_, S> {
                type Ok = ();
                type Error = CanonicalError;

                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Result<(), CanonicalError> {
                    self.field(name, value)
                }

                fn end(self) -> Result<(), CanonicalError> {
                    self.close()
                }
            }
        )*
    };
}

fields! {
    SerializeStruct;
    SerializeStructVariant;
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::prelude::*;

    use super::*;

    fn bytes<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
        let mut out = KeyBytes::new();
        write(&mut out, value).unwrap();
        assert_eq!(out.len(), encoded_size(value));
        out.to_vec()
    }

    #[derive(Clone, Debug, PartialEq, Serialize)]
    enum Value {
        Unit,
        Number(u64),
        Text(String),
        List(Vec<Value>),
        Pair(Box<Value>, Box<Value>),
        Maybe(Option<Box<Value>>),
        Map(BTreeMap<String, Value>),
        Record {
            #[serde(skip_serializing_if = "Option::is_none")]
            a: Option<u8>,
            #[serde(skip_serializing_if = "Option::is_none")]
            b: Option<u8>,
        },
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Unit),
            (0..4_u64).prop_map(Value::Number),
            "[ab]{0,2}".prop_map(Value::Text),
            (any::<Option<bool>>(), any::<Option<bool>>()).prop_map(|(a, b)| Value::Record {
                a: a.map(u8::from),
                b: b.map(u8::from)
            }),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::List),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| Value::Pair(a.into(), b.into())),
                prop::option::of(inner.clone().prop_map(Box::new)).prop_map(Value::Maybe),
                prop::collection::btree_map("[ab]{0,2}", inner, 0..3).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn different_values_never_share_bytes_nor_begin_alike(a in value(), b in value()) {
            let (a_bytes, b_bytes) = (bytes(&a), bytes(&b));
            prop_assert_eq!(a == b, a_bytes == b_bytes);
            if a != b {
                prop_assert!(!a_bytes.starts_with(&b_bytes) && !b_bytes.starts_with(&a_bytes));
            }
        }

        #[test]
        fn maps_are_the_same_in_any_order(entries: HashMap<String, u32>) {
            let sorted: BTreeMap<_, _> = entries.iter().collect();
            let rebuilt: HashMap<_, _> = sorted.iter().rev().collect();
            prop_assert_eq!(bytes(&entries), bytes(&sorted));
            prop_assert_eq!(bytes(&rebuilt), bytes(&sorted));
        }

        #[test]
        fn arguments_in_a_row_do_not_run_together(a: (String, String), b: (String, String)) {
            prop_assert_eq!(a == b, [bytes(&a.0), bytes(&a.1)].concat() == [bytes(&b.0), bytes(&b.1)].concat());
        }
    }

    #[test]
    fn widths_and_kinds_differ() {
        let all = [
            bytes(&1_u8),
            bytes(&1_u16),
            bytes(&1_u32),
            bytes(&1_u64),
            bytes(&1_u128),
            bytes(&1_i8),
            bytes(&1_i16),
            bytes(&1_i32),
            bytes(&1_i64),
            bytes(&1_i128),
            bytes(&1_f32),
            bytes(&1_f64),
            bytes(&'1'),
            bytes("1"),
            bytes(&true),
            bytes(&()),
            bytes(&None::<u8>),
            bytes(&Some(1_u8)),
            bytes(&Some(None::<u8>)),
            bytes(&[1_u8]),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all[index + 1..].iter().all(|other| other != one));
        }
        assert_ne!(bytes(&("ab", "c")), bytes(&("a", "bc")));
        assert_ne!(bytes(&0.0_f64), bytes(&-0.0_f64));
    }

    #[test]
    fn a_number_and_a_text_need_no_allocation() {
        let mut out = KeyBytes::new();
        write(&mut out, &42_u64).unwrap();
        write(&mut out, "a text of some forty characters, or so..").unwrap();
        assert!(out.is_inline());
    }

    #[test]
    fn sets_are_sorted() {
        let write_all = |items: &[u32]| {
            let mut out = KeyBytes::new();
            write_set(&mut out, items.iter()).unwrap();
            out
        };
        assert_eq!(write_all(&[3, 1, 2]), write_all(&[2, 3, 1]));
        assert_ne!(write_all(&[1]), write_all(&[1, 2]));
    }

    #[test]
    fn nesting_is_bounded() {
        #[derive(Serialize)]
        struct Deep(Option<Box<Deep>>);

        let mut deep = Deep(None);
        for _ in 0..200 {
            deep = Deep(Some(Box::new(deep)));
        }
        assert!(write(&mut KeyBytes::new(), &deep).is_err());
    }
}
