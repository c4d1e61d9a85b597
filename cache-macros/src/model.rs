//! What was annotated: a function or a handler, its key, and where its companions go.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{
    AttrStyle, Attribute, Expr, FnArg, GenericArgument, ItemFn, Pat, PatIdent, PathArguments,
    PathSegment, Receiver, ReceiverKind, Result, ReturnType, Signature, TraitItemFn, Type,
    TypeParamBound,
};

use crate::args::{Companions, Given, Options, error};
use crate::borrows::Borrows;
use crate::template::Template;

/// All that the expansion needs to know.
pub(crate) struct Model {
    pub(crate) krate: TokenStream,
    pub(crate) options: Options,
    pub(crate) attributes: Attributes,
    pub(crate) function: ItemFn,
    pub(crate) body: Body,
    /// What a call gives: the return type, or the output of the future that is returned.
    pub(crate) output: Type,
    pub(crate) kind: Kind,
    pub(crate) receiver: Option<Receiver>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) key: Key,
    pub(crate) tags: Vec<Template>,
    /// Whether the computation is to outlive its caller, and can.
    pub(crate) is_owned: bool,
    pub(crate) companions: Companions,
}

/// How the body runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Async,
    /// On the blocking pool.
    Sync,
    /// It makes a boxed future, as `#[async_trait]` has it.
    Boxed,
    /// It makes an `impl Future`.
    Opaque,
}

/// What the function is to axum.
pub(crate) enum Kind {
    Function,
    Handler(Injection),
}

/// The parameters that a handler does not list itself.
pub(crate) struct Injection {
    pub(crate) request: Option<Ident>,
    pub(crate) response: Option<Ident>,
    /// Whether they share a parameter with the handler's first one.
    pub(crate) nested: bool,
}

/// What the key is made of.
pub(crate) enum Key {
    Arguments,
    Text(Template),
    Builder(Expr),
}

/// One parameter.
pub(crate) struct Parameter {
    /// Its name in the cached function.
    pub(crate) name: Ident,
    pub(crate) pattern: Pat,
    pub(crate) ty: Type,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) role: Role,
    /// Whether the pattern is a name alone.
    pub(crate) is_plain: bool,
    pub(crate) bindings: Vec<Binding>,
}

/// A name that a parameter's pattern binds.
pub(crate) struct Binding {
    pub(crate) name: Ident,
    pub(crate) is_skipped: bool,
}

/// What a parameter is to the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Argument,
    /// axum's `State<S>`; it takes no part in the key.
    State,
    /// `CacheRequest` or a whole `Request`.
    Request,
    /// `CacheResponse`; it takes no part in the key.
    Response,
}

/// The item's other attributes, by where they go.
#[derive(Default)]
pub(crate) struct Attributes {
    /// On everything that is generated: `cfg` and lints.
    pub(crate) everywhere: Vec<Attribute>,
    /// On the computation: `instrument` and what lints expect of the body.
    pub(crate) computation: Vec<Attribute>,
    /// On the cached function.
    pub(crate) outer: Vec<Attribute>,
    /// Whether one of the outer ones may look at the signature.
    pub(crate) sees_signature: bool,
}

/// Reads the annotated item.
pub(crate) fn parse(item: TokenStream) -> Result<ItemFn> {
    if let Ok(function) = syn::parse2::<ItemFn>(item.clone()) {
        return Ok(function);
    }
    if let Ok(method) = syn::parse2::<TraitItemFn>(item.clone())
        && method.default.is_none()
    {
        let message = "a trait method without a body computes nothing that could be cached: put \
                       `#[cache]` on its implementation";
        return Err(error(&method.sig.ident, message));
    }
    match syn::parse2::<syn::Item>(item.clone()) {
        Ok(item) => Err(error(
            &keyword(&item),
            "`#[cache]` goes on a function, a method or an axum handler",
        )),
        Err(error) => Err(error),
    }
}

