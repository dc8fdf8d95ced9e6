//! What `#[task]` accepts and what it generates.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, Item, ItemFn, ReturnType, Signature, Type};

/// The expansion of `#[task(attribute)] item`.
///
/// When the function is misused the result is the unchanged item and a `compile_error!` at the
/// offending tokens: keeping the item spares its author follow-up errors about a missing name.
pub(crate) fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    match check(attribute, item.clone()) {
        Ok(function) => generate(&function),
        Err(error) => {
            let error = error.to_compile_error();
            quote! { #item #error }
        }
    }
}

/// Parses the item and refuses, at the offending tokens, what cannot be a task.
fn check(attribute: TokenStream, item: TokenStream) -> syn::Result<ItemFn> {
    if !attribute.is_empty() {
        return Err(Error::new_spanned(
            attribute,
            "`#[adit_sdk::task]` takes no arguments",
        ));
    }
    let function = match syn::parse2::<Item>(item)? {
        Item::Fn(function) => function,
        other => {
            return Err(Error::new_spanned(
                other,
                "`#[adit_sdk::task]` goes on a function, such as \
                 `fn run(input: Vec<u8>) -> Result<Vec<u8>, adit_sdk::Error>`",
            ));
        }
    };
    check_signature(&function.sig)?;
    Ok(function)
}

fn check_signature(signature: &Signature) -> syn::Result<()> {
    let refuse = |tokens: &dyn ToTokens, message: &str| Err(Error::new_spanned(tokens, message));

    if let Some(token) = &signature.asyncness {
        return refuse(
            token,
            "a task is not `async`: every host function that it can call returns when it is done",
        );
    }
    if let Some(token) = &signature.unsafety {
        return refuse(
            token,
            "a task is not `unsafe`: the runtime can uphold no contract",
        );
    }
    if let Some(token) = &signature.abi {
        return refuse(
            token,
            "a task is an ordinary Rust function; `#[adit_sdk::task]` exports it",
        );
    }
    // Lifetimes count too: the exported function is called with an owned value, from nowhere.
    if !signature.generics.params.is_empty() {
        return refuse(
            &signature.generics,
            "a task is not generic: the runtime calls it with bytes, so its types must be known here",
        );
    }
    if let Some(clause) = &signature.generics.where_clause {
        return refuse(clause, "a task has no `where` clause: it is not generic");
    }
    if let Some(variadic) = &signature.variadic {
        return refuse(variadic, "a task takes exactly one argument, the input");
    }
    if signature.inputs.is_empty() {
        return Err(Error::new(
            signature.paren_token.span.join(),
            "a task takes one argument, the input: add `input: Vec<u8>` (name it `_input` if it is not used)",
        ));
    }
    if let Some(second) = signature.inputs.iter().nth(1) {
        return refuse(
            second,
            "a task takes exactly one argument, the input; put several values into one type, \
             such as `adit_sdk::Json<T>` (feature `json`)",
        );
    }
    match signature.inputs.first() {
        Some(FnArg::Receiver(receiver)) => {
            refuse(receiver, "a task is a free function: it cannot take `self`")
        }
        Some(FnArg::Typed(argument)) => check_type(&argument.ty, "argument"),
        None => Ok(()),
    }?;
    match &signature.output {
        ReturnType::Type(_, ty) => check_type(ty, "result"),
        ReturnType::Default => Ok(()),
    }
}

/// Refuses the two kinds of type whose trait errors would mislead: borrowed ones and `impl Trait`.
fn check_type(ty: &Type, role: &str) -> syn::Result<()> {
    match ty {
        Type::Paren(inner) => check_type(&inner.elem, role),
        Type::Group(inner) => check_type(&inner.elem, role),
        Type::Reference(_) => Err(Error::new_spanned(
            ty,
            format!("the {role} of a task is owned: use `Vec<u8>` or `String`"),
        )),
        Type::ImplTrait(_) => Err(Error::new_spanned(
            ty,
            format!("the {role} of a task has a named type: use `Vec<u8>`, `String` or your own"),
        )),
        _ => Ok(()),
    }
}

