//! The text of `key = "user:{id}"`.

use syn::{LitStr, Result};

use crate::args::error;

/// A key's text, taken apart.
pub(crate) struct Template {
    pub(crate) literal: LitStr,
    pub(crate) pieces: Vec<Piece>,
}

/// A piece of a key's text.
pub(crate) enum Piece {
    /// Text that stands for itself.
    Text(String),
    /// `{name}` or `{name:spec}`.
    Argument { name: String, spec: String },
}

impl Template {
    /// Takes a text apart; braces are doubled to stand for themselves, as in `format!`.
    pub(crate) fn parse(literal: &LitStr) -> Result<Self> {
        let source = literal.value();
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = source.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let (brace, behind) = rest[at..].split_at(1);
            if let Some(behind) = behind.strip_prefix(brace) {
                text.push_str(brace);
                rest = behind;
                continue;
            }
            let placeholder = behind.split_once('}').filter(|_| brace == "{");
            let Some((inside, behind)) = placeholder else {
                return Err(error(
                    literal,
                    "a brace without its other half: write `{{` or `}}` for the character itself",
                ));
            };
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(parse_placeholder(literal, inside)?);
            rest = behind;
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        let literal = literal.clone();
        Ok(Self { literal, pieces })
    }

    /// The names in the text, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Argument { name, .. } => Some(name.as_str()),
        })
    }

    /// The characters of the text that no value may contain unescaped.
    pub(crate) fn separators(&self) -> String {
        let mut separators: Vec<char> = self
            .pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Text(text) => Some(text.chars()),
                Piece::Argument { .. } => None,
            })
            .flatten()
            .filter(|character| separates(*character))
            .collect();
        separators.sort_unstable();
        separators.dedup();
        separators.into_iter().collect()
    }
}

/// Whether a character keeps two values apart: values escape it, and their escapes do not hold it.
pub(crate) fn separates(character: char) -> bool {
    character.is_ascii() && !character.is_ascii_alphanumeric() && character != '%'
}

fn parse_placeholder(literal: &LitStr, inside: &str) -> Result<Piece> {
    let (name, spec) = inside.split_once(':').unwrap_or((inside, ""));
    let name = name.trim();
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(error(
            literal,
            format_args!("`{{{inside}}}` names no argument: write `{{name}}`"),
        ));
    }
    if spec.contains('?') {
        return Err(error(
            literal,
            format_args!(
                "`{{{inside}}}` prints with `Debug`, which may hide what tells two callers apart: \
                 write `{{{name}}}`"
            ),
        ));
    }
    Ok(Piece::Argument {
        name: name.to_owned(),
        spec: spec.to_owned(),
    })
}
