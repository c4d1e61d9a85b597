//! Finds what a type hides from its serialization: a field that a request fills, and that is not written.
//!
//! The key of a handler is made of what `Serialize` writes. Two requests that differ in a field that is
//! not written would share one key, and the second would see the first one's page.
//!
//! Nothing tells the fields of a type, so its own code is asked. A made-up request is fed to its
//! `Deserialize`, which asks for what it wants and says what it refuses, until a value comes out. Then one
//! place is changed at a time. If no other value at a place changes what is written, the place is hidden.
//! So a field that is renamed, or written only sometimes, is not taken for a hidden one, and one that is
//! written as `***` is.
//!
//! What is asked once for each type may take a while: some hundred values are made of a usual one.

mod fault;
mod leaves;
mod maker;
mod plan;
mod probe;
mod search;
#[cfg(test)]
mod tests;
mod written;

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::fault::Fault;
use self::maker::{Built, Maker};
use self::probe::Probe;
use self::search::{Report, search};
use self::written::Written;
use super::KeyBytes;
use super::canonical::{self, CanonicalError};

/// What a type hides from its serialization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hidden {
    /// Nothing, whatever a request holds.
    Nothing,
    /// Nothing among the names that were asked about. The type does not tell which names it knows, since
    /// it flattens another: one that was not asked about may be hidden.
    Open,
    /// This field, with the names of those that it is inside of: `filter.token`.
    Field(String),
    /// It could not be found out.
    Unknown,
}

/// Looks for a field of a type that a request fills, and that is not written.
///
/// The value is one that a request made: its texts are samples of what the type accepts. The names are
/// those that the request holds, at whatever depth; they are of use only where the answer is otherwise
/// [`Hidden::Open`].
///
/// The answer is about the type, and has to be kept: an `Open` one holds for the names that were asked
/// about. The code of the type is run many times, on made-up values; a panic in it is caught, and ends the
/// search.
///
/// Not found is what is hidden only in some states (a `Serialize` by hand that leaves a field out unless
/// another one is set), what is dropped from a list after its first element, and a field in a flattened
/// struct whose name is not asked about. A field for which all made-up texts mean the same, such as one
/// that takes two words of its own and reads all others as the first, counts as hidden.
pub(crate) fn hidden_field<T: Serialize + DeserializeOwned>(
    value: &T,
    request_names: &[&str],
) -> Hidden {
    let build = |probe: Probe<'_>| {
        let value = T::deserialize(probe)?;
        let mut bytes = KeyBytes::new();
        // What cannot be written has no key, and hides nothing.
        canonical::write(&mut bytes, &value).map_err(|_: CanonicalError| Fault::Other)?;
        let mut written = Written::default();
        written.read(&value);
        Ok(Built {
            bytes: bytes.to_vec(),
            written,
        })
    };
    let look = || {
        let mut sample = Written::default();
        sample.read(value);
        search(
            &mut Maker::new(&build, &sample, request_names),
            request_names,
        )
    };
    match catch_unwind(AssertUnwindSafe(look)) {
        Ok(report) => verdict(report),
        Err(_) => Hidden::Unknown,
    }
}

fn verdict(report: Report) -> Hidden {
    match report {
        Report {
            field: Some(field), ..
        } => Hidden::Field(field),
        Report {
            is_doubtful: true, ..
        } => Hidden::Unknown,
        Report { is_open: true, .. } => Hidden::Open,
        _ => Hidden::Nothing,
    }
}
