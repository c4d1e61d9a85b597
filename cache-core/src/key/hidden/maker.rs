//! Finds a plan that a type accepts: each refusal says what to change.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::fault::{Fault, Given, noise, overhear};
use super::leaves::{self, Leaves};
use super::plan::{Name, Names, Plan, is_under};
use super::probe::{
    ANY_BOOL, ANY_FLOAT, ANY_LIST, ANY_MAP, ANY_NOTHING, ANY_NUMBER, ANY_TEXT, Ask, MAP, Map,
    Probe, Session, Slot, Trace,
};
use super::written::Written;

/// How many places may be filled, in all attempts together.
const BUDGET: usize = 200_000;

/// How many refusals of one value are answered.
const MOST_REPAIRS: usize = 1_000;

/// How many places are tried one by one when a refusal does not say which is wrong.
const MOST_SUSPECTS: usize = 12;

/// How often that is done for one value.
const MOST_SWEEPS: usize = 6;

/// How many names that were heard of are kept in mind.
const MOST_NAMES: usize = 64;

/// A value that was built: its canonical bytes, and the names that it wrote.
pub(super) struct Built {
    pub(super) bytes: Vec<u8>,
    pub(super) written: Written,
}

/// Makes a value out of what a probe feeds.
pub(super) type Build<'a> = &'a dyn Fn(Probe<'_>) -> Result<Built, Fault>;

/// An attempt.
pub(super) struct Run {
    pub(super) result: Result<Vec<u8>, Fault>,
    pub(super) heard: Vec<Fault>,
    pub(super) trace: Trace,
}

/// A plan that works, and what came of it.
pub(super) struct Found {
    pub(super) plan: Plan,
    pub(super) bytes: Vec<u8>,
    pub(super) heard: Vec<Fault>,
    pub(super) trace: Trace,
}

/// What of a plan has to stay as it is.
#[derive(Clone, Copy)]
pub(super) enum Pin<'a> {
    Nothing,
    Slot(&'a str),
    /// A name in a map.
    Name(&'a str, &'a Name),
}

impl Pin<'_> {
    /// Whether the choice at a place may be another.
    fn allows_pick(self, key: &str) -> bool {
        match self {
            Self::Nothing => true,
            Self::Slot(pinned) => !is_under(pinned, key),
            Self::Name(map, name) => {
                let pinned = name.key(map);
                pinned == key || !is_under(&pinned, key)
            }
        }
    }

    /// Whether the name of a place may be taken away.
    fn allows_drop(self, key: &str) -> bool {
        match self {
            Self::Nothing => true,
            Self::Slot(pinned) => !is_under(pinned, key),
            Self::Name(map, name) => !is_under(&name.key(map), key),
        }
    }

    /// Whether a place may be to blame, since it is near to what is new.
    fn is_suspect(self, trace: &Trace, key: &str) -> bool {
        match self {
            Self::Nothing => true,
            Self::Slot(pinned) => {
                let around = trace
                    .maps
                    .iter()
                    .filter(|map| is_under(pinned, &map.place.key));
                let around = around.map(|map| map.place.key.as_str());
                let nearest = around.max_by_key(|key| key.len()).unwrap_or("");
                is_under(key, nearest)
            }
            Self::Name(map, name) => is_recent(trace, map, name, key),
        }
    }
}

/// Whether a place is under a name of a map, or under one that was added after it.
pub(super) fn is_recent(trace: &Trace, map: &str, name: &Name, key: &str) -> bool {
    let Some(map) = trace.maps.iter().find(|other| other.place.key == map) else {
        return false;
    };
    let names = map.names.iter().skip_while(|other| *other != name);
    names
        .into_iter()
        .any(|name| is_under(key, &name.key(&map.place.key)))
}

