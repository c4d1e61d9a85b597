//! Looks for a place whose value can change without a change in what is written.

use std::collections::{HashSet, VecDeque};

use super::fault::{Fault, Given, noise};
use super::maker::{Found, Maker, Pin, feed_variant, is_recent, others};
use super::plan::{Name, Names, Plan, is_under};
use super::probe::{ANY_LIST, ANY_MAP, Ask, MAP, Map, Slot};

/// How many forms of a value are looked at: with another variant, or other names.
const MOST_FORMS: usize = 64;

/// How many names are tried in a map that does not say which it knows, and how many fields by number.
const MOST_NAMES: usize = 64;

/// How many places of one form are looked at.
const MOST_PLACES: usize = 512;

/// How many steps are made for a name that cannot stand alone.
const MOST_STEPS: usize = 16;

/// How many alternatives are tried before it is asked who takes a value.
const FIRST: usize = 2;

/// A name that no type knows, unless it takes all.
const STRANGER: &str = "any other name";

/// What the search says.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The hidden field.
    pub(super) field: Option<String>,
    /// Whether there may be fields whose names were not tried.
    pub(super) is_open: bool,
    /// Whether something could not be decided.
    pub(super) is_doubtful: bool,
}

/// Whether a change of a value shows.
enum Sight {
    Seen,
    Unseen,
    /// There is no other value to try.
    Unsure,
}

/// Who takes what was fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taker {
    Nobody,
    /// The value that was built.
    Value,
    /// Something that may have been tried in vain: another variant, or an option that is none.
    Unclear,
}

/// A form of the value, and which of its places are new.
struct Form {
    found: Found,
    news: News,
}

enum News {
    Everything,
    /// What comes after a place whose choice is new.
    After(String),
    /// What is inside of a place.
    Inside(String),
}

impl News {
    fn includes(&self, found: &Found, index: usize, slot: &Slot) -> bool {
        match self {
            Self::Everything => true,
            Self::After(key) => {
                let mut slots = found.trace.slots.iter();
                let position = slots.position(|slot| slot.place.key == *key);
                position.is_none_or(|position| index > position)
            }
            Self::Inside(key) => is_under(&slot.place.key, key),
        }
    }

    fn includes_map(&self, map: &Map) -> bool {
        match self {
            Self::Everything | Self::After(_) => true,
            Self::Inside(key) => is_under(&map.place.key, key),
        }
    }
}

/// Looks at every form of a value that can be thought of.
pub(super) fn search(maker: &mut Maker<'_>, request_names: &[&str]) -> Report {
    let mut search = Search {
        maker,
        request_names,
        report: Report::default(),
        forms: VecDeque::new(),
        count: 0,
        branched: HashSet::new(),
        grown: HashSet::new(),
        has_gaps: false,
        completed: HashSet::new(),
        is_unclear: false,
        takes_all: None,
    };
    search.report.field = search.run();
    search.report
}

struct Search<'s, 'm> {
    maker: &'s mut Maker<'m>,
    request_names: &'s [&'s str],
    report: Report,
    forms: VecDeque<Form>,
    /// How many forms there were.
    count: usize,
    /// Alternatives that were made a form of.
    branched: HashSet<(String, usize, usize)>,
    /// Maps to which names were added, with the names that they hold and the variants that were taken.
    grown: HashSet<(String, Vec<Name>, Vec<usize>)>,
    /// Whether there are variants that could not be made.
    has_gaps: bool,
    /// What is written of the forms that were completed.
    completed: HashSet<Vec<u8>>,
    /// Whether something is taken, and it is not clear by what.
    is_unclear: bool,
    /// The map that writes whatever name it is given.
    takes_all: Option<String>,
}

impl Search<'_, '_> {
    fn run(&mut self) -> Option<String> {
        let Ok(found) = self.maker.solve(Default::default(), Pin::Nothing) else {
            self.doubt_unless_covered();
            return None;
        };
        // What is written by chance, or by the clock, shows nothing.
        let again = self.maker.run(&found.plan);
        if again.is_none_or(|again| again.result.as_ref() != Ok(&found.bytes)) {
            self.doubt_unless_covered();
            return None;
        }
        self.queue(found, News::Everything);
        while let Some(form) = self.forms.pop_front() {
            let field = self.look_at(&form);
            if field.is_some() {
                return field;
            }
        }
        if self.maker.is_spent() {
            self.doubt_unless_covered();
        }
        self.report.is_doubtful |= self.has_gaps && !self.are_known_covered();
        None
    }

