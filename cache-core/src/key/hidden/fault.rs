//! Why a made-up value was refused.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Error, Expected, Unexpected};

/// How many faults of one attempt are remembered.
const MOST: usize = 256;

/// What was refused, where it can be told from all else that was fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Text(String),
    Number(u64),
    Other,
}

impl From<Unexpected<'_>> for Given {
    fn from(given: Unexpected<'_>) -> Self {
        match given {
            Unexpected::Str(text) => Self::Text(text.to_owned()),
            Unexpected::Unsigned(number) => Self::Number(number),
            _ => Self::Other,
        }
    }
}

/// What `Deserialize` says against what it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A map turned out to ask for names; the next attempt knows.
    Again,
    /// Types nest without end; the innermost enum or struct.
    TooDeep(&'static str),
    Missing(&'static str),
    Duplicate(&'static str),
    UnknownName {
        given: String,
        known: &'static [&'static str],
    },
    UnknownWord {
        given: String,
        known: &'static [&'static str],
    },
    /// A value of another kind was expected.
    Kind {
        given: Given,
        expected: String,
    },
    /// Another value of this kind was expected.
    Value(Given),
    /// A list of another length was expected.
    Length {
        given: usize,
        expected: String,
    },
    /// Everything else: a text that does not parse, a check of the type's own.
    Other,
}

impl Fault {
    /// How far an attempt got: a value of the wrong kind is farther from success than a wrong value, and
    /// that is farther than a missing one.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Again | Self::TooDeep(_) => 0,
            Self::Kind { .. } => 1,
            Self::Value(_) | Self::Length { .. } | Self::Other => 2,
            _ => 3,
        }
    }
}

/// How much was refused in an attempt.
pub(super) fn noise(heard: &[Fault]) -> u32 {
    let faults = heard.iter();
    faults.map(|fault| u32::from(4 - fault.rank())).sum()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: fmt::Display>(_: T) -> Self {
        noted(Self::Other)
    }

    fn invalid_type(given: Unexpected<'_>, expected: &dyn Expected) -> Self {
        noted(Self::Kind {
            given: given.into(),
            expected: expected.to_string(),
        })
    }

    fn invalid_value(given: Unexpected<'_>, _: &dyn Expected) -> Self {
        noted(Self::Value(given.into()))
    }

    fn invalid_length(given: usize, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        noted(Self::Length { given, expected })
    }

    fn unknown_variant(given: &str, known: &'static [&'static str]) -> Self {
        let given = given.to_owned();
        noted(Self::UnknownWord { given, known })
    }

    fn unknown_field(given: &str, known: &'static [&'static str]) -> Self {
        let given = given.to_owned();
        noted(Self::UnknownName { given, known })
    }

    fn missing_field(name: &'static str) -> Self {
        noted(Self::Missing(name))
    }

    fn duplicate_field(name: &'static str) -> Self {
        noted(Self::Duplicate(name))
    }
}

thread_local! {
    static HEARD: RefCell<Vec<Fault>> = const { RefCell::new(Vec::new()) };
}

fn noted(fault: Fault) -> Fault {
    HEARD.with_borrow_mut(|heard| {
        if heard.len() < MOST {
            heard.push(fault.clone());
        }
    });
    fault
}

/// Runs an attempt, and returns all faults that were made meanwhile: an untagged enum and a flattened
/// option swallow those of what they try.
pub(super) fn overhear<R>(attempt: impl FnOnce() -> R) -> (R, Vec<Fault>) {
    HEARD.take();
    let result = attempt();
    (result, HEARD.take())
}
