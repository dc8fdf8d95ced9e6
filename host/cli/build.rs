//! Embeds the sources of the SDK and of the WIT packages, which `adit new` writes beside a task, and
//! the bindings for tasks in C, which are generated from the same WIT here, once and for all.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use wit_bindgen_core::{Files, wit_parser::Resolve};
use wit_component::{StringEncoding, metadata};

/// What is embedded: folders of the repository, and the endings of files that matter in them.
const FOLDERS: &[&str] = &["guest-sdk", "wit"];
const ENDINGS: &[&str] = &["rs", "toml", "wit", "md"];

/// wit-bindgen's C refers to its object file even where it was told to make none.
const NO_OBJECT: &str = "
// `adit build` adds what that object has after linking, so that it has nothing to bring.
void __component_type_object_force_link_task(void) {}
";

fn main() -> io::Result<()> {
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = own.join("../..").canonicalize()?;
    let mut files = Vec::new();
    for folder in FOLDERS {
        // A folder that is named here is watched with everything below it.
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        collect(&root, &root.join(folder), &mut files)?;
    }
    files.sort();
    let mut list = String::from("&[\n");
    for (name, path) in files {
        writeln!(list, "    ({name:?}, include_str!({path:?})),").map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("sdk_files.rs"), list)?;
    c_bindings(&root.join("wit"), &out)
}

/// Writes `task.h` and `task.c`, and `task.component-type`: what the linked module has to carry, as
/// the contents of a custom section, to be made a component.
///
/// wit-bindgen would put the latter into an object file. It is added after linking instead, so that
/// it does not depend on what a linker does with sections that it does not know.
fn c_bindings(wit: &Path, out: &Path) -> io::Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).map_err(other)?;
    let world = resolve
        .select_world(&[package], Some("task"))
        .map_err(other)?;
    let contents = metadata::encode(&resolve, world, StringEncoding::UTF8, None).map_err(other)?;
    fs::write(out.join("task.component-type"), contents)?;

    let options = wit_bindgen_c::Opts {
        no_object_file: true,
        ..Default::default()
    };
    let mut files = Files::default();
    options
        .build()
        .generate(&mut resolve, world, &mut files)
        .map_err(other)?;
    for (name, text) in files.iter() {
        let mut text = text.to_vec();
        if name == "task.c" {
            text.extend_from_slice(NO_OBJECT.as_bytes());
        }
        fs::write(out.join(name), text)?;
    }
    Ok(())
}

fn other(error: impl std::fmt::Display) -> io::Error {
    // With its causes, which name the line of the WIT.
    io::Error::other(format!("{error:#}"))
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            // A build by hand inside the SDK leaves a folder that is not source.
            if entry.file_name() != "target" {
                collect(root, &path, files)?;
            }
        } else if kind.is_file()
            && (path.extension().and_then(|e| e.to_str())).is_some_and(|e| ENDINGS.contains(&e))
        {
            let name = path.strip_prefix(root).map_err(io::Error::other)?;
            files.push((name.to_string_lossy().into_owned(), path));
        }
    }
    Ok(())
}
