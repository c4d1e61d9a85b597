//! What a run of the tests found, as the package prints it.

use std::collections::HashMap;

use anyhow::{Context, Result};
use serde_json::Value;

/// What became of each test by itself, whatever became of those that it depends on.
pub(super) struct Results {
    /// Nothing for a test that found what it looked for, and otherwise what it says.
    found: HashMap<String, Result<(), String>>,
}

impl Results {
    /// Takes the results out of what the client printed, which may have said something before.
    pub(super) fn parse(printed: &str) -> Result<Self> {
        let start = printed.find('{').context("there are no results")?;
        let value = serde_json::from_str(&printed[start..]).context("the results are no JSON")?;
        Self::from_json(&value)
    }

    /// Reads `true`, or a kind of failure and a message, by the id of a test.
    pub(super) fn from_json(value: &Value) -> Result<Self> {
        let tests = value.as_object().context("the results are no object")?;
        let found = tests.iter().map(|(id, result)| (id.clone(), own(result)));
        Ok(Self {
            found: found.collect(),
        })
    }

    /// What became of one test.
    pub(super) fn own(&self, id: &str) -> Result<(), String> {
        let found = self.found.get(id).cloned();
        found.unwrap_or_else(|| Err("it was not run".to_owned()))
    }
}

fn own(result: &Value) -> Result<(), String> {
    if result == true {
        return Ok(());
    }
    Err(match (result[0].as_str(), result[1].as_str()) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        _ => result.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_follow_what_else_was_printed() {
        let printed = "a warning\n{\"one\": true, \"two\": [\"Setup\", \"no answer\"]}\n";
        let results = Results::parse(printed).unwrap();
        assert_eq!(results.own("one"), Ok(()));
        assert_eq!(results.own("two"), Err("Setup: no answer".to_owned()));
        assert_eq!(results.own("three"), Err("it was not run".to_owned()));
    }

    #[test]
    fn a_run_that_printed_nothing_has_no_results() {
        assert!(Results::parse("it broke").is_err());
    }
}