    /// Without a search, a name that is known and not written is a doubt, and so is what may hold more
    /// names.
    fn doubt_unless_covered(&mut self) {
        self.report.is_doubtful |= !self.are_known_covered() || self.maker.has_any;
    }

    fn are_known_covered(&self) -> bool {
        let mut known = self.maker.known.iter();
        known.all(|name| self.maker.is_covered(name))
    }

    /// Doubts a name that the request holds, and that is not written.
    fn doubt_if_asked(&mut self, name: &str) {
        let is_asked = self.request_names.contains(&name);
        self.report.is_doubtful |= is_asked && !self.maker.is_covered(name);
    }

    fn queue(&mut self, found: Found, news: News) {
        if self.count < MOST_FORMS {
            self.count += 1;
            self.forms.push_back(Form { found, news });
        }
    }

    fn look_at(&mut self, form: &Form) -> Option<String> {
        let Form { found, news } = form;
        for fault in &found.heard {
            if let Fault::Missing(name) = fault {
                self.maker.overhear(name);
            }
        }
        self.report.is_doubtful |= found.plan.is_partial;
        for (_, name) in &found.plan.unfilled {
            self.report.is_doubtful |= !self.maker.is_covered(name);
        }
        let field = self.examine(found, |index, slot| news.includes(found, index, slot));
        if field.is_some() {
            return field;
        }
        for map in found
            .trace
            .maps
            .iter()
            .filter(|map| map.is_open && news.includes_map(map))
        {
            let grown = (map.place.key.clone(), map.names.clone(), variants(found));
            if !self.grown.insert(grown) {
                continue;
            }
            let field = self.grow(found, map);
            if field.is_some() {
                return field;
            }
        }
        self.complete(found);
        self.branch(found, news);
        None
    }

    /// Makes the form in which less is refused: an option that is flattened is none, without an error,
    /// until it has all that it needs.
    fn complete(&mut self, found: &Found) {
        let mut whole: Option<Found> = None;
        for _ in 0..MOST_STEPS {
            let now = whole.as_ref().unwrap_or(found);
            let mut plan = now.plan.clone();
            if now.heard.is_empty() || !self.pursue(&mut plan, now, Pin::Nothing) {
                break;
            }
            let Ok(more) = self.maker.solve(plan, Pin::Nothing) else {
                break;
            };
            whole = Some(more);
        }
        if let Some(whole) = whole
            && noise(&whole.heard) < noise(&found.heard)
            && self.completed.insert(whole.bytes.clone())
        {
            self.queue(whole, News::Everything);
        }
    }

    /// Does what something asked for that was tried in vain.
    fn pursue(&mut self, plan: &mut Plan, found: &Found, pin: Pin<'_>) -> bool {
        self.maker.heed(plan, &found.heard, &found.trace, pin)
            || self.maker.quieten(plan, found, pin)
    }

    /// The hidden field among some places; the outermost one, if there are more.
    fn examine(&mut self, found: &Found, is_new: impl Fn(usize, &Slot) -> bool) -> Option<String> {
        let depth = |label: &str| label.matches('.').count();
        let mut hidden: Option<String> = None;
        let slots = found.trace.slots.iter().enumerate();
        for (index, slot) in slots.take(MOST_PLACES) {
            let is_outer = |other: &String| depth(other) <= depth(&slot.place.label);
            let is_known = hidden.as_ref().is_some_and(is_outer);
            if !is_known && is_new(index, slot) && self.is_hidden(found, index, slot) {
                hidden = Some(label(slot));
            }
        }
        hidden
    }

    fn is_hidden(&mut self, found: &Found, index: usize, slot: &Slot) -> bool {
        let next = found.trace.slots.get(index + 1);
        let is_empty = next.is_none_or(|next| !is_under(&next.place.key, &slot.place.key));
        let can_hide = match slot.ask {
            Ask::Leaf | Ask::Word | Ask::Variant => slot.count > 1,
            Ask::Option | Ask::Length => is_empty,
            Ask::Any => false,
        };
        if !can_hide {
            return false;
        }
        // Most places show at once, and what is thrown away never does.
        if let Sight::Seen = self.sight(found, slot, FIRST) {
            return false;
        }
        let taker = self.taker(found, slot);
        if taker == Taker::Nobody {
            return false;
        }
        let is_covered = self.maker.is_covered(&slot.place.field);
        match self.sight(found, slot, usize::MAX) {
            Sight::Seen => false,
            // Two names of one variant are no two values.
            Sight::Unseen if is_covered && matches!(slot.ask, Ask::Word | Ask::Variant) => false,
            Sight::Unseen => {
                self.is_unclear |= taker == Taker::Unclear;
                taker == Taker::Value
            }
            Sight::Unsure => {
                let has_name = !slot.place.field.is_empty();
                self.report.is_doubtful |= has_name && !is_covered && taker == Taker::Value;
                false
            }
        }
    }