/// Puts options and item together. What is wrong with either alone is found here; the rules that
/// concern both are in `validate`.
pub(crate) fn build(options: Options, function: ItemFn) -> Result<Model> {
    let (body, output) = body_and_output(&function.sig);
    let skipped = options
        .skip
        .as_ref()
        .map_or(&[][..], |skip| &skip.value[..]);
    let is_handler = match (&options.handler, &options.function) {
        (Some(_), _) => true,
        (None, Some(_)) => false,
        (None, None) => looks_like_handler(&function.sig, &output),
    };
    let mut parameters = Vec::new();
    for (index, input) in function.sig.inputs.iter().enumerate() {
        if let FnArg::Typed(typed) = input {
            parameters.push(parameter(index, typed, skipped, is_handler));
        }
    }
    let attributes = sort_attributes(&function.attrs);
    let kind = match is_handler {
        false => Kind::Function,
        true => Kind::Handler(injection(&options, &parameters, &attributes)),
    };
    let is_associated = function.sig.receiver().is_some() || says_self(&function);
    let companions = match &options.companions {
        Some(given) => given.value,
        None if body == Body::Boxed => Companions::None,
        None if is_associated => Companions::Methods,
        None => Companions::Module,
    };
    let key = match (&options.key, &options.key_builder) {
        (Some(text), _) => Key::Text(Template::parse(&text.value)?),
        (None, Some(builder)) => Key::Builder(builder.value.clone()),
        (None, None) => Key::Arguments,
    };
    let tags = options.tags.as_ref().map_or(&[][..], |tags| &tags.value);
    let tags = tags.iter().map(Template::parse).collect::<Result<_>>()?;
    let outlives = options.stale_while_revalidate.is_some()
        || options.early_refresh.is_some()
        || options.soft_timeout.is_some()
        || options.detach.is_some()
        // What runs on the blocking pool cannot be stopped, and outlives its caller in any case.
        || body == Body::Sync
        || is_handler;
    let is_owned = outlives
        && !is_associated
        && matches!(body, Body::Async | Body::Sync)
        && owns(&function.sig);
    let krate = match &options.krate {
        Some(krate) => krate.value.to_token_stream(),
        None => quote!(::fast_cache),
    };
    Ok(Model {
        krate,
        attributes,
        body,
        output,
        kind,
        receiver: function.sig.receiver().cloned(),
        parameters,
        key,
        tags,
        is_owned,
        companions,
        options,
        function,
    })
}

impl Model {
    pub(crate) fn sig(&self) -> &Signature {
        &self.function.sig
    }

    pub(crate) fn injection(&self) -> Option<&Injection> {
        match &self.kind {
            Kind::Function => None,
            Kind::Handler(injection) => Some(injection),
        }
    }

    /// Where generated code finds what it calls.
    pub(crate) fn private(&self) -> TokenStream {
        let krate = &self.krate;
        quote!(#krate::__private)
    }

    /// How an argument of this function is made, in `Argument`'s terms.
    pub(crate) fn constructor(&self) -> Ident {
        let name = match (&self.key, &self.options.vary) {
            (Key::Builder(_), _) => "built",
            (_, Some(_)) => "varied",
            (_, None) => "new",
        };
        Ident::new(name, Span::mixed_site())
    }

    /// The same for one parameter. `vary` names headers of the request, and speaks of none that a middleware has put into an
    /// `Extension`.
    pub(crate) fn constructor_for(&self, parameter: &Parameter) -> Ident {
        let is_extension =
            last_segment(&parameter.ty).is_some_and(|last| last.ident == "Extension");
        match is_extension && self.options.vary.is_some() && !matches!(self.key, Key::Builder(_)) {
            true => Ident::new("new", Span::mixed_site()),
            false => self.constructor(),
        }
    }

    /// The type by which the runtime tells which request headers count.
    pub(crate) fn variance(&self) -> Ident {
        let name = match (&self.key, &self.options.vary) {
            (Key::Builder(_), _) => "Built",
            (_, Some(_)) => "Varied",
            (_, None) => "Unvaried",
        };
        Ident::new(name, Span::mixed_site())
    }

    /// What is stored of what the function returns, as far as its type is spelled out.
    pub(crate) fn stored(&self) -> &Type {
        let result = last_segment(&self.output).filter(|segment| segment.ident == "Result");
        result.and_then(first_type).unwrap_or(&self.output)
    }

    /// The function's name without `r#`.
    pub(crate) fn name(&self) -> String {
        self.sig().ident.unraw().to_string()
    }

    pub(crate) fn vary(&self) -> Vec<String> {
        let lines = self
            .options
            .vary
            .as_ref()
            .map_or(&[][..], |vary| &vary.value[..]);
        lines
            .iter()
            .map(|name| name.value().to_ascii_lowercase())
            .collect()
    }

    /// Whether `self` is part of the key.
    pub(crate) fn keys_self(&self) -> bool {
        matches!(self.key, Key::Arguments | Key::Builder(_))
            && self.receiver.is_some()
            && !self.skips("self")
    }

    pub(crate) fn skips(&self, name: &str) -> bool {
        let skip = self.options.skip.as_ref();
        skip.is_some_and(|skip| skip.value.iter().any(|skipped| skipped.unraw() == name))
    }

    /// Whether a binding is part of the key.
    pub(crate) fn is_keyed(&self, parameter: &Parameter, binding: &Binding) -> bool {
        match &self.key {
            Key::Text(template) => template.names().any(|name| binding.name.unraw() == name),
            Key::Arguments | Key::Builder(_) => {
                !binding.is_skipped && matches!(parameter.role, Role::Argument | Role::Request)
            }
        }
    }

    /// The binding of a name, if it is part of the key.
    pub(crate) fn keyed_binding(&self, name: &str) -> Option<(&Parameter, &Binding)> {
        self.parameters.iter().find_map(|parameter| {
            let mut bindings = parameter.bindings.iter();
            let named = bindings
                .find(|binding| binding.name.unraw() == name && self.is_keyed(parameter, binding));
            named.map(|binding| (parameter, binding))
        })
    }

    /// The parameters that the tags need.
    pub(crate) fn tag_parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|parameter| {
            let mut names = self.tags.iter().flat_map(Template::names);
            names.any(|name| {
                let mut bindings = parameter.bindings.iter();
                bindings.any(|binding| binding.name.unraw() == name)
            })
        })
    }

    /// The parameters that the key needs.
    pub(crate) fn keyed_parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|parameter| {
            let mut bindings = parameter.bindings.iter();
            bindings.any(|binding| self.is_keyed(parameter, binding))
        })
    }
}

