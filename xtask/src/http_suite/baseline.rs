//! The tests that are known to fail.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};

use super::count::Verdict;
use super::own_file;

const FILE: &str = "http-suite/baseline.txt";

/// Tests by id, each with the reason why it does not pass.
#[derive(Debug)]
pub(super) struct Baseline {
    reasons: BTreeMap<String, String>,
}

impl Baseline {
    pub(super) fn read() -> Result<Self> {
        let text = fs::read_to_string(own_file(FILE));
        let parsed = text.map_err(anyhow::Error::from);
        parsed
            .and_then(|text| Self::parse(&text))
            .with_context(|| format!("xtask/{FILE} cannot be read"))
    }

    /// Reads lines of an id, a colon and a reason; others are empty, or begin with `#`.
    fn parse(text: &str) -> Result<Self> {
        let mut reasons = BTreeMap::new();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let entry = line.split_once(": ");
            let (id, reason) = entry.with_context(|| format!("`{line}` has no reason"))?;
            let earlier = reasons.insert(id.to_owned(), reason.trim().to_owned());
            ensure!(earlier.is_none(), "`{id}` stands there twice");
        }
        Ok(Self { reasons })
    }

    /// Says in one line each where the tests that fail are not those of the baseline.
    pub(super) fn compare(&self, verdicts: &[Verdict<'_>]) -> Vec<String> {
        let unexpected = verdicts.iter().filter_map(|verdict| self.judge(verdict));
        let is_test = |id: &str| verdicts.iter().any(|verdict| verdict.test.id == id);
        let unknown = self.reasons.keys().filter(|id| !is_test(id));
        let unknown = unknown.map(|id| {
            format!("`{id}` is no required or optimal test: take it out of xtask/{FILE}")
        });
        unexpected.chain(unknown).collect()
    }

    fn judge(&self, verdict: &Verdict<'_>) -> Option<String> {
        let id = &verdict.test.id;
        match (&verdict.failure, self.reasons.contains_key(id)) {
            (Some(failure), false) => {
                Some(format!("`{id}` passed before, and fails now: {failure}"))
            }
            (None, true) => Some(format!("`{id}` passes now: take it out of xtask/{FILE}")),
            (Some(_), true) | (None, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_suite::catalogue::{Kind, Test};

    /// What is said when the test `ours` passes or fails, with this baseline.
    fn compare(baseline: &str, failure: Option<&str>) -> Vec<String> {
        let test = Test {
            id: "ours".to_owned(),
            name: "a cache passes ours".to_owned(),
            kind: Kind::Required,
            depends_on: Vec::new(),
        };
        let verdict = Verdict {
            test: &test,
            failure: failure.map(str::to_owned),
        };
        Baseline::parse(baseline).unwrap().compare(&[verdict])
    }

    #[test]
    fn an_exact_baseline_says_nothing() {
        assert!(compare("", None).is_empty());
        assert!(compare("# why\n\nours: It cannot pass.\n", Some("it differs")).is_empty());
    }

    #[test]
    fn a_test_that_fails_now_is_named_with_its_message() {
        let said = compare("", Some("it differs"));
        assert_eq!(said, ["`ours` passed before, and fails now: it differs"]);
    }

    #[test]
    fn a_test_that_passes_now_is_to_be_taken_out() {
        let said = compare("ours: It cannot pass.", None);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("`ours` passes now"), "{said:?}");
    }

    #[test]
    fn a_test_that_there_is_not_is_to_be_taken_out() {
        let said = compare("theirs: It cannot pass.", None);
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("`theirs` is no"), "{said:?}");
    }

    #[test]
    fn an_entry_has_a_reason_and_stands_there_once() {
        let bare = Baseline::parse("ours:\n").unwrap_err();
        assert_eq!(bare.to_string(), "`ours:` has no reason");
        let twice = Baseline::parse("ours: One.\nours: Two.\n").unwrap_err();
        assert_eq!(twice.to_string(), "`ours` stands there twice");
    }
}
