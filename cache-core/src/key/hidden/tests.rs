//! Types that hide nothing, and types that hide something.
#![allow(dead_code, reason = "fields are filled and written, and not read")]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Hidden, hidden_field};

fn look<T: Default + Serialize + DeserializeOwned>() -> Hidden {
    look_for::<T>(&[])
}

fn look_for<T: Default + Serialize + DeserializeOwned>(names: &[&str]) -> Hidden {
    hidden_field(&T::default(), names)
}

fn field(name: &str) -> Hidden {
    Hidden::Field(name.to_owned())
}

/// Declares types, and says what each hides.
macro_rules! cases {
    ($($test:ident: $type:ty => $hidden:expr, { $($item:item)* } $({ $($other:item)* })?)*) => {
        $(
            #[test]
            fn $test() {
                $(#[derive(Default, Serialize, Deserialize)] $item)*
                $($($other)*)?
                assert_eq!(look::<$type>(), $hidden);
            }
        )*
    };
}

macro_rules! nothing {
    ($($test:ident: $type:ty;)*) => {
        $(
            #[test]
            fn $test() {
                assert_eq!(look::<$type>(), Hidden::Nothing);
            }
        )*
    };
}

fn always<T>(_: &T) -> bool {
    true
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn redacted<T, S: Serializer>(_: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("***")
}

fn length_of<T, S: Serializer>(list: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    list.len().serialize(serializer)
}

fn clamped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    Ok(u32::deserialize(deserializer)?.clamp(20, 500))
}

fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(matches!(text.as_str(), "1" | "on" | "yes"))
}

/// A number, as one or as a text.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }

    match Either::deserialize(deserializer)? {
        Either::Number(number) => Ok(number),
        Either::Text(text) => text.parse().map_err(D::Error::custom),
    }
}

mod as_text {
    use super::*;

    pub(super) fn serialize<T: fmt::Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Numbers with commas between them.
mod comma {
    use super::*;

    pub(super) fn serialize<S: Serializer>(list: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
        let texts: Vec<_> = list.iter().map(u32::to_string).collect();
        serializer.serialize_str(&texts.join(","))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u32>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let numbers = text.split(',').map(str::parse);
        numbers.collect::<Result<_, _>>().map_err(D::Error::custom)
    }
}

/// A text of a form that is of this application alone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct UserId(u32);

impl Default for UserId {
    fn default() -> Self {
        Self(1234)
    }
}

impl TryFrom<String> for UserId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("usr_").ok_or("no user")?;
        let digits = Some(digits)
            .filter(|digits| digits.len() == 4)
            .ok_or("no user")?;
        digits.parse().map(Self).map_err(|_| "no user".to_owned())
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> Self {
        format!("usr_{:04}", id.0)
    }
}

/// Two numbers in order.
#[derive(Default, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
struct Bounds {
    to: u32,
    from: u32,
}

#[derive(Deserialize)]
struct Unchecked {
    to: u32,
    from: u32,
}

impl TryFrom<Unchecked> for Bounds {
    type Error = &'static str;

    fn try_from(Unchecked { to, from }: Unchecked) -> Result<Self, Self::Error> {
        if from >= to {
            return Err("not in order");
        }
        Ok(Self { to, from })
    }
}

/// What is written is not what is read.
#[derive(Clone, Default, Deserialize)]
struct Secret(String);

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        redacted(&self.0, serializer)
    }
}

/// A colour, as `#rrggbb` or as a list.
#[derive(Default)]
struct ByHand([u8; 3]);

impl Serialize for ByHand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [r, g, b] = self.0;
        serializer.collect_str(&format_args!("#{r:02x}{g:02x}{b:02x}"))
    }
}