/// Builds values of one type.
pub(super) struct Maker<'a> {
    build: Build<'a>,
    leaves: Leaves<'a>,
    budget: usize,
    /// Names that an open map may know.
    suggestions: BTreeSet<String>,
    /// Whether there was a place that takes anything, or a map that does not say which names it knows.
    pub(super) has_any: bool,
    /// The names that are written, by any value seen.
    pub(super) covered: HashSet<String>,
    /// The names that structs say they know.
    pub(super) known: HashSet<&'static str>,
    /// Names that were missed by what did not fail for it, or are known to a part that was not asked.
    pub(super) overheard: Vec<&'static str>,
    /// The kinds of value that were expected at places that take any.
    pub(super) hints: BTreeMap<String, BTreeSet<usize>>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(build: Build<'a>, sample: &'a Written, request_names: &[&str]) -> Self {
        let asked = request_names.iter().map(|name| (*name).to_owned());
        let suggestions = asked.chain(sample.names.iter().cloned());
        Self {
            suggestions: suggestions.take(MOST_NAMES).collect(),
            has_any: false,
            build,
            leaves: Leaves::new(sample),
            budget: BUDGET,
            covered: sample.names.clone(),
            known: HashSet::new(),
            overheard: Vec::new(),
            hints: BTreeMap::new(),
        }
    }

    /// Whether the work was ended before its end.
    pub(super) fn is_spent(&self) -> bool {
        self.budget == 0
    }

    pub(super) fn is_covered(&self, name: &str) -> bool {
        self.covered.contains(name)
    }

    /// One attempt; `None` once the budget is spent, or after a panic.
    pub(super) fn run(&mut self, plan: &Plan) -> Option<Run> {
        if self.is_spent() {
            return None;
        }
        let session = Session::new(plan, &self.leaves);
        let attempt = || catch_unwind(AssertUnwindSafe(|| (self.build)(session.probe())));
        let (result, heard) = overhear(attempt);
        let trace = session.into_trace();
        self.known.extend(&trace.known);
        self.has_any |= trace.maps.iter().any(|map| map.is_open);
        self.has_any |= trace.slots.iter().any(|slot| slot.ask == Ask::Any);
        let Ok(result) = result else {
            self.budget = 0;
            return None;
        };
        self.budget = self.budget.saturating_sub(trace.places + 1);
        for fault in &heard {
            if let Fault::Kind { given, expected } = fault
                && let Some(slot) = taker_of(&trace, given)
                && let Some(kind) = kind_of(expected)
            {
                let key = slot.place.key.clone();
                self.hints.entry(key).or_default().insert(kind);
            }
        }
        let result = result.map(|built| {
            self.covered.extend(built.written.names);
            built.bytes
        });
        Some(Run {
            result,
            heard,
            trace,
        })
    }

    /// The same, once it is known which maps ask for names.
    pub(super) fn run_learned(&mut self, plan: &mut Plan) -> Option<Run> {
        loop {
            let run = self.run(plan)?;
            if run.result != Err(Fault::Again) || !learn(plan, &run) {
                return Some(run);
            }
        }
    }

    /// Changes a plan until it works. The error is the last fault, or `None` once the budget is spent.
    pub(super) fn solve(&mut self, mut plan: Plan, pin: Pin<'_>) -> Result<Found, Option<Fault>> {
        let before = plan.given.clone();
        let mut sweeps_left = MOST_SWEEPS;
        for _ in 0..MOST_REPAIRS {
            let run = self.run_learned(&mut plan).ok_or(None)?;
            let fault = match run.result {
                Ok(bytes) => {
                    let (heard, trace) = (run.heard, run.trace);
                    let found = Found {
                        plan,
                        bytes,
                        heard,
                        trace,
                    };
                    return Ok(self.lighten(found, &before, pin));
                }
                Err(ref fault) => fault.clone(),
            };
            let is_repaired = self.repair(&mut plan, &run, &fault, pin)
                || self.heed(&mut plan, &run.heard, &run.trace, pin)
                || sweeps_left > 0 && {
                    sweeps_left -= 1;
                    self.sweep(&mut plan, &run, pin)
                }
                || give_up(&mut plan, &run, pin)
                || self.suggest(&mut plan, &run.trace, pin);
            if !is_repaired {
                return Err(Some(fault));
            }
        }
        Err(Some(Fault::Other))
    }

    /// Takes the names away that were given for nothing: another variant was taken in the end.
    fn lighten(
        &mut self,
        mut found: Found,
        before: &BTreeSet<(String, String)>,
        pin: Pin<'_>,
    ) -> Found {
        let given: Vec<_> = found.plan.given.difference(before).cloned().collect();
        for given in given {
            let (map, name) = (given.0.clone(), Name::text(&given.1));
            if !pin.allows_drop(&name.key(&map)) {
                continue;
            }
            let mut plan = found.plan.clone();
            let Some(names) = plan.names.get_mut(&map) else {
                continue;
            };
            let count = names.list.len();
            names.list.retain(|other| *other != name);
            if names.list.len() == count {
                continue;
            }
            plan.given.remove(&given);
            if let Some(run) = self.run(&plan)
                && run.result.as_ref() == Ok(&found.bytes)
            {
                found = Found {
                    plan,
                    heard: run.heard,
                    trace: run.trace,
                    ..found
                };
            }
        }
        found
    }

    /// Does what a fault itself asks for.
    fn repair(&mut self, plan: &mut Plan, run: &Run, fault: &Fault, pin: Pin<'_>) -> bool {
        match fault {
            Fault::Again => false,
            Fault::TooDeep(name) => {
                let bias = plan.bias.entry(name).or_default();
                *bias += 1;
                *bias < MOST_NAMES
            }
            Fault::Duplicate(name) => drop_alias(plan, run, name, pin),
            Fault::Missing(name) => give(plan, &run.trace, name).is_some(),
            Fault::UnknownWord { given, known } => teach(plan, &run.trace, given, known),
            Fault::UnknownName { given, known } => self.forget(plan, run, given, known, pin),
            Fault::Kind { given, expected } => {
                advance(plan, run, fault, pin)
                    || unfold(plan, &run.trace, expected, pin)
                    || turn(plan, &run.trace, given, expected, pin)
            }
            Fault::Value(given) => {
                advance(plan, run, fault, pin) || take_next_text(plan, &run.trace, given, pin)
            }
            Fault::Length { given, expected } => {
                lengthen(plan, &run.trace, *given, expected, pin) || advance(plan, run, fault, pin)
            }
            Fault::Other => advance(plan, run, fault, pin),
        }
    }

    /// Gives a name to an open map that was heard of elsewhere.
    fn suggest(&self, plan: &mut Plan, trace: &Trace, pin: Pin<'_>) -> bool {
        let mut names = self.suggestions.iter();
        matches!(pin, Pin::Nothing) && names.any(|name| give(plan, trace, name).is_some())
    }

    /// Takes a name away that a map does not know, and keeps in mind those that it knows.
    fn forget(
        &mut self,
        plan: &mut Plan,
        run: &Run,
        given: &str,
        known: &[&'static str],
        pin: Pin<'_>,
    ) -> bool {
        for name in known {
            self.overhear(name);
        }
        for map in run.trace.maps.iter().rev() {
            let Some(index) = map.names.iter().position(|name| name.is(given)) else {
                continue;
            };
            if !pin.allows_drop(&map.names[index].key(&map.place.key)) {
                return false;
            }
            names_of(plan, map).list.remove(index);
            return true;
        }
        false
    }

    pub(super) fn overhear(&mut self, name: &'static str) -> bool {
        let is_new = !self.overheard.contains(&name);
        if is_new && self.overheard.len() < MOST_NAMES {
            self.overheard.push(name);
        }
        is_new
    }

    /// Does what was asked for by faults that were swallowed, such as those of an untagged enum's
    /// variants; what was not heard before comes first.
    pub(super) fn heed(
        &mut self,
        plan: &mut Plan,
        heard: &[Fault],
        trace: &Trace,
        pin: Pin<'_>,
    ) -> bool {
        for fault in heard {
            if let Fault::Kind { given, expected } = fault
                && turn(plan, trace, given, expected, pin)
            {
                return true;
            }
            if let Fault::Length { given, expected } = fault
                && lengthen(plan, trace, *given, expected, pin)
            {
                return true;
            }
            if let Fault::UnknownWord { given, known } = fault
                && teach(plan, trace, given, known)
            {
                return true;
            }
        }
        let mut missing = Vec::new();
        for fault in heard {
            if let Fault::Missing(name) = fault {
                let is_new = self.overhear(name);
                missing.push((!is_new, *name));
            }
        }
        missing.sort_by_key(|(is_old, _)| *is_old);
        let mut missing = missing.into_iter();
        missing.any(|(_, name)| give(plan, trace, name).is_some())
    }

    /// Finds a text that is refused by fewer of those that are tried in vain.
    pub(super) fn quieten(&mut self, plan: &mut Plan, found: &Found, pin: Pin<'_>) -> bool {
        for slot in found.trace.slots.iter().rev() {
            let key = &slot.place.key;
            if slot.ask != Ask::Leaf || !pin.is_suspect(&found.trace, key) {
                continue;
            }
            for pick in others(slot) {
                let changed = plan.with(key, pick);
                let Some(run) = self.run(&changed) else {
                    return false;
                };
                if run.result.is_ok() && noise(&run.heard) < noise(&found.heard) {
                    *plan = changed;
                    return true;
                }
            }
        }
        false
    }

    /// Tries to change one place at a time, the last one first, until the value is accepted or is refused
    /// for a better reason.
    fn sweep(&mut self, plan: &mut Plan, run: &Run, pin: Pin<'_>) -> bool {
        let suspects = run.trace.slots.iter().rev();
        let suspects = suspects.filter(|slot| {
            pin.is_suspect(&run.trace, &slot.place.key) && pin.allows_pick(&slot.place.key)
        });
        for slot in suspects.take(MOST_SUSPECTS) {
            let mut better = None;
            for pick in others(slot) {
                let mut changed = plan.with(&slot.place.key, pick);
                let Some(other) = self.run_learned(&mut changed) else {
                    return false;
                };
                if other.result.is_ok() {
                    *plan = changed;
                    return true;
                }
                if better.is_none() && is_better(run, &other) {
                    better = Some(changed);
                }
            }
            if let Some(changed) = better {
                *plan = changed;
                return true;
            }
        }
        false
    }
}