    /// Changes one place alone, to some of the alternatives.
    fn sight(&mut self, found: &Found, slot: &Slot, most: usize) -> Sight {
        let mut sight = Sight::Unsure;
        for pick in others(slot).take(most) {
            let plan = found.plan.with(&slot.place.key, pick);
            let Some(run) = self.maker.run(&plan) else {
                return Sight::Seen;
            };
            // An option that is flattened is none, without an error, for a value that is refused.
            if run.result.is_err() || noise(&run.heard) > noise(&found.heard) {
                continue;
            }
            if run.result.as_ref() != Ok(&found.bytes) {
                return Sight::Seen;
            }
            sight = Sight::Unseen;
        }
        sight
    }

    /// Who takes what is at a place: what is unknown to a map without a list of names is thrown away.
    fn taker(&mut self, found: &Found, slot: &Slot) -> Taker {
        let names = names_around(found, slot).into_iter();
        let Some((key, map, name)) = names.max_by_key(|(key, ..)| key.len()) else {
            return Taker::Value;
        };
        let value = found.trace.slots.iter().find(|slot| slot.place.key == key);
        let Some(value) = value.filter(|value| value.ask == Ask::Any) else {
            return Taker::Value;
        };
        // A field does not take a value of every kind, and does not take two.
        let twice = found.plan.with_name(&map.place.key, name.clone());
        let kinds = others(value).map(|pick| found.plan.with(&key, pick));
        let mut taker = Taker::Nobody;
        for (index, mut plan) in std::iter::once(twice).chain(kinds).enumerate() {
            let Some(run) = self.maker.run_learned(&mut plan) else {
                return Taker::Nobody;
            };
            match run.result {
                Ok(bytes) if bytes == found.bytes => {
                    if run.heard != found.heard && taker == Taker::Nobody {
                        taker = Taker::Unclear;
                    }
                }
                // With this kind of value, something is taken that was refused before, and shows it.
                Ok(_) if index > 0 && noise(&run.heard) < noise(&found.heard) => {
                    return Taker::Unclear;
                }
                Ok(_) | Err(_) => taker = Taker::Value,
            }
        }
        taker
    }

