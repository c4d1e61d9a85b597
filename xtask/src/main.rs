//! The tasks of this repository.

mod bench;
mod budget;
mod examples;
mod features;
mod http;
mod http_suite;
mod services;
mod steps;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <task>

  test         checks formatting, lints, tests of every feature set, docs and examples
  conformance  prints which promises each backend keeps, on real servers
  http-suite   runs the tests of HTTP caches against the example reverse-proxy
  budget       counts the instructions and allocations of a hit; --write makes that the budget
  bench        measures beside other caches, into benches/RESULTS.md; --quick for short rounds
  services     starts the servers that tests run against, and says where they are
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test::run(),
        ["conformance"] => test::conformance(),
        ["http-suite"] => http_suite::run(),
        ["budget"] => budget::run(false),
        ["budget", "--write"] => budget::run(true),
        ["bench"] => bench::run(false),
        ["bench", "--quick"] => bench::run(true),
        ["services"] => services::run(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => Err(anyhow::anyhow!(
            "unknown task `{}`\n\n{HELP}",
            arguments.join(" ")
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
