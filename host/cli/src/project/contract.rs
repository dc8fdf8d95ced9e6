//! The contract between task and runtime, as a project has it: the folder `.adit`.
//!
//! A project in Rust gets the SDK's sources with it, once, and keeps them. In other languages the
//! folder holds what is generated from the WIT; `adit build` brings it up to date, so that a task
//! is always built against the contract of the `adit` that builds it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::Language;

/// The folder in a project, which belongs to `adit`.
pub const FOLDER: &str = ".adit";

/// The SDK and the WIT packages of this build: names relative to the repository, and contents.
pub const SDK_FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));

/// The world that tasks are built for.
pub const WORLD: &str = "task";

/// What a core module that was linked with the bindings for C has to carry in the custom section
/// [`COMPONENT_TYPE_SECTION`] to be made a component.
pub const COMPONENT_TYPE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/task.component-type"));

/// The name by which `wit-component` finds [`COMPONENT_TYPE`]: its prefix counts.
pub const COMPONENT_TYPE_SECTION: &str = "component-type:task";

const C_FILES: &[(&str, &str)] = &[
    (
        "c/task.h",
        include_str!(concat!(env!("OUT_DIR"), "/task.h")),
    ),
    (
        "c/task.c",
        include_str!(concat!(env!("OUT_DIR"), "/task.c")),
    ),
];

const JS_FILES: &[(&str, &str)] = &[("componentize.mjs", include_str!("componentize.mjs"))];

/// Brings the folder [`FOLDER`] of the project `folder` up to date.
///
/// # Errors
///
/// When it cannot be written.
pub fn update(folder: &Path, language: Language) -> anyhow::Result<()> {
    let own = folder.join(FOLDER);
    if language == Language::Rust {
        for (path, text) in SDK_FILES {
            write(&own.join("sdk").join(path), text)?;
        }
        return Ok(());
    }
    let wit = SDK_FILES
        .iter()
        .filter(|(path, _)| path.starts_with("wit/"));
    let others = match language {
        Language::Rust | Language::Python => &[],
        Language::Js => JS_FILES,
        Language::C => C_FILES,
    };
    for (path, text) in wit.chain(others) {
        let path = own.join(path);
        // What is up to date keeps its time, by which editors and tools judge.
        if !fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            write(&path, text)?;
        }
    }
    Ok(())
}

/// Writes a file of a project, and the folders above it.
///
/// # Errors
///
/// When it cannot be written.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("{} could not be written", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(failed)?;
    }
    fs::write(path, text).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_complete() {
        let has = |name: &str| SDK_FILES.iter().any(|(path, _)| *path == name);
        for name in [
            "guest-sdk/Cargo.toml",
            "guest-sdk/src/lib.rs",
            "guest-sdk/macros/Cargo.toml",
            "guest-sdk/macros/src/lib.rs",
            "wit/task.wit",
            "wit/deps/wasi-nn.wit",
        ] {
            assert!(has(name), "{name}");
        }
    }

    #[test]
    fn what_is_out_of_date_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        update(folder.path(), Language::C).unwrap();
        let header = folder.path().join(".adit/c/task.h");
        let wit = folder.path().join(".adit/wit/task.wit");
        assert!(
            fs::read_to_string(&header)
                .unwrap()
                .contains("exports_task_run")
        );
        let before = fs::metadata(&wit).unwrap().modified().unwrap();
        fs::write(&header, "old").unwrap();
        update(folder.path(), Language::C).unwrap();
        assert_ne!(fs::read(&header).unwrap(), b"old");
        assert_eq!(fs::metadata(&wit).unwrap().modified().unwrap(), before);
        assert!(!folder.path().join(".adit/guest-sdk").exists());
    }
}