impl Parameter {
    /// The pattern as it matches a reference: every name is bound to a reference.
    pub(crate) fn by_reference(&self) -> Pat {
        struct Cleaned;

        impl VisitMut for Cleaned {
            fn visit_pat_mut(&mut self, pattern: &mut Pat) {
                while let Pat::Reference(reference) = pattern {
                    *pattern = (*reference.pat).clone();
                }
                if let Pat::Ident(ident) = pattern {
                    ident.by_ref = None;
                    ident.mutability = None;
                }
                visit_mut::visit_pat_mut(self, pattern);
            }
        }

        let mut pattern = self.pattern.clone();
        Cleaned.visit_pat_mut(&mut pattern);
        pattern
    }
}

/// Whether the type is `impl Trait`, or holds one.
pub(crate) fn is_anonymous(ty: &Type) -> bool {
    struct Finder(bool);

    impl Visit<'_> for Finder {
        fn visit_type_impl_trait(&mut self, _: &syn::TypeImplTrait) {
            self.0 = true;
        }
    }

    let mut finder = Finder(false);
    finder.visit_type(ty);
    finder.0
}

/// The last segment of a path type.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

/// The first type between a segment's angle brackets.
pub(crate) fn first_type(segment: &PathSegment) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn keyword(item: &syn::Item) -> TokenStream {
    match item {
        syn::Item::Const(item) => item.const_token.to_token_stream(),
        syn::Item::Enum(item) => item.enum_token.to_token_stream(),
        syn::Item::Impl(item) => item.impl_token.to_token_stream(),
        syn::Item::Mod(item) => item.mod_token.to_token_stream(),
        syn::Item::Static(item) => item.static_token.to_token_stream(),
        syn::Item::Struct(item) => item.struct_token.to_token_stream(),
        syn::Item::Trait(item) => item.trait_token.to_token_stream(),
        syn::Item::Type(item) => item.type_token.to_token_stream(),
        other => other.to_token_stream(),
    }
}

pub(crate) fn body_and_output(sig: &Signature) -> (Body, Type) {
    let output = match &sig.output {
        ReturnType::Default => syn::parse_quote!(()),
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    if sig.asyncness.is_some() {
        return (Body::Async, output);
    }
    if let Some(inner) = boxed_future(&output) {
        return (Body::Boxed, inner);
    }
    if let Type::ImplTrait(opaque) = &output
        && let Some(inner) = future_output(opaque.bounds.iter())
    {
        return (Body::Opaque, inner);
    }
    (Body::Sync, output)
}

/// Whether the arguments of a function are its own, as far as that is spelled out.
fn owns(sig: &Signature) -> bool {
    sig.receiver().is_none()
        && sig.generics.lifetimes().next().is_none()
        && sig.generics.type_params().next().is_none()
        && sig.inputs.iter().all(|input| match input {
            FnArg::Typed(typed) => {
                Borrows::of(&typed.ty).borrow.is_none() && !is_anonymous(&typed.ty)
            }
            FnArg::Receiver(_) => false,
        })
}

/// The `R` of `Pin<Box<dyn Future<Output = R>>>`.
fn boxed_future(ty: &Type) -> Option<Type> {
    let pin = last_segment(ty).filter(|segment| segment.ident == "Pin")?;
    let boxed = last_segment(first_type(pin)?).filter(|segment| segment.ident == "Box")?;
    match first_type(boxed)? {
        Type::TraitObject(object) => future_output(object.bounds.iter()),
        _ => None,
    }
}

fn future_output<'a>(bounds: impl Iterator<Item = &'a TypeParamBound>) -> Option<Type> {
    for bound in bounds {
        let TypeParamBound::Trait(bound) = bound else {
            continue;
        };
        let segment = bound.path.segments.last()?;
        let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
            continue;
        };
        for argument in &arguments.args {
            if let GenericArgument::AssocType(output) = argument
                && segment.ident == "Future"
                && output.ident == "Output"
            {
                return Some(output.ty.clone());
            }
        }
    }
    None
}

