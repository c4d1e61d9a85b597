//! What a synthetic value is made of: a decision for every place where there is a choice.

use std::collections::{BTreeSet, HashMap};

/// Between the parts of a place's key.
const SEPARATOR: char = '\u{1f}';

/// Where in a value something stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Tells the place from all others.
    pub(super) key: String,
    /// The names of the fields on the way, with dots.
    pub(super) label: String,
    /// The last of these names.
    pub(super) field: String,
}

impl Place {
    pub(super) fn field(&self, name: &str) -> Self {
        let mut place = self.inside(name);
        if !place.label.is_empty() {
            place.label.push('.');
        }
        place.label.push_str(name);
        name.clone_into(&mut place.field);
        place
    }

    /// A number that few other places have, and that other places do not change.
    pub(super) fn number(&self) -> usize {
        let bytes = self.key.bytes();
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash >> 32) as usize
    }

    /// A place that has no name of its own.
    pub(super) fn inside(&self, mark: &str) -> Self {
        Self {
            key: format!("{}{SEPARATOR}{mark}", self.key),
            ..self.clone()
        }
    }
}

/// Whether a place is another one, or inside of it.
pub(super) fn is_under(key: &str, outer: &str) -> bool {
    key.strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(SEPARATOR))
}

/// The name of a field as it is fed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Text(String),
    /// Derived code takes the number of a field for its name, so that names can be learned.
    Index(u64),
}

impl Name {
    pub(super) fn text(name: &str) -> Self {
        Self::Text(name.to_owned())
    }

    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Text(text) if text == name)
    }

    /// The place of the field, inside of the place of the map.
    pub(super) fn place(&self, map: &Place) -> Place {
        match self {
            Self::Text(name) => map.field(name),
            Self::Index(index) => map.field(&index.to_string()),
        }
    }

    /// The key of that place.
    pub(super) fn key(&self, map: &str) -> String {
        let map = Place {
            key: map.to_owned(),
            ..Place::default()
        };
        self.place(&map).key
    }
}

/// The names that a map is fed with.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) list: Vec<Name>,
    /// Whether the type did not say which names it knows.
    pub(super) is_open: bool,
}

/// The decisions, by the keys of places; where there is none, the first alternative is taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) picks: HashMap<String, usize>,
    pub(super) names: HashMap<String, Names>,
    /// The words that a text has to be one of.
    pub(super) words: HashMap<String, &'static [&'static str]>,
    /// How many alternatives of a place were refused.
    pub(super) refused: HashMap<String, usize>,
    /// Which variant of an enum is taken inside of itself.
    pub(super) bias: HashMap<&'static str, usize>,
    /// Names that were given to a map since something missed them.
    pub(super) given: BTreeSet<(String, String)>,
    /// Names for which no value was found.
    pub(super) unfilled: BTreeSet<(String, String)>,
    /// Kinds of value that were chosen since something expected them.
    pub(super) heeded: BTreeSet<(String, usize)>,
    /// Whether a place was given up that holds more than one value.
    pub(super) is_partial: bool,
}

impl Plan {
    pub(super) fn with(&self, key: &str, pick: usize) -> Self {
        let mut plan = self.clone();
        plan.picks.insert(key.to_owned(), pick);
        plan
    }

    /// The same, with one more name in a map.
    pub(super) fn with_name(&self, map: &str, name: Name) -> Self {
        let mut plan = self.clone();
        let names = plan.names.entry(map.to_owned()).or_default();
        names.list.push(name);
        plan
    }
}
