//! Contenders that take turns.
//!
//! Criterion and divan run one contender to its end before the next begins, so that a machine that is
//! slower for a while makes one of them look slow. Here, all of them run in each round, for about as long,
//! each round beginning with another; ratios are taken within a round, and medians over the rounds.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use crate::options::Options;
use crate::report::{Row, Spread, Table};

/// Somebody who does the work.
pub struct Contender<'a> {
    name: String,
    run: Box<dyn Fn(u64) -> Duration + Sync + 'a>,
}

impl std::fmt::Debug for Contender<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl<'a> Contender<'a> {
    /// `run` does the work so many times, and says how long that took.
    pub fn new(name: impl Into<String>, run: impl Fn(u64) -> Duration + Sync + 'a) -> Self {
        let (name, run) = (name.into(), Box::new(run));
        Self { name, run }
    }

    /// Lets so many threads do the work at once, so many times each, and gives the longest time.
    fn on_threads(&self, threads: usize, times: u64) -> Duration {
        if threads == 1 {
            return (self.run)(times);
        }
        let barrier = Barrier::new(threads);
        thread::scope(|scope| {
            let start = || {
                scope.spawn(|| {
                    barrier.wait();
                    (self.run)(times)
                })
            };
            let threads: Vec<_> = (0..threads).map(|_| start()).collect();
            let took = threads.into_iter().map(|thread| thread.join().unwrap());
            took.max().unwrap()
        })
    }

    /// How often it does the work in `length`, after it has done it `least` times to get warm.
    fn calibrate(&self, threads: usize, length: Duration, least: u64) -> u64 {
        self.on_threads(threads, least);
        let mut times = 1;
        loop {
            let took = self.on_threads(threads, times).max(Duration::from_nanos(1));
            if took * 4 >= length {
                let fitting = length.as_secs_f64() / took.as_secs_f64() * times as f64;
                return (fitting as u64).max(1);
            }
            times *= 2;
        }
    }
}

/// Lets the contenders take turns on this many threads. Each does the work at least `warm_up` times
/// before. A table in nanoseconds for one piece of work on one thread.
///
/// # Panics
///
/// If a contender does.
#[must_use]
pub fn compare(
    title: &str,
    options: Options,
    threads: usize,
    warm_up: u64,
    contenders: &[Contender<'_>],
) -> Table {
    eprintln!("{title}");
    let calibrate = |it: &Contender<'_>| it.calibrate(threads, options.length, warm_up);
    let times: Vec<u64> = contenders.iter().map(calibrate).collect();
    let mut taken = vec![Vec::with_capacity(options.rounds); contenders.len()];
    for round in 0..options.rounds {
        for place in 0..contenders.len() {
            let who = (round + place) % contenders.len();
            let took = contenders[who].on_threads(threads, times[who]);
            taken[who].push(took.as_nanos() as f64 / times[who] as f64);
        }
    }
    table(title, "ns", contenders.iter().map(|it| &it.name), &taken)
}

/// A table of what was measured round by round, ours first.
#[must_use]
pub fn table<'a>(
    title: &str,
    unit: &'static str,
    names: impl Iterator<Item = &'a String>,
    taken: &[Vec<f64>],
) -> Table {
    let row = |(name, values): (&String, &Vec<f64>)| Row {
        name: name.clone(),
        value: Spread::of(values.iter().copied()),
        ratio: Spread::of(values.iter().zip(&taken[0]).map(|(it, ours)| it / ours)),
    };
    Table {
        title: title.to_owned(),
        unit,
        rows: names.zip(taken).map(row).collect(),
        goals: Vec::new(),
    }
}

/// Runs a future on a runtime of this thread. It times itself, so that the runtime does not count.
///
/// # Panics
///
/// If there cannot be a runtime.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// A contender that awaits an expression for one key after the other.
#[macro_export]
macro_rules! contender {
    ($name:expr, $keys:expr, |$key:ident| $call:expr) => {{
        let keys = $keys;
        $crate::rounds::Contender::new($name, move |times| {
            $crate::rounds::block_on(async {
                let began = ::std::time::Instant::now();
                for turn in 0..times {
                    let $key = ::std::hint::black_box(&keys[turn as usize % keys.len()]);
                    ::std::hint::black_box($call);
                }
                began.elapsed()
            })
        })
    }};
}
