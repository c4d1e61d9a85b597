//! `#[cache_evict]`: what a function has changed is evicted after it has succeeded.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::{Expr, ExprCall, ItemFn, LitStr, Path, PathArguments, Result, Token, parse_quote};

use crate::args::{Given, each, error, list, set, unknown_option, value};
use crate::model::{Body, body_and_output, is_anonymous};

/// The options of one `#[cache_evict(..)]`, as they were written.
#[derive(Default)]
struct Options {
    tags: Option<Given<Vec<LitStr>>>,
    namespace: Option<Given<Expr>>,
    entry: Option<Given<Expr>>,
    krate: Option<Given<Path>>,
}

const NAMES: [&str; 4] = ["tags", "namespace", "entry", "crate"];

/// Expands the attribute, or says what is wrong.
pub(crate) fn try_expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse_list.parse2(options)?;
    let function: ItemFn = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(other) => {
            let message =
                "`#[cache_evict]` goes on an async function, method or handler with a body";
            return Err(syn::parse2::<syn::Item>(item).map_or(other, |item| error(&item, message)));
        }
    };
    validate(&options, &function)?;
    expand(&options, function)
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
            "tags" => set(&mut self.tags, name, list(input, <LitStr as Parse>::parse)?),
            "namespace" => set(&mut self.namespace, name, value(input, "\"users\"")?),
            "entry" => set(&mut self.entry, name, value(input, "get_user(id)")?),
            "crate" => {
                input.parse::<Token![=]>()?;
                set(&mut self.krate, name, input.call(Path::parse_mod_style)?)
            }
            unknown => Err(unknown_option(&name, unknown, &NAMES)),
        }
    }
}

fn validate(options: &Options, function: &ItemFn) -> Result<()> {
    if options.tags.is_none() && options.namespace.is_none() && options.entry.is_none() {
        return Err(error(
            &function.sig.ident,
            "nothing is evicted: name `tags(..)`, `namespace = ..` or `entry = ..`",
        ));
    }
    if let Body::Sync | Body::Opaque = body_and_output(&function.sig).0 {
        return Err(error(
            &function.sig.fn_token,
            "what is evicted is awaited: make this an `async fn`",
        ));
    }
    Ok(())
}

fn expand(options: &Options, function: ItemFn) -> Result<TokenStream> {
    let krate = match &options.krate {
        Some(krate) => krate.value.to_token_stream(),
        None => quote!(::fast_cache),
    };
    let private = quote!(#krate::__private);
    let evictions = evictions(options, &private)?;
    let ItemFn {
        attrs,
        vis,
        sig,
        block,
        ..
    } = function;
    let (body, output) = body_and_output(&sig);
    let statements = &block.stmts;
    // The type of the block has to be known before its first `?`.
    let known = (!is_anonymous(&output)).then(|| {
        quote_spanned! {Span::mixed_site()=>
            if let ::core::option::Option::Some(__returned) = ::core::option::Option::None::<#output> {
                return __returned;
            }
        }
    });
    let future = match body {
        Body::Boxed => block.to_token_stream(),
        _ => quote!(async move { #known #(#statements)* }),
    };
    let call = quote_spanned! {Span::mixed_site()=>
        let __evictions = #evictions;
        let __future = #future;
        let __shape = {
            #[allow(unused_imports)]
            use #private::shape::*;
            (&&#private::Probe::of(&__future)).shape()
        };
        #private::evict(__shape, __future, __evictions)
    };
    let whole = match body {
        Body::Boxed => quote_spanned!(Span::mixed_site()=> ::std::boxed::Box::pin({ #call })),
        _ => quote!(#call.await),
    };
    Ok(quote!(#(#attrs)* #vis #sig { #whole }))
}

/// Everything that is evicted, named before the function runs and takes its arguments.
fn evictions(options: &Options, private: &TokenStream) -> Result<TokenStream> {
    let tags = options.tags.as_ref().map_or(&[][..], |tags| &tags.value);
    let tags = tags.iter().map(|tag| {
        let span = Span::mixed_site().located_at(tag.span());
        quote_spanned!(span=> .tag(::core::format_args!(#tag)))
    });
    let namespace = options.namespace.as_ref().map(|given| {
        let namespace = &given.value;
        quote!(.namespace(#namespace))
    });
    let entry = options.entry.as_ref().map(|given| entry(&given.value));
    let entry = entry.transpose()?.map(|entry| quote!(.entry(#entry)));
    Ok(quote!(#private::Evictions::new() #(#tags)* #namespace #entry))
}

/// The entry of a call: `get_user(id)` has `get_user::entry(id)`, and methods have one beside them.
fn entry(call: &Expr) -> Result<Expr> {
    match call {
        Expr::Call(call) => entry_of_function(call),
        // `show(id).at("/acme")`: the entry of a handler that is nested there.
        Expr::MethodCall(at) if at.method == "at" && matches!(*at.receiver, Expr::Call(_)) => {
            if at.args.len() != 1 {
                return Err(error(&at.method, NO_MOUNT));
            }
            let mut at = at.clone();
            *at.receiver = entry(&at.receiver)?;
            Ok(Expr::MethodCall(at))
        }
        Expr::MethodCall(call) => {
            let mut call = call.clone();
            call.method = beside(&call.method);
            Ok(Expr::MethodCall(call))
        }
        other => Err(error(other, NO_CALL)),
    }
}

const NO_MOUNT: &str = "`at` takes the path at which the handler's router is nested: write \
                        `.at(\"/acme\")`";
const NO_CALL: &str = "this is no call of a cached function: write `entry = get_user(id)`";

fn entry_of_function(call: &ExprCall) -> Result<Expr> {
    let Expr::Path(function) = &*call.func else {
        return Err(error(&call.func, NO_CALL));
    };
    let mut path = function.clone();
    let count = path.path.segments.len();
    let owner = count
        .checked_sub(2)
        .and_then(|at| path.path.segments.get(at));
    let is_method = path.qself.is_some() || owner.is_some_and(|owner| is_type(&owner.ident));
    if let Some(last) = path.path.segments.last_mut() {
        if is_method {
            last.ident = beside(&last.ident);
        } else {
            let arguments = std::mem::replace(&mut last.arguments, PathArguments::None);
            let entry = Ident::new("entry", last.ident.span());
            path.path.segments.push(parse_quote!(#entry #arguments));
        }
    }
    let mut call = call.clone();
    *call.func = Expr::Path(path);
    Ok(Expr::Call(call))
}

/// Types are spelled in upper camel case.
fn is_type(name: &Ident) -> bool {
    let name = name.unraw().to_string();
    name.starts_with(|first: char| first.is_uppercase())
}

fn beside(method: &Ident) -> Ident {
    format_ident!("{}_entry", method.unraw(), span = method.span())
}
