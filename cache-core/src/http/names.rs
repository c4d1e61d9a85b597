//! A table of names of headers, made when the program is compiled, that is quick for those that are not in it.
//!
//! Most headers of most requests are of no note. Three bits, which the length and a few letters of a name choose, tell
//! so of nearly all of them, however long the table is. For the others, the same letters choose the few rows to compare.

/// A name, the beginning of names (`x-auth*`) or the end of names (`*-token`), and what it stands for.
type Row<T> = (&'static str, T);

/// How many places there are for each kind of row: one for each pair of two numbers below 32.
const PAIRS: usize = 32 * 32;

/// Names, their beginnings and their ends.
const KINDS: usize = 3;
const PLACES: usize = KINDS * PAIRS;

/// A table of so many rows.
pub(super) struct Names<T, const ROWS: usize> {
    /// Sorted by their places.
    rows: [Row<T>; ROWS],
    /// Where the rows of a place begin. They end where those of the next do.
    starts: [u8; PLACES + 1],
    /// Which places have rows, by kind and first number: the second number is that of a bit.
    taken: [[u32; 32]; KINDS],
}

/// A pair of numbers; what is beyond 32 does not count.
#[derive(Clone, Copy)]
struct Pair(u32, u32);

impl Pair {
    const fn place(self, kind: usize) -> usize {
        kind * PAIRS + (self.0 % 32 * 32 + self.1 % 32) as usize
    }
}

const fn letter(letters: &[u8], at: usize) -> u32 {
    letters[at] as u32
}

/// The pair of a name.
const fn of_name(letters: &[u8]) -> Pair {
    let length = letters.len();
    let (first, third, last) = (
        letter(letters, 0),
        letter(letters, 2),
        letter(letters, length - 1),
    );
    Pair(length as u32, third + 3 * last + 5 * first)
}

/// The pair of names with the same beginning.
const fn of_beginning(letters: &[u8]) -> Pair {
    Pair(letter(letters, 2), letter(letters, 4))
}

/// The pair of names with the same end.
const fn of_end(letters: &[u8]) -> Pair {
    Pair(
        letter(letters, letters.len() - 1),
        letter(letters, letters.len() - 2),
    )
}

const fn of_row(row: &[u8]) -> usize {
    match row {
        [b'*', ..] => of_end(row).place(2),
        [beginning @ .., b'*'] => of_beginning(beginning).place(1),
        _ => of_name(row).place(0),
    }
}

impl<T: Copy, const ROWS: usize> Names<T, ROWS> {
    /// Makes a table of groups of rows.
    pub(super) const fn of(groups: &[(T, &'static [&'static str])]) -> Self {
        assert!(ROWS == count(groups) && ROWS <= u8::MAX as usize);
        let mut table = Self {
            rows: [("", groups[0].0); ROWS],
            starts: [0; PLACES + 1],
            taken: [[0; 32]; KINDS],
        };
        let mut sizes = [0_u8; PLACES];
        let mut group = 0;
        while group < groups.len() {
            let names = groups[group].1;
            let mut at = 0;
            while at < names.len() {
                sizes[of_row(names[at].as_bytes())] += 1;
                at += 1;
            }
            group += 1;
        }
        let mut at = 0;
        while at < PLACES {
            table.starts[at + 1] = table.starts[at] + sizes[at];
            if sizes[at] > 0 {
                table.taken[at / PAIRS][at % PAIRS / 32] |= 1 << (at % 32);
            }
            at += 1;
        }
        let mut next = table.starts;
        let mut group = 0;
        while group < groups.len() {
            let (what, names) = groups[group];
            let mut at = 0;
            while at < names.len() {
                let place = of_row(names[at].as_bytes());
                table.rows[next[place] as usize] = (names[at], what);
                next[place] += 1;
                at += 1;
            }
            group += 1;
        }
        table
    }

    /// What a name stands for, which is in lowercase: itself before its beginning, and that before its end.
    #[inline]
    pub(super) fn get(&self, name: &str) -> Option<T> {
        let letters = name.as_bytes();
        // The shortest beginning has five letters.
        if letters.len() < 5 {
            return self.get_short(name);
        }
        let taken = self.taken(0, of_name(letters))
            | self.taken(1, of_beginning(letters))
            | self.taken(2, of_end(letters));
        match taken & 1 {
            0 => None,
            _ => self.search(name),
        }
    }

    #[inline]
    fn get_short(&self, name: &str) -> Option<T> {
        let letters = name.as_bytes();
        match letters.len() > 2 && self.taken(0, of_name(letters)) & 1 == 1 {
            true => self.find(of_name(letters).place(0), |row| row == name),
            false => None,
        }
    }

    /// A number whose lowest bit says whether a place has rows.
    #[inline]
    fn taken(&self, kind: usize, Pair(one, other): Pair) -> u32 {
        self.taken[kind][one as usize % 32] >> (other % 32)
    }

    #[inline(never)]
    fn search(&self, name: &str) -> Option<T> {
        let letters = name.as_bytes();
        self.find(of_name(letters).place(0), |row| row == name)
            .or_else(|| {
                let is_it = |row: &str| name.starts_with(&row[..row.len() - 1]);
                self.find(of_beginning(letters).place(1), is_it)
            })
            .or_else(|| self.find(of_end(letters).place(2), |row| name.ends_with(&row[1..])))
    }

    /// The first row of a place that is it.
    fn find(&self, place: usize, is_it: impl Fn(&str) -> bool) -> Option<T> {
        let (from, to) = (self.starts[place].into(), self.starts[place + 1].into());
        let rows: &[Row<T>] = &self.rows[from..to];
        rows.iter().find(|row| is_it(row.0)).map(|row| row.1)
    }
}

