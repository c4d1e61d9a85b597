//! The package of npm that the tests come in.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use super::own_file;
use crate::services::install;

const NAME: &str = "http-cache-tests";

/// Installs the package in the version that our `package.json` names, and gives its folder.
pub(super) fn package() -> Result<PathBuf> {
    let manifest = own_file("http-suite/package.json");
    let text = fs::read_to_string(&manifest)
        .with_context(|| format!("{} cannot be read", manifest.display()))?;
    let manifest: Value = serde_json::from_str(&text).context("package.json is no JSON")?;
    let version = manifest["dependencies"][NAME]
        .as_str()
        .with_context(|| format!("package.json does not name {NAME}"))?;
    let folder = install::npm(&format!("{NAME}=={version}"), &own_file("http-suite"))?;
    Ok(folder.join("node_modules").join(NAME))
}
