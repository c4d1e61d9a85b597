//! `cargo xtask http-suite`: what the tests of HTTP caches behind <https://cache-tests.fyi> say of
//! `CacheLayer`, by way of the example `reverse-proxy`.
//!
//! The tests that it does not pass are listed in `xtask/http-suite/baseline.txt`, and this fails when
//! that list is not exact.

mod baseline;
mod catalogue;
mod count;
mod install;
mod results;
mod run;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use self::baseline::Baseline;
use self::catalogue::Catalogue;
use crate::services::{self, Services};
use crate::steps::Steps;

const REDIS: &str = "FAST_CACHE_TEST_REDIS";

/// The command.
pub(crate) fn run() -> Result<()> {
    let services = Services::start_one(REDIS)?;
    let mut steps = Steps::default();
    steps.cargo(&format!("build -p {}", run::PROXY), &[])?;
    check(&mut steps, &services)?;
    steps.summarize();
    Ok(())
}

/// Runs the tests on the proxy that is built, in memory, and over Redis where that is among the
/// `services`.
pub(crate) fn check(steps: &mut Steps, services: &Services) -> Result<()> {
    let suite = Suite::load().context("the tests of HTTP caches are missing");
    let Some(suite) = services::if_possible(suite)? else {
        return Ok(());
    };
    steps.step("http-suite in memory", || suite.judge(None))?;
    if let Some(redis) = services.address(REDIS) {
        steps.step("http-suite over Redis", || suite.judge(Some(redis)))?;
    }
    Ok(())
}

/// The installed tests.
struct Suite {
    package: PathBuf,
    catalogue: Catalogue,
}

impl Suite {
    fn load() -> Result<Self> {
        let package = install::package()?;
        let catalogue = Catalogue::read(&package)?;
        Ok(Self { package, catalogue })
    }

    fn judge(&self, redis: Option<&str>) -> Result<()> {
        let baseline = Baseline::read()?;
        let results = run::run(&self.package, redis)?;
        let verdicts = self.catalogue.verdicts(&results);
        table::print(&self.catalogue, &results, &verdicts);
        let differences = baseline.compare(&verdicts);
        ensure!(
            differences.is_empty(),
            "the baseline is not exact:\n{}",
            differences.join("\n")
        );
        Ok(())
    }
}

/// A file of this package, which cargo runs where it was built.
fn own_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
