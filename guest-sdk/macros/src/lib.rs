//! The `#[task]` attribute of `adit-sdk`. Use it through that crate, which documents it.

mod expand;

/// Makes a function the task of its crate: what `adit run` calls with the input.
///
/// The function takes one argument, the input (`Vec<u8>`, `String`, or any other type that
/// implements `adit_sdk::TaskInput`), and returns the result (`Vec<u8>`, `String`, `()`, or any
/// other type that implements `adit_sdk::TaskOutput`), plain or as the `Ok` of a `Result` whose
/// error converts into `adit_sdk::Error`. It stays an ordinary function, so a test can call it.
///
/// On `wasm32` the attribute also exports the function as `run` of the world `adit:task/task`;
/// a crate can hold one task. On every other target it only checks the types.
///
/// # Errors
///
/// It does not compile on anything but a free function, on an `async`, `unsafe`, `extern` or
/// generic one, with a number of arguments other than one, or with a borrowed argument.
#[proc_macro_attribute]
pub fn task(
    attribute: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    expand::task(attribute.into(), item.into()).into()
}
