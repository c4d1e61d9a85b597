//! Every rule that can reject the input, one function each.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{
    Attribute, Expr, ExprLit, GenericArgument, Lit, LitStr, PathArguments, ReceiverKind, Result,
    ReturnType, Safety, Type,
};

use crate::args::{Given, error};
use crate::borrows::Borrows;
use crate::cache_control;
use crate::expand::literal_milliseconds;
use crate::model::{Body, Key, Kind, Model, Role, first_type, last_segment};
use crate::refuse;
use crate::template::{Piece, separates};

/// Checks all rules, and reports everything that is wrong.
pub(crate) fn validate(model: &Model) -> Result<()> {
    let rules: [fn(&Model) -> Result<()>; 27] = [
        not_const,
        not_unsafe,
        not_extern,
        feature_for_handlers,
        returns_something,
        returns_owned,
        sync_takes_owned,
        no_mutation,
        parameters_are_always_there,
        expire_is_positive,
        stale_times_are_lifetimes,
        timeouts_are_positive,
        jitter_is_a_part,
        soft_timeout_takes_owned,
        tags_name_what_is_keyed,
        namespace_is_a_text,
        one_kind_of_key,
        one_kind_of_function,
        skip_names_arguments,
        key_names_arguments,
        key_keeps_arguments_apart,
        vary_names_headers,
        statuses_can_be_stored,
        cache_control_is_one,
        only_for_handlers,
        injected_names_are_free,
        one_response,
    ];
    let errors = rules.iter().filter_map(|rule| rule(model).err());
    match errors.reduce(|mut all, error| {
        all.combine(error);
        all
    }) {
        Some(errors) => Err(errors),
        None => Ok(()),
    }
}

fn not_const(model: &Model) -> Result<()> {
    match &model.sig().constness {
        Some(token) => Err(error(
            token,
            "a `const fn` needs no cache: remove `const` or `#[cache]`",
        )),
        None => Ok(()),
    }
}

fn not_unsafe(model: &Model) -> Result<()> {
    match &model.sig().safety {
        Safety::Unsafe(token) => Err(error(
            token,
            "an `unsafe fn` cannot be cached: the cache cannot keep its contract; wrap it in a \
             safe function",
        )),
        _ => Ok(()),
    }
}

fn not_extern(model: &Model) -> Result<()> {
    if let Some(dots) = &model.sig().variadic {
        return Err(error(
            dots,
            "a variadic function cannot be cached: its arguments cannot be listed",
        ));
    }
    match &model.sig().abi {
        Some(abi) => Err(error(
            abi,
            "an `extern` function cannot be cached: it becomes async",
        )),
        None => Ok(()),
    }
}

fn feature_for_handlers(model: &Model) -> Result<()> {
    match &model.kind {
        Kind::Handler(_) if !cfg!(feature = "axum") => Err(error(
            &model.sig().ident,
            "`#[cache]` on an axum handler needs the feature `axum` of fast-cache; if this is no \
             handler, write `#[cache(function)]`",
        )),
        _ => Ok(()),
    }
}

fn returns_something(model: &Model) -> Result<()> {
    let message = "the function returns nothing that could be stored: return a value, or remove \
                   `#[cache]`";
    if matches!(model.sig().output, ReturnType::Default) {
        return Err(error(&model.sig().ident, message));
    }
    match &model.output {
        Type::Never(never) => Err(error(never, message)),
        Type::Tuple(tuple) if tuple.elems.is_empty() => Err(error(tuple, message)),
        _ => Ok(()),
    }
}

fn returns_owned(model: &Model) -> Result<()> {
    if matches!(model.kind, Kind::Handler(_)) {
        return Ok(());
    }
    let stored = model.stored();
    let or_a_handler = match refuse::handler_line(model) {
        Some(line) => format!("; if this is an axum handler, write `{line}`"),
        None => String::new(),
    };
    if let Type::ImplTrait(opaque) = stored {
        let message = format!(
            "a type without a name cannot be read back from a store: name the return type{or_a_handler}"
        );
        return Err(error(&opaque.impl_token, message));
    }
    match borrowed_value(stored) {
        Some(borrow) => {
            let message = format!(
                "a reference cannot be stored: return an owned value, such as `String` for \
                 `&str`{or_a_handler}"
            );
            Err(error(&borrow, message))
        }
        None => Ok(()),
    }
}

/// Where a value borrows, as far as its type is known by name: an alias may name lifetimes that
/// only its error has.
fn borrowed_value(ty: &Type) -> Option<TokenStream> {
    match ty {
        Type::Reference(reference) => Some(reference.and_token.to_token_stream()),
        Type::Tuple(tuple) => tuple.elems.iter().find_map(borrowed_value),
        Type::Array(array) => borrowed_value(&array.elem),
        _ => {
            let segment = last_segment(ty)?;
            match segment.ident.to_string().as_str() {
                "Cow" => borrowed_for(segment),
                "Option" | "Vec" | "Box" | "Arc" => borrowed_value(first_type(segment)?),
                _ => None,
            }
        }
    }
}

