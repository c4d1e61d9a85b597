//! The code that the attribute stands for. It describes the function and calls one function of the
//! runtime; what is decided at run time is decided there.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, FnArg, GenericParam, Lit, LitStr, Result, Signature, Type, parse_quote};

use crate::args::{Companions, Given, error};
use crate::model::{
    Binding, Body, Injection, Key, Kind, Model, Parameter, Role, first_type, is_anonymous,
    last_segment, receiver_reference,
};
use crate::refuse;
use crate::template::{Piece, Template};

/// Expands a valid model.
pub(crate) fn expand(model: &Model) -> TokenStream {
    let function = cached_function(model);
    let companions = match model.companions {
        Companions::Module => companion_struct(model),
        Companions::Methods => companion_functions(model),
        Companions::None => TokenStream::new(),
    };
    quote!(#function #companions)
}

/// The duration that an option stands for.
pub(crate) fn duration(given: &Expr, krate: &TokenStream) -> Result<TokenStream> {
    Ok(match literal_milliseconds(given)? {
        Some(milliseconds) => quote!(#krate::__private::Duration::from_millis(#milliseconds)),
        None => given.to_token_stream(),
    })
}

/// The milliseconds of a duration that is written out; `None` for any other expression.
pub(crate) fn literal_milliseconds(given: &Expr) -> Result<Option<u64>> {
    let lit = match given {
        Expr::Lit(ExprLit { lit, .. }) => lit,
        Expr::Unary(negated) if matches!(*negated.expr, Expr::Lit(_)) => {
            return Err(error(negated, NO_LIFETIME));
        }
        _ => return Ok(None),
    };
    let milliseconds = match lit {
        Lit::Int(seconds) => seconds.base10_parse::<u64>()?.checked_mul(1000),
        Lit::Str(text) => parse_lifetime(&text.value()),
        _ => None,
    };
    milliseconds
        .map(Some)
        .ok_or_else(|| error(lit, NO_LIFETIME))
}

const NO_LIFETIME: &str = "this is no lifetime: write seconds, such as `60`, a text, such as \
                           `\"500ms\"`, `\"90s\"`, `\"5m\"`, `\"2h\"` or `\"1d\"`, or an expression \
                           of type `Duration`";

fn parse_lifetime(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(unit)
}

/// The function that callers call.
fn cached_function(model: &Model) -> TokenStream {
    let attributes = &model.attributes;
    let (everywhere, outer) = (&attributes.everywhere, &attributes.outer);
    let computation = match model.companions {
        Companions::None => &attributes.computation[..],
        _ => &[],
    };
    let visibility = &model.function.vis;
    let sig = outer_signature(model);
    let call = match model.kind {
        Kind::Function => function_call(model, "function"),
        Kind::Handler(_) => handler_call(model),
    };
    // A parameter that the user does not use, and says so by its name, is still passed on.
    let passes_unused = model
        .parameters
        .iter()
        .any(|parameter| parameter.is_plain && parameter.name.to_string().starts_with('_'))
        .then(|| quote!(#[allow(clippy::used_underscore_binding)]));
    let body = match (&model.kind, model.body) {
        (Kind::Handler(_), _) | (_, Body::Async | Body::Sync) => call,
        (_, Body::Boxed) => quote!(::std::boxed::Box::pin(async move { #call })),
        (_, Body::Opaque) => quote!(async move { #call }),
    };
    quote! {
        #(#everywhere)*
        #(#computation)*
        #(#outer)*
        #passes_unused
        #visibility #sig { #body }
    }
}

/// The call of a function that is cached, by the function of the runtime that looks it up.
fn function_call(model: &Model, look_up: &str) -> TokenStream {
    let private = private(model);
    let look_up = Ident::new(look_up, Span::mixed_site());
    let site = site_call(model);
    let (coder, builder, key) = (
        coder(model),
        builder(model),
        key_closure(model, Place::Call),
    );
    let computation = computation(model);
    let rules = rules(model);
    let output = &model.output;
    let shape = Ident::new("__shape", Span::mixed_site());
    let of = quote!(of_shape(&#shape, #coder));
    let access = refuse::status(model, &of).unwrap_or_else(|| access(model, &of));
    let (tags, run, given) = (tags(model), run(model), given(model));
    let (how_to_tell, limit, computation) = match timeout(model) {
        None => (None, None, computation),
        Some(timeout) => {
            let span = Span::mixed_site().located_at(stored_span(model));
            let tell = Ident::new("__tell", Span::mixed_site());
            let limit = Ident::new("__timeout", Span::mixed_site());
            let shape = Ident::new("__shape", span);
            (
                Some(quote_spanned! {span=>
                    let #tell = #private::how_to_tell(#shape);
                    let #limit = #timeout;
                }),
                Some(quote!(.timeout(#limit))),
                quote!(#private::limited(#site, #tell, #computation, #limit)),
            )
        }
    };
    quote_spanned! {Span::mixed_site()=>
        let __answer = #private::apart(move || {
        let #shape = {
            #[allow(unused_imports)]
            use #private::shape::*;
            (&&#private::Probe::<#output>::new()).shape()
        };
        let __access = #access;
        #how_to_tell
        #private::#look_up(#site, #shape, __access, #builder, #key)
            #tags
            #limit
            .#run(move || #computation, #rules)
        });
        #given
    }
}

/// Gives what a call comes to. A value that is there is not kept in the future of the function.
fn given(model: &Model) -> TokenStream {
    let private = private(model);
    quote_spanned! {Span::mixed_site()=>
        match __answer {
            #private::Answer::Ready(__value) => __value,
            #private::Answer::Pending(__future) => __future.await,
        }
    }
}

/// Runs in the background where it can, or in one of the callers.
fn run(model: &Model) -> Ident {
    let name = if model.is_owned { "run_owned" } else { "run" };
    Ident::new(name, Span::mixed_site())
}

fn timeout(model: &Model) -> Option<TokenStream> {
    let timeout = model.options.timeout.as_ref()?;
    duration(&timeout.value, &model.krate).ok()
}

/// Writes the tags, while the arguments are still there.
fn tags(model: &Model) -> Option<TokenStream> {
    if model.tags.is_empty() {
        return None;
    }
    let private = private(model);
    let list = Ident::new("__tags", Span::mixed_site());
    let destructured = model.tag_parameters().filter_map(destructure);
    let tags = model.tags.iter().map(|tag| {
        let span = Span::mixed_site().located_at(tag.literal.span());
        let mut format = String::new();
        let mut values = Vec::new();
        for piece in &tag.pieces {
            match piece {
                Piece::Text(text) => format.push_str(&text.replace('{', "{{").replace('}', "}}")),
                Piece::Argument { name, spec } => {
                    format.push_str(&with_spec(spec));
                    values.push(binding_named(model, name));
                }
            }
        }
        let format = LitStr::new(&format, span);
        quote_spanned!(span=> #list.add(::core::format_args!(#format #(, #values)*));)
    });
    Some(quote!(.tags(|#list: &mut #private::TagList| { #(#destructured)* #(#tags)* })))
}

fn handler_call(model: &Model) -> TokenStream {
    let private = private(model);
    let site = site_call(model);
    let (coder, builder, key) = (
        coder(model),
        builder(model),
        key_closure(model, Place::Call),
    );
    let computation = computation(model);
    let rules = rules(model);
    let (request, response) = (request(model), response(model));
    let (tags, run, given) = (tags(model), run(model), given(model));
    let timeout = timeout(model).map(|timeout| quote!(.timeout(#timeout)));
    let audience = audience(model);
    quote_spanned! {Span::mixed_site()=>
        let __answer = #private::apart(move || {
        let __site = #site;
        let __call = #private::handler(
            __site,
            #coder,
            #builder,
            #audience,
            &#request,
            &#response,
            #key,
        )
        #tags
        #timeout;
        let __make = move || #computation;
        let __shape = {
            #[allow(unused_imports)]
            use #private::shape::*;
            (&&#private::Probe::of_made(&__make)).shape()
        };
        __call.#run(__shape, __make, #rules)
        });
        #given
    }
}

/// The parameter by which a handler sees its request, listed or injected.
fn request(model: &Model) -> Option<&Ident> {
    let injected = model
        .injection()
        .and_then(|injection| injection.request.as_ref());
    injected.or_else(|| listed(model, Role::Request))
}

/// The parameter by which a handler speaks of its response.
fn response(model: &Model) -> Option<&Ident> {
    let injected = model
        .injection()
        .and_then(|injection| injection.response.as_ref());
    injected.or_else(|| listed(model, Role::Response))
}

fn listed(model: &Model, role: Role) -> Option<&Ident> {
    let mut parameters = model.parameters.iter();
    let listed = parameters.find(|parameter| parameter.role == role);
    listed.map(|parameter| &parameter.name)
}

/// The user's own signature, with names for destructured parameters, and with what is injected.
fn outer_signature(model: &Model) -> Signature {
    let mut sig = model.sig().clone();
    // Handlers return a `Response`, and no future of one.
    if model.body == Body::Sync || model.injection().is_some() {
        sig.asyncness = Some(parse_quote!(async));
    }
    let mut inputs: Vec<FnArg> = Vec::new();
    if let Some(receiver) = &model.receiver {
        let mut receiver = receiver.clone();
        receiver.mutability = None;
        inputs.push(FnArg::Receiver(receiver));
    }
    match model.injection() {
        Some(injection) => {
            let private = private(model);
            sig.output = parse_quote!(-> #private::Response);
            inputs.extend(handler_inputs(model, injection));
        }
        None => inputs.extend(model.parameters.iter().map(outer_input)),
    }
    sig.inputs = inputs.into_iter().collect();
    sig
}

fn outer_input(parameter: &Parameter) -> FnArg {
    let (attributes, name, ty) = (&parameter.attributes, &parameter.name, &parameter.ty);
    parse_quote!(#(#attributes)* #name: #ty)
}

fn handler_inputs(model: &Model, injection: &Injection) -> Vec<FnArg> {
    let krate = &model.krate;
    let mut names: Vec<&Ident> = Vec::new();
    let mut types: Vec<TokenStream> = Vec::new();
    if let Some(request) = &injection.request {
        names.push(request);
        types.push(quote!(#krate::CacheRequest));
    }
    if let Some(response) = &injection.response {
        names.push(response);
        types.push(quote!(#krate::CacheResponse));
    }
    let own = model.parameters.iter();
    if !injection.nested {
        let injected = names
            .iter()
            .zip(&types)
            .map(|(name, ty)| parse_quote!(#name: #ty));
        return injected.chain(own.map(outer_input)).collect();
    }
    let Some((first, rest)) = model.parameters.split_first() else {
        return Vec::new();
    };
    let (first_name, first_type) = (&first.name, &first.ty);
    let nested = parse_quote!((#(#names,)* #first_name): (#(#types,)* #first_type));
    std::iter::once(nested)
        .chain(rest.iter().map(outer_input))
        .collect()
}

/// The future of the function as it was written.
fn computation(model: &Model) -> TokenStream {
    let private = private(model);
    let names = model.parameters.iter().map(|parameter| &parameter.name);
    let uncached = match model.companions {
        Companions::None => return inline_computation(model),
        Companions::Module => {
            let name = &model.sig().ident;
            quote!(#name::uncached)
        }
        Companions::Methods => {
            let name = method_name(model, "uncached");
            quote!(Self::#name)
        }
    };
    let turbofish = turbofish(model);
    let receiver = model.receiver.as_ref().map(|receiver| {
        let token = &receiver.self_token;
        quote!(#token,)
    });
    let call = quote!(#uncached #turbofish(#receiver #(#names),*));
    match model.body {
        Body::Sync => quote!(#private::blocking(move || #call)),
        _ => call,
    }
}

/// The generic arguments that inference could miss; those of `impl Trait` are always inferred.
fn turbofish(model: &Model) -> TokenStream {
    let arguments: Vec<&Ident> = model
        .sig()
        .generics
        .params
        .iter()
        .filter_map(|parameter| match parameter {
            GenericParam::Lifetime(_) => None,
            GenericParam::Type(ty) => Some(&ty.ident),
            GenericParam::Const(constant) => Some(&constant.ident),
        })
        .collect();
    match arguments.is_empty() {
        true => TokenStream::new(),
        false => quote!(::<#(#arguments),*>),
    }
}

/// The body itself, where there is no place for another function.
fn inline_computation(model: &Model) -> TokenStream {
    let private = private(model);
    let block = &model.function.block;
    let statements = &block.stmts;
    let output = &model.output;
    let bindings = model.parameters.iter().map(|parameter| {
        let (pattern, name) = (&parameter.pattern, &parameter.name);
        quote!(#[allow(clippy::redundant_locals)] let #pattern = #name;)
    });
    let bindings = quote!(#(#bindings)*);
    // The type of the block has to be known before its first `?`.
    let known = (!is_anonymous(output)).then(|| {
        quote_spanned! {Span::mixed_site()=>
            if let ::core::option::Option::Some(__returned) = ::core::option::Option::None::<#output> {
                return __returned;
            }
        }
    });
    match model.body {
        Body::Async => quote!(async move { #known #bindings #(#statements)* }),
        Body::Sync => quote!(#private::blocking(move || { #known #bindings #(#statements)* })),
        Body::Boxed | Body::Opaque => quote!(async move { #bindings (#block).await }),
    }
}

/// Asks whether the value can be stored. The question is the same, word for word, wherever it is
/// asked, and it stands at the return type, so that a no is one message there.
fn access(model: &Model, of: &TokenStream) -> TokenStream {
    let private = private(model);
    let span = Span::mixed_site().located_at(stored_span(model));
    quote_spanned! {span=>
        {
            #[allow(unused_imports)]
            use #private::storage::*;
            (&&#private::Storage::#of).access()
        }
    }
}

fn stored_span(model: &Model) -> Span {
    let stored = model.stored();
    match last_segment(stored) {
        Some(segment) => segment.ident.span(),
        None => stored.span(),
    }
}

/// What the options say of one value.
fn rules(model: &Model) -> TokenStream {
    let private = private(model);
    let options = &model.options;
    let value = Ident::new("__value", Span::mixed_site());
    let expire = expire(model).map(|expire| quote!(.expire(#expire)));
    let ask = |method: &str, closure: &Expr| {
        let method = Ident::new(method, Span::mixed_site());
        quote!(.#method(#private::ask(#value, #closure)))
    };
    let expire_with = options
        .expire_with
        .as_ref()
        .map(|given| ask("expire_with", &given.value));
    let only_if = options
        .cache_if
        .as_ref()
        .map(|given| ask("only_if", &given.value));
    let parameter = match expire_with.is_some() || only_if.is_some() {
        true => value.to_token_stream(),
        false => quote!(_),
    };
    let moves = model.is_owned.then(|| quote!(move));
    quote!(#moves |#parameter| #private::Verdict::new() #expire #expire_with #only_if)
}

fn expire(model: &Model) -> Option<TokenStream> {
    let expire = model.options.expire.as_ref()?;
    duration(&expire.value, &model.krate).ok()
}

fn coder(model: &Model) -> TokenStream {
    let private = private(model);
    match &model.options.coder {
        Some(given) => {
            let coder = &given.value;
            quote_spanned!(coder.span()=> #private::NamedCoder::<#coder>::new())
        }
        None => quote!(#private::RegistryCoder),
    }
}

fn builder(model: &Model) -> TokenStream {
    let private = private(model);
    match &model.key {
        Key::Builder(builder) => {
            let erased = quote_spanned!(builder.span()=> #private::erase_key_builder(#builder));
            quote!(::core::option::Option::Some(|| #erased))
        }
        _ => quote!(::core::option::Option::None),
    }
}

/// Where a key is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the function, which answers a request if it is a handler.
    Call,
    /// In `entry`, where there is no request.
    Entry,
}

/// Writes what the key is made of.
fn key_closure(model: &Model, place: Place) -> TokenStream {
    let private = private(model);
    let key = Ident::new("__key", Span::mixed_site());
    let shown = match place {
        Place::Call => shown_headers(model, &key),
        Place::Entry => None,
    };
    let written = match &model.key {
        Key::Text(template) => write_text(model, template, &key),
        Key::Arguments | Key::Builder(_) => write_arguments(model, &key, place),
    };
    quote!(|#key: &mut #private::KeyWriter| { #shown #written })
}

fn write_text(model: &Model, template: &Template, key: &Ident) -> TokenStream {
    let private = private(model);
    let span = template.literal.span();
    let separators = template.separators();
    let mut format = String::new();
    let mut values = Vec::new();
    for piece in &template.pieces {
        match piece {
            Piece::Text(text) => format.push_str(&text.replace('{', "{{").replace('}', "}}")),
            Piece::Argument { name, spec } => {
                format.push_str("{}");
                let inner = LitStr::new(&with_spec(spec), span);
                let value = binding_named(model, name);
                values.push(quote_spanned! {span=>
                    #private::escaped(::core::format_args!(#inner, #value), #separators)
                });
            }
        }
    }
    let format = LitStr::new(&format, span);
    let destructured = model.keyed_parameters().filter_map(destructure);
    quote_spanned! {span=>
        #(#destructured)*
        #key.text(::core::format_args!(#format #(, #values)*));
    }
}

/// Tells the runtime of parameters that show every header, where `vary` names those that count: a request that tells
/// who sent it by another one is not cached.
fn shown_headers(model: &Model, key: &Ident) -> Option<TokenStream> {
    let is_text = matches!(model.key, Key::Text(_));
    if !is_text || model.options.vary.is_none() {
        return None;
    }
    let private = private(model);
    let shown = model.parameters.iter().map(|parameter| {
        let name = &parameter.name;
        quote!((&&#private::Shown::new(&#name)).note(#key);)
    });
    Some(quote! {
        #[allow(unused_imports)]
        use #private::shown::*;
        #(#shown)*
    })
}

fn with_spec(spec: &str) -> String {
    match spec.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{:{spec}}}"),
    }
}

fn binding_named(model: &Model, name: &str) -> Ident {
    use syn::ext::IdentExt as _;

    let bindings = model
        .parameters
        .iter()
        .flat_map(|parameter| &parameter.bindings);
    let found = bindings
        .map(|binding| &binding.name)
        .find(|binding| binding.unraw() == name);
    found.cloned().unwrap_or_else(|| format_ident!("__missing"))
}

fn write_arguments(model: &Model, key: &Ident, place: Place) -> TokenStream {
    let private = private(model);
    let states = model
        .parameters
        .iter()
        .filter(|parameter| parameter.role == Role::State);
    let states = states.map(|parameter| {
        let ty = &parameter.ty;
        let inner = last_segment(ty).and_then(first_type);
        quote_spanned!(ty.span()=> #private::assert_state::<#ty, #inner>();)
    });
    let types = type_arguments(model, key);
    let receiver = model
        .receiver
        .as_ref()
        .filter(|_| model.keys_self())
        .map(|receiver| {
            let reference = receiver_reference(receiver);
            write_argument(model, key, "self", receiver.self_token.span, &reference)
        });
    let arguments = model.keyed_parameters().map(|parameter| {
        let filled = filled(model, parameter, key, place);
        let destructured = destructure(parameter);
        let is_keyed = |binding: &&Binding| model.is_keyed(parameter, binding);
        let bindings = parameter.bindings.iter().filter(is_keyed).map(|binding| {
            use syn::ext::IdentExt as _;

            let name = &binding.name;
            let value = match parameter.is_plain {
                true => quote!(&#name),
                false => name.to_token_stream(),
            };
            // One message about an argument is enough.
            let is_told = place == Place::Entry;
            let refused = refuse::argument(model, parameter, binding, &value, key, is_told);
            let constructor = model.constructor_for(parameter);
            refused.unwrap_or_else(|| {
                let text = name.unraw().to_string();
                write_made(model, key, &constructor, &text, name.span(), &value)
            })
        });
        quote!(#filled #destructured #(#bindings)*)
    });
    quote! {
        #[allow(unused_imports)]
        use #private::argument::*;
        #(#states)*
        #types
        #receiver
        #(#arguments)*
    }
}

fn write_argument(
    model: &Model,
    key: &Ident,
    name: &str,
    span: Span,
    value: &TokenStream,
) -> TokenStream {
    write_made(model, key, &model.constructor(), name, span, value)
}

fn write_made(
    model: &Model,
    key: &Ident,
    constructor: &Ident,
    name: &str,
    span: Span,
    value: &TokenStream,
) -> TokenStream {
    let private = private(model);
    let span = Span::mixed_site().located_at(span);
    quote_spanned! {span=>
        (&&&&&&&&#private::Argument::#constructor(#name, #value)).write_key(#key);
    }
}

/// Asks whether a request fills fields of an argument that the key would not hold.
fn filled(model: &Model, parameter: &Parameter, key: &Ident, place: Place) -> Option<TokenStream> {
    use syn::ext::IdentExt as _;

    if !matches!(
        (&model.kind, &model.key),
        (Kind::Handler(_), Key::Arguments)
    ) {
        return None;
    }
    let private = private(model);
    let value = &parameter.name;
    let name = parameter.bindings.first()?.name.unraw().to_string();
    let request = match place {
        Place::Call => {
            let request = request(model);
            quote!(::core::option::Option::Some(&#request))
        }
        Place::Entry => quote!(::core::option::Option::None),
    };
    Some(quote_spanned! {Span::mixed_site()=>
        {
            #[allow(unused_imports)]
            use #private::filled::*;
            static __VERDICTS: #private::Verdicts = #private::Verdicts::new();
            (&&&#private::Filled::new(#name, &#value, &__VERDICTS)).check(__site, #request, #key);
        }
    })
}

/// Whether the parameters of a handler let a shared cache have its reply.
fn audience(model: &Model) -> TokenStream {
    let parameters = &model.parameters;
    if matches!(model.key, Key::Builder(_))
        || parameters
            .iter()
            .any(|parameter| is_anonymous(&parameter.ty))
    {
        return quote!(false);
    }
    let private = private(model);
    let variance = model.variance();
    let mut asked: Vec<TokenStream> = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for parameter in parameters {
        let ty = &parameter.ty;
        let written = ty.to_token_stream().to_string();
        if !seen.contains(&written) {
            asked.push(quote!(#private::Parameter::<#ty, #private::#variance>::IS_SHARED));
            seen.push(written);
        }
    }
    if asked.is_empty() {
        return quote!(true);
    }
    quote! {
        {
            #[allow(unused_imports)]
            use #private::audience::*;
            #(#asked)&&*
        }
    }
}

/// Binds what a pattern binds, by reference. Not every name need be part of the key.
fn destructure(parameter: &Parameter) -> Option<TokenStream> {
    if parameter.is_plain {
        return None;
    }
    let (pattern, name) = (parameter.by_reference(), &parameter.name);
    Some(quote!(#[allow(unused_variables)] let #pattern = &#name;))
}

/// What surrounds the function, type parameters, const parameters and the types of `impl Trait`
/// arguments.
fn type_arguments(model: &Model, key: &Ident) -> TokenStream {
    let surroundings = surrounding_types(model, key);
    let generics = model
        .sig()
        .generics
        .params
        .iter()
        .map(|parameter| match parameter {
            GenericParam::Lifetime(_) => TokenStream::new(),
            GenericParam::Type(ty) => {
                let name = &ty.ident;
                quote!(#key.type_argument::<#name>();)
            }
            GenericParam::Const(constant) => {
                let name = &constant.ident;
                let value = quote!(&#name);
                write_argument(model, key, &name.to_string(), name.span(), &value)
            }
        });
    let anonymous = model
        .keyed_parameters()
        .filter(|parameter| is_anonymous(&parameter.ty));
    let anonymous = anonymous.map(|parameter| {
        let name = &parameter.name;
        quote!(#key.type_of(&#name);)
    });
    quote!(#surroundings #(#generics)* #(#anonymous)*)
}

/// The type parameters of the impl block or trait around the function.
fn surrounding_types(model: &Model, key: &Ident) -> Option<TokenStream> {
    // The impl of a trait may have parameters that `Self` does not mention, and that the attribute
    // does not see: `impl<T> Load<T> for Disk`. The type of a closure names them all.
    if model.companions == Companions::None {
        return Some(quote!(#key.type_of(&|| ());));
    }
    (model.companions == Companions::Methods).then(|| quote!(#key.type_argument::<Self>();))
}

/// The struct beside a function, of the same name: it lives among types, the function among values.
fn companion_struct(model: &Model) -> TokenStream {
    let everywhere = &model.attributes.everywhere;
    let visibility = &model.function.vis;
    let name = &model.sig().ident;
    let doc = format!(
        " Companion of the cached function `{name}`: [`entry`](Self::entry) is what one call has in \
         the cache, and [`uncached`](Self::uncached) is the function as it was written."
    );
    let functions = companion_functions(model);
    quote! {
        #(#everywhere)*
        #[doc = #doc]
        #[allow(non_camel_case_types, dead_code, unreachable_pub)]
        #visibility struct #name {}

        #(#everywhere)*
        #[allow(dead_code, unreachable_pub)]
        impl #name { #functions }
    }
}

fn companion_functions(model: &Model) -> TokenStream {
    let everywhere = &model.attributes.everywhere;
    let computation = &model.attributes.computation;
    let visibility = &model.function.vis;
    let (site_name, site_type) = (site_name(model), site_type(model));
    let site = site(model);
    let block = &model.function.block;
    let mut sig = model.sig().clone();
    sig.ident = companion_name(model, "uncached");
    let (entry, cached, refresh) = (entry(model), cached(model), refresh(model));
    let doc = format!(" `{}` as it was written, without the cache.", model.name());
    // The user's documentation and `#[must_use]` are on the cached function.
    let undocumented = quote! {
        clippy::missing_errors_doc,
        clippy::missing_panics_doc,
        clippy::missing_const_for_fn,
        clippy::must_use_candidate
    };
    quote! {
        #(#everywhere)*
        #[doc(hidden)]
        #[allow(dead_code)]
        fn #site_name() -> &'static #site_type { #site }

        #(#everywhere)*
        #(#computation)*
        #[doc = #doc]
        #[allow(dead_code, unreachable_pub, #undocumented)]
        #visibility #sig #block

        #(#everywhere)*
        #entry
        #cached
        #refresh
    }
}

/// The function that computes and stores, whatever is stored.
fn refresh(model: &Model) -> Option<TokenStream> {
    // What cannot be stored is refused once, by the function itself.
    if !matches!(model.kind, Kind::Function) || refuse::is_status(model) {
        return None;
    }
    let everywhere = &model.attributes.everywhere;
    let visibility = &model.function.vis;
    let mut sig = outer_signature(model);
    sig.ident = companion_name(model, "refresh");
    let call = function_call(model, "renewal");
    let body = match model.body {
        Body::Async | Body::Sync => call,
        Body::Boxed => quote!(::std::boxed::Box::pin(async move { #call })),
        Body::Opaque => quote!(async move { #call }),
    };
    let doc = format!(
        " Computes `{}` and stores what it gives, while callers are served what is stored. What was invalidated \
         meanwhile is not stored.",
        model.name()
    );
    Some(quote! {
        #(#everywhere)*
        #[doc = #doc]
        #[allow(dead_code, deprecated, unreachable_pub, clippy::all, clippy::pedantic)]
        #visibility #sig { #body }
    })
}

/// The function that calls a handler without a router: with the user's own parameters, and with what is
/// injected made up.
fn cached(model: &Model) -> Option<TokenStream> {
    let injection = model.injection().filter(|_| model.receiver.is_none())?;
    let (krate, private) = (&model.krate, private(model));
    let everywhere = &model.attributes.everywhere;
    let visibility = &model.function.vis;
    let name = &model.sig().ident;
    let mut sig = model.sig().clone();
    sig.asyncness = None;
    sig.ident = companion_name(model, "cached");
    // A parameter of the handler's own name would hide the handler.
    let parameters = model.parameters.iter().enumerate();
    let parameters =
        parameters.map(|(index, parameter)| (format_ident!("__argument{index}"), &parameter.ty));
    sig.inputs = parameters
        .clone()
        .map(|(name, ty)| -> FnArg { parse_quote!(#name: #ty) })
        .collect();
    sig.output = parse_quote!(-> impl ::core::future::Future<Output = #private::Response>);
    let request = injection.request.as_ref();
    let request =
        request.map(|_| quote!(<#krate::CacheRequest as ::core::default::Default>::default()));
    let response = injection.response.as_ref();
    let response =
        response.map(|_| quote!(<#krate::CacheResponse as ::core::default::Default>::default()));
    let injected = request.into_iter().chain(response);
    let own = parameters.map(|(name, _)| name.into_token_stream());
    let arguments: Vec<TokenStream> = injected.chain(own).collect();
    let count = arguments.len() - model.parameters.len();
    let arguments = match injection.nested {
        true => {
            let (first, rest) = arguments.split_at(count + 1);
            quote!((#(#first),*) #(, #rest)*)
        }
        false => quote!(#(#arguments),*),
    };
    let turbofish = turbofish(model);
    let function = match model.companions {
        Companions::Methods => quote!(Self::#name),
        _ => quote!(#name),
    };
    let doc = format!(
        " `{}` as a router calls it: for a `GET` of `/`, unless the handler takes the request itself.",
        model.name()
    );
    Some(quote! {
        #(#everywhere)*
        #[doc = #doc]
        #[allow(dead_code, deprecated, unreachable_pub, clippy::all, clippy::pedantic)]
        #visibility #sig { #function #turbofish(#arguments) }
    })
}

/// The function that gives the entry of a call.
fn entry(model: &Model) -> TokenStream {
    let (krate, private) = (&model.krate, private(model));
    let visibility = &model.function.vis;
    let name = companion_name(model, "entry");
    let (coder, builder, key) = (
        coder(model),
        builder(model),
        key_closure(model, Place::Entry),
    );
    let site = site_call(model);
    let expire = expire(model).map(|expire| quote!(.expire(#expire)));
    let rules = quote!(#private::Verdict::new() #expire);
    let mut sig = model.sig().clone();
    sig.asyncness = None;
    sig.ident = name;
    let tags = tags(model);
    let headers = Ident::new("__headers", Span::mixed_site());
    let mut inputs: Vec<FnArg> = Vec::new();
    if let Some(receiver) = model.receiver.as_ref().filter(|_| model.keys_self()) {
        let mut receiver = receiver.clone();
        receiver.mutability = None;
        inputs.push(FnArg::Receiver(receiver));
    }
    let varies = !model.vary().is_empty();
    if varies {
        inputs.push(parse_quote!(#headers: &#private::HeaderMap));
    }
    inputs.extend(model.keyed_parameters().map(outer_input));
    sig.inputs = inputs.into_iter().collect();
    let call = match &model.kind {
        Kind::Function => {
            let stored = stored_type(model, &mut sig);
            sig.output = parse_quote!(-> #krate::CacheEntry<#stored>);
            let access = access(model, &quote!(<#stored, _>::of_type(#coder)));
            quote!(#private::entry(#site, #access, #builder, #rules, #key) #tags)
        }
        Kind::Handler(_) => {
            sig.output = parse_quote!(-> #krate::CacheEntry<#krate::CachedResponse>);
            let headers = match varies {
                true => quote!(::core::option::Option::Some(#headers)),
                false => quote!(::core::option::Option::None),
            };
            quote_spanned! {Span::mixed_site()=>
                let __site = #site;
                #private::response_entry(__site, #coder, #builder, #rules, #headers, #key) #tags
            }
        }
    };
    let doc = format!(
        " What the call of `{}` with these arguments has in the current cache.",
        model.name()
    );
    quote! {
        #[doc = #doc]
        #[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
        #visibility #sig { #call }
    }
}

/// Types of this name are what they say, so that no trait has to decide.
const VALUES: [&str; 23] = [
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32",
    "u64", "u128", "usize", "String", "Vec", "Option", "Box", "Arc", "HashMap", "BTreeMap",
];

/// What an entry holds. A `Result` holds its `Ok`; of a type that may be an alias, the traits say
/// what it is.
fn stored_type(model: &Model, sig: &mut Signature) -> TokenStream {
    let private = private(model);
    let output = &model.output;
    if let Some(stored) = known_stored_type(model) {
        return stored.to_token_stream();
    }
    sig.generics.params.push(parse_quote!(__Kind));
    let where_clause = sig.generics.make_where_clause();
    where_clause
        .predicates
        .push(parse_quote!(#output: #private::Stores<__Kind>));
    quote!(<#output as #private::Stores<__Kind>>::Stored)
}

/// What is stored, if names are enough to tell.
fn known_stored_type(model: &Model) -> Option<&Type> {
    let output = &model.output;
    // The function itself has the message about a status that is none of the user's.
    if refuse::begins_with_status(model) {
        return None;
    }
    let Some(segment) = last_segment(output) else {
        return Some(output);
    };
    if segment.ident == "Result"
        && let Some(stored) = first_type(segment)
    {
        return Some(stored);
    }
    let is_generic = |parameter: &GenericParam| match parameter {
        GenericParam::Type(ty) => segment.ident == ty.ident,
        _ => false,
    };
    let is_value = VALUES.iter().any(|value| segment.ident == value)
        || model.sig().generics.params.iter().any(is_generic);
    is_value.then_some(output)
}

/// The static description of the function.
fn site(model: &Model) -> TokenStream {
    let private = private(model);
    let name = model.name();
    let namespace = model.options.namespace.as_ref().map(|given| {
        let namespace = &given.value;
        quote!(.namespace(#namespace))
    });
    let version = model.options.version.as_ref().map(|given| {
        let version = &given.value;
        quote!(.version(#version))
    });
    let coalesce = model.options.coalesce.as_ref().map(|given| {
        let coalesce = &given.value;
        quote!(.coalesce(#coalesce))
    });
    let lock = model.options.lock.as_ref().map(|_| quote!(.lock(true)));
    let policy = policy(model);
    // A handler may put its response under tags at run time.
    let is_tagged = !model.tags.is_empty() || matches!(model.kind, Kind::Handler(_));
    let tagged = is_tagged.then(|| quote!(.tagged()));
    let vary = model.vary();
    let vary = (!vary.is_empty()).then(|| quote!(.vary(&[#(#vary),*])));
    let statuses = model.options.statuses.as_ref().map(|given| {
        let statuses = &given.value;
        quote!(.statuses(&[#(#statuses),*]))
    });
    let cache_control = model.options.cache_control.as_ref().map(|given| {
        let value = &given.value;
        quote!(.cache_control(#value))
    });
    quote! {
        // The name of a type in here tells functions apart that `module_path!` does not.
        struct __Here;
        static __SITE: #private::Site = #private::Site::new(
            ::core::module_path!(),
            #name,
            || ::core::any::type_name::<__Here>(),
        )
        #namespace
        #version
        #coalesce
        #lock
        #policy
        #tagged
        #vary
        #statuses
        #cache_control;
        &__SITE
    }
}

/// How values age.
fn policy(model: &Model) -> TokenStream {
    let options = &model.options;
    let time = |name: &str, given: &Option<Given<Expr>>| {
        let duration = duration(&given.as_ref()?.value, &model.krate).ok()?;
        let name = Ident::new(name, Span::mixed_site());
        Some(quote!(.#name(#duration)))
    };
    let stale_while_revalidate = time("stale_while_revalidate", &options.stale_while_revalidate);
    let stale_if_error = time("stale_if_error", &options.stale_if_error);
    let soft_timeout = time("soft_timeout", &options.soft_timeout);
    let early_refresh = options.early_refresh.as_ref().map(|given| {
        let early = given.value;
        quote!(.early_refresh(#early))
    });
    let jitter = options.jitter.as_ref().map(|given| match &given.value {
        // A whole number is a part too.
        Expr::Lit(ExprLit {
            lit: Lit::Int(int), ..
        }) => {
            let part = int.base10_parse::<f64>().unwrap_or_default();
            quote!(.jitter(#part))
        }
        part => quote!(.jitter(#part)),
    });
    quote!(#stale_while_revalidate #stale_if_error #soft_timeout #early_refresh #jitter)
}

fn site_call(model: &Model) -> TokenStream {
    let name = &model.sig().ident;
    match model.companions {
        Companions::Module => quote!(#name::__site()),
        Companions::Methods => {
            let site = site_name(model);
            quote!(Self::#site())
        }
        Companions::None => {
            let site = site(model);
            quote!({ #site })
        }
    }
}

fn site_name(model: &Model) -> Ident {
    match model.companions {
        Companions::Methods => format_ident!("__{}_site", model.name()),
        _ => format_ident!("__site"),
    }
}

fn site_type(model: &Model) -> Type {
    let private = private(model);
    parse_quote!(#private::Site)
}

fn companion_name(model: &Model, what: &str) -> Ident {
    match model.companions {
        Companions::Methods => method_name(model, what),
        _ => Ident::new(what, model.sig().ident.span()),
    }
}

fn method_name(model: &Model, what: &str) -> Ident {
    format_ident!("{}_{what}", model.name(), span = model.sig().ident.span())
}

fn private(model: &Model) -> TokenStream {
    model.private()
}
