//! The time for lookups, kept by a thread while they are many.
//!
//! To ask the system costs about as much as the rest of a lookup. While lookups come by the thousand, a thread
//! asks once a millisecond, and they read what it has written. It ends when they become few.
//!
//! A thread may be held up. So one lookup in a thousand asks the system too, and if the thread is far behind,
//! nobody listens to it any more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{ORIGIN, milliseconds};

/// How far the written time is behind at most, unless the thread is held up.
const TICK: Duration = Duration::from_millis(1);

/// A thread that is so many milliseconds behind is not listened to.
const LATE: u64 = 50;

/// After so many ticks without a lookup the thread ends.
const IDLE: u32 = 100;

/// The thread is begun when so many lookups have come within a quarter of a second.
const MANY: u64 = 1024;

/// In one place of memory, so that a lookup touches one.
static TICKER: Ticker = Ticker {
    now: AtomicU64::new(NOBODY),
    is_used: AtomicBool::new(false),
    asked: AtomicU64::new(0),
    asked_since: AtomicU64::new(0),
};

/// Instead of a time, when there is no thread.
const NOBODY: u64 = u64::MAX;

#[repr(align(64))]
struct Ticker {
    now: AtomicU64,
    is_used: AtomicBool,
    /// How often the system was asked, and when counting began.
    asked: AtomicU64,
    asked_since: AtomicU64,
}

/// Milliseconds since some moment in the past, a little late perhaps.
#[inline]
pub(super) fn recent() -> u64 {
    let now = TICKER.now.load(Ordering::Relaxed);
    if now == NOBODY {
        return TICKER.ask();
    }
    if !TICKER.is_used.load(Ordering::Relaxed) {
        TICKER.is_used.store(true, Ordering::Relaxed);
    }
    now
}

/// Stops listening to the thread if it is late.
#[cold]
pub(super) fn check() {
    let now = TICKER.now.load(Ordering::Relaxed);
    if now != NOBODY && exact().saturating_sub(now) > LATE {
        TICKER.now.store(NOBODY, Ordering::Relaxed);
    }
}

impl Ticker {
    /// Asks the system, and begins the thread if that is done often.
    #[cold]
    fn ask(&'static self) -> u64 {
        let now = exact();
        if self.asked.fetch_add(1, Ordering::Relaxed) % MANY != MANY - 1 {
            return now;
        }
        let since = self.asked_since.swap(now, Ordering::Relaxed);
        if now.saturating_sub(since) < 250 {
            self.begin(now);
        }
        now
    }

    fn begin(&'static self, now: u64) {
        let begun = self
            .now
            .compare_exchange(NOBODY, now, Ordering::Relaxed, Ordering::Relaxed);
        if begun.is_err() {
            return;
        }
        let spawned = thread::Builder::new()
            .name("fast-cache-ticker".to_owned())
            .spawn(|| self.run());
        if spawned.is_err() {
            self.now.store(NOBODY, Ordering::Relaxed);
        }
    }

    fn run(&self) {
        let mut idle = 0;
        while idle < IDLE {
            thread::sleep(TICK);
            let was_used = self.is_used.swap(false, Ordering::Relaxed);
            idle = if was_used { 0 } else { idle + 1 };
            let written = self.now.swap(exact(), Ordering::Relaxed);
            if written == NOBODY {
                break;
            }
        }
        self.now.store(NOBODY, Ordering::Relaxed);
    }
}

fn exact() -> u64 {
    milliseconds(ORIGIN.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_kept_while_it_is_asked_for_and_never_far_behind() {
        let mut kept = 0;
        for _ in 0..200_000 {
            let before = exact();
            let recent = recent();
            let is_kept = TICKER.now.load(Ordering::Relaxed) != NOBODY;
            kept += u64::from(is_kept);
            assert!(recent <= exact());
            if recent + LATE < before {
                check();
                assert_eq!(TICKER.now.load(Ordering::Relaxed), NOBODY);
            }
        }
        assert!(kept > 0);
    }
}