/// The lifetime of a `Cow` that is not for ever.
fn borrowed_for(cow: &syn::PathSegment) -> Option<TokenStream> {
    let PathArguments::AngleBracketed(arguments) = &cow.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Lifetime(lifetime) if lifetime.ident != "static" => {
            Some(lifetime.to_token_stream())
        }
        _ => None,
    })
}

fn sync_takes_owned(model: &Model) -> Result<()> {
    if model.body != Body::Sync {
        return Ok(());
    }
    let receiver = model.receiver.as_ref();
    let receiver = receiver.and_then(|receiver| match &receiver.kind {
        ReceiverKind::Reference(and, ..) => Some(and.to_token_stream()),
        ReceiverKind::Typed(_, ty) => Borrows::of(ty).borrow,
        _ => None,
    });
    let mut types = model.parameters.iter().map(|parameter| &parameter.ty);
    match receiver.or_else(|| types.find_map(|ty| Borrows::of(ty).borrow)) {
        Some(borrow) => Err(error(
            &borrow,
            "a sync function runs on the blocking pool and cannot borrow: take the argument owned, \
             or make the function async",
        )),
        None => Ok(()),
    }
}

fn no_mutation(model: &Model) -> Result<()> {
    // What a sync function borrows is wrong in any case, and is one error.
    if model.body == Body::Sync {
        return Ok(());
    }
    let receiver = model.receiver.as_ref().filter(|_| model.keys_self());
    let receiver = receiver.and_then(|receiver| match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => *mutability,
        ReceiverKind::Typed(_, ty) => Borrows::of(ty).mutable,
        _ => None,
    });
    let mut keyed = model.keyed_parameters();
    match receiver.or_else(|| keyed.find_map(|parameter| Borrows::of(&parameter.ty).mutable)) {
        Some(token) => Err(error(
            &token,
            "a hit would not run what changes this argument: take it by `&` or by value, or leave \
             it out with `skip(..)`",
        )),
        None => Ok(()),
    }
}

fn parameters_are_always_there(model: &Model) -> Result<()> {
    let mut attributes = model
        .parameters
        .iter()
        .flat_map(|parameter| &parameter.attributes);
    let is_condition = |attribute: &&Attribute| {
        attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr")
    };
    match attributes.find(is_condition) {
        Some(attribute) => Err(error(
            attribute,
            "a parameter is there always or never: put the `cfg` on two versions of the function",
        )),
        None => Ok(()),
    }
}

fn expire_is_positive(model: &Model) -> Result<()> {
    match &model.options.expire {
        Some(Given { value, .. }) if literal_milliseconds(value)? == Some(0) => Err(error(
            value,
            "a lifetime of zero stores nothing: give a longer one, or remove `#[cache]`",
        )),
        _ => Ok(()),
    }
}

fn stale_times_are_lifetimes(model: &Model) -> Result<()> {
    let options = &model.options;
    let given = [&options.stale_while_revalidate, &options.stale_if_error];
    for given in given.into_iter().flatten() {
        literal_milliseconds(&given.value)?;
    }
    Ok(())
}

fn timeouts_are_positive(model: &Model) -> Result<()> {
    let options = &model.options;
    let given = [&options.soft_timeout, &options.timeout];
    for given in given.into_iter().flatten() {
        if literal_milliseconds(&given.value)? == Some(0) {
            let message = "no computation is over in no time: give a longer timeout, or remove it";
            return Err(error(&given.value, message));
        }
    }
    Ok(())
}

fn jitter_is_a_part(model: &Model) -> Result<()> {
    let Some(Given { value, .. }) = &model.options.jitter else {
        return Ok(());
    };
    let part = match value {
        Expr::Lit(ExprLit { lit, .. }) => match lit {
            Lit::Float(float) => float.base10_parse::<f64>().ok(),
            Lit::Int(int) => int.base10_parse::<f64>().ok(),
            _ => None,
        },
        Expr::Unary(_) => None,
        _ => return Ok(()),
    };
    match part.filter(|part| (0.0..=1.0).contains(part)) {
        Some(_) => Ok(()),
        None => Err(error(
            value,
            "jitter is the part of a lifetime that it is cut short by at most: write a number from \
             0.0 to 1.0, such as `0.1`",
        )),
    }
}

