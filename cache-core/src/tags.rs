//! Tags: what values can be invalidated by beside their keys and their namespaces.
//!
//! In this process, the values under one tag share a cell. To invalidate the tag is to end the cell,
//! in one step whatever there is; a lookup asks the cells of what it found. A cell is forgotten with
//! the last of its values.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The tags of one value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagList(Vec<String>);

impl TagList {
    /// Adds a tag, unless it is there already or empty.
    pub fn add(&mut self, tag: impl Display) {
        let tag = tag.to_string();
        if !tag.is_empty() && !self.0.contains(&tag) {
            self.0.push(tag);
        }
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// The cells of a store. Caches of different prefixes may share it, and their tags are different.
#[derive(Debug, Default)]
pub(crate) struct Cells(Mutex<HashMap<Name, Arc<Cell>>>);

/// A cache, by the number of its prefix, and one of its tags.
type Name = (u32, String);

/// What the values under one tag share.
#[derive(Debug, Default)]
struct Cell {
    has_ended: AtomicBool,
    /// How many values there are.
    values: AtomicU64,
}

/// One tag of a value in this process. Dropped with the value.
#[derive(Debug)]
pub(crate) struct Tagged {
    cells: Arc<Cells>,
    name: Name,
    cell: Arc<Cell>,
}

impl Cells {
    /// Puts a value under a tag.
    pub(crate) fn tag(self: &Arc<Self>, prefix: u32, tag: &str) -> Tagged {
        let name = (prefix, tag.to_owned());
        let mut cells = self.lock();
        let cell = Arc::clone(cells.entry(name.clone()).or_default());
        cell.values.fetch_add(1, Ordering::Relaxed);
        drop(cells);
        Tagged {
            cells: Arc::clone(self),
            name,
            cell,
        }
    }

    /// Ends all values under a tag, and counts them.
    pub(crate) fn end(&self, prefix: u32, tag: &str) -> u64 {
        let Some(cell) = self.lock().remove(&(prefix, tag.to_owned())) else {
            return 0;
        };
        cell.has_ended.store(true, Ordering::Release);
        cell.values.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Arc<Cell>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tagged {
    pub(crate) fn has_ended(&self) -> bool {
        self.cell.has_ended.load(Ordering::Acquire)
    }
}

impl Drop for Tagged {
    fn drop(&mut self) {
        let mut cells = self.cells.lock();
        if self.cell.values.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        let current = cells.get(&self.name);
        if current.is_some_and(|current| Arc::ptr_eq(current, &self.cell)) {
            cells.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_ends_its_values_and_no_others() {
        let cells = Arc::<Cells>::default();
        let (one, two) = (cells.tag(1, "user"), cells.tag(1, "user"));
        let others = [cells.tag(1, "users"), cells.tag(2, "user")];
        assert_eq!(cells.end(1, "user"), 2);
        assert!(one.has_ended() && two.has_ended());
        assert!(!others.iter().any(Tagged::has_ended));
        assert!(!cells.tag(1, "user").has_ended());
        assert_eq!(cells.end(1, "user"), 0);
    }

    #[test]
    fn a_tag_is_forgotten_with_its_last_value() {
        let cells = Arc::<Cells>::default();
        let (one, two) = (cells.tag(1, "user"), cells.tag(1, "user"));
        drop(one);
        assert_eq!(cells.lock().len(), 1);
        drop(two);
        assert_eq!(cells.lock().len(), 0);
        // The cell of an ended tag does not take the next one along.
        let old = cells.tag(1, "user");
        cells.end(1, "user");
        let new = cells.tag(1, "user");
        drop(old);
        assert_eq!(cells.lock().len(), 1);
        drop(new);
        assert_eq!(cells.lock().len(), 0);
    }
}
