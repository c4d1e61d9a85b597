//! A deserializer that makes up what it is asked for, by a plan, and notes what it was asked.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::fault::{Fault, Given};
use super::leaves::{self, Leaves};
use super::plan::{Name, Names, Place, Plan};

/// How deep a value may nest, and from where on its lists and options are empty.
const DEEPEST: usize = 40;
const DEEP: usize = 16;

/// How often a type may stand inside of itself before its lists and options are empty.
const NESTINGS: usize = 2;

/// How many places one value may have.
const MOST_PLACES: usize = 4_000;

/// What is asked for at a place where there is a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A number, text or the like.
    Leaf,
    /// The name of a variant.
    Word,
    Option,
    Length,
    Variant,
    /// Anything: the choice is its kind.
    Any,
}

/// The kinds of value for one who takes any, in the order in which they are tried.
const KINDS: usize = 8;
pub(super) const ANY_TEXT: usize = 0;
pub(super) const ANY_NUMBER: usize = 1;
pub(super) const ANY_BOOL: usize = 2;
pub(super) const ANY_MAP: usize = 3;
pub(super) const ANY_LIST: usize = 4;
pub(super) const ANY_NOTHING: usize = 5;
const ANY_NEGATIVE: usize = 6;
pub(super) const ANY_FLOAT: usize = 7;

/// The place of a map inside of one that takes anything.
pub(super) const MAP: &str = "map";

/// A place where there was a choice, and what was chosen.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) place: Place,
    pub(super) ask: Ask,
    pub(super) count: usize,
    pub(super) pick: usize,
    /// What was fed, if it can be told from all else.
    pub(super) fed: Given,
}

/// A map that was fed with names.
#[derive(Clone, Debug)]
pub(super) struct Map {
    pub(super) place: Place,
    pub(super) names: Vec<Name>,
    pub(super) is_open: bool,
}

/// The innermost place that was refused.
#[derive(Clone, Debug)]
pub(super) struct Blame {
    pub(super) key: String,
    /// The last name that was fed, if the place is a map.
    pub(super) name: Option<Name>,
}

/// What was noted in one attempt.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) slots: Vec<Slot>,
    pub(super) maps: Vec<Map>,
    /// The keys of places whose value was thrown away.
    pub(super) ignored: HashSet<String>,
    /// The keys of maps that turned out to ask for names.
    pub(super) learned: Vec<String>,
    /// The names that structs say they know.
    pub(super) known: HashSet<&'static str>,
    pub(super) blame: Option<Blame>,
    pub(super) places: usize,
}

/// One attempt to make a value.
pub(super) struct Session<'a> {
    plan: &'a Plan,
    leaves: &'a Leaves<'a>,
    trace: RefCell<Trace>,
}

impl<'a> Session<'a> {
    pub(super) fn new(plan: &'a Plan, leaves: &'a Leaves<'a>) -> Self {
        Self {
            plan,
            leaves,
            trace: RefCell::default(),
        }
    }

    pub(super) fn probe(&self) -> Probe<'_> {
        Probe {
            session: self,
            place: Place::default(),
            types: Vec::new(),
            depth: 0,
            map: None,
            is_any: false,
        }
    }

    pub(super) fn into_trace(self) -> Trace {
        self.trace.into_inner()
    }
}

/// The deserializer at one place.
#[derive(Clone)]
pub(super) struct Probe<'s> {
    session: &'s Session<'s>,
    place: Place,
    /// The structs and enums around it.
    types: Vec<&'static str>,
    depth: usize,
    /// The map whose first key this is, as long as it is not known whether that asks for names.
    map: Option<String>,
    /// Whether anything is taken here. What is fed then is kept for later, and is not like anything else, so
    /// that it is known by its value if it is refused.
    is_any: bool,
}

impl<'s> Probe<'s> {
    fn at(&self, place: Place) -> Self {
        Self {
            place,
            depth: self.depth + 1,
            map: None,
            is_any: false,
            ..self.clone()
        }
    }