fn soft_timeout_takes_owned(model: &Model) -> Result<()> {
    let options = &model.options;
    let soft = options.soft_timeout.as_ref();
    let soft = soft.map(|given| (given.span, "after a `soft_timeout`"));
    let detached = options.detach.as_ref();
    let detached = detached.map(|given| (given.span, "with `detach`"));
    match soft.or(detached) {
        Some((span, when)) if !model.is_owned => Err(syn::Error::new(
            span,
            format!(
                "{when} the computation goes on in the background, where it cannot borrow: make this \
                 a function without a receiver and without type parameters, whose arguments are owned"
            ),
        )),
        _ => Ok(()),
    }
}

fn tags_name_what_is_keyed(model: &Model) -> Result<()> {
    let mut seen: Vec<String> = Vec::new();
    for tag in &model.tags {
        let text = tag.literal.value();
        if text.is_empty() {
            return Err(error(
                &tag.literal,
                "the tag is empty: name one, such as `\"users\"` or `\"user:{id}\"`",
            ));
        }
        if seen.contains(&text) {
            return Err(error(
                &tag.literal,
                format_args!("{text:?} is named twice: keep one"),
            ));
        }
        seen.push(text);
        for name in tag.names() {
            if model.keyed_binding(name).is_some() {
                continue;
            }
            let message = match names(model).iter().any(|known| known == name) {
                true => format!(
                    "`{{{name}}}` takes no part in the key, so that one entry would have one tag or \
                     another: name an argument that does"
                ),
                false => format!("`{{{name}}}` names no argument; {}", known(model)),
            };
            return Err(error(&tag.literal, message));
        }
    }
    Ok(())
}

fn namespace_is_a_text(model: &Model) -> Result<()> {
    match &model.options.namespace {
        Some(Given {
            value: Expr::Lit(ExprLit { lit, .. }),
            ..
        }) => match lit {
            Lit::Str(text) if text.value().is_empty() => Err(error(
                text,
                "the namespace is empty: name one, or leave the option out",
            )),
            Lit::Str(_) => Ok(()),
            other => Err(error(other, "a namespace is a text: write `\"users\"`")),
        },
        _ => Ok(()),
    }
}

fn one_kind_of_key(model: &Model) -> Result<()> {
    let options = &model.options;
    let Some(key) = &options.key else {
        return Ok(());
    };
    if let Some(builder) = &options.key_builder {
        return Err(syn::Error::new(
            builder.span,
            "`key` and `key_builder` both make the key: keep one",
        ));
    }
    match &options.skip {
        Some(skip) => Err(syn::Error::new(
            skip.span,
            format!(
                "`key = {}` says what is in the key: remove `skip`",
                key.value.to_token_stream()
            ),
        )),
        None => Ok(()),
    }
}

fn one_kind_of_function(model: &Model) -> Result<()> {
    match (&model.options.handler, &model.options.function) {
        (Some(_), Some(function)) => Err(syn::Error::new(
            function.span,
            "`handler` and `function` contradict each other: keep one",
        )),
        _ => Ok(()),
    }
}

fn skip_names_arguments(model: &Model) -> Result<()> {
    let Some(skip) = &model.options.skip else {
        return Ok(());
    };
    let mut seen = Vec::new();
    for name in &skip.value {
        let is_self = name == "self" && model.receiver.is_some();
        if !is_self && !names(model).contains(&name.unraw().to_string()) {
            return Err(error(
                name,
                format_args!("there is no argument `{name}`; {}", known(model)),
            ));
        }
        if seen.contains(&name) {
            return Err(error(
                name,
                format_args!("`{name}` is skipped twice: keep one"),
            ));
        }
        seen.push(name);
    }
    Ok(())
}

fn key_names_arguments(model: &Model) -> Result<()> {
    let Key::Text(template) = &model.key else {
        return Ok(());
    };
    for name in template.names() {
        if !names(model).iter().any(|known| known == name) {
            let message = format!("`{{{name}}}` names no argument; {}", known(model));
            return Err(error(&template.literal, message));
        }
    }
    Ok(())
}

fn key_keeps_arguments_apart(model: &Model) -> Result<()> {
    let Key::Text(template) = &model.key else {
        return Ok(());
    };
    let mut before: Option<&str> = None;
    let mut is_apart = true;
    for piece in &template.pieces {
        match piece {
            Piece::Text(text) => is_apart |= text.chars().any(separates),
            Piece::Argument { name, .. } => {
                if let Some(before) = before.filter(|_| !is_apart) {
                    return Err(error(
                        &template.literal,
                        format_args!(
                            "`{{{before}}}` and `{{{name}}}` run together, so that two calls could \
                             share a key: put a `:` or a `/` between them"
                        ),
                    ));
                }
                before = Some(name);
                is_apart = false;
            }
        }
    }
    Ok(())
}

