//! The features of the facade, as its manifest names them.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::steps::cargo;

/// Every feature of `fast-cache` but `default`.
pub(crate) fn all() -> Result<Vec<String>> {
    let output = cargo("metadata --no-deps --format-version 1")
        .output()
        .context("cargo could not be started")?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("no metadata")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let facade = packages
        .iter()
        .find(|package| package["name"] == "fast-cache")
        .context("there is no package `fast-cache`")?;
    let features = facade["features"].as_object().context("no features")?;
    let names = features.keys().filter(|name| *name != "default");
    Ok(names.cloned().collect())
}
