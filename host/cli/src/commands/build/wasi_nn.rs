//! The adapter for programs that were written for the wasi-nn of WASI preview 1.
//!
//! `wasi_nn.wat` is the adapter itself, kept as text so that it can be read and checked by hand.
//! What it maps to is said by the same WIT file that the runtime implements.

use anyhow::Context as _;
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The module that such programs import, which is also what `wit-component` knows the adapter by.
pub const ADAPTER_NAME: &str = "wasi_ephemeral_nn";

/// The functions of that module, for a reader whose program imports others.
pub const FUNCTIONS: &str =
    "load, load_by_name, init_execution_context, set_input, compute and get_output";

const ADAPTER: &str = include_str!("wasi_nn.wat");
const WIT: &str = include_str!("../../../../../wit/deps/wasi-nn.wit");
/// The world of [`WIT`] that imports all of its interfaces.
const WORLD: &str = "ml";

/// The adapter as `wit-component` takes it: a core module that says which world it imports.
///
/// # Errors
///
/// Only when one of the two files in this program is wrong, which its tests rule out.
pub fn adapter() -> anyhow::Result<Vec<u8>> {
    let assemble = || {
        let mut module = wat::parse_str(ADAPTER)?;
        let mut resolve = Resolve::default();
        let package = resolve.push_source("wasi-nn.wit", WIT)?;
        let world = resolve.select_world(&[package], Some(WORLD))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        anyhow::Ok(module)
    };
    assemble().context("the adapter for wasi-nn could not be made")
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmparser::{Parser, Payload};

    #[test]
    fn the_adapter_exports_what_programs_import_and_is_valid() {
        let module = adapter().unwrap();
        wasmparser::Validator::new().validate_all(&module).unwrap();
        let exports: Vec<String> = Parser::new(0)
            .parse_all(&module)
            .filter_map(|payload| match payload.unwrap() {
                Payload::ExportSection(exports) => Some(exports),
                _ => None,
            })
            .flatten()
            .map(|export| export.unwrap().name.to_owned())
            .collect();
        let functions = FUNCTIONS.replace(" and ", ", ");
        let mut expected: Vec<&str> = functions.split(", ").collect();
        expected.push("cabi_import_realloc");
        let mut found: Vec<&str> = exports.iter().map(String::as_str).collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}
