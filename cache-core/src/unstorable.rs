//! Which requests got a response that may not be stored, a moment ago.
//!
//! Requests that wait for one of their like to fetch such a response wait in vain, one after the other. So what
//! turned out not to be storable is remembered for a while, and requests for it go side by side.

use std::hash::BuildHasher as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::RandomState;

use crate::clock::Clock;
use crate::key::Key;

/// For how long it is remembered, in milliseconds.
const REMEMBERED: u64 = 10_000;

/// How many keys are remembered at most.
const SLOTS: usize = 4096;

/// How many bits of a slot hold the end of what it remembers, in milliseconds: enough for 34 years.
const TIME_BITS: u32 = 40;

/// The keys whose responses may not be stored, of one cache.
///
/// The table forgets: keys that meet in a slot take it from each other, and a key may be taken for another. Both cost
/// a wait or a computation, and no wrong answer.
#[derive(Debug)]
pub(crate) struct Unstorable {
    slots: OnceLock<Box<[AtomicU64]>>,
    hasher: RandomState,
    clock: Clock,
}

impl Unstorable {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            slots: OnceLock::new(),
            hasher: RandomState::default(),
            clock,
        }
    }

    /// Notes that what is computed under a key may not be stored.
    pub(crate) fn note(&self, key: &Key) {
        let slots = self
            .slots
            .get_or_init(|| (0..SLOTS).map(|_| AtomicU64::new(0)).collect());
        let (slot, mark) = self.place(key);
        let until = self.clock.now().saturating_add(REMEMBERED);
        slots[slot].store(mark << TIME_BITS | until & TIME, Ordering::Relaxed);
    }

    /// Notes that what is computed under a key has been stored.
    pub(crate) fn forget(&self, key: &Key) {
        let Some(slots) = self.slots.get() else {
            return;
        };
        let (slot, mark) = self.place(key);
        let seen = slots[slot].load(Ordering::Relaxed);
        if seen >> TIME_BITS == mark {
            // Where another call has noted something meanwhile, that stays.
            let _ = slots[slot].compare_exchange(seen, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether what is computed under a key was not storable a moment ago.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        let Some(slots) = self.slots.get() else {
            return false;
        };
        let (slot, mark) = self.place(key);
        let seen = slots[slot].load(Ordering::Relaxed);
        seen >> TIME_BITS == mark && self.clock.now() & TIME < seen & TIME
    }

    /// The slot of a key, and the mark that tells it from most others there.
    fn place(&self, key: &Key) -> (usize, u64) {
        let hash = self.hasher.hash_one(key);
        let slot = usize::try_from(hash % SLOTS as u64).unwrap_or_default();
        // An empty slot is the mark of no key.
        (slot, (hash >> TIME_BITS).max(1))
    }
}

const TIME: u64 = (1 << TIME_BITS) - 1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::site::Site;

    static SITE: Site = Site::new("unstorable", "tests", || "tests");

    fn key(number: usize) -> Key {
        Key::from_text(0, &SITE, &number.to_string())
    }

    #[test]
    fn keys_are_remembered_for_a_while_and_no_others() {
        let clock = ManualClock::new();
        let unstorable = Unstorable::new(clock.clone().into());
        assert!(!unstorable.knows(&key(1)));
        unstorable.note(&key(1));
        assert!(unstorable.knows(&key(1)));
        let others = (2..1000).filter(|number| unstorable.knows(&key(*number)));
        assert_eq!(others.count(), 0);
        unstorable.forget(&key(2));
        clock.advance(Duration::from_millis(REMEMBERED - 1));
        assert!(unstorable.knows(&key(1)));
        clock.advance(Duration::from_millis(1));
        assert!(!unstorable.knows(&key(1)));
    }

    #[test]
    fn what_could_be_stored_is_forgotten() {
        let unstorable = Unstorable::new(ManualClock::new().into());
        unstorable.note(&key(1));
        unstorable.forget(&key(1));
        assert!(!unstorable.knows(&key(1)));
    }
}
