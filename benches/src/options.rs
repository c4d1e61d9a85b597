//! How long to measure.

use std::time::Duration;

/// Rounds of one length, in which contenders take turns.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many rounds there are.
    pub rounds: usize,
    /// How long each contender runs in a round, about.
    pub length: Duration,
    /// Whether this is to show that it works, rather than to measure.
    pub is_quick: bool,
}

impl Options {
    /// Short rounds where the arguments contain `--quick`, and thorough ones otherwise.
    #[must_use]
    pub fn from_arguments() -> Self {
        let is_quick = std::env::args().any(|argument| argument == "--quick");
        let (rounds, length) = if is_quick { (7, 4) } else { (41, 20) };
        Self {
            rounds,
            length: Duration::from_millis(length),
            is_quick,
        }
    }
}
