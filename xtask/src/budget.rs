//! `cargo xtask budget`: what a hit may take, counted in instructions and allocations, which do not depend on
//! how busy the machine is.
//!
//! The budget is `benches/budget/budget.toml`. A hit over it fails; so does one far below it, since a budget
//! that is not lowered lets the next change give away what was won.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bench::folder;
use crate::services::{if_possible, install};
use crate::steps::{Steps, cargo};

/// The version of the crate and of the program that runs it, which have to be the same.
const GUNGRAUN: &str = "0.20.0";
const FILE: &str = "budget/budget.toml";
const BUILD: &str = "-p fast-cache-benches --features budget";
/// How many hits are counted at once.
const HITS: f64 = 100.0;
/// How much more a new budget allows than was counted: another compiler counts a little differently.
const MARGIN: f64 = 1.03;
/// What is below this part of its budget has outgrown it.
const LOOSE: f64 = 0.9;

const HEADER: &str = "\
# What one hit may take at most: instructions, which are what was counted and 3 percent, and allocations,
# which are exact. `cargo xtask budget` compares, and with `--write` writes this anew.

";

/// What one hit takes, or may take; parts of one are counted as a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    instructions: u64,
    allocations: u64,
}

type Costs = BTreeMap<String, Cost>;

/// The command. `--write` makes a new budget of what is counted.
pub(crate) fn run(writes: bool) -> Result<()> {
    let counted = count()?;
    if writes {
        fs::write(folder().join(FILE), render(&counted)?)?;
        println!("wrote benches/{FILE}");
    }
    judge(&counted)
}

/// The check as one step of many, where valgrind can be had.
pub(crate) fn check(steps: &mut Steps) -> Result<()> {
    let counted = if_possible(valgrind().map(|()| count()))?;
    let Some(counted) = counted else {
        return Ok(());
    };
    let counted = counted?;
    steps.step("the budget of a hit", || judge(&counted))
}

fn valgrind() -> Result<()> {
    // Without the symbols of libc, valgrind refuses to start.
    install::debian(&[("valgrind", "valgrind")])
}

fn judge(counted: &Costs) -> Result<()> {
    let text = fs::read_to_string(folder().join(FILE)).context("there is no budget")?;
    let budget = toml::from_str(&text).with_context(|| format!("benches/{FILE}"))?;
    for (name, cost) in counted {
        let Cost {
            instructions,
            allocations,
        } = cost;
        println!("{name:10} {instructions:8} instructions, {allocations} allocations");
    }
    let complaints = compare(&budget, counted);
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    ensure!(
        complaints.is_empty(),
        "{} do not fit benches/{FILE}",
        complaints.len()
    );
    Ok(())
}

/// One line for each count that does not fit.
fn compare(budget: &Costs, counted: &Costs) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, cost) in counted {
        let Some(allowed) = budget.get(name) else {
            complaints.push(format!("{name} has no budget"));
            continue;
        };
        let counts = [
            ("instructions", cost.instructions, allowed.instructions),
            ("allocations", cost.allocations, allowed.allocations),
        ];
        for (what, count, most) in counts {
            let is_loose = (count as f64) < most as f64 * LOOSE;
            if count > most {
                complaints.push(format!("{name}: {count} {what}, and {most} are allowed"));
            } else if is_loose {
                complaints.push(format!(
                    "{name}: {count} {what}, far below the {most} that are allowed: lower the budget \
                     with `cargo xtask budget --write`"
                ));
            }
        }
    }
    let missing = budget.keys().filter(|name| !counted.contains_key(*name));
    complaints.extend(missing.map(|name| format!("{name} was not counted")));
    complaints
}

fn count() -> Result<Costs> {
    let instructions = instructions()?;
    let allocations = allocations()?;
    let mut costs = Costs::new();
    for (name, instructions) in instructions {
        let allocations = allocations.get(&name);
        let allocations = *allocations.with_context(|| format!("no allocations of {name}"))?;
        let cost = Cost {
            instructions: instructions.ceil() as u64,
            allocations: allocations.ceil() as u64,
        };
        costs.insert(name, cost);
    }
    Ok(costs)
}

fn instructions() -> Result<BTreeMap<String, f64>> {
    valgrind()?;
    let runner = install::cargo("gungraun-runner", GUNGRAUN, "runner", "gungraun-runner")?;
    let line = format!("bench --quiet {BUILD} --bench instructions -- --output-format=json");
    let printed = output(cargo(&line).env("GUNGRAUN_RUNNER", runner))?;
    let mut counted = BTreeMap::new();
    for line in printed.lines() {
        let summary: Value = serde_json::from_str(line).context("gungraun printed no JSON")?;
        let count = &summary["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"];
        let (Some(name), Some(count)) = (summary["id"].as_str(), count.as_f64()) else {
            bail!("gungraun printed no count: {line}");
        };
        counted.insert(name.to_owned(), count / HITS);
    }
    Ok(counted)
}

fn allocations() -> Result<BTreeMap<String, f64>> {
    let line = format!("run --quiet --release {BUILD} --bin count-allocations");
    let printed = output(&mut cargo(&line))?;
    let counted = printed.lines().map(|line| {
        let (name, count) = line.split_once(' ').context("no count")?;
        Ok((name.to_owned(), count.parse()?))
    });
    counted.collect()
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    ensure!(
        output.status.success(),
        "cargo ended with {}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn render(counted: &Costs) -> Result<String> {
    let mut budget = counted.clone();
    for cost in budget.values_mut() {
        cost.instructions = (cost.instructions as f64 * MARGIN).ceil() as u64;
    }
    Ok(HEADER.to_owned() + &toml::to_string(&budget)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(instructions: u64, allocations: u64) -> Costs {
        let cost = Cost {
            instructions,
            allocations,
        };
        Costs::from([("number".to_owned(), cost)])
    }

    #[test]
    fn what_was_counted_fits_its_own_budget() {
        let counted = costs(779, 2);
        let budget = toml::from_str(&render(&counted).unwrap()).unwrap();
        assert_eq!(budget, costs(803, 2));
        assert!(compare(&budget, &counted).is_empty());
    }

    #[test]
    fn what_is_over_is_named() {
        let said = compare(&costs(800, 0), &costs(801, 1));
        assert_eq!(
            said,
            [
                "number: 801 instructions, and 800 are allowed",
                "number: 1 allocations, and 0 are allowed"
            ]
        );
    }

    #[test]
    fn a_budget_that_is_far_too_large_is_to_be_lowered() {
        let said = compare(&costs(800, 0), &costs(700, 0));
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("lower the budget"), "{said:?}");
    }

    #[test]
    fn nothing_goes_uncounted() {
        let said = compare(&Costs::new(), &costs(1, 0));
        assert_eq!(said, ["number has no budget"]);
        let said = compare(&costs(1, 0), &Costs::new());
        assert_eq!(said, ["number was not counted"]);
    }
}