fn vary_names_headers(model: &Model) -> Result<()> {
    let lines = model
        .options
        .vary
        .as_ref()
        .map_or(&[][..], |vary| &vary.value[..]);
    let mut seen = Vec::new();
    for line in lines {
        let name = line.value().to_ascii_lowercase();
        if !is_header_name(line) {
            let message =
                format!("`{name}` is no name of a request header: write `\"accept-language\"`");
            return Err(error(line, message));
        }
        if seen.contains(&name) {
            return Err(error(
                line,
                format_args!("`{name}` is named twice: keep one"),
            ));
        }
        seen.push(name);
    }
    Ok(())
}

fn statuses_can_be_stored(model: &Model) -> Result<()> {
    let Some(statuses) = &model.options.statuses else {
        return Ok(());
    };
    let mut seen = Vec::new();
    for status in &statuses.value {
        let number = status.base10_parse::<u16>().unwrap_or_default();
        if !(200..600).contains(&number) {
            return Err(error(
                status,
                "this is no status of a final response: write one from 200 to 599",
            ));
        }
        let why = match number {
            // RFC 9110 sections 15.3.7 and 15.4.5.
            206 | 304 => "answers one request, and no other",
            // RFC 6585.
            428 | 429 | 431 | 511 => "is never stored (RFC 6585)",
            _ => "",
        };
        if !why.is_empty() {
            return Err(error(
                status,
                format_args!("a response with this status {why}: leave it out"),
            ));
        }
        if seen.contains(&number) {
            return Err(error(
                status,
                format_args!("{number} is named twice: keep one"),
            ));
        }
        seen.push(number);
    }
    Ok(())
}

fn cache_control_is_one(model: &Model) -> Result<()> {
    match &model.options.cache_control {
        Some(given) => cache_control::check(&given.value),
        None => Ok(()),
    }
}

fn is_header_name(name: &LitStr) -> bool {
    // `*` is a token too, but stands for no single header.
    let name = name.value();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name != "*" && name.bytes().all(is_token)
}

fn only_for_handlers(model: &Model) -> Result<()> {
    if matches!(model.kind, Kind::Handler(_)) {
        return Ok(());
    }
    let options = &model.options;
    let vary = options.vary.as_ref().map(|given| ("vary", given.span));
    let statuses = options.statuses.as_ref();
    let statuses = statuses.map(|given| ("statuses", given.span));
    let cache_control = options.cache_control.as_ref();
    let cache_control = cache_control.map(|given| ("cache_control", given.span));
    let injected = options.injected_dependency_namespace.as_ref();
    let injected = injected.map(|given| ("injected_dependency_namespace", given.span));
    match vary.or(statuses).or(cache_control).or(injected) {
        Some((name, span)) => Err(syn::Error::new(
            span,
            format!("`{name}` is for handlers: add `handler` if this is one, or remove it"),
        )),
        None => Ok(()),
    }
}

fn injected_names_are_free(model: &Model) -> Result<()> {
    let Some(injection) = model.injection() else {
        return Ok(());
    };
    if let Some(given) = &model.options.injected_dependency_namespace
        && syn::parse_str::<syn::Ident>(&given.value.value()).is_err()
    {
        let message = "this has to begin an identifier: write `\"__cache\"`, for example";
        return Err(error(&given.value, message));
    }
    let bindings = model
        .parameters
        .iter()
        .flat_map(|parameter| &parameter.bindings);
    for binding in bindings {
        let injected = [&injection.request, &injection.response];
        if injected
            .into_iter()
            .flatten()
            .any(|name| binding.name == *name)
        {
            return Err(error(
                &binding.name,
                format_args!(
                    "`{}` is the name of an injected parameter: rename this one, or set \
                     `injected_dependency_namespace = \"..\"`",
                    binding.name
                ),
            ));
        }
    }
    Ok(())
}

/// The runtime listens to one.
fn one_response(model: &Model) -> Result<()> {
    let mut responses = model
        .parameters
        .iter()
        .filter(|parameter| parameter.role == Role::Response);
    match responses.nth(1) {
        Some(second) => Err(error(
            &second.ty,
            "a handler has one `CacheResponse`: remove this one",
        )),
        None => Ok(()),
    }
}

fn names(model: &Model) -> Vec<String> {
    let bindings = model
        .parameters
        .iter()
        .flat_map(|parameter| &parameter.bindings);
    bindings
        .map(|binding| binding.name.unraw().to_string())
        .collect()
}

fn known(model: &Model) -> String {
    let mut names = names(model);
    if model.receiver.is_some() && model.options.skip.is_some() {
        names.insert(0, "self".to_owned());
    }
    match names.len() {
        0 => "the function has none".to_owned(),
        1 => format!("there is `{}`", names[0]),
        _ => format!("there are `{}`", names.join("`, `")),
    }
}
