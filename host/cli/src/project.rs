//! What a project folder is: its language, its name, and where its component goes.
//!
//! A project in Rust is known by its `Cargo.toml`, any other by an `adit.toml`:
//!
//! ```toml
//! lang = "python"
//! name = "word-stats"
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use adit_protocol::codes::Code;
use serde::Deserialize;

use crate::error::Failure;
use crate::input::read_file;
use crate::text::one_line;

pub mod contract;

/// The file that says what a project is.
pub const MANIFEST: &str = "adit.toml";

/// Most bytes of [`MANIFEST`].
const MANIFEST_BYTES_MAX: u64 = 64 << 10;

/// Most characters of a project's name.
const NAME_MAX: usize = 64;

/// A language that tasks are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust, with adit-sdk
    Rust,
    /// Python, by componentize-py
    Python,
    /// JavaScript, by componentize-js
    Js,
    /// C, by clang and wasi-libc
    C,
}

impl fmt::Display for Language {
    /// As `--lang` and `adit.toml` have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::Rust => "rust",
            Language::Python => "python",
            Language::Js => "js",
            Language::C => "c",
        })
    }
}

/// A folder with a task in it.
#[derive(Debug, PartialEq, Eq)]
pub enum Project {
    /// For cargo, which knows its name and where its component goes.
    Cargo,
    /// For the tools of another language.
    Other {
        /// Any but Rust.
        language: Language,
        /// Checked by [`check_name`]: it is a part of a path.
        name: String,
    },
}

/// The contents of [`MANIFEST`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    lang: Language,
    name: String,
}

impl Project {
    /// What the folder `folder` is. `adit.toml` is asked first, since a project in another language
    /// may have a part in Rust.
    ///
    /// # Errors
    ///
    /// When it is no project, or `adit.toml` is not valid.
    pub fn of(folder: &Path) -> anyhow::Result<Project> {
        if !Project::is_one(folder) {
            return Failure::argument(format!("{} is not a project", folder.display()))
                .why(format!("it has neither a Cargo.toml nor an {MANIFEST}"))
                .hint("make a project with `adit new NAME`, or give another folder")
                .into_err();
        }
        let path = folder.join(MANIFEST);
        if !path.is_file() {
            return Ok(Project::Cargo);
        }
        let bytes = read_file(&path, MANIFEST_BYTES_MAX, "the project's description")?;
        read(&String::from_utf8_lossy(&bytes)).map_err(|failure| failure.at(&path).into())
    }

    /// Whether [`Project::of`] has something to say of `folder`.
    pub fn is_one(folder: &Path) -> bool {
        let has = |name: &str| folder.join(name).is_file();
        has(MANIFEST) || has("Cargo.toml")
    }

    /// Where the component of a project in `folder` goes that is not built by cargo.
    pub fn component(folder: &Path, name: &str) -> PathBuf {
        folder.join("target/adit").join(format!("{name}.wasm"))
    }
}

/// Why a description is not valid.
struct Invalid(String);

impl Invalid {
    fn at(self, path: &Path) -> Failure {
        Failure::argument(format!("{} is not valid", path.display()))
            .why(self.0)
            .hint(
                "it has the lines lang = \"python\" (or rust, js, c) and name = \"NAME\"; a module \
                 from another language is adapted by `adit build MODULE.wasm --out COMPONENT.wasm`",
            )
    }
}

fn read(text: &str) -> Result<Project, Invalid> {
    let Manifest { lang, name } =
        toml::from_str(text).map_err(|error| Invalid(error.to_string()))?;
    check_name(&name).map_err(|why| Invalid(format!("its name `{}`: {why}", one_line(&name))))?;
    Ok(match lang {
        Language::Rust => Project::Cargo,
        language => Project::Other { language, name },
    })
}

/// Checks what every language takes as a name, and every file system as a part of one.
///
/// # Errors
///
/// What is wrong with it, as a sentence.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let mut chars = name.chars();
    let begins = chars.next().is_some_and(|c| c.is_ascii_alphabetic());
    if !begins || !chars.all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return Err(
            "it has other characters than letters, digits, - and _, or begins with no letter",
        );
    }
    if name.len() > NAME_MAX {
        return Err("it is longer than 64 characters");
    }
    Ok(())
}

/// A refused name as an error.
pub fn bad_name(name: &str, why: &str) -> Failure {
    Failure::new(
        Code::InvalidArgument,
        format!("`{}` cannot be the name of a project", one_line(name)),
    )
    .why(why)
    .hint("use letters, digits, - and _, and begin with a letter, as word-stats")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions() {
        let of = |text: &str| read(text).map_err(|invalid| invalid.0);
        assert_eq!(
            of("lang = \"python\"\nname = \"a-b\"\n"),
            Ok(Project::Other {
                language: Language::Python,
                name: "a-b".to_owned()
            })
        );
        assert_eq!(of("lang = \"rust\"\nname = \"a\"\n"), Ok(Project::Cargo));
        for (text, why) in [
            ("lang = \"go\"\nname = \"a\"\n", "unknown variant `go`"),
            ("lang = \"c\"\n", "missing field `name`"),
            ("lang = \"c\"\nname = \"../a\"\n", "other characters"),
            ("lang = \"c\"\nname = \"a\"\nout = \"b\"\n", "unknown field"),
            ("lang", "expected"),
        ] {
            let said = of(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn languages_are_written_as_they_are_read() {
        for language in <Language as clap::ValueEnum>::value_variants() {
            let text = format!("lang = \"{language}\"\nname = \"a\"\n");
            let Manifest { lang, .. } = toml::from_str(&text).unwrap();
            assert_eq!(lang, *language);
            let shown = clap::ValueEnum::to_possible_value(language).unwrap();
            assert_eq!(shown.get_name(), language.to_string());
        }
    }

    #[test]
    fn names() {
        for good in ["a", "word-stats", "x_1"] {
            check_name(good).unwrap();
        }
        for bad in ["", "1a", "-a", "a b", "é", "..", "a/b"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name(&"a".repeat(65)).is_err());
    }
}