/// The alternatives to what was chosen.
pub(super) fn others(slot: &Slot) -> impl Iterator<Item = usize> + use<> {
    let pick = slot.pick;
    (0..slot.count).filter(move |other| *other != pick)
}

/// Whether an attempt was refused for a better reason than another.
fn is_better(old: &Run, new: &Run) -> bool {
    let (Err(old_fault), Err(new_fault)) = (&old.result, &new.result) else {
        return new.result.is_ok();
    };
    match (old_fault, new_fault) {
        (Fault::Kind { expected: old, .. }, Fault::Kind { expected: new, .. }) if old != new => {
            true
        }
        _ if old_fault.rank() == new_fault.rank() => noise(&new.heard) < noise(&old.heard),
        _ => new_fault.rank() > old_fault.rank(),
    }
}

/// The names that a plan has for a map.
fn names_of<'p>(plan: &'p mut Plan, map: &Map) -> &'p mut Names {
    let key = map.place.key.clone();
    plan.names.entry(key).or_insert_with(|| Names {
        list: map.names.clone(),
        is_open: map.is_open,
    })
}

/// Notes which maps ask for names.
fn learn(plan: &mut Plan, run: &Run) -> bool {
    let mut is_new = false;
    for key in &run.trace.learned {
        let names = Names {
            list: Vec::new(),
            is_open: true,
        };
        is_new |= plan.names.insert(key.clone(), names).is_none();
    }
    is_new
}

