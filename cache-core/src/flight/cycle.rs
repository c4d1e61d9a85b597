//! Which computations wait for which, so that none waits for itself.
//!
//! A computation may call a cached function, whose computation calls another one, and so on. A call that would close a
//! circle does not join, but computes alone. The circles of one task, of several tasks, and of several caches are found
//! alike; not those through tasks that a computation spawns and awaits, of which nothing is known.

use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// By the number of a flight, the flights that its computation has joined and not left.
#[derive(Debug, Default)]
struct Joined(HashMap<u64, Vec<u64>>);

/// One for the process, since the circles may lead through several caches. Only calls that are made by computations
/// take the lock.
static JOINED: LazyLock<Mutex<Joined>> = LazyLock::new(Mutex::default);

/// A computation takes part in another flight, until this is dropped.
#[derive(Debug)]
pub(super) struct Link {
    from: u64,
    to: u64,
}

/// Notes that the computation of the flight `from` joins the flight `to`; `None` if `to` waits for `from` already.
pub(super) fn link(from: u64, to: u64) -> Option<Link> {
    let mut joined = lock();
    if joined.leads(to, from) {
        return None;
    }
    joined.0.entry(from).or_default().push(to);
    Some(Link { from, to })
}

impl Joined {
    /// Whether a flight waits for another one, or for one that does.
    fn leads(&self, from: u64, to: u64) -> bool {
        let (mut seen, mut next) = (HashSet::from([from]), vec![from]);
        while let Some(flight) = next.pop() {
            if flight == to {
                return true;
            }
            for &joined in self.0.get(&flight).into_iter().flatten() {
                if seen.insert(joined) {
                    next.push(joined);
                }
            }
        }
        false
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut joined = lock();
        let Some(all) = joined.0.get_mut(&self.from) else {
            return;
        };
        if let Some(at) = all.iter().position(|joined| *joined == self.to) {
            all.swap_remove(at);
        }
        if all.is_empty() {
            joined.0.remove(&self.from);
        }
    }
}

fn lock() -> MutexGuard<'static, Joined> {
    JOINED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_of_any_length_are_found_and_nothing_else() {
        // Numbers that no flight has.
        let number = |number: u64| u64::MAX - number;
        assert!(link(number(1), number(1)).is_none());
        let one = link(number(1), number(2));
        let two = link(number(2), number(3));
        let apart = link(number(1), number(3));
        assert!(one.is_some() && two.is_some() && apart.is_some());
        assert!(link(number(3), number(1)).is_none());
        assert!(link(number(2), number(1)).is_none());
        drop((two, apart));
        assert!(link(number(3), number(1)).is_some());
        drop(one);
        let joined = lock();
        assert!((1..4).all(|flight| !joined.0.contains_key(&number(flight))));
    }
}
