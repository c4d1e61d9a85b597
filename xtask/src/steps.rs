//! Running commands one after the other, and keeping count.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// What has been done so far.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<(String, f64)>,
}

impl Steps {
    /// Runs `cargo` with these arguments, and `environment` besides.
    pub(crate) fn cargo(&mut self, line: &str, environment: &[(&str, &str)]) -> Result<()> {
        let shown = shown(line, environment);
        self.step(&shown, || {
            let mut command = cargo(line);
            command.envs(environment.iter().copied());
            let status = command.status().context("cargo could not be started")?;
            if !status.success() {
                bail!("it ended with {status}");
            }
            Ok(())
        })
    }

    /// Does something that has a name.
    pub(crate) fn step(&mut self, name: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n$ {name}");
        let began = Instant::now();
        step().with_context(|| format!("this step failed: {name}"))?;
        self.done
            .push((name.to_owned(), began.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Says what was done.
    pub(crate) fn summarize(&self) {
        println!();
        for (name, seconds) in &self.done {
            println!("{seconds:7.1} s  {name}");
        }
        println!("\n{} passed, 0 failed", self.done.len());
    }
}

/// `cargo` with these arguments; what CI runs may not change the lock file.
///
/// Builds are not incremental: each feature set is built once, so that what the compiler would
/// keep for the next build is read by nobody, and is a third of all that a run writes to the disk.
pub(crate) fn cargo(line: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.env("CARGO_INCREMENTAL", "0");
    let mut words = line.split_whitespace();
    command.args(words.next());
    let is_fmt = line.starts_with("fmt");
    if std::env::var_os("CI").is_some() && !is_fmt {
        command.arg("--locked");
    }
    command.args(words);
    command
}

fn shown(line: &str, environment: &[(&str, &str)]) -> String {
    let mut shown = String::new();
    for (name, value) in environment {
        shown.push_str(&format!("{name}='{value}' "));
    }
    shown + "cargo " + line
}