    fn inside(&self, mark: &str) -> Self {
        self.at(self.place.inside(mark))
    }

    fn within(mut self, name: &'static str) -> Self {
        self.types.push(name);
        self
    }

    /// Notes that a place is asked for, unless there are too many of them.
    fn enter(&self) -> Result<(), Fault> {
        let mut trace = self.session.trace.borrow_mut();
        trace.places += 1;
        if self.depth > DEEPEST || trace.places > MOST_PLACES {
            return Err(Fault::TooDeep(self.types.last().copied().unwrap_or("")));
        }
        Ok(())
    }

    fn count(&self, name: &str) -> usize {
        self.types.iter().filter(|other| **other == name).count()
    }

    /// Whether lists and options are empty here, so that recursion ends.
    fn is_deep(&self) -> bool {
        let nestings = self.types.last().map_or(0, |name| self.count(name));
        self.depth > DEEP || nestings > NESTINGS
    }

    /// Chooses one of the alternatives.
    fn pick(&self, ask: Ask, count: usize, first: usize) -> Result<usize, Fault> {
        self.enter()?;
        if count == 0 {
            return Err(Fault::Other);
        }
        let pick = self.session.plan.picks.get(&self.place.key);
        let pick = pick.copied().unwrap_or(first) % count;
        self.session.trace.borrow_mut().slots.push(Slot {
            place: self.place.clone(),
            ask,
            count,
            pick,
            fed: Given::Other,
        });
        Ok(pick)
    }

    /// Notes who refused what; an error that was swallowed is forgotten.
    fn settle<V>(&self, name: Option<Name>, result: Result<V, Fault>) -> Result<V, Fault> {
        let mut trace = self.session.trace.borrow_mut();
        if result.is_ok() {
            trace.blame = None;
        } else if trace.blame.is_none() {
            let key = self.place.key.clone();
            trace.blame = Some(Blame { key, name });
        }
        result
    }

    fn leaf<L: Clone>(&self, leaves: &[L], turns: usize) -> Result<L, Fault> {
        let turn = match turns {
            0 => 0,
            _ => self.place.number() % turns,
        };
        let pick = self.pick(Ask::Leaf, leaves.len(), turn)?;
        leaves.get(pick).cloned().ok_or(Fault::Other)
    }

    /// A text, among the words that the place is known to take.
    fn text(&self, ask: Ask) -> Result<String, Fault> {
        let field = &self.place.field;
        let text = match self.session.plan.words.get(&self.place.key) {
            Some(words) => {
                let pick = self.pick(Ask::Word, words.len(), 0)?;
                words[pick].to_owned()
            }
            None => {
                let own = usize::from(self.is_any);
                let count = self.session.leaves.count_texts(field) + own;
                let pick = self.pick(ask, count, 0)?;
                match pick.checked_sub(own) {
                    None => format!("any text {:08x}", self.place.number()),
                    Some(index) => {
                        let text = self.session.leaves.text(field, index);
                        text.ok_or(Fault::Other)?
                    }
                }
            }
        };
        if let Some(slot) = self.session.trace.borrow_mut().slots.last_mut() {
            slot.fed = Given::Text(text.clone());
        }
        Ok(text)
    }

