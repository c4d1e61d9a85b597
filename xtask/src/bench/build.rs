//! What a cache costs those who build with it: crates, the seconds of a cold build, and what the attribute
//! makes of a crate.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::folder;
use super::tables::{Goal, Row, Spread, Table};

const OURS: &str = "fast-cache, default features";
const CACHED: &str = "cached with `async`";
const ANNOTATED: &str = "fast-cache `#[cache]`";
const CONCURRENT: &str = "cached `#[concurrent_cached]`";
const PLAIN: &str = "no attribute";

const CACHED_DEPENDENCY: &str = "cached = { version = \"4.1\", features = [\"async\"] }";

/// How many functions there are where their number is to count.
const FUNCTIONS: usize = 500;

/// A crate in a folder of its own, outside of the workspace.
struct Crate {
    name: &'static str,
    folder: PathBuf,
}

pub(super) fn measure(is_quick: bool) -> Result<Vec<Table>> {
    let scratch = scratch()?;
    let (alone, many) = (dependents(&scratch)?, annotated(&scratch, FUNCTIONS)?);
    let rounds = if is_quick { 1 } else { 2 };
    let built = timed(&alone, rounds, |it| it.forget_all())?;
    let rounds = if is_quick { 1 } else { 5 };
    let expanded = timed(&many, rounds, |it| it.touch())?;
    let title = format!("build of {FUNCTIONS} functions, dependencies built before");
    Ok(vec![
        crates(&alone)?,
        below(table("cold debug build", "s", &alone, &built), CACHED),
        table(&title, "s", &many, &expanded),
        lines(&annotated(&scratch, 1)?)?,
    ])
}

/// Crates that depend on a cache and do nothing else.
fn dependents(scratch: &Path) -> Result<Vec<Crate>> {
    let ours = |features: &str| format!("{}, features = [{features}] }}", path_of_ours());
    let wanted = [
        (OURS, ours("")),
        ("fast-cache with `axum`", ours("\"axum\"")),
        (
            "fast-cache with `axum` and `redis`",
            ours("\"axum\", \"redis\""),
        ),
        (
            "fast-cache with all backends",
            ours("\"axum\", \"redis\", \"memcached\", \"dynamodb\""),
        ),
        (
            CACHED,
            CACHED_DEPENDENCY.to_owned(),
        ),
        (
            "moka with `future`",
            "moka = { version = \"0.12\", features = [\"future\"] }".to_owned(),
        ),
        (
            "hitbox with functions, on moka",
            "hitbox = \"0.2\"\nhitbox-fn = { version = \"0.2\", features = [\"derive\"] }\nhitbox-moka = \"0.2\""
                .to_owned(),
        ),
    ];
    let crates = wanted
        .iter()
        .enumerate()
        .map(|(number, (name, dependencies))| {
            Crate::new(scratch, &format!("alone-{number}"), name, dependencies, "")
        });
    crates.collect()
}

/// The same functions with one attribute, with another one, and with none.
fn annotated(scratch: &Path, count: usize) -> Result<Vec<Crate>> {
    let ours = path_of_ours() + " }";
    let functions = |attribute: &str| {
        let function =
            |n| format!("{attribute}\npub async fn f{n}(id: u64) -> u64 {{ id + {n} }}\n");
        (0..count).map(function).collect::<String>()
    };
    let concurrent = "#[cached::macros::concurrent_cached(max_size = 1000, ttl_secs = 60)]";
    let wanted = [
        (ANNOTATED, &*ours, "#[fast_cache::cache(expire = 60)]"),
        (CONCURRENT, CACHED_DEPENDENCY, concurrent),
        (PLAIN, "", ""),
    ];
    let crates = wanted.iter().enumerate().map(|(number, it)| {
        let (name, dependencies, attribute) = it;
        let folder = format!("functions-{count}-{number}");
        Crate::new(scratch, &folder, name, dependencies, &functions(attribute))
    });
    crates.collect()
}

fn path_of_ours() -> String {
    let root = folder().join("..");
    let root = root.canonicalize().unwrap_or(root);
    format!("fast-cache = {{ path = {root:?}")
}

/// A folder beside what cargo builds.
fn scratch() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("this program is nowhere")?;
    Ok(target.join("build-cost"))
}

