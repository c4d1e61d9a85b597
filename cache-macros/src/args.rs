//! The grammar of the attribute: every option, each given once.

use std::fmt::Display;

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, LitBool, LitInt, LitStr, Path, Result, Token, Type, parenthesized};

/// The options of one `#[cache(..)]`, as they were written.
#[derive(Default)]
pub(crate) struct Options {
    /// All of them, for messages that repeat them.
    pub(crate) written: TokenStream,
    pub(crate) expire: Option<Given<Expr>>,
    pub(crate) namespace: Option<Given<Expr>>,
    pub(crate) coder: Option<Given<Type>>,
    pub(crate) key_builder: Option<Given<Expr>>,
    pub(crate) key: Option<Given<LitStr>>,
    pub(crate) skip: Option<Given<Vec<Ident>>>,
    pub(crate) vary: Option<Given<Vec<LitStr>>>,
    pub(crate) statuses: Option<Given<Vec<LitInt>>>,
    pub(crate) cache_control: Option<Given<LitStr>>,
    pub(crate) injected_dependency_namespace: Option<Given<LitStr>>,
    pub(crate) version: Option<Given<LitInt>>,
    pub(crate) cache_if: Option<Given<Expr>>,
    pub(crate) coalesce: Option<Given<LitBool>>,
    pub(crate) lock: Option<Given<()>>,
    /// The computation goes on when its caller leaves.
    pub(crate) detach: Option<Given<()>>,
    pub(crate) stale_while_revalidate: Option<Given<Expr>>,
    pub(crate) stale_if_error: Option<Given<Expr>>,
    pub(crate) jitter: Option<Given<Expr>>,
    pub(crate) early_refresh: Option<Given<bool>>,
    pub(crate) soft_timeout: Option<Given<Expr>>,
    pub(crate) timeout: Option<Given<Expr>>,
    pub(crate) tags: Option<Given<Vec<LitStr>>>,
    pub(crate) expire_with: Option<Given<Expr>>,
    pub(crate) handler: Option<Given<()>>,
    pub(crate) function: Option<Given<()>>,
    pub(crate) companions: Option<Given<Companions>>,
    pub(crate) krate: Option<Given<Path>>,
}

/// An option's value, and where its name stands.
pub(crate) struct Given<T> {
    pub(crate) span: Span,
    pub(crate) value: T,
}

/// Where `entry` and `uncached` go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Companions {
    /// Into a struct beside the function.
    Module,
    /// Beside the method.
    Methods,
    /// Nowhere.
    None,
}

const NAMES: [&str; 27] = [
    "expire",
    "expire_with",
    "cache_if",
    "coalesce",
    "lock",
    "detach",
    "stale_while_revalidate",
    "stale_if_error",
    "early_refresh",
    "jitter",
    "soft_timeout",
    "timeout",
    "tags",
    "namespace",
    "version",
    "skip",
    "key",
    "key_builder",
    "coder",
    "vary",
    "statuses",
    "cache_control",
    "injected_dependency_namespace",
    "handler",
    "function",
    "companions",
    "crate",
];

/// Reads what stands between the attribute's parentheses.
pub(crate) fn parse(tokens: TokenStream) -> Result<Options> {
    let options = Options::parse_list.parse2(tokens.clone())?;
    Ok(Options {
        written: tokens,
        ..options
    })
}

impl Options {
    fn parse_list(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        each(input, |input| options.parse_option(input))?;
        Ok(options)
    }

