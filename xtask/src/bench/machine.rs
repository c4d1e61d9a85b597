//! What was measured on, and with.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::folder;

/// Whose versions are of interest.
const PEERS: [&str; 12] = [
    "axum",
    "axum-response-cache",
    "cached",
    "foldhash",
    "hitbox",
    "hitbox-fn",
    "hitbox-moka",
    "moka",
    "quick_cache",
    "redis",
    "tokio",
    "tower-http-cache",
];

/// Lines of a list.
pub(super) fn describe() -> Result<Vec<String>> {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let commit = first_line("git", &["rev-parse", "--short", "HEAD"]);
    Ok(vec![
        format!(
            "date: {}",
            first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"])
        ),
        format!("commit: {commit}"),
        format!(
            "machine: {}, {cores} cores, {}",
            model.as_deref().unwrap_or("unknown"),
            first_line("uname", &["-sr"])
        ),
        format!("load before: {}", load()),
        format!(
            "compiler: {}, release profile",
            first_line("rustc", &["-V"])
        ),
        format!("crates: {}", versions()?),
        format!(
            "servers: {}; {}",
            first_line("redis-server", &["--version"]),
            first_line("wrk", &["-v"])
        ),
    ])
}

/// What `Cargo.lock` says; of several versions the highest, which is the one that is named here.
fn versions() -> Result<String> {
    let lock = fs::read_to_string(folder().join("../Cargo.lock")).context("no Cargo.lock")?;
    let mut found = Vec::new();
    for peer in PEERS {
        let name = format!("name = \"{peer}\"");
        let versions = lock.split("[[package]]").filter_map(|package| {
            let mut lines = package.trim().lines();
            (lines.next()? == name).then(|| lines.next())?
        });
        let version = versions.last().unwrap_or_default();
        let version = version.trim_start_matches("version = ").trim_matches('"');
        found.push(format!("{peer} {version}"));
    }
    Ok(found.join(", "))
}

fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(", ")
}

/// The first line that a program prints, wherever; nothing if there is no such program.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let printed = output.map(|output| [output.stdout, output.stderr].concat());
    let printed = printed.unwrap_or_default();
    let text = String::from_utf8_lossy(&printed);
    text.lines().next().unwrap_or_default().trim().to_owned()
}
