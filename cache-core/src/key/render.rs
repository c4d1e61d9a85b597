//! Canonical bytes as a person reads them.

use std::fmt;

use super::canonical::tag;

/// Displays one canonical value: `42`, `text`, `[1, 2]`, `{"a": 1}`, `null`, `Variant(1)`. What
/// is no canonical value shows as `?`.
pub(crate) fn render(bytes: &[u8]) -> impl fmt::Display {
    struct Rendered<'a>(&'a [u8]);

    impl fmt::Display for Rendered<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let mut reader = Reader { rest: self.0 };
            if let [tag::STR, ..] = self.0 {
                reader.rest = &self.0[1..];
                return match reader.text() {
                    Some(text) => f.write_str(&text),
                    None => f.write_str("?"),
                };
            }
            let mut out = String::new();
            match reader.value(&mut out, 0) {
                Some(()) => f.write_str(&out),
                None => f.write_str("?"),
            }
        }
    }

    Rendered(bytes)
}

/// How deep a value may nest; the writer allows no more.
const DEEPEST: u32 = 300;

/// Reads canonical bytes from the front. `None` anywhere: they are none.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, out: &mut String, depth: u32) -> Option<()> {
        if depth == DEEPEST {
            return None;
        }
        match self.byte()? {
            tag::SOME => self.some(out, depth + 1),
            tag::VARIANT => self.variant(out, depth + 1),
            tag::SEQ => self.sequence(out, depth + 1),
            tag::MAP => self.map(out, depth + 1),
            tag::STRUCT => self.record(out, depth + 1),
            scalar => self.scalar(scalar, out),
        }
    }

    /// Out of line, so that a nested value's frame is small: the temporaries of all this formatting
    /// would stand on the stack once for every level.
    #[inline(never)]
    fn scalar(&mut self, tag: u8, out: &mut String) -> Option<()> {
        match tag {
            tag::FALSE => out.push_str("false"),
            tag::TRUE => out.push_str("true"),
            tag::U8 => out.push_str(&u8::from_be_bytes(self.array()?).to_string()),
            tag::U16 => out.push_str(&u16::from_be_bytes(self.array()?).to_string()),
            tag::U32 => out.push_str(&u32::from_be_bytes(self.array()?).to_string()),
            tag::U64 => out.push_str(&u64::from_be_bytes(self.array()?).to_string()),
            tag::U128 => out.push_str(&u128::from_be_bytes(self.array()?).to_string()),
            tag::I8 => out.push_str(&i8::from_be_bytes(self.array()?).to_string()),
            tag::I16 => out.push_str(&i16::from_be_bytes(self.array()?).to_string()),
            tag::I32 => out.push_str(&i32::from_be_bytes(self.array()?).to_string()),
            tag::I64 => out.push_str(&i64::from_be_bytes(self.array()?).to_string()),
            tag::I128 => out.push_str(&i128::from_be_bytes(self.array()?).to_string()),
            tag::F32 => out.push_str(&f32::from_be_bytes(self.array()?).to_string()),
            tag::F64 => out.push_str(&f64::from_be_bytes(self.array()?).to_string()),
            tag::CHAR => {
                let number = u32::from_be_bytes(self.array()?);
                out.push_str(&format!("{:?}", char::from_u32(number)?));
            }
            tag::STR => self.quoted(out)?,
            tag::BYTES => self.hex(out)?,
            tag::NONE | tag::UNIT => out.push_str("null"),
            _ => return None,
        }
        Some(())
    }

    /// `Some(null)` where the value inside reads as `null`, which would look like `None`; the value
    /// alone everywhere else.
    fn some(&mut self, out: &mut String, depth: u32) -> Option<()> {
        let reads_as_null = matches!(self.rest.first()?, &tag::NONE | &tag::UNIT | &tag::SOME);
        if !reads_as_null {
            return self.value(out, depth);
        }
        out.push_str("Some(");
        self.value(out, depth)?;
        out.push(')');
        Some(())
    }

    #[inline(never)]
    fn quoted(&mut self, out: &mut String) -> Option<()> {
        out.push_str(&format!("{:?}", self.text()?));
        Some(())
    }

    #[inline(never)]
    fn hex(&mut self, out: &mut String) -> Option<()> {
        let length = self.length()?;
        out.push_str("0x");
        for byte in self.take(length)? {
            out.push_str(&format!("{byte:02x}"));
        }
        Some(())
    }

    fn variant(&mut self, out: &mut String, depth: u32) -> Option<()> {
        out.push_str(&self.text()?);
        if let [tag::UNIT, rest @ ..] = self.rest {
            self.rest = rest;
            return Some(());
        }
        out.push('(');
        self.value(out, depth)?;
        out.push(')');
        Some(())
    }

    fn sequence(&mut self, out: &mut String, depth: u32) -> Option<()> {
        self.list(out, ['[', ']'], |reader, out| reader.value(out, depth))
    }

    fn map(&mut self, out: &mut String, depth: u32) -> Option<()> {
        self.list(out, ['{', '}'], |reader, out| {
            reader.value(out, depth)?;
            out.push_str(": ");
            reader.value(out, depth)
        })
    }

    fn record(&mut self, out: &mut String, depth: u32) -> Option<()> {
        self.list(out, ['{', '}'], |reader, out| {
            if reader.byte()? != tag::STR {
                return None;
            }
            reader.quoted(out)?;
            out.push_str(": ");
            reader.value(out, depth)
        })
    }

    fn list(
        &mut self,
        out: &mut String,
        [open, close]: [char; 2],
        mut item: impl FnMut(&mut Self, &mut String) -> Option<()>,
    ) -> Option<()> {
        out.push(open);
        let mut first = true;
        while *self.rest.first()? != tag::END {
            if !first {
                out.push_str(", ");
            }
            first = false;
            item(self, out)?;
        }
        self.byte()?;
        out.push(close);
        Some(())
    }

    fn text(&mut self) -> Option<String> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    fn length(&mut self) -> Option<usize> {
        let mut length = 0_usize;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(length);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Serialize;

    use super::super::KeyBytes;
    use super::super::canonical::write;
    use super::*;

    fn rendered<T: Serialize + ?Sized>(value: &T) -> String {
        let mut bytes = KeyBytes::new();
        write(&mut bytes, value).unwrap();
        render(&bytes).to_string()
    }

    #[derive(Serialize)]
    enum Sort {
        Newest,
        By { field: &'static str },
    }

    #[test]
    fn values_read_well() {
        assert_eq!(rendered(&42_u64), "42");
        assert_eq!(rendered(&-1_i8), "-1");
        assert_eq!(rendered("text"), "text");
        assert_eq!(rendered(&[1, 2]), "[1, 2]");
        assert_eq!(
            rendered(&("a", None::<u8>, Some(true))),
            "[\"a\", null, true]"
        );
        assert_eq!(rendered(&BTreeMap::from([("a", 1)])), "{\"a\": 1}");
        assert_eq!(rendered(&Sort::Newest), "Newest");
        assert_eq!(
            rendered(&Sort::By { field: "id" }),
            "By({\"field\": \"id\"})"
        );
    }

    #[test]
    fn an_option_in_an_option_differs_from_none() {
        assert_eq!(rendered(&None::<Option<u8>>), "null");
        assert_eq!(rendered(&Some(None::<u8>)), "Some(null)");
        assert_eq!(rendered(&Some(())), "Some(null)");
        assert_eq!(rendered(&Some(Some(None::<u8>))), "Some(Some(null))");
        assert_eq!(rendered(&Some(1_u8)), "1");
    }

    #[test]
    fn deep_bytes_need_little_stack() {
        let rendered_all = || {
            for unit in [
                &[tag::SEQ][..],
                &[tag::MAP],
                &[tag::SOME],
                &[tag::VARIANT, 0],
            ] {
                assert_eq!(render(&unit.repeat(1000)).to_string(), "?");
            }
        };
        let thread = std::thread::Builder::new().stack_size(512 << 10);
        thread.spawn(rendered_all).unwrap().join().unwrap();
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = render(&bytes).to_string();
        }
    }
}
