//! The results in print.

use super::catalogue::{Catalogue, Kind, Test};
use super::count::{Count, Verdict};
use super::results::Results;

/// Prints what passes, by group and beside other caches, and what fails, with its reason.
pub(super) fn print(catalogue: &Catalogue, results: &Results, verdicts: &[Verdict<'_>]) {
    println!("tests that pass: required/optimal\n");
    for line in align(&rows(catalogue, results)) {
        println!("{line}");
    }
    println!("\ntests that fail:\n");
    for verdict in verdicts {
        if let Some(failure) = &verdict.failure {
            let is_required = verdict.test.kind == Kind::Required;
            let kind = if is_required { "required" } else { "optimal" };
            println!("{kind:8}  {}: {failure}", verdict.test.id);
            println!("{:8}  {}", "", verdict.test.name);
        }
    }
}

fn rows(catalogue: &Catalogue, results: &Results) -> Vec<Vec<String>> {
    let published = catalogue.published.iter();
    let mut columns = vec![("fast-cache", results)];
    columns.extend(published.map(|cache| (cache.name.as_str(), &cache.results)));

    let row = |name: &str, tests: &[&Test]| {
        let mut row = vec![name.to_owned()];
        row.push(Count::of(tests.iter().copied()).to_string());
        row.extend(columns.iter().map(|(_, results)| {
            let passed = catalogue.passed(tests.iter().copied(), results);
            passed.to_string()
        }));
        row
    };

    let names = columns.iter().map(|(name, _)| (*name).to_owned());
    let head = ["group", "all"].map(str::to_owned);
    let mut rows = vec![head.into_iter().chain(names).collect()];
    for group in &catalogue.groups {
        rows.push(row(&group.name, &group.tests.iter().collect::<Vec<_>>()));
    }
    rows.push(row("total", &catalogue.tests().collect::<Vec<_>>()));
    rows
}

/// Puts the cells of each column below each other: the first to the left, the others to the right.
fn align(rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let cell = |(column, cell): (usize, &String)| match column {
        0 => format!("{cell:<0$}", width(column)),
        _ => format!("  {cell:>0$}", width(column)),
    };
    let rows = rows.iter();
    rows.map(|row| row.iter().enumerate().map(cell).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["group", "us"], ["a", "10/2"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(align(&rows), ["group    us", "a      10/2"]);
    }
}
