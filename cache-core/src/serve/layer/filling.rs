//! The responses of one cache whose bodies are on their way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::Ticket;
use crate::key::Key;
use crate::response::Fill;

use super::stored::StoredResponse;

/// The responses of one cache whose bodies are on their way.
#[derive(Default)]
pub(crate) struct Fills(Mutex<Table>);

#[derive(Default)]
struct Table {
    fillings: HashMap<Key, Arc<Filling>>,
    /// How many have ended.
    ended: u64,
}

/// A response whose body is on its way.
pub(super) struct Filling {
    /// The response, without its body.
    pub(super) head: StoredResponse,
    pub(super) fill: Arc<Fill>,
    pub(super) ticket: Ticket,
    /// When it came, in milliseconds of the clock.
    pub(super) since: u64,
}

impl Fills {
    /// How many responses have come, or have been given up: what was seen in the store when there were fewer
    /// may be news by now.
    pub(super) fn ended(&self) -> u64 {
        self.lock().ended
    }

    /// The response that is on its way under a key.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Filling>> {
        self.lock().fillings.get(key).cloned()
    }

    /// Notes that a response is on its way. One that is so already gives way.
    pub(super) fn insert(&self, key: &Key, filling: &Arc<Filling>) {
        let replaced = self
            .lock()
            .fillings
            .insert(key.clone(), Arc::clone(filling));
        drop(replaced);
    }

    pub(super) fn remove(&self, key: &Key, filling: &Arc<Filling>) {
        let mut table = self.lock();
        table.ended += 1;
        let current = table.fillings.get(key);
        if current.is_some_and(|current| Arc::ptr_eq(current, filling)) {
            table.fillings.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