/// Takes a name away that is another name of a field that was fed before.
fn drop_alias(plan: &mut Plan, run: &Run, primary: &str, pin: Pin<'_>) -> bool {
    let Some(blame) = &run.trace.blame else {
        return false;
    };
    let map = run
        .trace
        .maps
        .iter()
        .rev()
        .find(|map| map.place.key == blame.key);
    let (Some(map), Some(last)) = (map, &blame.name) else {
        return false;
    };
    if !pin.allows_drop(&last.key(&map.place.key)) {
        return false;
    }
    let names = names_of(plan, map);
    let Some(index) = names.list.iter().position(|name| name == last) else {
        return false;
    };
    let name = names.list.remove(index);
    // The field goes by its own name: that comes first, and the alias is what is too much then.
    if name.is(primary) && index > 0 {
        names.list.insert(0, name);
    }
    true
}

/// Gives a name to a map that lacks it, the last open one first; returns the key of the map.
fn give(plan: &mut Plan, trace: &Trace, name: &str) -> Option<String> {
    for map in trace.maps.iter().rev().filter(|map| map.is_open) {
        let given = (map.place.key.clone(), name.to_owned());
        let has_name = map.names.iter().any(|other| other.is(name));
        if has_name || plan.unfilled.contains(&given) || !plan.given.insert(given) {
            continue;
        }
        names_of(plan, map).list.push(Name::text(name));
        return Some(map.place.key.clone());
    }
    None
}