    fn parse_option(&mut self, input: ParseStream<'_>) -> Result<()> {
        let name = input.call(Ident::parse_any)?;
        match name.to_string().as_str() {
            "expire" => set(&mut self.expire, name, value(input, "60")?),
            "expire_with" => set(&mut self.expire_with, name, value(input, "|value| ..")?),
            "cache_if" => set(&mut self.cache_if, name, value(input, "|value| ..")?),
            "coalesce" => set(&mut self.coalesce, name, value(input, "false")?),
            "lock" => set(&mut self.lock, name, ()),
            "detach" => set(&mut self.detach, name, ()),
            "stale_while_revalidate" => {
                let duration = value(input, "30")?;
                set(&mut self.stale_while_revalidate, name, duration)
            }
            "stale_if_error" => set(&mut self.stale_if_error, name, value(input, "300")?),
            "jitter" => set(&mut self.jitter, name, value(input, "0.1")?),
            "early_refresh" => set(&mut self.early_refresh, name, switch(input)?),
            "soft_timeout" => set(&mut self.soft_timeout, name, value(input, "\"500ms\"")?),
            "timeout" => set(&mut self.timeout, name, value(input, "5")?),
            "tags" => set(&mut self.tags, name, list(input, <LitStr as Parse>::parse)?),
            "namespace" => set(&mut self.namespace, name, value(input, "\"users\"")?),
            "version" => set(&mut self.version, name, value(input, "2")?),
            "skip" => set(&mut self.skip, name, list(input, Ident::parse_any)?),
            "key" => set(&mut self.key, name, value(input, "\"user:{id}\"")?),
            "key_builder" => set(&mut self.key_builder, name, value(input, "path")?),
            "coder" => set(&mut self.coder, name, value(input, "Json")?),
            "vary" => {
                let names = list_or_nothing(input, <LitStr as Parse>::parse)?;
                set(&mut self.vary, name, names)
            }
            "statuses" => set(
                &mut self.statuses,
                name,
                list(input, <LitInt as Parse>::parse)?,
            ),
            "cache_control" => {
                let value = value(input, "\"no-cache\"")?;
                set(&mut self.cache_control, name, value)
            }
            "injected_dependency_namespace" => {
                let prefix = value(input, "\"__x\"")?;
                set(&mut self.injected_dependency_namespace, name, prefix)
            }
            "handler" => set(&mut self.handler, name, ()),
            "function" => set(&mut self.function, name, ()),
            "companions" => set(&mut self.companions, name, value(input, "methods")?),
            "crate" => {
                input.parse::<Token![=]>()?;
                set(&mut self.krate, name, input.call(Path::parse_mod_style)?)
            }
            unknown => Err(unknown_option(&name, unknown, &NAMES)),
        }
    }
}

impl Parse for Companions {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.call(Ident::parse_any)?;
        match name.to_string().as_str() {
            "module" => Ok(Self::Module),
            "methods" => Ok(Self::Methods),
            "none" => Ok(Self::None),
            _ => Err(error(
                &name,
                "`companions` is one of `module`, `methods` and `none`",
            )),
        }
    }
}

/// An error at one token.
pub(crate) fn error(at: &impl quote::ToTokens, message: impl Display) -> syn::Error {
    syn::Error::new_spanned(at, message)
}

/// Reads options with commas between them.
pub(crate) fn each(
    input: ParseStream<'_>,
    mut option: impl FnMut(ParseStream<'_>) -> Result<()>,
) -> Result<()> {
    while !input.is_empty() {
        option(input)?;
        if input.is_empty() {
            break;
        }
        input.parse::<Token![,]>()?;
    }
    Ok(())
}

pub(crate) fn set<T>(option: &mut Option<Given<T>>, name: Ident, value: T) -> Result<()> {
    if option.is_some() {
        return Err(error(
            &name,
            format_args!("`{name}` is given twice: keep one"),
        ));
    }
    let span = name.span();
    *option = Some(Given { span, value });
    Ok(())
}

pub(crate) fn value<T: Parse>(input: ParseStream<'_>, example: &str) -> Result<T> {
    if !input.peek(Token![=]) {
        let message = format!("this option takes a value: write `= {example}` behind its name");
        return Err(input.error(message));
    }
    input.parse::<Token![=]>()?;
    input.parse()
}

/// A switch is on, unless it says otherwise.
fn switch(input: ParseStream<'_>) -> Result<bool> {
    match input.peek(Token![=]) {
        true => Ok(value::<LitBool>(input, "false")?.value),
        false => Ok(true),
    }
}

pub(crate) fn list<T>(
    input: ParseStream<'_>,
    item: fn(ParseStream<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let empty = input.fork();
    let items = list_or_nothing(input, item)?;
    if items.is_empty() {
        let content;
        parenthesized!(content in empty);
        return Err(content.error("the list is empty: name something, or leave the option out"));
    }
    Ok(items)
}

/// A list that says something by being empty.
fn list_or_nothing<T>(
    input: ParseStream<'_>,
    item: fn(ParseStream<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    if !input.peek(syn::token::Paren) {
        return Err(
            input.error("this option takes a list: write it in parentheses behind its name")
        );
    }
    let content;
    parenthesized!(content in input);
    let items = Punctuated::<T, Token![,]>::parse_terminated_with(&content, item)?;
    Ok(items.into_iter().collect())
}

pub(crate) fn unknown_option(name: &Ident, unknown: &str, names: &[&str]) -> syn::Error {
    match nearest(unknown, names) {
        Some(known) => error(
            name,
            format_args!("unknown option `{unknown}`: did you mean `{known}`?"),
        ),
        None => error(
            name,
            format_args!(
                "unknown option `{unknown}`: the options are {}",
                names.join(", ")
            ),
        ),
    }
}

/// The word that was meant, if one of them is close enough.
pub(crate) fn nearest<'a>(unknown: &str, words: &[&'a str]) -> Option<&'a str> {
    words
        .iter()
        .map(|known| (distance(unknown, known), *known))
        .min()
        .filter(|(distance, _)| *distance <= 2)
        .map(|(_, known)| known)
}

/// The Levenshtein distance of two words.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
