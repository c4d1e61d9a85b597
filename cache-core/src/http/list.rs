//! Lists in header values (RFC 9110 section 5.6.1).

use ::http::{HeaderMap, HeaderName};

/// The members of a list header, over all of its lines, trimmed; empty ones are left out.
///
/// `end` gives the length of the first member of what is left of a line: which commas separate
/// members, and which belong to one, depends on the header.
pub(super) fn members(
    headers: &HeaderMap,
    name: HeaderName,
    end: fn(&[u8]) -> usize,
) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(move |line| split(line.as_bytes(), end))
}

fn split(line: &[u8], end: fn(&[u8]) -> usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (member, others) = rest.split_at(end(rest));
            rest = others.get(1..).unwrap_or_default();
            let member = member.trim_ascii();
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    })
}

/// The end of a member in which a comma cannot occur.
pub(super) fn comma(list: &[u8]) -> usize {
    list.iter()
        .position(|byte| *byte == b',')
        .unwrap_or(list.len())
}

/// The end of a member that has `skipped` bytes in which commas do not count.
pub(super) fn comma_after(list: &[u8], skipped: usize) -> usize {
    skipped + comma(&list[skipped..])
}