/// Notes which words are taken where one was refused.
fn teach(plan: &mut Plan, trace: &Trace, given: &str, known: &'static [&'static str]) -> bool {
    let given = Given::Text(given.to_owned());
    let mut slots = trace.slots.iter().rev();
    let slot = slots.find(|slot| slot.fed == given && !plan.words.contains_key(&slot.place.key));
    let Some(slot) = slot else {
        return false;
    };
    plan.words.insert(slot.place.key.clone(), known);
    plan.picks.insert(slot.place.key.clone(), 0);
    true
}

/// The place that takes anything, and was fed with what was refused later.
fn taker_of<'t>(trace: &'t Trace, given: &Given) -> Option<&'t Slot> {
    if *given == Given::Other {
        return None;
    }
    let index = trace.slots.iter().rposition(|slot| slot.fed == *given)?;
    let outer = trace.slots.get(index.checked_sub(1)?)?;
    let is_around = is_under(&trace.slots[index].place.key, &outer.place.key);
    (outer.ask == Ask::Any && is_around).then_some(outer)
}

/// The kind of value that is meant by what a refusal says it expected.
fn kind_of(expected: &str) -> Option<usize> {
    let first = expected.split_whitespace().next().unwrap_or("");
    let is_number = |sign| {
        let bits = first.strip_prefix(sign).unwrap_or("");
        matches!(bits, "8" | "16" | "32" | "64" | "128" | "size")
    };
    let has = |part| expected.contains(part);
    Some(match first {
        "struct" | "internally" | "adjacently" => ANY_MAP,
        "tuple" => ANY_LIST,
        "f32" | "f64" => ANY_FLOAT,
        "unit" => ANY_NOTHING,
        _ if is_number('u') || is_number('i') || has("integer") || has("nonzero") => ANY_NUMBER,
        _ if has("map") => ANY_MAP,
        _ if has("sequence") || has("array") || has("list") => ANY_LIST,
        _ if has("bool") => ANY_BOOL,
        _ if has("string") || has("character") => ANY_TEXT,
        _ => return None,
    })
}

/// Feeds a value of the kind that was expected where another one was refused.
fn turn(plan: &mut Plan, trace: &Trace, given: &Given, expected: &str, pin: Pin<'_>) -> bool {
    let Some(slot) = taker_of(trace, given) else {
        return false;
    };
    let key = &slot.place.key;
    let kind = kind_of(expected).unwrap_or((slot.pick + 1) % slot.count);
    if kind == slot.pick || !pin.allows_pick(key) || !plan.heeded.insert((key.clone(), kind)) {
        return false;
    }
    plan.picks.insert(key.clone(), kind);
    true
}

