//! What a type writes: the names of its fields, and samples of its texts and numbers.

use std::collections::HashSet;
use std::fmt;

use serde::ser::{
    Error, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};
use serde::{Serialize, Serializer};

/// How many samples, and names, are kept.
const MOST: usize = 1024;

/// How deep values may nest.
const DEEPEST: u32 = 64;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// The fields that are written, or left out by their own choice.
    pub(super) names: HashSet<String>,
    /// Texts with the field that they stand in.
    pub(super) texts: Vec<(String, String)>,
    pub(super) numbers: Vec<(String, i128)>,
}

impl Written {
    pub(super) fn read<T: Serialize + ?Sized>(&mut self, value: &T) {
        let reader = Reader {
            written: self,
            field: "",
            depth: 0,
        };
        // What was read before an error is as good as the rest.
        let _ = value.serialize(reader);
    }

    fn name(&mut self, name: &str) {
        if self.names.len() < MOST && !self.names.contains(name) {
            self.names.insert(name.to_owned());
        }
    }
}

#[derive(Debug)]
struct Stop;

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it cannot be read")
    }
}

impl std::error::Error for Stop {}

impl Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

struct Reader<'a> {
    written: &'a mut Written,
    field: &'a str,
    depth: u32,
}

impl<'a> Reader<'a> {
    fn compound(self) -> Result<Compound<'a>, Stop> {
        if self.depth == DEEPEST {
            return Err(Stop);
        }
        Ok(Compound {
            written: self.written,
            field: self.field,
            key: String::new(),
            depth: self.depth + 1,
        })
    }

    fn inner<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Stop> {
        let Compound {
            written,
            field,
            depth,
            ..
        } = self.compound()?;
        value.serialize(Reader {
            written,
            field,
            depth,
        })
    }

    fn number(self, number: i128) -> Result<(), Stop> {
        if self.written.numbers.len() < MOST {
            let sample = (self.field.to_owned(), number);
            self.written.numbers.push(sample);
        }
        Ok(())
    }
}

macro_rules! numbers {
    ($($method:ident($number:ty);)*) => {
        $(
            fn $method(self, number: $number) -> Result<(), Stop> {
                self.number(i128::try_from(number).unwrap_or(i128::MAX))
            }
        )*
    };
}

macro_rules! nothing {
    ($($method:ident($($argument:ty),*);)*) => {
        $(
            fn $method(self, $(_: $argument),*) -> Result<(), Stop> {
                Ok(())
            }
        )*
    };
}

impl<'a> Serializer for Reader<'a> {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Compound<'a>;
    type SerializeTupleStruct = Compound<'a>;
    type SerializeTupleVariant = Compound<'a>;
    type SerializeMap = Compound<'a>;
    type SerializeStruct = Compound<'a>;
    type SerializeStructVariant = Compound<'a>;

    numbers! {
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
    }

    nothing! {
        serialize_bool(bool);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
    }

    fn serialize_str(self, text: &str) -> Result<(), Stop> {
        if self.written.texts.len() < MOST {
            let sample = (self.field.to_owned(), text.to_owned());
            self.written.texts.push(sample);
        }
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Stop> {
        self.serialize_str(variant)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Stop> {
        self.inner(value)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        self.inner(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        self.written.name(variant);
        self.inner(value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'a>, Stop> {
        self.compound()
    }

    fn serialize_tuple(self, _: usize) -> Result<Compound<'a>, Stop> {
        self.compound()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'a>, Stop> {
        self.compound()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, Stop> {
        self.written.name(variant);
        self.compound()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'a>, Stop> {
        self.compound()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Compound<'a>, Stop> {
        self.compound()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, Stop> {
        self.written.name(variant);
        self.compound()
    }
}

struct Compound<'a> {
    written: &'a mut Written,
    field: &'a str,
    /// The key of a map whose value is next.
    key: String,
    depth: u32,
}

impl Compound<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, field: &str, value: &T) -> Result<(), Stop> {
        value.serialize(Reader {
            written: self.written,
            field,
            depth: self.depth,
        })
    }
}

impl SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = Stop;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Stop> {
        let mut read = Written::default();
        read.read(key);
        self.key = read.texts.pop().map(|(_, key)| key).unwrap_or_default();
        self.written.name(&self.key);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        let key = std::mem::take(&mut self.key);
        self.element(&key, value)
    }

    fn end(self) -> Result<(), Stop> {
        Ok(())
    }
}

macro_rules! elements {
    ($($kind:ident::$method:ident;)*) => {
        $(
            impl $kind for Compound<'_> {
                type Ok = ();
                type Error = Stop;

                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
                    self.element(self.field, value)
                }

                fn end(self) -> Result<(), Stop> {
                    Ok(())
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
            impl $kind for Compound<'_> {
                type Ok = ();
                type Error = Stop;

                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Result<(), Stop> {
                    self.written.name(name);
                    self.element(name, value)
                }

                fn skip_field(&mut self, name: &'static str) -> Result<(), Stop> {
                    self.written.name(name);
                    Ok(())
                }

                fn end(self) -> Result<(), Stop> {
                    Ok(())
                }
            }
        )*
    };
}

fields! {
    SerializeStruct;
    SerializeStructVariant;
}
