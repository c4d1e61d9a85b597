//! What was measured, as `cargo xtask bench` reads it.

use serde::Serialize;

/// Contenders at the same work.
#[derive(Debug, Serialize)]
pub struct Table {
    /// What they did.
    pub title: String,
    /// What the numbers count.
    pub unit: &'static str,
    /// The first is ours, and what ratios refer to.
    pub rows: Vec<Row>,
    /// What is promised of it.
    pub goals: Vec<Goal>,
}

/// What a contender took.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Who that is.
    pub name: String,
    /// The spread over all rounds.
    pub value: Spread,
    /// How often ours goes into it, round by round.
    pub ratio: Spread,
}

/// The middle of many values, and the range in which four of five lie.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// The tenth percentile.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The ninetieth percentile.
    pub high: f64,
}

impl Spread {
    /// The spread of at least one value.
    ///
    /// # Panics
    ///
    /// If there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len() - 1;
        let at = |part: f64| sorted[(last as f64 * part).round() as usize];
        Self {
            low: at(0.1),
            median: at(0.5),
            high: at(0.9),
        }
    }

    /// A value that was measured once, or is exact.
    #[must_use]
    pub fn exact(value: f64) -> Self {
        Self::of([value])
    }
}

/// A promise, and what came of it.
#[derive(Debug, Serialize)]
pub struct Goal {
    /// What was promised, and what was measured.
    pub text: String,
    /// Whether it was kept.
    pub is_met: bool,
}

impl Table {
    /// Promises that ours takes at most so many times what another takes.
    #[must_use]
    pub fn at_most_times(self, factor: f64, other: &str) -> Self {
        let ratio = 1.0 / self.row(other).ratio.median;
        self.promise(
            format!("at most {factor}x {other}: {ratio:.2}x"),
            ratio <= factor,
        )
    }

    /// Promises that ours takes at most so much more than another takes.
    #[must_use]
    pub fn at_most_above(self, difference: f64, other: &str) -> Self {
        let more = self.rows[0].value.median - self.row(other).value.median;
        let unit = self.unit;
        self.promise(
            format!("at most {difference} {unit} above {other}: {more:.0} {unit}"),
            more <= difference,
        )
    }

    /// Promises that ours takes less than each of the others.
    #[must_use]
    pub fn below(self, others: &[&str]) -> Self {
        others.iter().fold(self, |table, other| {
            let ratio = table.row(other).ratio.median;
            let text = format!("below {other}, which takes {ratio:.2}x as long");
            table.promise(text, ratio > 1.0)
        })
    }

    /// Adds a promise.
    #[must_use]
    pub fn promise(mut self, text: String, is_met: bool) -> Self {
        self.goals.push(Goal { text, is_met });
        self
    }

    /// The row of a contender.
    ///
    /// # Panics
    ///
    /// If there is none of that name.
    #[must_use]
    pub fn row(&self, name: &str) -> &Row {
        let found = self.rows.iter().find(|row| row.name == name);
        found.unwrap_or_else(|| panic!("nobody is called {name}"))
    }

    /// Prints this as a line of JSON.
    ///
    /// # Panics
    ///
    /// If a number is not finite.
    pub fn print(&self) {
        println!("{}", serde_json::to_string(self).unwrap());
    }
}