    fn visit_text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = self.text(Ask::Leaf)?;
        self.settle(None, visitor.visit_str(&text))
    }

    /// How many entries a list or map has.
    fn length(&self) -> Result<usize, Fault> {
        if self.is_deep() {
            return Ok(0);
        }
        let pick = self.pick(Ask::Length, leaves::LENGTHS.len(), 0)?;
        Ok(leaves::LENGTHS[pick])
    }

    fn visit_list<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        length: usize,
        is_named: bool,
    ) -> Result<V::Value, Fault> {
        let list = List {
            probe: &self,
            length,
            is_named,
            next: 0,
        };
        self.settle(None, visitor.visit_seq(list))
    }

    /// A map whose type may ask for names or for entries, which its first key will tell.
    fn visit_map<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.session.plan.names.get(&self.place.key) {
            Some(names) => self.visit_names(visitor, names.clone()),
            None => {
                let length = self.length()?;
                let entries = Entries {
                    probe: &self,
                    length,
                    next: 0,
                };
                self.settle(None, visitor.visit_map(entries))
            }
        }
    }

    fn visit_fields<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        fields: &'static [&'static str],
    ) -> Result<V::Value, Fault> {
        self.session.trace.borrow_mut().known.extend(fields);
        let names = match self.session.plan.names.get(&self.place.key) {
            Some(names) => names.clone(),
            None => Names {
                list: fields.iter().map(|name| Name::text(name)).collect(),
                is_open: false,
            },
        };
        self.visit_names(visitor, names)
    }

    fn visit_names<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        names: Names,
    ) -> Result<V::Value, Fault> {
        self.session.trace.borrow_mut().maps.push(Map {
            place: self.place.clone(),
            names: names.list.clone(),
            is_open: names.is_open,
        });
        let next = Cell::new(0);
        let fields = Fields {
            probe: &self,
            names: &names.list,
            next: &next,
        };
        let result = visitor.visit_map(fields);
        let last = next.get().checked_sub(1);
        let last = last.and_then(|last| names.list.get(last).cloned());
        self.settle(last, result)
    }

    fn visit_any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let kind = self.pick(Ask::Any, KINDS, ANY_TEXT)?;
        let result = match kind {
            ANY_TEXT => self.any("text").visit_text(visitor),
            ANY_NUMBER => self.any("number").visit_any_number(visitor),
            ANY_BOOL => self.inside("bool").deserialize_bool(visitor),
            ANY_MAP => self.inside(MAP).visit_map(visitor),
            ANY_LIST => self.inside("list").deserialize_seq(visitor),
            ANY_NOTHING => self.inside("nothing").deserialize_unit(visitor),
            ANY_NEGATIVE => visitor.visit_i64(-1),
            _ => self.inside("float").deserialize_f64(visitor),
        };
        self.settle(None, result)
    }

    fn any(&self, mark: &str) -> Self {
        Self {
            is_any: true,
            ..self.inside(mark)
        }
    }

    fn visit_any_number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        // Small enough for every type, and seldom the same twice.
        let own = self.place.number() as u64 % 100 + 11;
        let mut numbers = self.session.leaves.numbers::<u64>(&self.place.field);
        numbers.retain(|number| *number != own);
        numbers.insert(0, own);
        let number = self.leaf(&numbers, 0)?;
        if let Some(slot) = self.session.trace.borrow_mut().slots.last_mut() {
            slot.fed = Given::Number(number);
        }
        self.settle(None, visitor.visit_u64(number))
    }

    /// Answers a map's first key that asks for a name.
    fn learn<V>(&self, map: &str) -> Result<V, Fault> {
        let mut trace = self.session.trace.borrow_mut();
        trace.learned.push(map.to_owned());
        Err(Fault::Again)
    }
}