/// Makes a list as long as was expected where another length was refused.
fn lengthen(plan: &mut Plan, trace: &Trace, given: usize, expected: &str, pin: Pin<'_>) -> bool {
    let numbers = expected.split(|letter: char| !letter.is_ascii_digit());
    let length = numbers.filter_map(|number| number.parse().ok()).next_back();
    let pick = length.and_then(|length: usize| {
        let mut lengths = leaves::LENGTHS.iter();
        lengths.position(|other| *other == length)
    });
    let Some(pick) = pick else {
        return false;
    };
    for slot in trace
        .slots
        .iter()
        .rev()
        .filter(|slot| slot.ask == Ask::Length)
    {
        let key = &slot.place.key;
        if leaves::LENGTHS[slot.pick] == given
            && pin.allows_pick(key)
            && plan.heeded.insert((key.clone(), pick))
        {
            plan.picks.insert(key.clone(), pick);
            return true;
        }
    }
    false
}

/// Feeds a variant that holds something as a map, where its name alone was refused.
fn unfold(plan: &mut Plan, trace: &Trace, expected: &str, pin: Pin<'_>) -> bool {
    if !expected.ends_with(" variant") {
        return false;
    }
    let slots = trace.slots.iter().enumerate();
    let word = slots.rev().find_map(|(index, slot)| match &slot.fed {
        Given::Text(word) if slot.ask == Ask::Word => {
            let outer = trace.slots.get(index.checked_sub(1)?)?;
            let is_any = outer.ask == Ask::Any && is_under(&slot.place.key, &outer.place.key);
            is_any.then_some((outer, word))
        }
        _ => None,
    });
    let Some((outer, word)) = word else {
        return false;
    };
    pin.allows_pick(&outer.place.key) && feed_variant(plan, outer, word)
}

/// Feeds a variant as a map with one name.
pub(super) fn feed_variant(plan: &mut Plan, slot: &Slot, word: &str) -> bool {
    plan.picks.insert(slot.place.key.clone(), ANY_MAP);
    let names = Names {
        list: vec![Name::text(word)],
        is_open: false,
    };
    let map = slot.place.inside(MAP).key;
    plan.names.insert(map, names).is_none()
}

/// Takes the next text at a place that takes anything, and was fed with what was refused later.
fn take_next_text(plan: &mut Plan, trace: &Trace, given: &Given, pin: Pin<'_>) -> bool {
    if taker_of(trace, given).is_none() {
        return false;
    }
    let mut slots = trace.slots.iter().rev();
    let slot = slots.find(|slot| slot.fed == *given);
    slot.is_some_and(|slot| take_next(plan, slot, pin))
}

/// Takes the next alternative at the place that was refused itself, and not for what is inside of it.
fn advance(plan: &mut Plan, run: &Run, fault: &Fault, pin: Pin<'_>) -> bool {
    let Some(blame) = &run.trace.blame else {
        return false;
    };
    let slots = &run.trace.slots;
    let Some(index) = slots.iter().rposition(|slot| slot.place.key == blame.key) else {
        return false;
    };
    let mut slot = &slots[index];
    let next = slots.get(index + 1);
    if next.is_some_and(|next| is_under(&next.place.key, &blame.key)) {
        return false;
    }
    // One who takes some kinds of value refuses every text alike.
    if let Fault::Kind { expected, .. } = fault
        && slot.ask == Ask::Leaf
        && let Some(outer) = index.checked_sub(1).map(|outer| &slots[outer])
        && outer.ask == Ask::Any
        && is_under(&slot.place.key, &outer.place.key)
    {
        slot = outer;
        let key = &slot.place.key;
        if let Some(kind) = kind_of(expected)
            && kind != slot.pick
            && pin.allows_pick(key)
            && plan.heeded.insert((key.clone(), kind))
        {
            plan.picks.insert(key.clone(), kind);
            return true;
        }
    }
    take_next(plan, slot, pin) || retreat(plan, &run.trace, &slot.place.key, pin)
}

