//! `Vary`: which requests a stored response answers (RFC 9111 section 4.1).

use ::http::header::{ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, VARY};
use ::http::{HeaderMap, HeaderName, HeaderValue};

use super::list::{self, comma};

/// The request headers that a response depends on, sorted and each once; `None` if no request but its
/// own is known to get the same one: `Vary` has a `*`, or a member that is no name of a header.
pub(crate) fn vary_names(response: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for member in members(response) {
        if member == b"*" {
            return None;
        }
        names.push(HeaderName::from_bytes(member).ok()?);
    }
    sort(&mut names);
    Some(names)
}

/// Puts names into the order in which they are compared, each once.
pub(crate) fn sort(names: &mut Vec<HeaderName>) {
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
}

/// The members of `Vary`, over all of its lines.
pub(super) fn members(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    list::members(headers, VARY, comma)
}

/// The value of one request header, in a form that is the same for all values that mean the same; `None`
/// if it is absent.
///
/// Lines are joined as anybody on the way may join them (RFC 9110 section 5.3), and white space around
/// commas does not count, unless there are quotes, in which it may. In a list of preferences among
/// languages, codings or charsets case, empty members and the spelling of weights do not count either (RFC 9110
/// sections 5.6.1.2 and 12.5). Their order does: an origin may take the first that it has.
pub(crate) fn selecting_value(request: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let mut lines = request.get_all(name).iter();
    let first = lines.next()?.as_bytes().trim_ascii();
    let mut joined = first.to_vec();
    for line in lines {
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(line.as_bytes().trim_ascii());
    }
    Some(normal(name, joined))
}

/// As [`selecting_value`], for a handler, which may look at the first line alone: the lines are kept apart.
pub(crate) fn selecting_lines(request: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let lines = request.get_all(name).iter();
    let lines = lines.map(|line| normal(name, line.as_bytes().trim_ascii().to_vec()));
    let joined = lines.reduce(|joined, line| [&joined[..], &line].join(&b'\n'))?;
    Some(joined)
}

fn normal(name: &str, list: Vec<u8>) -> Vec<u8> {
    let preferences = is_preference(name).then(|| preferences(&list)).flatten();
    preferences.unwrap_or_else(|| without_space(list))
}

/// A list without the white space around its commas.
fn without_space(list: Vec<u8>) -> Vec<u8> {
    if list.contains(&b'"') {
        return list;
    }
    let members = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    members.collect::<Vec<_>>().join(&b","[..])
}

fn is_preference(name: &str) -> bool {
    [ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE]
        .iter()
        .any(|preference| name.eq_ignore_ascii_case(preference.as_str()))
}

/// The members of a list of preferences in lowercase, without white space and weights of 1. `None` for a list that
/// is not well-formed, which keeps its own form.
fn preferences(list: &[u8]) -> Option<Vec<u8>> {
    let list = std::str::from_utf8(list).ok()?.to_ascii_lowercase();
    let mut members = Vec::new();
    for member in list
        .split(',')
        .map(str::trim)
        .filter(|member| !member.is_empty())
    {
        let mut parts = member.split(';').map(str::trim);
        let what = parts.next().filter(|what| is_token(what))?;
        let weight = match parts.next() {
            None => "",
            Some(weight) => weight
                .strip_prefix("q=")
                .filter(|weight| is_token(weight))?,
        };
        if parts.next().is_some() {
            return None;
        }
        let weight = match weight.contains('.') {
            true => weight.trim_end_matches('0').trim_end_matches('.'),
            false => weight,
        };
        members.push(match weight {
            "" | "1" => what.to_owned(),
            weight => format!("{what};q={weight}"),
        });
    }
    Some(members.join(",").into_bytes())
}

/// Whether a text is one word (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

