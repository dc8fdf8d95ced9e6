//! Finds the model's `tokenizer.json`, which is not in the repository, and compiles it in.
//!
//! It is looked for as `minilm/tokenizer.json` in the folder that the environment variable
//! `ADIT_MODELS` names, else in the workspace's `target/models`, where `cargo xtask setup` puts it.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ADIT_MODELS");
    let (Some(manifest), Some(out)) = (
        env::var_os("CARGO_MANIFEST_DIR"),
        env::var_os("OUT_DIR").map(PathBuf::from),
    ) else {
        println!("cargo::error=this build script is run by cargo");
        return ExitCode::FAILURE;
    };
    let models = env::var_os("ADIT_MODELS").map_or_else(
        || PathBuf::from(manifest).join("../../target/models"),
        PathBuf::from,
    );
    let tokenizer = models.join("minilm/tokenizer.json");
    // Cargo looks at the file's time even while there is none, so it is found when it appears.
    println!("cargo::rerun-if-changed={}", tokenizer.display());

    // A compile error in the crate says it at the place that needs the file; a failing build
    // script would bury it among its output.
    let code = match fs::read(&tokenizer) {
        Ok(bytes) => {
            if let Err(error) = fs::write(out.join("tokenizer.json"), bytes) {
                println!("cargo::error=cannot write to OUT_DIR: {error}");
                return ExitCode::FAILURE;
            }
            r#"include_bytes!(concat!(env!("OUT_DIR"), "/tokenizer.json"))"#.to_string()
        }
        Err(error) => format!(
            "compile_error!({:?})",
            format!(
                "MiniLM's tokenizer cannot be read from {}: {error}; hint: run `cargo xtask setup`, \
                 or set ADIT_MODELS to a folder with minilm/tokenizer.json",
                tokenizer.display()
            )
        ),
    };
    if let Err(error) = fs::write(out.join("tokenizer.rs"), code) {
        println!("cargo::error=cannot write to OUT_DIR: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
