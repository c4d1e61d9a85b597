//! How many instructions a hundred hits take, under valgrind: `cargo xtask budget` compares them with
//! `budget.toml`.
#![allow(missing_docs, reason = "the macros make items without documentation")]

use fast_cache_benches::hits::{self, HITS, Hits};
use gungraun::{library_benchmark, library_benchmark_group, main};

#[library_benchmark]
#[bench::number(hits::number())]
#[bench::user(hits::user())]
#[bench::handler(hits::handler())]
#[bench::layer(hits::layer())]
#[bench::scoped(hits::scoped())]
fn hit(mut hits: Hits) -> Hits {
    for _ in 0..HITS {
        hits.next();
    }
    // What is left is dropped where nobody counts.
    hits
}

library_benchmark_group!(name = hundred, benchmarks = hit);
main!(library_benchmark_groups = hundred);