/// Says in `Vary` which request headers took part in the key, besides what it says already.
pub(crate) fn add_vary(headers: &mut HeaderMap, names: &[&str]) {
    for name in names {
        if members(headers).any(|named| named.eq_ignore_ascii_case(name.as_bytes())) {
            continue;
        }
        if let Ok(value) = HeaderValue::from_str(name) {
            headers.append(VARY, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &'static str, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn names(lines: &[&str]) -> Option<Vec<String>> {
        let names = vary_names(&headers("vary", lines))?;
        Some(names.iter().map(ToString::to_string).collect())
    }

    fn value(name: &'static str, lines: &[&str]) -> Option<String> {
        let value = selecting_value(&headers(name, lines), name)?;
        Some(String::from_utf8(value).unwrap())
    }

    #[test]
    fn names_are_sorted_and_in_lowercase() {
        let expected = ["accept", "cookie", "foo"].map(str::to_owned).to_vec();
        assert_eq!(names(&["Foo, ,Accept", "foo,Cookie"]), Some(expected));
        assert_eq!(names(&[]), Some(vec![]));
    }

    #[test]
    fn a_star_anywhere_and_what_is_no_name_match_nothing() {
        for lines in [
            &["*"][..],
            &["*, *"],
            &[", *"],
            &["foo, *"],
            &["foo", "*"],
            &["a b"],
        ] {
            assert_eq!(names(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn preferences_have_one_form() {
        let form = value("accept-language", &["de,en;q=0.5"]);
        for lines in [
            &["DE, En;q=0.5"][..],
            &[" de ;q=1.0 ,,  en ; q=0.50"],
            &["de;Q=1", "en;q=0.500"],
        ] {
            assert_eq!(value("accept-language", lines), form, "{lines:?}");
        }
        for lines in [
            &["de,en"][..],
            &["en;q=0.5,de"],
            &["de"],
            &["de,en;q=0"],
            &["de,en;q=0.05"],
            &[""],
        ] {
            assert_ne!(value("accept-language", lines), form, "{lines:?}");
        }
        assert_ne!(
            value("accept-encoding", &["gzip;q=0"]),
            value("accept-encoding", &["gzip"])
        );
        assert_eq!(
            value("accept-encoding", &["br;q=0.000"]),
            value("accept-encoding", &["br;q=0"])
        );
    }

    #[test]
    fn the_first_of_equal_preferences_may_be_taken() {
        for name in ["accept-language", "accept-encoding", "accept-charset"] {
            let one = value(name, &["en-US,fr-FR"]);
            assert_ne!(one, value(name, &["fr-FR,en-US"]), "{name}");
            assert_ne!(one, value(name, &["fr-FR", "en-US"]), "{name}");
            assert_eq!(one, value(name, &["en-us", "fr-fr"]), "{name}");
        }
    }

    #[test]
    fn of_other_headers_everything_counts_but_how_lists_are_spaced() {
        let form = value("x-user", &["Doe, Ada"]);
        assert_eq!(form.as_deref(), Some("Doe,Ada"));
        for lines in [&["Doe", "Ada"][..], &["Doe,Ada"], &[" Doe ,  Ada "]] {
            assert_eq!(value("x-user", lines), form, "{lines:?}");
        }
        for lines in [
            &["doe, ada"][..],
            &["Ada, Doe"],
            &["D oe, Ada"],
            &["Doe, , Ada"],
            &["Doe, \"Ada\""],
        ] {
            assert_ne!(value("x-user", lines), form, "{lines:?}");
        }
        assert_ne!(
            value("x-user", &["\"a,b\""]),
            value("x-user", &["\"a, b\""])
        );
        assert_ne!(value("x-user", &[]), value("x-user", &[""]));
        let odd = "de; en=\"a, b\"";
        assert_eq!(value("accept-language", &[odd]).as_deref(), Some(odd));
    }

    #[test]
    fn names_are_added_once() {
        let mut merged = headers("vary", &["Accept-Language"]);
        add_vary(&mut merged, &["accept-language", "accept"]);
        let lines: Vec<_> = merged.get_all(VARY).iter().collect();
        assert_eq!(lines, ["Accept-Language", "accept"]);
    }

    proptest! {
        #[test]
        fn lists_in_another_order_are_other_lists(
            members in proptest::collection::hash_set("[a-z]{2}(;q=0\\.[1-9])?", 2..5),
        ) {
            let members: Vec<_> = members.into_iter().collect();
            let reversed: Vec<_> = members.iter().rev().cloned().collect();
            let (one, other) = (members.join(","), reversed.join(","));
            let form = value("accept-language", &[&one]);
            prop_assert_ne!(&form, &value("accept-language", &[&other]));
            let spaced = members.join(" ,, ").to_ascii_uppercase();
            prop_assert_eq!(form, value("accept-language", &[&spaced]));
        }

        #[test]
        fn the_form_of_a_form_is_the_form(line: String) {
            if HeaderValue::from_str(&line).is_ok() {
                let form = value("accept-language", &[&line]);
                if let Some(text) = &form {
                    prop_assert_eq!(value("accept-language", &[text]), form.clone());
                }
            }
        }
    }
}
