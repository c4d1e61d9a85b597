//! What is cached: the same for everybody.

use serde::{Deserialize, Serialize};

/// A value of a few words and two allocations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it gets mail.
    pub email: String,
}

impl User {
    /// The user of a name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            id: name.len() as u64,
            name: name.to_owned(),
            email: format!("{name}@example.com"),
        }
    }
}

/// How many entries every cache holds at most.
pub const CAPACITY: usize = 100_000;

/// How long values live, in seconds: longer than anything here runs.
pub const LIFETIME: u64 = 3600;

/// Every number below `count`, in an order without pattern.
#[must_use]
pub fn shuffled(count: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..count).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for place in (1..numbers.len()).rev() {
        state = random(state);
        numbers.swap(place, (state % (place as u64 + 1)) as usize);
    }
    numbers
}

/// The number after this one in a sequence without pattern (xorshift).
#[must_use]
pub fn random(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    state
}