fn take_next(plan: &mut Plan, slot: &Slot, pin: Pin<'_>) -> bool {
    let key = &slot.place.key;
    let refused = plan.refused.get(key).copied().unwrap_or(0) + 1;
    if refused >= slot.count || !pin.allows_pick(key) {
        return false;
    }
    plan.refused.insert(key.clone(), refused);
    plan.picks.insert(key.clone(), (slot.pick + 1) % slot.count);
    true
}

/// Does without what was refused, if it can be done without.
fn give_up(plan: &mut Plan, run: &Run, pin: Pin<'_>) -> bool {
    let Some(blame) = &run.trace.blame else {
        return false;
    };
    let key = &blame.key;
    let mut slots = run.trace.slots.iter();
    let slot = slots.rfind(|slot| slot.place.key == *key && slot.ask != Ask::Leaf);
    slot.is_some_and(|slot| do_without(plan, &run.trace, slot, pin))
        || retreat(plan, &run.trace, key, pin)
}

/// Leaves out what is inside of a place.
fn do_without(plan: &mut Plan, trace: &Trace, slot: &Slot, pin: Pin<'_>) -> bool {
    let key = &slot.place.key;
    let pick = match slot.ask {
        Ask::Option if slot.pick == 0 => 1,
        Ask::Length if slot.pick != leaves::NO_LENGTH => leaves::NO_LENGTH,
        Ask::Variant | Ask::Any => return take_next(plan, slot, pin),
        _ => return false,
    };
    if !pin.allows_pick(key) {
        return false;
    }
    let mut inside = trace
        .slots
        .iter()
        .filter(|other| is_under(&other.place.key, key));
    plan.is_partial |= inside.any(|slot| slot.ask == Ask::Any);
    plan.picks.insert(key.clone(), pick);
    true
}

/// Does without a place for which no value was found: the nearest option, list, enum or field around it
/// is decided otherwise.
fn retreat(plan: &mut Plan, trace: &Trace, key: &str, pin: Pin<'_>) -> bool {
    enum Change<'a> {
        Pick(&'a Slot),
        Drop(&'a Map, usize),
    }

    let mut nearest: Option<(usize, Change<'_>)> = None;
    let mut propose = |outer: &str, change| {
        let depth = outer.len();
        let is_allowed = match change {
            Change::Pick(_) => pin.allows_pick(outer),
            Change::Drop(..) => pin.allows_drop(outer),
        };
        if is_allowed && nearest.as_ref().is_none_or(|(other, _)| depth > *other) {
            nearest = Some((depth, change));
        }
    };
    for slot in &trace.slots {
        let outer = &slot.place.key;
        let is_around = outer != key && is_under(key, outer);
        let refused = plan.refused.get(outer).copied().unwrap_or(0);
        let can_change = match slot.ask {
            Ask::Leaf | Ask::Word => false,
            Ask::Option => slot.pick == 0,
            Ask::Length => slot.pick != leaves::NO_LENGTH,
            Ask::Variant | Ask::Any => refused + 1 < slot.count,
        };
        if is_around && can_change {
            propose(outer, Change::Pick(slot));
        }
    }
    for map in &trace.maps {
        for (index, name) in map.names.iter().enumerate() {
            let outer = name.key(&map.place.key);
            if is_under(key, &outer) {
                propose(&outer, Change::Drop(map, index));
            }
        }
    }
    match nearest {
        Some((_, Change::Pick(slot))) => do_without(plan, trace, slot, pin),
        Some((_, Change::Drop(map, index))) => {
            let key = map.place.key.clone();
            let names = names_of(plan, map);
            if index >= names.list.len() {
                return false;
            }
            if let Name::Text(name) = names.list.remove(index) {
                plan.unfilled.insert((key, name));
            }
            true
        }
        None => false,
    }
}
