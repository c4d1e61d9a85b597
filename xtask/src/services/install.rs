//! Programs that are not there yet: from Debian, from PyPI, from crates.io, from npm.
//!
//! What is not Debian's goes into a folder beside what cargo builds, and stays there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Installs the packages of the programs that are missing, given as pairs.
pub(crate) fn debian(programs: &[(&str, &str)]) -> Result<()> {
    let missing = programs.iter().filter(|(program, _)| !exists(program));
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let wanted = packages.join(" ");
    ensure!(
        exists("apt-get"),
        "there is no apt-get to install {wanted} with"
    );
    println!("$ apt-get install {wanted}");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(["-q", "-y"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command.stdout(Stdio::null()).status()
    };
    apt(&["update"]).context("apt-get could not be started")?;
    let install = [&["install", "--no-install-recommends"], &packages[..]].concat();
    let status = apt(&install).context("apt-get could not be started")?;
    ensure!(status.success(), "{wanted} could not be installed");
    Ok(())
}

/// Installs a package of PyPI into an environment of its own, and gives the environment.
pub(super) fn python(package: &str, version: &str) -> Result<PathBuf> {
    let wanted = format!("{package}=={version}");
    python_packages(&wanted, &[&wanted])
}

/// Installs packages of PyPI into one environment of this name, and gives the environment.
pub(crate) fn python_packages(name: &str, wanted: &[&str]) -> Result<PathBuf> {
    install_once(name, |folder| {
        debian(&[("python3", "python3")])?;
        let environment = || {
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(folder)
                .status()
        };
        if !environment()?.success() {
            // Debian's Python leaves this out.
            debian(&[("python3-venv is no program", "python3-venv")])?;
            ensure!(environment()?.success(), "there is no `python3 -m venv`");
        }
        let pip = Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(wanted)
            .status()?;
        ensure!(pip.success(), "pip ended with {pip}");
        Ok(())
    })
}

/// Installs a package of crates.io, and gives its program.
pub(crate) fn cargo(
    package: &str,
    version: &str,
    features: &str,
    program: &str,
) -> Result<PathBuf> {
    let folder = install_once(&format!("{package}=={version}"), |folder| {
        let cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["install", "--quiet", "--locked", "--no-default-features"])
            .args([package, "--version", version, "--features", features])
            .arg("--root")
            .arg(folder)
            .arg("--target-dir")
            .arg(folder.join("target"))
            .status()?;
        ensure!(cargo.success(), "cargo ended with {cargo}");
        // What it was built from is of no use any more.
        fs::remove_dir_all(folder.join("target"))?;
        Ok(())
    })?;
    Ok(folder.join("bin").join(program))
}

/// Installs what `package-lock.json` in a folder lists, and gives the folder that it went to.
pub(crate) fn npm(wanted: &str, locked: &Path) -> Result<PathBuf> {
    debian(&[("node", "nodejs")])?;
    install_once(wanted, |folder| {
        debian(&[("npm", "npm")])?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(locked.join(file), folder.join(file))?;
        }
        let npm = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .args(["--loglevel", "error"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .status()?;
        ensure!(npm.success(), "npm ended with {npm}");
        Ok(())
    })
}

/// Finds a file by its name.
pub(super) fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && entry.file_name() == name {
                return Ok(entry.path());
            }
        }
    }
    anyhow::bail!("there is no {name} in {}", folder.display())
}

/// Gives the folder of what is `wanted`, after it has been filled once.
fn install_once(wanted: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = services_folder()?.join(wanted);
    let done = folder.join("installed");
    if done.exists() {
        return Ok(folder);
    }
    println!("$ install {wanted}");
    if folder.exists() {
        // Somebody was interrupted.
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fill(&folder).with_context(|| format!("{wanted} could not be installed"))?;
    fs::write(done, "")?;
    Ok(folder)
}

/// `services` in the target folder, in which this program stands in a folder of a profile.
fn services_folder() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("this program is nowhere")?;
    Ok(target.join("services"))
}

fn exists(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| path.join(program).is_file())
}
