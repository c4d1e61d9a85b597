//! The report.

use super::tables::{Spread, Table};

/// What `bench-growth` draws.
const PLOTS: [(&str, &str); 6] = [
    ("entries", "the time of a hit, by entries"),
    ("bytes", "the memory of an entry, by entries"),
    ("values", "the time of a hit, by the size of its value"),
    ("hits-zipf-0.8", "hits by room, Zipf 0.8"),
    ("hits-zipf-1.0", "hits by room, Zipf 1.0"),
    ("hits-scans", "hits by room, Zipf 1.0 with scans"),
];

/// The text of `benches/RESULTS.md`.
pub(super) fn render(tables: &[Table], machine: &[String], is_quick: bool) -> String {
    let mut text = String::from(
        "# Side by side\n\n\
         Written by `cargo xtask bench`, which runs everything here anew; `--quick` only shows that it \
         works.\n\n\
         All contenders of a table run in one process, with the same keys, values and bounds, and take turns \
         in short rounds, so that a slow moment of the machine meets all of them. Each number is the median \
         over the rounds, with the range of four out of five rounds behind it. A ratio says how often ours, \
         the first row, goes into the contender of its row; it is taken round by round, so it is steadier than \
         the times. Peers are set up as their own documentation recommends, in their fastest sensible \
         configuration; how exactly is in `benches/src`. Over `wrk`, servers are processes that take turns.\n\n",
    );
    if is_quick {
        text.push_str("**These are short rounds, which measure little.**\n\n");
    }
    for line in machine {
        text.push_str(&format!("- {line}\n"));
    }
    text.push_str(&not_ahead(tables));
    text.push_str("\n## Plots\n\n");
    for (plot, what) in PLOTS {
        text.push_str(&format!("![{what}](plots/{plot}.svg)\n"));
    }
    text.push_str("\n## Tables\n");
    for table in tables {
        text.push_str(&section(table));
    }
    text
}

fn not_ahead(tables: &[Table]) -> String {
    let mut text = String::from("\n## What is not ahead yet\n\n");
    let empty = text.len();
    for table in tables {
        for goal in table.goals.iter().filter(|goal| !goal.is_met) {
            text.push_str(&format!("- {}: not {}\n", table.title, goal.text));
        }
    }
    if text.len() == empty {
        text.push_str("Every goal below is met.\n");
    } else {
        text.push_str("\nWhy, and the profiles that say so: [PROFILE.md](PROFILE.md).\n");
    }
    text
}

fn section(table: &Table) -> String {
    let unit = &table.unit;
    let mut text = format!("\n### {}\n\n", table.title);
    text.push_str(&format!("| | {unit} | range | ratio | range |\n"));
    text.push_str("| --- | ---: | ---: | ---: | ---: |\n");
    for row in &table.rows {
        text.push_str(&format!(
            "| {} | {} | {} | {:.2} | {} |\n",
            row.name,
            number(row.value.median),
            range(row.value, number),
            row.ratio.median,
            range(row.ratio, |ratio| format!("{ratio:.2}")),
        ));
    }
    if !table.goals.is_empty() {
        text.push('\n');
    }
    for goal in &table.goals {
        let verdict = if goal.is_met { "met" } else { "**not met**" };
        text.push_str(&format!("- {}: {verdict}\n", goal.text));
    }
    text
}

fn range(spread: Spread, show: impl Fn(f64) -> String) -> String {
    format!("{} to {}", show(spread.low), show(spread.high))
}

/// Three digits, or all before the point.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
