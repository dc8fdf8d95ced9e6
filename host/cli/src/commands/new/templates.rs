//! The files of a new project, for each language. In all of them the task does the same.

use crate::project::Language;

/// A project to begin with.
pub struct Template {
    /// Path in the project, and contents, in which `{name}` stands for the project's name, `{crate}`
    /// for it with underscores and `{lang}` for the language.
    pub files: &'static [(&'static str, &'static str)],
    /// Where the task is.
    pub source: &'static str,
    /// Commands to go on with, and what each is for.
    pub steps: &'static [(&'static str, &'static str)],
}

const NUMBERS: (&str, &str) = ("numbers.txt", include_str!("numbers.txt"));
const MANIFEST: (&str, &str) = ("adit.toml", include_str!("adit.toml.txt"));

const BUILD: (&str, &str) = ("adit build", "a component");
const RUN: (&str, &str) = (
    "adit run --input numbers.txt",
    "in the sandbox, with a receipt",
);

const RUST: Template = Template {
    files: &[
        ("Cargo.toml", include_str!("rust/Cargo.toml.txt")),
        ("src/lib.rs", include_str!("rust/lib.rs.txt")),
        ("README.md", include_str!("rust/README.md.txt")),
        (".gitignore", include_str!("rust/gitignore.txt")),
        NUMBERS,
    ],
    source: "src/lib.rs",
    steps: &[("cargo test", "its logic, natively"), BUILD, RUN],
};

const PYTHON: Template = Template {
    files: &[
        MANIFEST,
        ("src/app.py", include_str!("python/app.py")),
        ("src/summary.py", include_str!("python/summary.py")),
        (
            "src/test_summary.py",
            include_str!("python/test_summary.py"),
        ),
        ("README.md", include_str!("python/README.md.txt")),
        (".gitignore", include_str!("python/gitignore.txt")),
        NUMBERS,
    ],
    source: "src/app.py",
    steps: &[
        ("python3 -m unittest discover src", "its logic, natively"),
        BUILD,
        RUN,
    ],
};

const JS: Template = Template {
    files: &[
        MANIFEST,
        ("package.json", include_str!("js/package.json.txt")),
        ("src/task.js", include_str!("js/task.js")),
        ("src/summary.js", include_str!("js/summary.js")),
        ("test/summary.test.js", include_str!("js/summary.test.js")),
        ("README.md", include_str!("js/README.md.txt")),
        (".gitignore", include_str!("js/gitignore.txt")),
        NUMBERS,
    ],
    source: "src/task.js",
    steps: &[("node --test", "its logic, natively"), BUILD, RUN],
};

const C: Template = Template {
    files: &[
        MANIFEST,
        ("src/task.c", include_str!("c/task.c")),
        ("README.md", include_str!("c/README.md.txt")),
        (".gitignore", include_str!("c/gitignore.txt")),
        NUMBERS,
    ],
    source: "src/task.c",
    steps: &[BUILD, RUN],
};

/// The template of a language.
pub fn of(language: Language) -> &'static Template {
    match language {
        Language::Rust => &RUST,
        Language::Python => &PYTHON,
        Language::Js => &JS,
        Language::C => &C,
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn each_has_its_source_a_readme_and_an_input() {
        for &language in Language::value_variants() {
            let template = of(language);
            for name in [template.source, "README.md", ".gitignore", "numbers.txt"] {
                let has = template.files.iter().any(|(path, _)| *path == name);
                assert!(has, "{language}: {name}");
            }
        }
    }
}