/// Response types that only handlers return.
const RESPONSES: [&str; 4] = ["Json", "Html", "Response", "Redirect"];

/// Extractors that are known by their name alone.
const EXTRACTORS: [&str; 20] = [
    "CacheRequest",
    "CacheResponse",
    "CookieJar",
    "Cookies",
    "HeaderMap",
    "Host",
    "MatchedPath",
    "Method",
    "Multipart",
    "NestedPath",
    "OriginalUri",
    "Parts",
    "PrivateCookieJar",
    "RawForm",
    "RawPathParams",
    "RawQuery",
    "Request",
    "SignedCookieJar",
    "Uri",
    "WebSocketUpgrade",
];

/// Extractors that hold what they extract. Types of such a name without it are not axum's.
const WRAPPERS: [&str; 8] = [
    "ConnectInfo",
    "Extension",
    "Form",
    "Json",
    "Path",
    "Query",
    "State",
    "TypedHeader",
];

fn looks_like_handler(sig: &Signature, output: &Type) -> bool {
    let inputs = sig.inputs.iter();
    is_response(output)
        || inputs
            .filter_map(|input| match input {
                FnArg::Typed(typed) => Some(&*typed.ty),
                FnArg::Receiver(_) => None,
            })
            .any(is_extractor)
}

fn is_response(ty: &Type) -> bool {
    match ty {
        Type::Tuple(tuple) => tuple.elems.last().is_some_and(is_response),
        Type::ImplTrait(opaque) => opaque.bounds.iter().any(|bound| match bound {
            TypeParamBound::Trait(bound) => {
                let last = bound.path.segments.last();
                last.is_some_and(|segment| segment.ident == "IntoResponse")
            }
            _ => false,
        }),
        _ => last_segment(ty).is_some_and(|segment| {
            RESPONSES.iter().any(|name| segment.ident == name)
                || (segment.ident == "Result" && first_type(segment).is_some_and(is_response))
        }),
    }
}

fn is_extractor(ty: &Type) -> bool {
    let Some(segment) = last_segment(ty) else {
        return false;
    };
    let inner = first_type(segment);
    if ["Option", "Result"]
        .iter()
        .any(|name| segment.ident == name)
    {
        return inner.is_some_and(is_extractor);
    }
    EXTRACTORS.iter().any(|name| segment.ident == name)
        || (inner.is_some() && WRAPPERS.iter().any(|name| segment.ident == name))
}

fn parameter(index: usize, typed: &syn::PatType, skipped: &[Ident], is_handler: bool) -> Parameter {
    let is_plain = matches!(
        &*typed.pat,
        Pat::Ident(PatIdent {
            by_ref: None,
            subpat: None,
            ..
        })
    );
    let bindings: Vec<Binding> = bound_names(&typed.pat)
        .into_iter()
        .map(|name| Binding {
            is_skipped: skipped
                .iter()
                .any(|skipped| skipped.unraw() == name.unraw()),
            name,
        })
        .collect();
    let name = match bindings.first() {
        Some(binding) if is_plain => binding.name.clone(),
        _ => Ident::new(&format!("__argument{index}"), Span::mixed_site()),
    };
    Parameter {
        name,
        pattern: (*typed.pat).clone(),
        role: role(&typed.ty, is_handler),
        ty: (*typed.ty).clone(),
        attributes: typed.attrs.clone(),
        is_plain,
        bindings,
    }
}

fn bound_names(pattern: &Pat) -> Vec<Ident> {
    #[derive(Default)]
    struct Names(Vec<Ident>);

    impl Visit<'_> for Names {
        fn visit_pat_ident(&mut self, pattern: &PatIdent) {
            self.0.push(pattern.ident.clone());
            visit::visit_pat_ident(self, pattern);
        }
    }

    let mut names = Names::default();
    names.visit_pat(pattern);
    names.0
}