    /// Feeds a name once more, which a field does not take: returns the field's own name then.
    fn once_more(&mut self, found: &Found, map: &Map, name: &Name) -> Option<&'static str> {
        let plan = found.plan.with_name(&map.place.key, name.clone());
        let run = self.maker.run(&plan)?;
        let mut heard = run.heard.into_iter();
        heard.find_map(|fault| match fault {
            Fault::Duplicate(name) if !found.heard.contains(&fault) => Some(name),
            _ => None,
        })
    }

    /// Adds names to a map that does not say which it knows.
    fn grow(&mut self, found: &Found, map: &Map) -> Option<String> {
        let mut names: Vec<String> = Vec::new();
        let asked = self.request_names.iter().copied();
        let tried = asked.chain(self.maker.overheard.iter().copied());
        for name in tried.chain(self.maker.covered.iter().map(String::as_str)) {
            if names.len() < MOST_NAMES && !names.iter().any(|other| other == name) {
                names.push(name.to_owned());
            }
        }
        let stranger = self.try_name(found, map, STRANGER);
        for name in &names {
            let field = self.try_name(found, map, name);
            if field.is_some() {
                return field;
            }
        }
        self.count_fields(found, map).or(stranger)
    }

    /// Learns the names of fields by their numbers, which derived code takes as well.
    fn count_fields(&mut self, found: &Found, map: &Map) -> Option<String> {
        let key = &map.place.key;
        for index in 0..MOST_NAMES as u64 {
            let name = Name::Index(index);
            let mut own = self.once_more(found, map, &name);
            if own.is_none() {
                let plan = found.plan.with_name(key, name.clone());
                let Ok(grown) = self.maker.solve(plan, Pin::Name(key, &name)) else {
                    break;
                };
                own = self.once_more(&grown, map, &name);
            }
            match own {
                Some(own) => {
                    let field = self.try_name(found, map, own);
                    if field.is_some() {
                        return field;
                    }
                }
                // No field has this number: all were seen.
                None if index > 0 => return None,
                None => break,
            }
        }
        self.report.is_open = true;
        None
    }

    fn try_name(&mut self, found: &Found, map: &Map, text: &str) -> Option<String> {
        if map.names.iter().any(|name| name.is(text)) {
            return None;
        }
        let name = Name::text(text);
        let key = &map.place.key;
        let pin = Pin::Name(key, &name);
        let mut grown = match self
            .maker
            .solve(found.plan.with_name(key, name.clone()), pin)
        {
            Ok(grown) => grown,
            // An alias, or a name that is not known.
            Err(None | Some(Fault::Duplicate(_) | Fault::UnknownName { .. })) => return None,
            Err(Some(_)) => {
                if !self.is_unknown(found, map, &name) {
                    self.doubt_if_asked(text);
                }
                return None;
            }
        };
        if grown.trace.ignored.contains(&name.key(key)) {
            return None;
        }
        for _ in 0..MOST_STEPS {
            self.is_unclear = false;
            let field = self.examine(&grown, |_, slot| {
                is_recent(&grown.trace, key, &name, &slot.place.key)
            });
            if field.is_some() {
                return field;
            }
            if !self.is_unclear {
                break;
            }
            // An option that is flattened is none, without an error, until it has all that it needs.
            let mut plan = grown.plan.clone();
            if !self.pursue(&mut plan, &grown, pin) {
                break;
            }
            match self.maker.solve(plan, pin) {
                Ok(more) => grown = more,
                Err(_) => break,
            }
        }
        if self.is_unclear {
            self.doubt_if_asked(text);
        }
        // Where any name is taken, its value is the same sort of thing for all.
        if text == STRANGER {
            self.takes_all = self.is_seen(&grown, &name.key(key)).then(|| key.clone());
        }
        let is_new = text == STRANGER || self.takes_all.as_ref() != Some(key);
        let has_forms = grown.trace.maps.len() > found.trace.maps.len()
            || variants(&grown).len() > variants(found).len();
        if is_new && has_forms {
            self.queue(grown, News::Inside(name.key(key)));
        }
        None
    }

    /// Whether a name is refused as one that is not known.
    fn is_unknown(&mut self, found: &Found, map: &Map, name: &Name) -> bool {
        let run = self
            .maker
            .run(&found.plan.with_name(&map.place.key, name.clone()));
        let mut heard = run.into_iter().flat_map(|run| run.heard);
        heard.any(|fault| matches!(fault, Fault::UnknownName { given, .. } if name.is(&given)))
    }

    /// Whether some value at a place shows.
    fn is_seen(&mut self, found: &Found, key: &str) -> bool {
        let slots = found.trace.slots.iter();
        let mut slots =
            slots.filter(|slot| slot.ask == Ask::Leaf && is_under(&slot.place.key, key));
        slots.any(|slot| matches!(self.sight(found, slot, FIRST), Sight::Seen))
    }

    /// Makes the other forms: with other variants, other kinds of value, and other names.
    fn branch(&mut self, found: &Found, news: &News) {
        for (index, slot) in found.trace.slots.iter().enumerate() {
            let has_forms = matches!(slot.ask, Ask::Variant | Ask::Word | Ask::Any);
            if !has_forms || !news.includes(found, index, slot) {
                continue;
            }
            let key = &slot.place.key;
            self.branched.insert((key.clone(), slot.count, slot.pick));
            for pick in others(slot) {
                if self.count < MOST_FORMS
                    && self.is_likely(found, slot, pick)
                    && self.branched.insert((key.clone(), slot.count, pick))
                {
                    self.branch_to(found, slot, pick);
                }
            }
        }
        self.branch_to_variants(found);
        let overheard = self.maker.overheard.clone();
        let maps = found.trace.maps.iter();
        for map in maps.filter(|map| map.is_open && news.includes_map(map)) {
            for name in &overheard {
                self.branch_from(found, map, name);
            }
        }
    }

    /// Whether a place that takes anything may make something else of another kind of value: one that was
    /// expected there, or one with room for fields where the type itself asked for any.
    fn is_likely(&self, found: &Found, slot: &Slot, pick: usize) -> bool {
        let has_fields = matches!(pick, ANY_MAP | ANY_LIST) && names_around(found, slot).is_empty();
        slot.ask != Ask::Any || has_fields || self.is_expected(slot, pick)
    }

    fn is_expected(&self, slot: &Slot, pick: usize) -> bool {
        let hints = self.maker.hints.get(&slot.place.key);
        hints.is_some_and(|hints| hints.contains(&pick))
    }

    fn branch_to(&mut self, found: &Found, slot: &Slot, pick: usize) {
        let key = &slot.place.key;
        let mut plan = found.plan.with(key, pick);
        if slot.ask == Ask::Any && !self.is_expected(slot, pick) {
            let Some(run) = self.maker.run_learned(&mut plan) else {
                return;
            };
            let is_refused = |fault: &Fault| {
                matches!(
                    fault,
                    Fault::Kind {
                        given: Given::Other,
                        ..
                    }
                )
            };
            let mut heard = run.heard.iter();
            if heard.any(|fault| is_refused(fault) && !found.heard.contains(fault)) {
                return;
            }
        }
        let Ok(other) = self.maker.solve(plan, Pin::Slot(key)) else {
            self.has_gaps |= slot.ask == Ask::Variant;
            return;
        };
        let has_maps = other.trace.maps.iter().any(|map| map.is_open);
        if has_maps && slot.ask != Ask::Variant || !is_alike(found, &other) {
            self.queue(other, News::After(key.clone()));
        }
    }

    /// The forms of an enum that is kept for later, where its variants hold something.
    fn branch_to_variants(&mut self, found: &Found) {
        for pair in found.trace.slots.windows(2) {
            let [outer, slot] = pair else {
                continue;
            };
            let words = found.plan.words.get(&slot.place.key);
            let (Ask::Any, Some(words)) = (outer.ask, words) else {
                continue;
            };
            let map = outer.place.inside(MAP).key;
            for word in *words {
                let mark = (Name::text(word).key(&map), 0, 1);
                if self.count >= MOST_FORMS || !self.branched.insert(mark) {
                    continue;
                }
                let mut plan = found.plan.clone();
                feed_variant(&mut plan, outer, word);
                if let Ok(other) = self.maker.solve(plan, Pin::Slot(&outer.place.key)) {
                    self.queue(other, News::Inside(map.clone()));
                }
            }
        }
    }

    /// The form of a map that has one name alone, and what that needs: another variant of an untagged enum.
    fn branch_from(&mut self, found: &Found, map: &Map, text: &str) {
        let key = &map.place.key;
        let name = Name::text(text);
        let mark = (name.key(key), 0, 0);
        if self.count >= MOST_FORMS || map.names.contains(&name) || !self.branched.insert(mark) {
            return;
        }
        let mut plan = found.plan.clone();
        plan.given.clear();
        plan.heeded.clear();
        let names = Names {
            list: vec![name.clone()],
            is_open: true,
        };
        plan.names.insert(key.clone(), names);
        if let Ok(other) = self.maker.solve(plan, Pin::Name(key, &name)) {
            self.queue(other, News::Inside(key.clone()));
        }
    }
}

