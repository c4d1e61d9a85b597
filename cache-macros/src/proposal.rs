//! The line to write instead, in messages: the options that the attribute has, with others beside them.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::args::Options;

/// The attribute as it would be written.
pub(crate) struct Proposal {
    options: Vec<String>,
}

impl Proposal {
    /// The attribute as it is.
    pub(crate) fn of(options: &Options) -> Self {
        Self {
            options: split(options.written.clone()),
        }
    }

    /// With one more option ahead of the others.
    pub(crate) fn first(mut self, option: &str) -> Self {
        self.options.insert(0, option.to_owned());
        self
    }

    /// With these in the list of an option, behind those that are in it.
    pub(crate) fn listed<T: AsRef<str>>(mut self, option: &str, items: &[T]) -> Self {
        let items: Vec<&str> = items.iter().map(T::as_ref).collect();
        let items = items.join(", ");
        let given = self
            .options
            .iter_mut()
            .find(|given| list_of(given) == Some(option));
        match given {
            Some(given) => {
                let before = given.trim_end_matches(')').trim_end().trim_end_matches(',');
                let comma = if before.ends_with('(') { "" } else { ", " };
                *given = format!("{before}{comma}{items})");
            }
            None => self.options.push(format!("{option}({items})")),
        }
        self
    }

    /// The whole line.
    pub(crate) fn line(&self) -> String {
        format!("#[cache({})]", self.options.join(", "))
    }
}

/// The name of an option that is a list.
fn list_of(option: &str) -> Option<&str> {
    let (name, _) = option.split_once('(')?;
    let name = name.trim();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_word).then_some(name)
}

/// The options, one text each. A comma between angle brackets splits a type as well, which does not show
/// once the texts are joined again.
fn split(options: TokenStream) -> Vec<String> {
    let mut texts = Vec::new();
    let mut option: Vec<TokenTree> = Vec::new();
    for token in options {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => {
                texts.push(text(std::mem::take(&mut option)));
            }
            _ => option.push(token),
        }
    }
    texts.push(text(option));
    texts.retain(|text| !text.is_empty());
    texts
}

/// One option. That of a list is the name and its parentheses without a space between them.
fn text(option: Vec<TokenTree>) -> String {
    if let [TokenTree::Ident(name), TokenTree::Group(list)] = &option[..]
        && list.delimiter() == Delimiter::Parenthesis
    {
        return format!("{name}({})", split(list.stream()).join(", "));
    }
    option.into_iter().collect::<TokenStream>().to_string()
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn of(written: TokenStream) -> Proposal {
        Proposal::of(&Options {
            written,
            ..Options::default()
        })
    }

    #[test]
    fn options_are_kept_and_lists_grow() {
        let none = of(quote!()).listed("skip", &["request"]);
        assert_eq!(none.line(), "#[cache(skip(request))]");
        let other = of(quote!(expire = 60, skip(a, b,),)).listed("skip", &["c"]);
        assert_eq!(other.line(), "#[cache(expire = 60, skip(a, b, c))]");
        let empty = of(quote!(vary())).listed("vary", &["\"accept\""]);
        assert_eq!(empty.line(), "#[cache(vary(\"accept\"))]");
        let first = of(quote!(expire = 60)).first("handler");
        assert_eq!(first.line(), "#[cache(handler, expire = 60)]");
    }
}
