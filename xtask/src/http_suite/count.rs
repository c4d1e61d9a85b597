//! Which tests count as passed.

use std::fmt;

use super::catalogue::{Catalogue, Kind, Test};
use super::results::Results;

/// What is said of a required or an optimal test.
pub(super) struct Verdict<'a> {
    pub(super) test: &'a Test,
    /// Why it does not count as passed, if it does not.
    pub(super) failure: Option<String>,
}

/// How many tests there are, or how many of them pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) required: usize,
    pub(super) optimal: usize,
}

impl Catalogue {
    /// Every required and every optimal test with what these results say of it.
    pub(super) fn verdicts(&self, results: &Results) -> Vec<Verdict<'_>> {
        let counted = self.tests().filter(|test| test.kind != Kind::Check);
        counted
            .map(|test| Verdict {
                test,
                failure: self.failure(test, results),
            })
            .collect()
    }

    /// Counts the tests among these that pass.
    pub(super) fn passed<'a>(
        &self,
        tests: impl IntoIterator<Item = &'a Test>,
        results: &Results,
    ) -> Count {
        let tests = tests.into_iter();
        Count::of(tests.filter(|test| self.failure(test, results).is_none()))
    }

    /// Why a test does not count as passed. One that passes by itself says nothing if one that it
    /// depends on does not pass, be that a mere check.
    fn failure(&self, test: &Test, results: &Results) -> Option<String> {
        if let Err(message) = results.own(&test.id) {
            return Some(message);
        }
        let failed = test.depends_on.iter().find(|id| {
            let known = self.tests().find(|test| test.id == **id);
            known.is_none_or(|test| self.failure(test, results).is_some())
        })?;
        Some(format!("it depends on `{failed}`, which does not pass"))
    }
}

impl Count {
    pub(super) fn of<'a>(tests: impl IntoIterator<Item = &'a Test>) -> Self {
        let mut count = Self::default();
        for test in tests {
            match test.kind {
                Kind::Required => count.required += 1,
                Kind::Optimal => count.optimal += 1,
                Kind::Check => {}
            }
        }
        count
    }
}

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.required, self.optimal)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http_suite::catalogue::Group;

    fn test(id: &str, kind: Kind, depends_on: &[&str]) -> Test {
        Test {
            id: id.to_owned(),
            name: format!("a cache passes {id}"),
            kind,
            depends_on: depends_on.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    fn catalogue() -> Catalogue {
        let tests = vec![
            test("first", Kind::Required, &[]),
            test("second", Kind::Check, &["first"]),
            test("third", Kind::Optimal, &["second"]),
            test("apart", Kind::Required, &[]),
            test("lost", Kind::Required, &["nowhere"]),
        ];
        let name = "a group".to_owned();
        Catalogue {
            groups: vec![Group { name, tests }],
            published: Vec::new(),
        }
    }

    /// Results in which all tests pass but those named.
    fn results(failed: &[&str]) -> Results {
        let ids = ["first", "second", "third", "apart", "lost"];
        let result = |id| match failed.contains(&id) {
            true => json!(["Assertion", "it differs"]),
            false => json!(true),
        };
        let results = ids.map(|id| (id.to_owned(), result(id)));
        Results::from_json(&results.into_iter().collect()).unwrap()
    }

    fn failure(id: &str, failed: &[&str]) -> Option<String> {
        let (catalogue, results) = (catalogue(), results(failed));
        let test = catalogue.tests().find(|test| test.id == id).unwrap();
        catalogue.failure(test, &results)
    }

    #[test]
    fn a_test_passes_with_all_that_it_depends_on() {
        assert_eq!(failure("third", &[]), None);
        assert_eq!(failure("third", &["apart"]), None);
    }

    #[test]
    fn a_test_says_why_it_fails_itself() {
        let failure = failure("third", &["first", "third"]);
        assert_eq!(failure.as_deref(), Some("Assertion: it differs"));
    }

    #[test]
    fn a_check_that_fails_takes_what_depends_on_it_along() {
        let failure = failure("third", &["second"]).unwrap();
        assert!(failure.contains("depends on `second`"), "{failure}");
    }

    #[test]
    fn dependencies_are_followed_through_checks() {
        let failure = failure("third", &["first"]).unwrap();
        assert!(failure.contains("depends on `second`"), "{failure}");
    }

    #[test]
    fn a_test_fails_that_depends_on_one_that_was_left_out() {
        let failure = failure("lost", &[]).unwrap();
        assert!(failure.contains("depends on `nowhere`"), "{failure}");
    }

    #[test]
    fn checks_are_not_counted() {
        let catalogue = catalogue();
        let all = Count::of(catalogue.tests());
        assert_eq!((all.required, all.optimal), (3, 1));
        let passed = catalogue.passed(catalogue.tests(), &results(&["first"]));
        assert_eq!((passed.required, passed.optimal), (1, 0));
        let verdicts = catalogue.verdicts(&results(&[]));
        let ids: Vec<_> = verdicts.iter().map(|verdict| &verdict.test.id).collect();
        assert_eq!(ids, ["first", "third", "apart", "lost"]);
    }
}