impl<'de> Deserialize<'de> for ByHand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = ByHand;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a colour")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ByHand, E> {
                let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
                let digits = digits.ok_or_else(|| E::custom("no colour"))?;
                let number = u32::from_str_radix(digits, 16).map_err(E::custom)?;
                let [_, r, g, b] = number.to_be_bytes();
                Ok(ByHand([r, g, b]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<ByHand, A::Error> {
                let mut colour = [0; 3];
                for part in &mut colour {
                    let next = seq.next_element()?;
                    *part = next.ok_or_else(|| A::Error::custom("too short"))?;
                }
                Ok(ByHand(colour))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

mod hide_nothing {
    use super::*;

    nothing! {
        numbers: (u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32);
        texts: (String, Cow<'static, str>, char, bool, f64, Box<str>);
        unit: ();
        phantom: PhantomData<String>;
        one_number: u64;
        one_text: String;
        pairs: Vec<(String, String)>;
        a_map: HashMap<String, String>;
        a_map_of_lists: BTreeMap<String, Vec<u8>>;
        a_map_by_number: BTreeMap<u64, Option<bool>>;
        sets: (HashSet<String>, BTreeSet<u8>);
        lists: (Vec<u8>, VecDeque<String>, [u8; 3], Box<[u16]>);
        options: Option<Option<u8>>;
        boxes: Box<Option<Box<String>>>;
        a_duration: Duration;
        an_array_of_none: [u8; 0];
    }

    cases! {
        plain: Plain => Hidden::Nothing, {
            struct Plain { a: u64, b: String, c: Option<bool>, d: Vec<f64> }
        }
        empty: Empty => Hidden::Nothing, {
            struct Empty {}
        }
        unit_struct: Unit => Hidden::Nothing, {
            struct Unit;
        }
        newtype: Newtype => Hidden::Nothing, {
            struct Newtype(u32);
        }
        pair: Pair => Hidden::Nothing, {
            struct Pair(u32, String);
        }
        renamed: Renamed => Hidden::Nothing, {
            #[serde(rename_all = "camelCase")]
            struct Renamed { first_page: u32, #[serde(rename = "q")] query: String }
        }
        renamed_one_way: RenamedOneWay => Hidden::Nothing, {
            struct RenamedOneWay {
                #[serde(rename(serialize = "a", deserialize = "b"))] x: u32,
                #[serde(rename(serialize = "b", deserialize = "a"))] y: String,
                #[serde(rename(deserialize = "in"))] z: Option<bool>,
            }
        }
        aliased: Aliased => Hidden::Nothing, {
            struct Aliased {
                #[serde(alias = "cat", alias = "zebra")] category: String,
                #[serde(default, alias = "p")] page: u32,
            }
        }
        skipped_when_none: SkippedWhenNone => Hidden::Nothing, {
            struct SkippedWhenNone {
                #[serde(skip_serializing_if = "Option::is_none")] a: Option<String>,
                #[serde(default, skip_serializing_if = "Vec::is_empty")] b: Vec<u8>,
                #[serde(default, skip_serializing_if = "is_zero", alias = "n")] c: u32,
            }
        }
        skipped_both_ways: SkippedBothWays => Hidden::Nothing, {
            struct SkippedBothWays { a: u8, #[serde(skip)] cache: String, #[serde(skip_deserializing)] b: u8 }
        }
        skipped_one_way: SkippedOneWay => Hidden::Nothing, {
            struct SkippedOneWay { a: u8, #[serde(skip_serializing, skip_deserializing)] b: u8 }
        }
        with_defaults: WithDefaults => Hidden::Nothing, {
            #[serde(default)]
            struct WithDefaults { a: u8, b: String, c: PhantomData<u8>, d: () }
        }
        strict: Strict => Hidden::Nothing, {
            #[serde(deny_unknown_fields)]
            struct Strict { a: u8, #[serde(alias = "bb")] b: Option<String> }
        }
        transparent: Transparent => Hidden::Nothing, {
            #[serde(transparent)]
            struct Transparent { inner: String }
        }
        nested: Outer => Hidden::Nothing, {
            struct Inner { x: f32, y: Option<Box<Inner>> }
            struct Outer { inner: Inner, list: Vec<Inner>, map: HashMap<String, Inner>, pair: (Inner, u8) }
        }
        recursive: Tree => Hidden::Nothing, {
            struct Tree { name: String, children: Vec<Tree>, more: BTreeMap<String, Tree>, parent: Option<Box<Tree>> }
        }
        generic: Page<Page<String>> => Hidden::Nothing, {
            struct Page<T> { number: u32, items: Vec<T> }
        }
        tagged_struct: TaggedStruct => Hidden::Nothing, {
            #[serde(tag = "type")]
            struct TaggedStruct { a: u8 }
        }
        network: Network => Hidden::Nothing, {
            struct Network { ip: Option<IpAddr>, socket: Option<SocketAddr>, n: Option<NonZeroU32> }
        }
        times: Times => Hidden::Nothing, {
            struct Times {
                a: chrono::NaiveDate,
                b: Option<chrono::DateTime<chrono::Utc>>,
                c: Option<chrono::DateTime<chrono::FixedOffset>>,
                d: chrono::NaiveDateTime,
                e: chrono::NaiveTime,
                f: Option<chrono::Weekday>,
                g: Option<chrono::Month>,
                h: jiff::Timestamp,
                i: jiff::Zoned,
                j: jiff::civil::Date,
                k: jiff::civil::DateTime,
                l: jiff::civil::Time,
                m: jiff::Span,
                n: jiff::SignedDuration,
                o: rust_decimal::Decimal,
                p: Option<std::time::SystemTime>,
            }
        }
        timestamps: Timestamps => Hidden::Nothing, {
            struct Timestamps {
                #[serde(with = "chrono::serde::ts_seconds")] a: chrono::DateTime<chrono::Utc>,
                #[serde(default, with = "chrono::serde::ts_milliseconds_option")] b: Option<chrono::DateTime<chrono::Utc>>,
                #[serde(with = "jiff::fmt::serde::timestamp::second::required")] c: jiff::Timestamp,
            }
        }
        adapted: Adapted => Hidden::Nothing, {
            struct Adapted {
                #[serde(with = "as_text")] a: u64,
                #[serde(with = "comma")] b: Vec<u32>,
                #[serde(deserialize_with = "clamped")] c: u32,
                #[serde(deserialize_with = "lenient")] d: bool,
                #[serde(deserialize_with = "number_or_text")] e: u64,
            }
        }
        strict_ids: StrictIds => Hidden::Nothing, {
            struct StrictIds { id: UserId, other: Option<UserId>, list: Vec<UserId> }
        }
        one_strict_id: UserId => Hidden::Nothing, {}
        checked: Bounds => Hidden::Nothing, {}
        by_hand: ByHand => Hidden::Nothing, {}
    }

    #[test]
    fn enums() {
        #[derive(Default, Serialize, Deserialize)]
        enum Order {
            #[default]
            #[serde(alias = "up")]
            Asc,
            Desc,
            #[serde(other)]
            Other,
        }

        #[derive(Default, Serialize, Deserialize)]
        enum Shape {
            #[default]
            None,
            Circle(f32),
            Line(u8, u8),
            Square {
                side: u32,
                #[serde(alias = "color")]
                colour: Option<String>,
            },
            And(Box<Shape>, Box<Shape>),
        }

        #[derive(Default, Serialize, Deserialize)]
        enum One {
            #[default]
            #[serde(alias = "first", alias = "zero")]
            Only,
        }

        #[derive(Default, Serialize, Deserialize)]
        struct All {
            order: Order,
            shape: Shape,
            one: One,
        }

        assert_eq!(look::<All>(), Hidden::Nothing);
    }

    #[test]
    fn an_enum_whose_first_variant_holds_itself() {
        #[derive(Serialize, Deserialize)]
        enum Term {
            Sum(Box<Term>, Box<Term>),
            Not(Box<Term>),
            Value(u64),
        }

        assert_eq!(hidden_field(&Term::Value(1), &[]), Hidden::Nothing);
    }

    #[test]
    fn tagged_enums() {
        #[derive(Default, Serialize, Deserialize)]
        #[serde(tag = "type", rename_all = "snake_case")]
        enum Inside {
            #[default]
            Nothing,
            ById {
                id: u64,
                at: Option<chrono::NaiveDate>,
            },
            ByName {
                name: String,
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                tags: Vec<String>,
            },
            Nested(Box<Inner>),
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Inner {
            x: u8,
            when: chrono::NaiveDate,
        }

        #[derive(Default, Serialize, Deserialize)]
        #[serde(tag = "t", content = "c")]
        enum Beside {
            #[default]
            Nothing,
            ById {
                id: u64,
            },
            ByName(String),
            Pair(u8, String),
        }

        assert_ne!(look::<Inside>(), Hidden::Unknown);
        assert!(matches!(look::<Inside>(), Hidden::Nothing | Hidden::Open));
        assert_eq!(look::<Beside>(), Hidden::Nothing);
        assert_eq!(look::<Vec<Beside>>(), Hidden::Nothing);
    }

    #[test]
    fn untagged_enums() {
        #[derive(Serialize, Deserialize)]
        #[serde(untagged)]
        enum Id {
            Number(u64),
            Text(String),
        }

        #[derive(Serialize, Deserialize)]
        #[serde(untagged)]
        enum Filter {
            ById { id: u64, exact: Option<bool> },
            ByName { first: String, last: String },
            List(Vec<Id>),
        }

        let id = Id::Number(7);
        assert_eq!(hidden_field(&id, &[]), Hidden::Nothing);
        let filter = Filter::List(Vec::new());
        let hidden = hidden_field(&filter, &["id", "first", "name"]);
        assert!(
            matches!(hidden, Hidden::Nothing | Hidden::Open),
            "{hidden:?}"
        );
    }

    #[test]
    fn flattened_parts() {
        #[derive(Default, Serialize, Deserialize)]
        struct Paging {
            page: u32,
            #[serde(default)]
            size: Option<u32>,
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Range {
            from: chrono::NaiveDate,
            to: String,
        }

        #[derive(Default, Serialize, Deserialize)]
        struct List {
            #[serde(alias = "query")]
            q: String,
            #[serde(flatten)]
            paging: Paging,
            #[serde(flatten)]
            range: Option<Range>,
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Rest {
            q: Option<String>,
            #[serde(flatten)]
            rest: HashMap<String, String>,
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Typed {
            q: String,
            #[serde(flatten)]
            rest: BTreeMap<String, u64>,
        }

        let names = ["q", "query", "page", "size", "from", "to", "utm_source"];
        assert_eq!(look::<List>(), Hidden::Open);
        assert_eq!(look_for::<List>(&names), Hidden::Open);
        assert_eq!(look_for::<Rest>(&names), Hidden::Open);
        assert_eq!(look_for::<Typed>(&names), Hidden::Open);
        assert_eq!(look_for::<Vec<List>>(&names), Hidden::Open);
    }

    #[test]
    fn names_that_a_closed_type_ignores() {
        #[derive(Default, Serialize, Deserialize)]
        struct Search {
            q: String,
        }

        assert_eq!(
            look_for::<Search>(&["q", "utm_source", "token"]),
            Hidden::Nothing
        );
    }
}

mod hide_something {
    use super::*;

    cases! {
        skipped: Search => field("api_key"), {
            struct Search { q: String, #[serde(default, skip_serializing)] api_key: String }
        }
        required: Search => field("token"), {
            struct Search { #[serde(skip_serializing)] token: u64, q: String }
        }
        optional: Search => field("token"), {
            struct Search { q: Option<String>, #[serde(skip_serializing)] token: Option<String> }
        }
        switch: Search => field("all"), {
            struct Search { q: String, #[serde(default, skip_serializing)] all: bool }
        }
        renamed: Search => field("X-Token"), {
            struct Search { q: String, #[serde(rename = "X-Token", alias = "token", default, skip_serializing)] t: String }
        }
        always_skipped: Search => field("token"), {
            struct Search { q: String, #[serde(skip_serializing_if = "always")] token: Option<String> }
        }
        redacted_by_hand: Login => field("password"), {
            struct Login { user: String, #[serde(serialize_with = "redacted")] password: String }
        }
        redacted_type: Login => field("password"), {
            struct Login { user: String, password: Option<Secret> }
        }
        shortened: Search => field("list"), {
            struct Search { #[serde(serialize_with = "length_of")] list: Vec<String> }
        }
        in_a_tuple: Pair => field("1"), {
            struct Pair(String, #[serde(skip_serializing)] u32);
        }
        all_of_a_newtype: Secret => field("0"), {}
        in_a_struct: Outer => field("inner.secret"), {
            struct Inner { x: u8, #[serde(skip_serializing)] secret: String }
            struct Outer { inner: Inner, b: u8 }
        }
        in_an_option: Outer => field("inner.secret"), {
            struct Inner { x: u8, #[serde(default, skip_serializing)] secret: Option<u8> }
            struct Outer { inner: Option<Box<Inner>> }
        }
        in_a_list: Outer => field("list.secret"), {
            struct Inner { x: u8, #[serde(skip_serializing)] secret: String }
            struct Outer { list: Vec<Inner> }
        }
        in_a_map: Outer => field("map.secret"), {
            struct Inner { x: u8, #[serde(skip_serializing)] secret: String }
            struct Outer { map: HashMap<String, Inner> }
        }
        in_pairs: Outer => field("pair.1.secret"), {
            struct Inner { x: u8, #[serde(skip_serializing)] secret: String }
            struct Outer { pair: (u8, Inner) }
        }
        a_whole_struct: Outer => field("inner.x"), {
            struct Inner { x: u8, y: String }
            struct Outer { a: u8, #[serde(skip_serializing)] inner: Inner }
        }
        a_whole_list: Outer => field("ids"), {
            struct Outer { a: u8, #[serde(skip_serializing, default)] ids: Vec<u64> }
        }
        a_date: Search => field("at"), {
            struct Search { a: chrono::NaiveDate, #[serde(skip_serializing, default)] at: Option<chrono::DateTime<chrono::Utc>> }
        }
        a_decimal: Search => field("price"), {
            struct Search { a: u8, #[serde(skip_serializing)] price: rust_decimal::Decimal }
        }
        an_address: Search => field("ip"), {
            struct Search { a: u8, #[serde(skip_serializing)] ip: Option<IpAddr> }
        }
        strict: Search => field("token"), {
            #[serde(deny_unknown_fields)]
            struct Search { a: u8, #[serde(skip_serializing, alias = "key")] token: Option<String> }
        }
        with_defaults: Search => field("token"), {
            #[serde(default)]
            struct Search { a: u8, #[serde(skip_serializing)] token: String }
        }
        generic: Page<Inner> => field("items.secret"), {
            struct Inner { x: u8, #[serde(skip_serializing)] secret: String }
            struct Page<T> { number: u32, items: Vec<T> }
        }
        recursive: Tree => field("secret"), {
            struct Tree { children: Vec<Tree>, #[serde(skip_serializing)] secret: u8 }
        }
        converted: Outer => field("secret"), {
            struct Full { x: u8, secret: String }
            #[derive(Clone)]
            #[serde(from = "Full", into = "Short")]
            struct Outer { x: u8, secret: String }
            struct Short { x: u8 }
        } {
            impl From<Full> for Outer { fn from(full: Full) -> Self { Self { x: full.x, secret: full.secret } } }
            impl From<Outer> for Short { fn from(outer: Outer) -> Self { Self { x: outer.x } } }
        }
    }
}

mod hide_something_in_enums {
    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    struct Inner {
        x: u8,
        #[serde(default, skip_serializing)]
        secret: Option<String>,
    }

    #[test]
    fn tagged_outside() {
        #[derive(Default, Serialize, Deserialize)]
        enum Tagged {
            #[default]
            Nothing,
            A(u8),
            B {
                x: u8,
                #[serde(default, skip_serializing)]
                secret: String,
            },
        }

        #[derive(Default, Serialize, Deserialize)]
        enum Newtype {
            #[default]
            Nothing,
            A(String),
            B(Box<Inner>),
        }

        #[derive(Default, Serialize, Deserialize)]
        enum Tuple {
            #[default]
            Nothing,
            A(String, #[serde(skip_serializing)] u8),
        }

        #[derive(Default, Serialize, Deserialize)]
        enum Outside {
            #[default]
            A,
            B,
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Outer {
            #[serde(skip_serializing)]
            order: Outside,
        }

        assert_eq!(look::<Tagged>(), field("secret"));
        assert_eq!(look::<Option<Tagged>>(), field("secret"));
        assert_eq!(look::<Newtype>(), field("secret"));
        assert_eq!(look::<Tuple>(), field("1"));
        assert_eq!(look::<Outer>(), field("order"));
    }

    #[test]
    fn tagged_inside() {
        #[derive(Default, Serialize, Deserialize)]
        #[serde(tag = "type")]
        enum Required {
            #[default]
            Nothing,
            A {
                x: u8,
            },
            B {
                x: u8,
                #[serde(skip_serializing)]
                secret: String,
            },
        }

        #[derive(Default, Serialize, Deserialize)]
        #[serde(tag = "type")]
        enum Defaulted {
            #[default]
            Nothing,
            A {
                x: u8,
            },
            B {
                x: chrono::NaiveDate,
                #[serde(default, skip_serializing)]
                secret: Option<u64>,
            },
        }

        #[derive(Default, Serialize, Deserialize)]
        #[serde(tag = "type", deny_unknown_fields)]
        enum Strict {
            #[default]
            Nothing,
            B {
                x: u8,
                #[serde(default, skip_serializing, alias = "key")]
                secret: Option<u64>,
            },
        }

        #[derive(Default, Serialize, Deserialize)]
        #[serde(tag = "type")]
        enum Newtype {
            #[default]
            Nothing,
            B(Inner),
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Outer {
            q: String,
            filter: Option<Newtype>,
        }

        assert_eq!(look::<Required>(), field("secret"));
        assert_eq!(look::<Defaulted>(), field("secret"));
        assert_eq!(look::<Strict>(), field("secret"));
        assert_eq!(look::<Newtype>(), field("secret"));
        assert_eq!(look::<Outer>(), field("filter.secret"));
    }

    #[test]
    fn tagged_beside() {
        #[derive(Default, Serialize, Deserialize)]
        #[serde(tag = "t", content = "c")]
        enum Beside {
            #[default]
            Nothing,
            A {
                secret: u8,
            },
            B {
                x: u8,
                #[serde(default, skip_serializing)]
                secret: u8,
            },
        }

        assert_eq!(look::<Beside>(), field("c.secret"));
    }

    #[test]
    fn untagged() {
        #[derive(Serialize, Deserialize)]
        #[serde(untagged)]
        enum Required {
            A {
                id: u64,
            },
            B {
                name: String,
                #[serde(skip_serializing)]
                secret: u32,
            },
        }

        #[derive(Serialize, Deserialize)]
        #[serde(untagged)]
        enum Defaulted {
            A {
                id: u64,
            },
            B {
                name: String,
                #[serde(default, skip_serializing)]
                secret: u32,
            },
            C(String),
        }

        assert_eq!(hidden_field(&Required::A { id: 1 }, &[]), field("secret"));
        assert_eq!(hidden_field(&Defaulted::A { id: 1 }, &[]), field("secret"));
        assert_eq!(
            hidden_field(&Defaulted::C(String::new()), &[]),
            field("secret")
        );
    }
}

mod hide_something_beside_flattened_parts {
    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    struct Paging {
        page: u32,
        size: Option<u32>,
    }

    #[derive(Default, Serialize, Deserialize)]
    struct Auth {
        user: String,
        #[serde(default, skip_serializing)]
        token: Option<u64>,
    }

    #[test]
    fn an_own_field() {
        #[derive(Default, Serialize, Deserialize)]
        struct Search {
            q: String,
            #[serde(flatten)]
            paging: Paging,
            #[serde(default, skip_serializing, alias = "key")]
            api_key: String,
        }

        assert_eq!(look::<Search>(), Hidden::Open);
        assert_eq!(look_for::<Search>(&["q", "page"]), Hidden::Open);
        assert_eq!(look_for::<Search>(&["q", "api_key"]), field("api_key"));
        assert_eq!(look_for::<Search>(&["key"]), field("key"));
    }

    #[test]
    fn a_required_field() {
        #[derive(Default, Serialize, Deserialize)]
        struct Search {
            #[serde(skip_serializing)]
            api_key: String,
            #[serde(flatten)]
            paging: Paging,
        }

        assert_eq!(look::<Search>(), field("api_key"));
    }

    #[test]
    fn a_field_of_the_part() {
        #[derive(Default, Serialize, Deserialize)]
        struct Search {
            q: String,
            #[serde(flatten)]
            auth: Auth,
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Optional {
            q: String,
            #[serde(flatten)]
            auth: Option<Auth>,
        }

        assert_eq!(look::<Search>(), Hidden::Open);
        assert_eq!(look_for::<Search>(&["q", "user", "other"]), Hidden::Open);
        assert_eq!(look_for::<Search>(&["token"]), field("token"));
        assert_eq!(look_for::<Optional>(&["q", "user", "other"]), Hidden::Open);
        assert_eq!(look_for::<Optional>(&["user", "token"]), field("token"));
    }

    #[test]
    fn a_whole_part() {
        #[derive(Default, Serialize, Deserialize)]
        struct Search {
            q: String,
            #[serde(flatten, skip_serializing)]
            paging: Paging,
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Rest {
            q: String,
            #[serde(flatten, skip_serializing)]
            rest: HashMap<String, String>,
        }

        assert_eq!(look::<Search>(), field("page"));
        assert_eq!(look_for::<Rest>(&["q", "token"]), field("token"));
        assert!(matches!(look::<Rest>(), Hidden::Field(_)));
    }

    #[test]
    fn inside_of_others() {
        #[derive(Default, Serialize, Deserialize)]
        struct Search {
            q: String,
            #[serde(flatten)]
            auth: Auth,
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Outer {
            list: Vec<Option<Search>>,
        }

        assert_eq!(look_for::<Outer>(&["token"]), field("list.token"));
        assert_eq!(look_for::<Outer>(&["list", "q", "user"]), Hidden::Open);
    }
}

mod odd_types {
    use std::cell::Cell;

    use super::*;

    /// Every form of a visitor that accepts one thing.
    struct Reads<F>(F);

    impl<'de, T, F: Fn(&str) -> T> serde::de::Visitor<'de> for Reads<F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_str<E>(self, text: &str) -> Result<T, E> {
            Ok(self.0(text))
        }
    }

    #[test]
    fn a_panic_ends_the_search() {
        #[derive(Default, Serialize)]
        struct Panics(String);

        impl<'de> Deserialize<'de> for Panics {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Reads(|_: &str| panic!("no")))
            }
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Plain {
            a: Panics,
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Hides {
            #[serde(skip_serializing)]
            token: String,
            a: Panics,
        }

        assert_eq!(look::<Plain>(), Hidden::Nothing);
        assert_eq!(look::<Hides>(), Hidden::Unknown);
    }

    #[test]
    fn a_panic_while_the_value_is_written() {
        #[derive(Default, Deserialize)]
        struct Panics(());

        impl Serialize for Panics {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                panic!("no")
            }
        }

        assert_eq!(look::<Panics>(), Hidden::Unknown);
    }

    #[test]
    fn what_cannot_be_written() {
        #[derive(Default, Deserialize)]
        struct Refuses(());

        impl Serialize for Refuses {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no"))
            }
        }

        #[derive(Default, Serialize, Deserialize)]
        enum Half {
            #[default]
            A,
            B {
                x: String,
            },
            #[serde(skip_serializing)]
            C {
                secret: String,
            },
        }

        assert_eq!(look::<Refuses>(), Hidden::Nothing);
        // A value that has no key is not cached, so that what it holds need not be in one.
        assert!(!matches!(look::<Half>(), Hidden::Field(_)));
    }

    #[test]
    fn what_is_written_by_chance() {
        thread_local! {
            static COUNT: Cell<u32> = const { Cell::new(0) };
        }

        fn counted<S: Serializer>(_: &u8, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u32(COUNT.replace(COUNT.get() + 1))
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Plain {
            #[serde(serialize_with = "counted")]
            a: u8,
            b: String,
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Hides {
            #[serde(serialize_with = "counted")]
            a: u8,
            #[serde(skip_serializing)]
            b: String,
        }

        assert_eq!(look::<Plain>(), Hidden::Nothing);
        assert_eq!(look::<Hides>(), Hidden::Unknown);
    }

    #[test]
    fn what_never_ends() {
        #[derive(Serialize, Deserialize)]
        struct Endless {
            x: u8,
            next: Box<Endless>,
            #[serde(skip_serializing)]
            secret: u8,
        }

        #[derive(Default, Serialize)]
        struct Deeper(());

        impl<'de> Deserialize<'de> for Deeper {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <(Self, Self)>::deserialize(deserializer).map(|_| Self(()))
            }
        }

        assert_eq!(hidden_field(&None::<Endless>, &[]), Hidden::Unknown);
        assert_eq!(look::<Deeper>(), Hidden::Nothing);
    }

    #[test]
    fn what_cannot_be_made_up() {
        fn never<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<T, D::Error> {
            deserializer.deserialize_str(Reads(|_: &str| ()))?;
            Err(D::Error::custom("not this one"))
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Written {
            q: String,
            #[serde(deserialize_with = "never", alias = "c")]
            code: String,
        }

        #[derive(Default, Serialize, Deserialize)]
        struct Left {
            q: String,
            #[serde(default, deserialize_with = "never", skip_serializing)]
            code: String,
        }

        assert!(!matches!(look::<Written>(), Hidden::Field(_)));
        assert_eq!(look::<Left>(), Hidden::Unknown);
    }

    #[test]
    fn many_fields() {
        #[derive(Clone, Serialize, Deserialize)]
        struct Row([[String; 16]; 4]);

        #[derive(Serialize, Deserialize)]
        struct Table {
            rows: (Row, Row, Row, Row),
            #[serde(skip_serializing)]
            token: u8,
        }

        let row = Row(Default::default());
        let rows = (row.clone(), row.clone(), row.clone(), row);
        assert_eq!(hidden_field(&Table { rows, token: 0 }, &[]), field("token"));
    }

    #[test]
    fn a_text_or_a_struct() {
        #[derive(Default, Serialize)]
        struct Flexible {
            name: String,
            #[serde(skip_serializing)]
            token: String,
        }

        impl<'de> Deserialize<'de> for Flexible {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                struct Whole {
                    name: String,
                    #[serde(default)]
                    token: String,
                }

                struct Visitor;

                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = Flexible;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a text or a struct")
                    }

                    fn visit_str<E>(self, name: &str) -> Result<Flexible, E> {
                        let (name, token) = (name.to_owned(), String::new());
                        Ok(Flexible { name, token })
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        map: A,
                    ) -> Result<Flexible, A::Error> {
                        let map = serde::de::value::MapAccessDeserializer::new(map);
                        let Whole { name, token } = Whole::deserialize(map)?;
                        Ok(Flexible { name, token })
                    }
                }

                deserializer.deserialize_any(Visitor)
            }
        }

        assert_eq!(look::<Flexible>(), field("token"));
    }
}

/// Parts that are put into each other.
mod combinations {
    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    struct Plain {
        a: u64,
        #[serde(default, skip_serializing_if = "Option::is_none", alias = "before")]
        until: Option<chrono::NaiveDate>,
    }

    #[derive(Default, Serialize, Deserialize)]
    struct Defaulted {
        a: u64,
        #[serde(default, skip_serializing)]
        secret: String,
    }

    #[derive(Default, Serialize, Deserialize)]
    struct Required {
        #[serde(skip_serializing)]
        secret: u32,
        a: String,
    }

    #[derive(Default, Serialize, Deserialize)]
    struct Inner<T> {
        y: u8,
        inner: T,
    }

    #[derive(Default, Serialize, Deserialize)]
    struct Flat<T> {
        x: u8,
        #[serde(flatten)]
        part: T,
    }

    #[derive(Default, Serialize, Deserialize)]
    struct FlatOption<T> {
        w: u8,
        #[serde(flatten)]
        part: Option<T>,
    }

    #[derive(Default, Serialize, Deserialize)]
    struct List<T> {
        #[serde(default, alias = "entries")]
        list: Vec<T>,
    }

    #[derive(Default, Serialize, Deserialize)]
    enum Outside<T> {
        #[default]
        Nothing,
        Struct {
            z: u8,
            part: T,
        },
        Newtype(T),
    }

    #[derive(Default, Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Inside<T> {
        #[default]
        Nothing,
        Struct {
            z: u8,
            part: T,
        },
    }

    #[derive(Default, Serialize, Deserialize)]
    #[serde(tag = "kind", content = "content")]
    enum Beside<T> {
        #[default]
        Nothing,
        Newtype(T),
    }

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged<T> {
        Struct { z: u8, part: T },
        Newtype(T),
        Number(u8),
    }

    impl<T> Default for Untagged<T> {
        fn default() -> Self {
            Self::Number(0)
        }
    }

    const NAMES: [&str; 14] = [
        "a",
        "until",
        "before",
        "secret",
        "y",
        "inner",
        "x",
        "w",
        "list",
        "type",
        "z",
        "part",
        "kind",
        "utm_source",
    ];

    fn assert_seen<T: Default + Serialize + DeserializeOwned>() {
        let hidden = look_for::<T>(&NAMES);
        let is_nothing = matches!(hidden, Hidden::Nothing | Hidden::Open);
        assert!(is_nothing, "{}: {hidden:?}", std::any::type_name::<T>());
    }

    fn assert_hidden<T: Default + Serialize + DeserializeOwned>() {
        let hidden = look_for::<T>(&NAMES);
        let is_secret = matches!(&hidden, Hidden::Field(field) if field.ends_with("secret"));
        assert!(is_secret, "{}: {hidden:?}", std::any::type_name::<T>());
    }

    macro_rules! combinations {
        ($($test:ident: $outer:ident of $($inner:ident),*;)*) => {
            $(
                #[test]
                fn $test() {
                    assert_seen::<$outer<Plain>>();
                    assert_hidden::<$outer<Defaulted>>();
                    assert_hidden::<$outer<Required>>();
                    $(
                        assert_seen::<$outer<$inner<Plain>>>();
                        assert_hidden::<$outer<$inner<Defaulted>>>();
                        assert_hidden::<$outer<$inner<Required>>>();
                    )*
                }
            )*
        };
    }

    combinations! {
        structs: Inner of Flat, FlatOption, Outside, Inside, Beside, Untagged;
        flattened: Flat of Inner, List, Inside, Beside;
        flattened_options: FlatOption of Inner, List, Inside;
        lists: List of Flat, Outside, Inside, Untagged;
        enums_tagged_outside: Outside of Inner, Flat, List;
        enums_tagged_inside: Inside of Inner, Flat, Outside, List;
        enums_tagged_beside: Beside of Flat, List, Outside;
        untagged_enums: Untagged of Inner, List, Inside;
    }
}
