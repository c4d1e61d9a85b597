//! `cargo xtask test`.

use anyhow::Result;

use crate::budget;
use crate::examples;
use crate::features;
use crate::http_suite;
use crate::services::Services;
use crate::steps::Steps;

const LIBRARY: &str =
    "-p fast-cache -p fast-cache-backends -p fast-cache-core -p fast-cache-macros";
/// The packages whose tests depend on the facade's features.
const FEATURED: &str = "-p fast-cache --lib --test it";

/// All packages but the one that brings the peers, whose features would be turned on for all.
const WORKSPACE: &str = "--workspace --exclude fast-cache-benches --all-features";

/// The test that compiles programs, and the features that it needs.
const COMPILED: &str = "programs_compile_or_are_rejected";
const COMPILED_WITH: &str = "axum,bincode,json,memory,msgpack,testing";

/// The tests that need servers, or start their own.
const SERVED: [&str; 6] = [
    "conformance::servers::",
    "dynamodb::",
    "faults::",
    "lock::fleet::",
    "memcached::",
    "redis::",
];

/// `cargo xtask conformance`: the promises that every backend keeps, in a table.
pub(crate) fn conformance() -> Result<()> {
    let services = Services::start()?;
    Steps::default().cargo(
        &format!("test {WORKSPACE} --test it -- --nocapture conformance::servers::"),
        &services.environment(),
    )
}

pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    check(&mut steps)?;
    let services = Services::start()?;
    test(&mut steps, &services.environment())?;
    document(&mut steps)?;
    budget::check(&mut steps)?;
    // The examples and the proxy; with the targets of tests, so that all is built with the same
    // features, which most of it is already.
    steps.cargo(&format!("build {WORKSPACE} --all-targets"), &[])?;
    examples::check(&mut steps, &services)?;
    http_suite::check(&mut steps, &services)?;
    steps.summarize();
    Ok(())
}

/// Formatting and lints, with warnings denied. Clippy knows the oldest Rust that is supported from
/// the manifest, and finds what that one does not have.
fn check(steps: &mut Steps) -> Result<()> {
    const DENY: &str = "-- -D warnings -D clippy::incompatible_msrv";

    steps.cargo("fmt --all --check", &[])?;
    steps.cargo(&format!("clippy {WORKSPACE} --all-targets {DENY}"), &[])?;
    steps.cargo(
        &format!("clippy -p fast-cache-benches --all-targets --all-features {DENY}"),
        &[],
    )?;
    for features in ["--no-default-features", ""] {
        steps.cargo(&format!("clippy {LIBRARY} {features} {DENY}"), &[])?;
    }
    Ok(())
}

/// Tests of every feature set that users pick: all, the default ones, none, and each alone.
fn test(steps: &mut Steps, servers: &[(&str, &str)]) -> Result<()> {
    // Tests that start and stop servers want the machine for themselves, and not beside a compiler.
    let (with_servers, skipped) = (SERVED.join(" "), SERVED.join(" --skip "));
    steps.cargo(
        &format!("test {WORKSPACE} --all-targets -- --skip {COMPILED} --skip {skipped}"),
        servers,
    )?;
    // It builds everything once more, in a folder of its own: without the largest backends.
    steps.cargo(
        &format!("test -p fast-cache --features {COMPILED_WITH} --test ui"),
        &[],
    )?;
    steps.cargo(
        &format!("test {WORKSPACE} --test it -- --test-threads 2 {with_servers}"),
        servers,
    )?;
    // Under another configuration everything is built once more, in a folder of its own.
    steps.cargo(
        "test -p fast-cache-core --lib --target-dir target/model flight::model",
        &[("RUSTFLAGS", "--cfg shuttle")],
    )?;
    steps.cargo(&format!("test {LIBRARY} --all-targets"), &[])?;
    steps.cargo("test -p fast-cache-macros --no-default-features", &[])?;
    steps.cargo(&format!("test {FEATURED} --no-default-features"), &[])?;
    // The servers have been asked with all features, and answer no otherwise with one.
    for feature in features::all()? {
        steps.cargo(
            &format!(
                "test {FEATURED} --no-default-features --features {feature} -- --test-threads 2 --skip {skipped}"
            ),
            &[],
        )?;
    }
    steps.cargo(&format!("test {WORKSPACE} --doc"), &[])?;
    steps.cargo("test -p fast-cache --doc", &[])
}

fn document(steps: &mut Steps) -> Result<()> {
    let deny = [("RUSTDOCFLAGS", "-D warnings")];
    steps.cargo(
        &format!("doc {WORKSPACE} --no-deps --document-private-items"),
        &deny,
    )?;
    steps.cargo(&format!("doc {LIBRARY} --no-deps"), &deny)
}