/// The function as written, and beside it the entry point that the component exports.
///
/// The entry point is generated on every target, so that `cargo test` on the author's machine
/// finds a wrong type; only the export is limited to `wasm32`.
fn generate(function: &ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    let input = match function.sig.inputs.first() {
        Some(FnArg::Typed(argument)) => argument.ty.to_token_stream(),
        // `check_signature` refuses both; the macro must not panic all the same.
        Some(FnArg::Receiver(_)) | None => quote! { () },
    };
    let (output, output_span) = match &function.sig.output {
        ReturnType::Default => (quote! { () }, Span::call_site()),
        ReturnType::Type(_, ty) => (ty.to_token_stream(), ty.span()),
    };
    // Each conversion carries the span of the type that it converts: an unsupported type is
    // reported where it is written.
    let decode = quote_spanned! { input.span() =>
        <#input as ::adit_sdk::TaskInput>::from_bytes(bytes)
    };
    let encode = quote_spanned! { output_span =>
        <#output as ::adit_sdk::TaskReturn>::into_result(result)
    };
    quote! {
        #function

        const _: () = {
            fn entry(
                bytes: ::adit_sdk::__rt::Vec<u8>,
            ) -> ::adit_sdk::__rt::Result<::adit_sdk::__rt::Vec<u8>, ::adit_sdk::Error> {
                let input = #decode?;
                #[allow(clippy::let_unit_value)]
                let result = #name(input);
                #encode
            }

            #[cfg(target_arch = "wasm32")]
            ::adit_sdk::__export_task!(entry);

            // Uses the entry point, and through it the task, where nothing is exported.
            #[cfg(not(target_arch = "wasm32"))]
            const _: fn(
                ::adit_sdk::__rt::Vec<u8>,
            ) -> ::adit_sdk::__rt::Result<::adit_sdk::__rt::Vec<u8>, ::adit_sdk::Error> = entry;
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that `source` is refused, with which words, and with which tokens underlined.
    #[track_caller]
    fn refused(source: &str, underlined: &str, words: &str) {
        let error = check(TokenStream::new(), source.parse().unwrap())
            .err()
            .unwrap();
        let message = error.to_string();
        assert!(message.contains(words), "{message:?} lacks {words:?}");
        let (start, end) = (error.span().start(), error.span().end());
        assert_eq!((start.line, end.line), (1, 1), "{source}");
        assert_eq!(&source[start.column..end.column], underlined);
    }

    #[test]
    fn misuse_is_reported_at_its_tokens() {
        refused("async fn run(i: Vec<u8>) {}", "async", "not `async`");
        refused("unsafe fn run(i: Vec<u8>) {}", "unsafe", "not `unsafe`");
        refused(
            "extern \"C\" fn run(i: Vec<u8>) {}",
            "extern \"C\"",
            "ordinary",
        );
        refused("fn run() {}", "()", "add `input: Vec<u8>`");
        refused(
            "fn run(a: Vec<u8>, second: u8) {}",
            "second: u8",
            "exactly one argument",
        );
        refused("fn run<T>(i: T) {}", "<T>", "not generic");
        refused("fn run<'a>(i: Vec<u8>) {}", "<'a>", "not generic");
        refused(
            "fn run(i: Vec<u8>) where u8: Copy {}",
            "where u8: Copy",
            "`where`",
        );
        refused("fn run(&self) {}", "&self", "`self`");
        refused("fn run(i: &str) {}", "&str", "owned");
        refused(
            "fn run(i: Vec<u8>) -> &'static str {}",
            "&'static str",
            "owned",
        );
        refused("fn run(i: impl Clone) {}", "impl Clone", "named type");
        refused("struct Run;", "struct Run;", "goes on a function");
    }

    #[test]
    fn arguments_of_the_attribute_are_refused() {
        let item = "fn run(i: Vec<u8>) {}".parse().unwrap();
        let error = check("name = 1".parse().unwrap(), item).err().unwrap();
        assert!(error.to_string().contains("takes no arguments"));
    }

    #[test]
    fn a_refused_item_is_kept_beside_the_error() {
        let source = "async fn run(input: Vec<u8>) {}";
        let expanded = task(TokenStream::new(), source.parse().unwrap()).to_string();
        let item: TokenStream = source.parse().unwrap();
        assert!(expanded.starts_with(&item.to_string()), "{expanded}");
        assert!(expanded.contains("compile_error"), "{expanded}");
    }

    #[test]
    fn the_function_is_kept_and_the_export_is_for_wasm_only() {
        let source = "fn classify(input: String) -> Result<String, Error> { Ok(input) }";
        let expanded = task(TokenStream::new(), source.parse().unwrap());
        let file = syn::parse2::<syn::File>(expanded).unwrap();
        assert_eq!(file.items.len(), 2);
        let Item::Fn(function) = &file.items[0] else {
            panic!("the first item is not the function");
        };
        assert_eq!(function.sig.ident, "classify");
        let Item::Const(entry) = &file.items[1] else {
            panic!("the second item is not the entry point");
        };
        let syn::Expr::Block(block) = &*entry.expr else {
            panic!("the entry point is not a block");
        };
        let exports: Vec<String> = block
            .block
            .stmts
            .iter()
            .map(|statement| statement.to_token_stream().to_string())
            .filter(|text| text.contains("__export_task"))
            .collect();
        assert_eq!(exports.len(), 1);
        let attribute = quote! { #[cfg(target_arch = "wasm32")] }.to_string();
        assert!(exports[0].starts_with(&attribute), "{}", exports[0]);
    }
}
