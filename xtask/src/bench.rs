//! `cargo xtask bench`: measures what is cached beside what a user would pick instead, and writes
//! `benches/RESULTS.md`.

mod build;
mod machine;
mod markdown;
mod tables;
mod wrk;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use self::tables::Table;
use crate::services::Services;
use crate::steps::cargo;

const PACKAGE: &str = "fast-cache-benches";
const REDIS: &str = "FAST_CACHE_TEST_REDIS";

/// The command. Short rounds show that everything works, and measure little.
pub(crate) fn run(is_quick: bool) -> Result<()> {
    let services = Services::start_one(REDIS)?;
    let built = cargo(&format!(
        "build --release -p {PACKAGE} --features peers --bins"
    ))
    .status()?;
    ensure!(built.success(), "cargo ended with {built}");

    let mut tables = Vec::new();
    for program in ["bench-functions", "bench-handlers"] {
        tables.extend(measure(program, is_quick, &[])?);
    }
    if services.address(REDIS).is_some() {
        tables.extend(measure("bench-shared", is_quick, &services.environment())?);
    }
    let plots = folder().join("plots");
    let plots = plots.to_string_lossy();
    tables.extend(measure(
        "bench-growth",
        is_quick,
        &[("FAST_CACHE_PLOTS", &plots)],
    )?);
    tables.extend(wrk::measure(is_quick, services.address(REDIS))?);
    drop(services);
    tables.extend(build::measure(is_quick)?);

    let text = markdown::render(&tables, &machine::describe()?, is_quick);
    let file = folder().join("RESULTS.md");
    std::fs::write(&file, text).context("the results cannot be written")?;
    println!("wrote benches/RESULTS.md");
    Ok(())
}

/// Runs a program that prints a table in each line.
fn measure(program: &str, is_quick: bool, environment: &[(&str, &str)]) -> Result<Vec<Table>> {
    println!("\n$ {program}");
    let output = Command::new(release(program)?)
        .args(is_quick.then_some("--quick"))
        .envs(environment.iter().copied())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{program} could not be started"))?;
    ensure!(
        output.status.success(),
        "{program} ended with {}",
        output.status
    );
    String::from_utf8(output.stdout)?
        .lines()
        .map(Table::parse)
        .collect()
}

/// A program that was built for release: in the folder beside the one of this program.
fn release(program: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("this program is nowhere")?;
    Ok(target
        .join("release")
        .join(program)
        .with_extension(std::env::consts::EXE_EXTENSION))
}

/// The folder of the package that measures.
pub(crate) fn folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.unwrap_or(Path::new(".")).join("benches")
}
