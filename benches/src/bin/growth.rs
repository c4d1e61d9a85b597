//! What more entries, larger values and less room do.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use fast_cache::{Cache, InMemoryBackend, cache};
use fast_cache_benches::contender;
use fast_cache_benches::options::Options;
use fast_cache_benches::report::{Row, Spread, Table};
use fast_cache_benches::rounds::{Contender, block_on, compare};
use fast_cache_benches::subjects::{LIFETIME, random, shuffled};
use plotters::prelude::*;

/// Counts the bytes that are in use.
struct Counting;

static IN_USE: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OURS: &str = "fast-cache `#[cache]`";
const RAW: &str = "raw quick_cache";
const MOKA: &str = "moka";
const LRU: &str = "plain LRU";

const AN_HOUR: Duration = Duration::from_secs(LIFETIME);

type Hasher = foldhash::fast::RandomState;
type Quick<V> = quick_cache::sync::Cache<u64, V, quick_cache::UnitWeighter, Hasher>;

static CALLS: AtomicU64 = AtomicU64::new(0);

#[cache(expire = AN_HOUR)]
async fn number(n: u64) -> u64 {
    CALLS.fetch_add(1, Ordering::Relaxed);
    n + 1
}

#[cache(expire = AN_HOUR)]
async fn block(size: usize) -> Vec<u8> {
    vec![7; size]
}

/// Bounded by entries alone.
fn ours(entries: u64) -> Cache {
    Cache::new(
        InMemoryBackend::new()
            .max_entries(entries)
            .max_bytes(1 << 40),
    )
}

fn quick<V: Clone>(entries: u64) -> Quick<V> {
    let (weighter, hasher) = (quick_cache::UnitWeighter, Hasher::default());
    Quick::with(
        entries as usize,
        entries,
        weighter,
        hasher,
        Default::default(),
    )
}

fn main() -> Result<()> {
    let options = Options::from_arguments();
    // Where `cargo xtask bench` wants the plots.
    let folder = std::env::var_os("FAST_CACHE_PLOTS").map(PathBuf::from);
    let plots = folder.as_deref();

    let (times, bytes) = entries(options);
    plot(plots, "entries", ("entries", "ns a hit"), &times)?;
    plot(plots, "bytes", ("entries", "bytes an entry"), &bytes)?;
    let sizes = sizes(options);
    plot(plots, "values", ("bytes of a value", "ns a hit"), &sizes)?;
    hit_ratios(options, plots)
}

