//! What programs print.

use anyhow::{Context, Result};
use serde_json::Value;

/// Contenders at the same work, ours first.
pub(super) struct Table {
    pub(super) title: String,
    pub(super) unit: String,
    pub(super) rows: Vec<Row>,
    pub(super) goals: Vec<Goal>,
}

pub(super) struct Row {
    pub(super) name: String,
    pub(super) value: Spread,
    pub(super) ratio: Spread,
}

/// A median, and the range of four out of five.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
}

/// What was promised.
pub(super) struct Goal {
    pub(super) text: String,
    pub(super) is_met: bool,
}

impl Table {
    pub(super) fn parse(line: &str) -> Result<Self> {
        let parsed = serde_json::from_str(line).ok();
        let table = parsed.as_ref().and_then(read);
        table.with_context(|| format!("this is no table: {line}"))
    }
}

impl Spread {
    /// The spread of values, of which there is at least one.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1) as f64;
        let at = |part: f64| sorted.get((last * part).round() as usize).copied();
        let at = |part| at(part).unwrap_or_default();
        Self {
            low: at(0.1),
            median: at(0.5),
            high: at(0.9),
        }
    }
}

fn read(table: &Value) -> Option<Table> {
    let rows = table["rows"].as_array()?.iter().map(|row| {
        Some(Row {
            name: row["name"].as_str()?.to_owned(),
            value: spread(&row["value"])?,
            ratio: spread(&row["ratio"])?,
        })
    });
    let goals = table["goals"].as_array()?.iter().map(|goal| {
        Some(Goal {
            text: goal["text"].as_str()?.to_owned(),
            is_met: goal["is_met"].as_bool()?,
        })
    });
    Some(Table {
        title: table["title"].as_str()?.to_owned(),
        unit: table["unit"].as_str()?.to_owned(),
        rows: rows.collect::<Option<_>>()?,
        goals: goals.collect::<Option<_>>()?,
    })
}

fn spread(spread: &Value) -> Option<Spread> {
    Some(Spread {
        low: spread["low"].as_f64()?,
        median: spread["median"].as_f64()?,
        high: spread["high"].as_f64()?,
    })
}
