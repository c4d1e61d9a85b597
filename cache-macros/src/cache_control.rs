//! The grammar of `Cache-Control`, as a response has it.

use syn::{LitStr, Result};

use crate::args::{error, nearest};

/// What stands behind a directive's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    None,
    Seconds,
    /// A quoted list of header names, or nothing.
    Fields,
}

/// Those of RFC 9111 section 5.2.2, of RFC 5861 sections 3 and 4, and of RFC 8246 section 2.
const DIRECTIVES: [(&str, Argument); 13] = [
    ("immutable", Argument::None),
    ("max-age", Argument::Seconds),
    ("must-revalidate", Argument::None),
    ("must-understand", Argument::None),
    ("no-cache", Argument::Fields),
    ("no-store", Argument::None),
    ("no-transform", Argument::None),
    ("private", Argument::Fields),
    ("proxy-revalidate", Argument::None),
    ("public", Argument::None),
    ("s-maxage", Argument::Seconds),
    ("stale-if-error", Argument::Seconds),
    ("stale-while-revalidate", Argument::Seconds),
];

/// Directives of which one forbids what the other is for. One that names header fields speaks of those alone.
const CONTRADICTIONS: [(&str, &str); 11] = [
    ("immutable", "no-cache"),
    ("immutable", "no-store"),
    ("must-revalidate", "stale-if-error"),
    ("must-revalidate", "stale-while-revalidate"),
    ("no-store", "public"),
    ("no-store", "s-maxage"),
    ("no-store", "stale-if-error"),
    ("no-store", "stale-while-revalidate"),
    ("private", "proxy-revalidate"),
    ("private", "public"),
    ("private", "s-maxage"),
];

/// Checks the value of a header.
pub(crate) fn check(value: &LitStr) -> Result<()> {
    match problem(&value.value()) {
        Some(problem) => Err(error(value, problem)),
        None => Ok(()),
    }
}

/// What is wrong with a value.
fn problem(value: &str) -> Option<String> {
    let members = match split(value) {
        Ok(members) => members,
        Err(problem) => return Some(problem),
    };
    let mut seen: Vec<(&str, bool)> = Vec::new();
    for member in members {
        let (name, argument) = match member.split_once('=') {
            Some((name, argument)) => (name, Some(argument)),
            None => (member, None),
        };
        let name = name.to_ascii_lowercase();
        let Some((known, kind)) = DIRECTIVES.iter().find(|(known, _)| *known == name) else {
            return Some(unknown(&name));
        };
        if let Some(problem) = wrong_argument(known, *kind, argument) {
            return Some(problem);
        }
        if seen.iter().any(|(seen, _)| seen == known) {
            return Some(format!("`{known}` is given twice: keep one"));
        }
        let is_whole = *kind != Argument::Fields || argument.is_none();
        seen.push((known, is_whole));
    }
    let has = |name| seen.contains(&(name, true));
    // A cache that understands the status need not heed `no-store` (RFC 9111 section 5.2.2.3).
    let may_be_ignored = |name: &str| name == "no-store" && has("must-understand");
    let binds = |name: &'static str| has(name) && !may_be_ignored(name);
    let contradiction = CONTRADICTIONS
        .iter()
        .find(|(one, other)| binds(one) && binds(other));
    contradiction
        .map(|(one, other)| format!("`{one}` and `{other}` contradict each other: keep one"))
}

/// The members of the list. A comma in quotes is none between members.
fn split(value: &str) -> std::result::Result<Vec<&str>, String> {
    let mut is_quoted = false;
    let members = value.split(|character| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    });
    let members: Vec<&str> = members.map(str::trim).collect();
    if value.trim().is_empty() {
        return Err(
            "the value is empty: write `\"no-cache\"`, for example, or leave the option out"
                .to_owned(),
        );
    }
    if is_quoted {
        return Err("a quote is not closed".to_owned());
    }
    match members.iter().any(|member| member.is_empty()) {
        true => Err("there is nothing beside a comma: remove the comma".to_owned()),
        false => Ok(members),
    }
}

fn unknown(name: &str) -> String {
    let known = DIRECTIVES.map(|(known, _)| known);
    match nearest(name, &known) {
        Some(meant) => {
            format!("`{name}` is no directive of `Cache-Control`: did you mean `{meant}`?")
        }
        None => format!(
            "`{name}` is no directive of `Cache-Control` in a response: there are {}",
            known.join(", ")
        ),
    }
}

fn wrong_argument(name: &str, kind: Argument, argument: Option<&str>) -> Option<String> {
    match (kind, argument) {
        (Argument::None, Some(_)) => Some(format!("`{name}` takes no value: write `{name}` alone")),
        (Argument::Seconds, argument) if !argument.is_some_and(is_seconds) => Some(format!(
            "`{name}` takes a number of seconds: write `{name}=60`"
        )),
        (Argument::Fields, Some(fields)) if !is_list_of_fields(fields) => Some(format!(
            "`{name}` takes names of headers in quotes: write `{name}=\\\"set-cookie\\\"`, or `{name}` alone"
        )),
        _ => None,
    }
}

/// RFC 9111 section 1.2.2. What is longer is more than caches count.
fn is_seconds(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_list_of_fields(text: &str) -> bool {
    let inside = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let is_name = |name: &str| {
        let name = name.trim();
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !name.is_empty() && name.bytes().all(is_part)
    };
    inside.is_some_and(|names| names.split(',').all(is_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_http_knows_is_accepted() {
        for value in [
            "no-cache",
            "private, no-cache",
            "Public,max-age=60 , s-maxage=0",
            "max-age=31536000, immutable",
            "no-store, no-cache, must-revalidate, max-age=0",
            "no-store, must-understand, stale-if-error=60",
            "no-cache=\"set-cookie, x-token\", public, private=\"x-user\"",
            "max-age=60, stale-while-revalidate=30, stale-if-error=3600",
        ] {
            assert_eq!(problem(value), None, "{value}");
        }
    }

    #[test]
    fn all_else_is_told_what_is_wrong() {
        for (value, part) in [
            ("", "empty"),
            (" ", "empty"),
            ("no-cache,", "remove the comma"),
            ("no-cach", "did you mean `no-cache`?"),
            ("s-max-age=60", "did you mean `s-maxage`?"),
            ("only-if-cached", "there are immutable, max-age"),
            ("max-age", "`max-age=60`"),
            ("max-age=", "`max-age=60`"),
            ("max-age=1m", "`max-age=60`"),
            ("max-age=-1", "`max-age=60`"),
            ("max-age=\"60\"", "`max-age=60`"),
            ("no-store=1", "takes no value"),
            ("private=x-user", "in quotes"),
            ("private=\"\"", "in quotes"),
            ("private=\"a", "not closed"),
            ("no-cache, NO-CACHE", "given twice"),
            (
                "public, private",
                "`private` and `public` contradict each other",
            ),
            ("private, s-maxage=60", "contradict"),
            ("no-store, public", "contradict"),
            ("immutable, no-cache", "contradict"),
        ] {
            let problem = problem(value).unwrap_or_default();
            assert!(problem.contains(part), "{value}: {problem}");
        }
    }
}