fn role(ty: &Type, is_handler: bool) -> Role {
    let segment = last_segment(ty).filter(|_| is_handler);
    let Some(segment) = segment else {
        return Role::Argument;
    };
    match segment.ident.to_string().as_str() {
        "CacheRequest" | "Request" => Role::Request,
        "CacheResponse" => Role::Response,
        "State" if first_type(segment).is_some() => Role::State,
        _ => Role::Argument,
    }
}

/// axum's limit.
const MOST_PARAMETERS: usize = 16;

/// What has to be injected. An attribute that has expanded before, such as `#[debug_handler]`
/// above `#[cache]`, may count on the number of parameters; one that is left may look at their
/// types. So they go into the first parameter, unless somebody is left to look at it.
fn injection(options: &Options, parameters: &[Parameter], attributes: &Attributes) -> Injection {
    let given = options.injected_dependency_namespace.as_ref();
    let (prefix, span) = match given {
        Some(Given { value, .. }) => (value.value(), value.span()),
        None => ("__fastapi_cache".to_owned(), Span::mixed_site()),
    };
    let lists = |role| parameters.iter().any(|parameter| parameter.role == role);
    let missing = |role, what: &str| {
        // A prefix that makes no identifier is an error of its own.
        let prefix =
            syn::parse_str::<Ident>(&prefix).map_or("__invalid".to_owned(), |_| prefix.clone());
        (!lists(role)).then(|| format_ident!("{prefix}_{what}", span = span))
    };
    let request = missing(Role::Request, "request");
    let response = missing(Role::Response, "response");
    let added = usize::from(request.is_some()) + usize::from(response.is_some());
    let fits = parameters.len() + added <= MOST_PARAMETERS;
    let keeps_count = !attributes.sees_signature && !parameters.is_empty();
    Injection {
        nested: added > 0 && (keeps_count || !fits),
        request,
        response,
    }
}

fn sort_attributes(attributes: &[Attribute]) -> Attributes {
    const EVERYWHERE: [&str; 6] = ["cfg", "cfg_attr", "allow", "warn", "deny", "forbid"];
    const COMPUTATION: [&str; 2] = ["instrument", "expect"];
    const PLAIN: [&str; 6] = [
        "doc",
        "must_use",
        "deprecated",
        "inline",
        "cold",
        "track_caller",
    ];

    let mut sorted = Attributes::default();
    for attribute in attributes {
        // `#![allow(..)]` at the head of the body says the same of the function from above it.
        let attribute = &Attribute {
            style: AttrStyle::Outer,
            ..attribute.clone()
        };
        let last = attribute.path().segments.last();
        let is_one_of = |names: &[&str]| {
            last.is_some_and(|segment| names.iter().any(|name| segment.ident == name))
        };
        if is_one_of(&EVERYWHERE) {
            sorted.everywhere.push(attribute.clone());
        } else if is_one_of(&COMPUTATION) {
            sorted.computation.push(attribute.clone());
        } else {
            sorted.sees_signature |= !is_one_of(&PLAIN);
            sorted.outer.push(attribute.clone());
        }
    }
    sorted
}

/// Whether the function mentions `Self`, which only associated ones can.
fn says_self(function: &ItemFn) -> bool {
    #[derive(Default)]
    struct Finder(bool);

    impl Finder {
        fn search(&mut self, tokens: TokenStream) {
            for token in tokens {
                match token {
                    TokenTree::Ident(ident) => self.visit_ident(&ident),
                    TokenTree::Group(group) => self.search(group.stream()),
                    _ => {}
                }
            }
        }
    }

    impl Visit<'_> for Finder {
        fn visit_ident(&mut self, ident: &Ident) {
            self.0 |= ident == "Self";
        }

        fn visit_macro(&mut self, call: &syn::Macro) {
            self.search(call.tokens.clone());
        }

        // The `Self` of an item in the body is that item's own.
        fn visit_item(&mut self, _: &syn::Item) {}
    }

    let mut finder = Finder::default();
    finder.visit_signature(&function.sig);
    finder.visit_block(&function.block);
    finder.0
}

/// How a receiver is passed on, and how it is seen by reference.
pub(crate) fn receiver_reference(receiver: &Receiver) -> TokenStream {
    let token = &receiver.self_token;
    match receiver.kind {
        ReceiverKind::Reference(..) => quote!(#token),
        _ => quote!(&#token),
    }
}
