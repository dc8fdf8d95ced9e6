//! Where guests, models, data files and vectors are.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// The folders that the suite reads.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder `conformance` of the repository: `cases`, `guests`, `vectors`, `models`.
    pub suite: PathBuf,
    /// Guests that cargo has built: `<target>/wasm32-wasip2/release`.
    pub guests: PathBuf,
    /// Models that set-up has fetched: `<target>/models`.
    pub models: PathBuf,
}

impl Places {
    /// The folders below a cargo target folder.
    pub fn of_target(target: &Path) -> Places {
        Places {
            suite: suite(),
            guests: target.join("wasm32-wasip2/release"),
            models: target.join("models"),
        }
    }

    /// A guest by the name of its folder below `conformance/guests`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if it has not been built.
    pub fn guest(&self, name: &str) -> Result<PathBuf, Error> {
        // Cargo names programs by the package, and libraries by the package in snake case.
        let program = self.guests.join(format!("guest-{name}.wasm"));
        let library = self
            .guests
            .join(format!("guest_{}.wasm", name.replace('-', "_")));
        match program.is_file() {
            true => Ok(program),
            false => present(library, "cargo xtask setup builds the guests"),
        }
    }

    /// A model by its path below the folder of models.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if it has not been fetched.
    pub fn model(&self, path: &str) -> Result<PathBuf, Error> {
        present(
            self.models.join(path),
            "cargo xtask setup fetches the models",
        )
    }

    /// A file by its path below `conformance`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if it is not there.
    pub fn suite_file(&self, path: &str) -> Result<PathBuf, Error> {
        present(
            self.suite.join(path),
            "a data file names it: is the path right?",
        )
    }
}

/// The folder `conformance` of this repository.
pub fn suite() -> PathBuf {
    // Asked when it runs, since clones that share a target folder share this program; one that
    // was built by cargo and is started by hand knows only where it was built.
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let found = run
        .iter()
        .flat_map(|run| run.ancestors())
        .find_map(|above| {
            let suite = above.join("conformance");
            suite.join("runner/Cargo.toml").is_file().then_some(suite)
        });
    found.unwrap_or_else(|| built.parent().unwrap_or(built).to_owned())
}

/// The target folder that a program lies in: `<target>/<profile>/<program>`.
pub fn target_of(program: &Path) -> Option<PathBuf> {
    let target = program.ancestors().nth(2)?;
    target
        .join("wasm32-wasip2/release")
        .is_dir()
        .then(|| target.to_owned())
}

/// The target folder of a test program of this workspace: `<target>/<profile>/deps/<program>`.
///
/// # Errors
///
/// [`Error::Missing`] if it cannot be told.
pub fn target_of_test() -> Result<PathBuf, Error> {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().nth(3).unwrap_or(&program);
    present(target.to_owned(), "run it by cargo")
}

fn present(path: PathBuf, hint: &'static str) -> Result<PathBuf, Error> {
    match path.exists() {
        true => Ok(path),
        false => Err(Error::Missing { path, hint }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_found_by_either_name_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::of_target(folder.path());
        std::fs::create_dir_all(&places.guests).unwrap();
        for (file, name) in [("guest-one.wasm", "one"), ("guest_two_b.wasm", "two-b")] {
            std::fs::write(places.guests.join(file), b"").unwrap();
            assert_eq!(places.guest(name).unwrap(), places.guests.join(file));
        }
        let error = places.guest("three").unwrap_err().to_string();
        assert!(error.contains("guest_three.wasm"), "{error}");
        assert!(error.contains("hint: cargo xtask setup"), "{error}");
    }

    #[test]
    fn the_suite_is_the_folder_above_this_crate() {
        assert!(suite().join("guests").is_dir());
        assert!(suite().join("runner").is_dir());
    }
}