/// How many rows groups have.
pub(super) const fn count<T: Copy>(groups: &[(T, &'static [&'static str])]) -> usize {
    let (mut rows, mut group) = (0, 0);
    while group < groups.len() {
        rows += groups[group].1.len();
        group += 1;
    }
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GROUPS: &[(u8, &[&str])] = &[
        (1, &["cookie", "x-plain", "api"]),
        (2, &["x-pla*", "x-user*", "*-token"]),
        (3, &["accept", "x-name-of-many-more-letters-than-are-usual"]),
    ];
    const TABLE: Names<u8, { count(GROUPS) }> = Names::of(GROUPS);

    /// As a reader of the rows would look.
    fn simply(name: &str) -> Option<u8> {
        let rows = || {
            GROUPS
                .iter()
                .flat_map(|(kind, rows)| rows.iter().map(move |row| (*row, *kind)))
        };
        let find =
            |is_it: &dyn Fn(&str) -> bool| rows().find(|(row, _)| is_it(row)).map(|(_, kind)| kind);
        find(&|row| row == name)
            .or_else(|| {
                find(&|row| {
                    row.strip_suffix('*')
                        .is_some_and(|row| name.starts_with(row))
                })
            })
            .or_else(|| find(&|row| row.strip_prefix('*').is_some_and(|row| name.ends_with(row))))
    }

    #[test]
    fn names_are_found_whole_and_by_their_beginning_and_end() {
        for (name, kind) in [
            ("cookie", Some(1)),
            ("api", Some(1)),
            ("accept", Some(3)),
            ("x-name-of-many-more-letters-than-are-usual", Some(3)),
            ("x-user", Some(2)),
            ("x-user-name", Some(2)),
            ("x-plain", Some(1)),
            ("x-plainly", Some(2)),
            ("job-token", Some(2)),
            ("-token", Some(2)),
            ("x-plain-token", Some(2)),
            ("cookies", None),
            ("accepp", None),
            ("x-use", None),
            ("token", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(TABLE.get(name), kind, "{name}");
            assert_eq!(simply(name), kind, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_table_is_but_a_quick_way_to_look(
            name in "(x-|api|cookie|x-user|x-plain|accept|[a-z-]){0,3}(-token|[a-z-]{0,40})",
        ) {
            prop_assert_eq!(TABLE.get(&name), simply(&name));
        }
    }
}