/// The names around a place, in maps that do not say which they know, and the keys of their places.
fn names_around<'f>(found: &'f Found, slot: &Slot) -> Vec<(String, &'f Map, &'f Name)> {
    let mut around = Vec::new();
    for map in found.trace.maps.iter().filter(|map| map.is_open) {
        for name in &map.names {
            let key = name.key(&map.place.key);
            if is_under(&slot.place.key, &key) {
                around.push((key, map, name));
            }
        }
    }
    around
}

/// Whether two forms have the same places.
fn is_alike(one: &Found, other: &Found) -> bool {
    let places = |found: &Found| {
        let slots = found.trace.slots.iter();
        let slots = slots.map(|slot| (slot.place.key.clone(), slot.ask, slot.count));
        slots.collect::<Vec<_>>()
    };
    places(one) == places(other)
}

/// Which variants were taken.
fn variants(found: &Found) -> Vec<usize> {
    let slots = found.trace.slots.iter();
    let variants = slots.filter(|slot| matches!(slot.ask, Ask::Variant | Ask::Word));
    variants.map(|slot| slot.pick).collect()
}

fn label(slot: &Slot) -> String {
    match slot.place.label.as_str() {
        // As derived code names the field of a struct that has no more.
        "" => "0".to_owned(),
        label => label.to_owned(),
    }
}