/// A line of a plot.
type Line = (&'static str, Vec<(f64, f64)>);

fn lines() -> Vec<Line> {
    vec![(OURS, Vec::new()), (RAW, Vec::new())]
}

/// From 1,000 to 10,000,000 entries: the time of a hit, and the memory.
fn entries(options: Options) -> (Vec<Line>, Vec<Line>) {
    let most = if options.is_quick { 5 } else { 7 };
    let (mut times, mut bytes) = (lines(), lines());
    for count in (3..=most).map(|digits| 10_u64.pow(digits)) {
        let keys = shuffled(count);
        // Some shards get more than their part, and nothing shall be evicted.
        let room = count + count / 4;
        let before = IN_USE.load(Ordering::Relaxed);
        let cache = ours(room);
        block_on(cache.scope(async {
            for n in &keys {
                number(*n).await;
            }
        }));
        let ours_use = IN_USE.load(Ordering::Relaxed) - before;
        let before = IN_USE.load(Ordering::Relaxed);
        let quick = quick::<u64>(room);
        for n in &keys {
            quick.insert(*n, n + 1);
        }
        let raw_use = IN_USE.load(Ordering::Relaxed) - before;

        let keys = &keys[..];
        // Each round goes on where the last one ended: the same few keys would be in the processor's caches.
        let (our_turn, raw_turn) = (AtomicU64::new(0), AtomicU64::new(0));
        let key = |turn: u64| &keys[turn as usize % keys.len()];
        let contenders = [
            Contender::new(OURS, |hits| {
                block_on(cache.scope(async {
                    let first = our_turn.fetch_add(hits, Ordering::Relaxed);
                    let began = Instant::now();
                    for turn in first..first + hits {
                        std::hint::black_box(number(*key(turn)).await);
                    }
                    began.elapsed()
                }))
            }),
            Contender::new(RAW, |hits| {
                block_on(async {
                    let first = raw_turn.fetch_add(hits, Ordering::Relaxed);
                    let began = Instant::now();
                    for turn in first..first + hits {
                        std::hint::black_box(quick.get(key(turn)));
                    }
                    began.elapsed()
                })
            }),
        ];
        let title = format!("local hit, `u64 -> u64`, in a scope, among {count} entries");
        on_threads(
            &title,
            options,
            count,
            count.min(1 << 20),
            &contenders,
            &mut times,
        );
        let title = format!("memory of an entry, `u64 -> u64`, among {count}");
        let used = [(OURS, ours_use), (RAW, raw_use)]
            .map(|(name, used)| (name, used as f64 / count as f64));
        for (line, (_, used)) in bytes.iter_mut().zip(used) {
            line.1.push((count as f64, used));
        }
        exact(&title, "bytes", &used).print();
    }
    (times, bytes)
}

/// Compares on one thread and on two. What one thread takes is drawn, at `place`.
fn on_threads(
    title: &str,
    options: Options,
    place: u64,
    warm_up: u64,
    contenders: &[Contender<'_>],
    drawn: &mut [Line],
) {
    let table = compare(
        &format!("{title}, one thread"),
        options,
        1,
        warm_up,
        contenders,
    );
    for (line, row) in drawn.iter_mut().zip(&table.rows) {
        line.1.push((place as f64, row.value.median));
    }
    table.print();
    compare(&format!("{title}, two threads"), options, 2, 1, contenders).print();
}

/// Values that are copied, of 100 bytes to a megabyte.
fn sizes(options: Options) -> Vec<Line> {
    let mut times = lines();
    let cache = ours(100);
    let quick = &quick::<Vec<u8>>(100);
    for size in [100, 1_000, 10_000, 100_000, 1_000_000] {
        quick.insert(size, vec![7; size as usize]);
        let keys = [size];
        let contenders = [
            Contender::new(OURS, |hits| {
                block_on(cache.scope(async {
                    let began = Instant::now();
                    for _ in 0..hits {
                        std::hint::black_box(block(size as usize).await);
                    }
                    began.elapsed()
                }))
            }),
            contender!(RAW, keys, |n| quick.get(n)),
        ];
        let title = format!("local hit, `Vec<u8>` of {size} bytes, in a scope");
        on_threads(&title, options, size, 10, &contenders, &mut times);
    }
    times
}

/// How much of what is asked for is there, in a tenth and a hundredth of the room.
fn hit_ratios(options: Options, plots: Option<&Path>) -> Result<()> {
    const KEYS: u64 = 100_000;

    let requests = if options.is_quick { 100_000 } else { 1_000_000 };
    for (name, exponent, scans) in [
        ("Zipf 0.8", 0.8, false),
        ("Zipf 1.0", 1.0, false),
        (
            "Zipf 1.0, and a scan of 5,000 new keys after every 10,000 requests",
            1.0,
            true,
        ),
    ] {
        let trace = trace(KEYS, exponent, requests, scans);
        let mut lines: [Line; 3] = [OURS, MOKA, LRU].map(|name| (name, Vec::new()));
        for room in [500, 1_000, 5_000, 10_000] {
            eprintln!("hit ratio, {name}, {room} entries");
            let hits = [
                hits_ours(&trace, room),
                hits_moka(&trace, room),
                hits_lru(&trace, room),
            ];
            let percent = hits.map(|hits| hits as f64 * 100.0 / trace.len() as f64);
            for (line, percent) in lines.iter_mut().zip(percent) {
                line.1.push((room as f64, percent));
            }
            let title = format!("hits, {name}, among 100,000 keys, room for {room}");
            let rows = [(OURS, percent[0]), (MOKA, percent[1]), (LRU, percent[2])];
            let table = exact(&title, "%", &rows);
            let (best, ours) = (percent[1].max(percent[2]), percent[0]);
            let text = format!(
                "within a point of the best of them: {:.1} points",
                ours - best
            );
            table.promise(text, ours + 1.0 >= best).print();
        }
        let file = match (exponent, scans) {
            (_, true) => "hits-scans",
            (0.8, _) => "hits-zipf-0.8",
            _ => "hits-zipf-1.0",
        };
        plot(plots, file, ("room for entries", "% hits"), &lines)?;
    }
    Ok(())
}

fn trace(keys: u64, exponent: f64, requests: usize, scans: bool) -> Vec<u64> {
    let mut sum = 0.0;
    let weights = (1..=keys).map(|rank| {
        sum += (rank as f64).powf(-exponent);
        sum
    });
    let sums: Vec<f64> = weights.collect();
    let names = shuffled(keys);
    let (mut trace, mut state, mut scanned) = (Vec::new(), 0x2545_f491_4f6c_dd1d, keys);
    for request in 0..requests {
        state = random(state);
        let point = state as f64 / u64::MAX as f64 * sum;
        let rank = sums
            .partition_point(|sum| *sum < point)
            .min(names.len() - 1);
        trace.push(names[rank]);
        if scans && request % 10_000 == 9_999 {
            trace.extend(scanned..scanned + 5_000);
            scanned += 5_000;
        }
    }
    trace
}

fn hits_ours(trace: &[u64], room: u64) -> u64 {
    let before = CALLS.load(Ordering::Relaxed);
    block_on(ours(room).scope(async {
        for key in trace {
            number(*key).await;
        }
    }));
    trace.len() as u64 - (CALLS.load(Ordering::Relaxed) - before)
}

fn hits_moka(trace: &[u64], room: u64) -> u64 {
    let cache = moka::future::Cache::builder().max_capacity(room);
    let cache = cache.build_with_hasher(Hasher::default());
    block_on(async {
        let mut hits = 0;
        for key in trace {
            if cache.get(key).await.is_some() {
                hits += 1;
            } else {
                cache.insert(*key, key + 1).await;
            }
        }
        hits
    })
}

/// What is used last stands last in the queue; what stands there more than once counts by its last place.
fn hits_lru(trace: &[u64], room: u64) -> u64 {
    let (mut used, mut queue, mut hits) = (HashMap::new(), VecDeque::new(), 0);
    for (time, key) in trace.iter().enumerate() {
        hits += u64::from(used.insert(*key, time).is_some());
        queue.push_back((*key, time));
        while used.len() as u64 > room {
            let Some((oldest, time)) = queue.pop_front() else {
                break;
            };
            if used.get(&oldest) == Some(&time) {
                used.remove(&oldest);
            }
        }
    }
    hits
}

fn exact(title: &str, unit: &'static str, values: &[(&str, f64)]) -> Table {
    let rows = values.iter().map(|(name, value)| Row {
        name: (*name).to_owned(),
        value: Spread::exact(*value),
        ratio: Spread::exact(value / values[0].1),
    });
    Table {
        title: title.to_owned(),
        unit,
        rows: rows.collect(),
        goals: Vec::new(),
    }
}

/// Draws lines over a logarithmic axis, if there is somewhere to put them.
fn plot(folder: Option<&Path>, name: &str, axes: (&str, &str), lines: &[Line]) -> Result<()> {
    const COLOURS: [RGBColor; 3] = [
        RGBColor(200, 60, 30),
        RGBColor(30, 90, 180),
        RGBColor(90, 90, 90),
    ];

    let Some(folder) = folder else { return Ok(()) };
    std::fs::create_dir_all(folder)?;
    let file = folder.join(format!("{name}.svg"));
    let points = || lines.iter().flat_map(|(_, points)| points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let values = points().map(of);
        values.fold((f64::MAX, f64::MIN), |(low, high), it| {
            (low.min(it), high.max(it))
        })
    };
    let ((left, right), (_, top)) = (range(|point| point.0), range(|point| point.1));
    let area = SVGBackend::new(&file, (640, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        // The last label of the axis stands half outside of the plot.
        .margin_right(32)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d((left..right).log_scale(), 0.0..top * 1.1)?;
    chart
        .configure_mesh()
        .x_labels(5)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .x_desc(axes.0)
        .y_desc(axes.1)
        .draw()?;
    for ((name, points), colour) in lines.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                colour.stroke_width(2),
            ))?
            .label(name.replace('`', ""))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(BLACK)
        .background_style(WHITE)
        .draw()?;
    area.present()?;
    Ok(())
}

/// A round number as people write it.
fn short(number: f64) -> String {
    match number {
        number if number >= 1e6 => format!("{}M", number / 1e6),
        number if number >= 1e3 => format!("{}k", number / 1e3),
        number => format!("{number}"),
    }
}
