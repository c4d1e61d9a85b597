//! The tests that there are, and how other caches did, as the package knows it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::own_file;
use super::results::Results;

pub(super) struct Catalogue {
    pub(super) groups: Vec<Group>,
    pub(super) published: Vec<Published>,
}

pub(super) struct Group {
    pub(super) name: String,
    pub(super) tests: Vec<Test>,
}

pub(super) struct Test {
    pub(super) id: String,
    /// What it asks of a cache.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The tests without which this one says nothing.
    pub(super) depends_on: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Required,
    Optimal,
    /// It finds out what a cache does, which may be either.
    Check,
}

/// Another cache.
pub(super) struct Published {
    pub(super) name: String,
    pub(super) results: Results,
}

impl Catalogue {
    /// Asks the package in this folder.
    pub(super) fn read(package: &Path) -> Result<Self> {
        let output = Command::new("node")
            .arg(own_file("src/http_suite/catalogue.mjs"))
            .arg(package)
            .output()
            .context("node could not be started")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "no catalogue: {errors}");
        let value = serde_json::from_slice(&output.stdout).context("the catalogue is no JSON")?;
        Self::from_json(&value)
    }

    fn from_json(value: &Value) -> Result<Self> {
        Ok(Self {
            groups: each(&value["groups"], group)?,
            published: each(&value["published"], published)?,
        })
    }

    pub(super) fn tests(&self) -> impl Iterator<Item = &Test> {
        self.groups.iter().flat_map(|group| &group.tests)
    }
}

fn group(value: &Value) -> Result<Group> {
    Ok(Group {
        name: text(&value["name"])?,
        tests: each(&value["tests"], test)?,
    })
}

fn test(value: &Value) -> Result<Test> {
    Ok(Test {
        id: text(&value["id"])?,
        name: text(&value["name"])?,
        kind: kind(&value["kind"])?,
        depends_on: each(&value["depends_on"], text)?,
    })
}

fn kind(value: &Value) -> Result<Kind> {
    Ok(match text(value)?.as_str() {
        "required" => Kind::Required,
        "optimal" => Kind::Optimal,
        "check" => Kind::Check,
        other => bail!("unknown kind `{other}`"),
    })
}

fn published(value: &Value) -> Result<Published> {
    Ok(Published {
        name: text(&value["name"])?,
        results: Results::from_json(&value["results"])?,
    })
}

fn each<T>(value: &Value, read: fn(&Value) -> Result<T>) -> Result<Vec<T>> {
    let values = value.as_array().context("the catalogue lacks a list")?;
    values.iter().map(read).collect()
}

fn text(value: &Value) -> Result<String> {
    let text = value.as_str().context("the catalogue lacks a text")?;
    Ok(text.to_owned())
}
