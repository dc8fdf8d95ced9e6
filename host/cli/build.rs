//! Embeds the sources of the SDK and of the WIT packages, which `adit new` writes beside a task.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What is embedded: folders of the repository, and the endings of files that matter in them.
const FOLDERS: &[&str] = &["guest-sdk", "wit"];
const ENDINGS: &[&str] = &["rs", "toml", "wit", "md"];

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
    fs::write(out.join("sdk_files.rs"), list)
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