macro_rules! numbers {
    ($($method:ident => $visit:ident($number:ty);)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
                let numbers = self.session.leaves.numbers::<$number>(&self.place.field);
                let number = self.leaf(&numbers, leaves::TURNS)?;
                self.settle(None, visitor.$visit(number))
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Fault;

    numbers! {
        deserialize_i8 => visit_i8(i8);
        deserialize_i16 => visit_i16(i16);
        deserialize_i32 => visit_i32(i32);
        deserialize_i64 => visit_i64(i64);
        deserialize_i128 => visit_i128(i128);
        deserialize_u8 => visit_u8(u8);
        deserialize_u16 => visit_u16(u16);
        deserialize_u32 => visit_u32(u32);
        deserialize_u64 => visit_u64(u64);
        deserialize_u128 => visit_u128(u128);
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.map {
            Some(map) => self.learn(map),
            None => self.visit_any(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = self.leaf(&[true, false], 0)?;
        self.settle(None, visitor.visit_bool(value))
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = self.leaf(leaves::FLOATS, 2)?;
        self.settle(None, visitor.visit_f32(number))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = self.leaf(leaves::FLOATS, 2)?;
        self.settle(None, visitor.visit_f64(number.into()))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let value = self.leaf(leaves::CHARS, 0)?;
        self.settle(None, visitor.visit_char(value))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit_text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit_text(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = self.text(Ask::Leaf)?;
        self.settle(None, visitor.visit_bytes(text.as_bytes()))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = self.text(Ask::Leaf)?;
        self.settle(None, visitor.visit_byte_buf(text.into_bytes()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_deep() {
            self.enter()?;
            return self.settle(None, visitor.visit_none());
        }
        let result = match self.pick(Ask::Option, 2, 0)? {
            0 => visitor.visit_some(self.inside("some")),
            _ => visitor.visit_none(),
        };
        self.settle(None, result)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.enter()?;
        self.settle(None, visitor.visit_unit())
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.depth += 1;
        self.enter()?;
        let inner = self.clone();
        self.settle(None, visitor.visit_newtype_struct(inner))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let length = self.length()?;
        self.visit_list(visitor, length, false)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.enter()?;
        self.visit_list(visitor, length, true)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.within(name).deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.enter()?;
        self.visit_map(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.enter()?;
        self.within(name).visit_fields(visitor, fields)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let bias = self.session.plan.bias.get(name).copied();
        let first = match self.count(name) {
            0 => 0,
            _ => bias.unwrap_or(0),
        };
        let pick = self.pick(Ask::Variant, variants.len(), first)?;
        let variant = Variant {
            probe: self.inside(variants[pick]).within(name),
            name: variants[pick],
        };
        self.settle(None, visitor.visit_enum(variant))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Some(map) = &self.map {
            return self.learn(map);
        }
        let text = self.text(Ask::Word)?;
        self.settle(None, visitor.visit_str(&text))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.enter()?;
        let key = self.place.key.clone();
        self.session.trace.borrow_mut().ignored.insert(key);
        self.settle(None, visitor.visit_unit())
    }
}

/// The elements of a list or tuple.
struct List<'a, 's> {
    probe: &'a Probe<'s>,
    length: usize,
    is_named: bool,
    next: usize,
}

impl<'de> SeqAccess<'de> for List<'_, '_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        if self.next == self.length {
            return Ok(None);
        }
        let index = self.next.to_string();
        self.next += 1;
        let place = &self.probe.place;
        let place = match self.is_named {
            true => Place {
                field: place.field.clone(),
                ..place.field(&index)
            },
            false => place.inside(&index),
        };
        seed.deserialize(self.probe.at(place)).map(Some)
    }
}

/// The entries of a map with keys of any kind.
struct Entries<'a, 's> {
    probe: &'a Probe<'s>,
    length: usize,
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        if self.next == self.length {
            return Ok(None);
        }
        let mut key = self.probe.inside(&format!("key {}", self.next));
        key.map = Some(self.probe.place.key.clone());
        self.next += 1;
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self.probe.inside(&format!("value {}", self.next)))
    }
}

/// The fields of a struct.
struct Fields<'a, 's> {
    probe: &'a Probe<'s>,
    names: &'a [Name],
    next: &'a Cell<usize>,
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        let Some(name) = self.names.get(self.next.get()) else {
            return Ok(None);
        };
        self.next.set(self.next.get() + 1);
        match name {
            Name::Text(name) => seed.deserialize(name.as_str().into_deserializer()),
            Name::Index(index) => seed.deserialize((*index).into_deserializer()),
        }
        .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let last = self.next.get().checked_sub(1);
        let name = last.and_then(|last| self.names.get(last));
        let name = name.ok_or_else(|| Fault::custom("a value without a key"))?;
        seed.deserialize(self.probe.at(name.place(&self.probe.place)))
    }
}

/// A variant of an enum, and what it holds.
struct Variant<'s> {
    probe: Probe<'s>,
    name: &'static str,
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let variant = seed.deserialize(self.name.into_deserializer())?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self.probe)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.probe.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.probe.enter()?;
        self.probe.visit_fields(visitor, fields)
    }
}