impl Crate {
    fn new(
        scratch: &Path,
        folder: &str,
        name: &'static str,
        dependencies: &str,
        code: &str,
    ) -> Result<Self> {
        let folder = scratch.join(folder);
        fs::create_dir_all(folder.join("src"))?;
        let manifest = format!(
            "[package]\nname = \"measured\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\n{dependencies}\n\n[workspace]\n"
        );
        fs::write(folder.join("Cargo.toml"), manifest)?;
        fs::write(folder.join("src/lib.rs"), code)?;
        let it = Self { name, folder };
        it.output(&["fetch", "--quiet"])?;
        Ok(it)
    }

    /// Makes the next build begin from nothing.
    fn forget_all(&self) -> Result<()> {
        match fs::remove_dir_all(self.folder.join("target")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Makes the next build compile the crate itself, and nothing else.
    fn touch(&self) -> Result<()> {
        self.output(&["build", "--quiet"])?;
        let code = self.folder.join("src/lib.rs");
        let text = fs::read(&code)?;
        Ok(fs::write(code, text)?)
    }

    fn build(&self) -> Result<f64> {
        let began = Instant::now();
        self.output(&["build", "--quiet"])?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// How many crates it is built with, beside itself.
    fn crates(&self) -> Result<usize> {
        let tree = [
            "tree",
            "--prefix=none",
            "--format={p}",
            "--edges=normal,build",
        ];
        let tree = self.output(&tree)?;
        let crates: BTreeSet<&str> = tree
            .lines()
            .map(|line| line.trim_end_matches(" (*)"))
            .collect();
        Ok(crates.len() - 1)
    }

    /// How many lines its code has when all macros are expanded, as the compiler prints it.
    fn lines(&self) -> Result<usize> {
        let expand = [
            "rustc",
            "--quiet",
            "--profile=check",
            "--",
            "-Zunpretty=expanded",
        ];
        // What the compiler shows of its work is not in a stable form.
        let mut command = self.cargo(&expand);
        Ok(output(command.env("RUSTC_BOOTSTRAP", "1"))?.lines().count())
    }

    fn output(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.cargo(arguments))
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", self.folder.join("target"));
        command
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.context("cargo could not be started")?;
    ensure!(
        output.status.success(),
        "cargo ended with {}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The seconds of builds, in rounds in which all take turns.
fn timed(
    crates: &[Crate],
    rounds: usize,
    prepare: impl Fn(&Crate) -> Result<()>,
) -> Result<Vec<Vec<f64>>> {
    let mut taken = vec![Vec::new(); crates.len()];
    for round in 0..rounds {
        for place in 0..crates.len() {
            let who = (round + place) % crates.len();
            println!("$ cargo build: {}", crates[who].name);
            prepare(&crates[who])?;
            taken[who].push(crates[who].build()?);
        }
    }
    Ok(taken)
}

fn crates(crates: &[Crate]) -> Result<Table> {
    let counted = crates.iter().map(|it| Ok(vec![it.crates()? as f64]));
    let counted = counted.collect::<Result<Vec<_>>>()?;
    let ours = counted[0][0];
    let mut table = table("crates that are built", "crates", crates, &counted);
    table.goals.push(Goal {
        text: format!("{OURS}: fewer than 39: {ours}"),
        is_met: ours < 39.0,
    });
    Ok(table)
}

fn lines(crates: &[Crate]) -> Result<Table> {
    let counted = crates.iter().map(|it| Ok(vec![it.lines()? as f64]));
    let counted = counted.collect::<Result<Vec<_>>>()?;
    let title = "lines of a crate of one function, expanded";
    Ok(table(title, "lines", crates, &counted))
}

fn below(mut table: Table, other: &str) -> Table {
    if let Some(row) = table.rows.iter().find(|row| row.name == other) {
        let ratio = row.ratio.median;
        table.goals.push(Goal {
            text: format!("{OURS} below {other}, which takes {ratio:.2}x as long"),
            is_met: ratio > 1.0,
        });
    }
    table
}

fn table(title: &str, unit: &str, crates: &[Crate], taken: &[Vec<f64>]) -> Table {
    let first = &taken[0];
    let rows = crates.iter().zip(taken).map(|(it, taken)| Row {
        name: it.name.to_owned(),
        value: Spread::of(taken.iter().copied()),
        ratio: Spread::of(taken.iter().zip(first).map(|(it, ours)| it / ours)),
    });
    Table {
        title: title.to_owned(),
        unit: unit.to_owned(),
        rows: rows.collect(),
        goals: Vec::new(),
    }
}
