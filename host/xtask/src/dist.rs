//! `cargo xtask dist`: what is released, as a tarball and as a Debian package.
//!
//! ```text
//! bin/adit
//! lib/systemd/system/adit-*.service
//! share/bash-completion/completions/adit   share/zsh/vendor-completions/_adit
//! share/fish/vendor_completions.d/adit.fish
//! share/man/man1/*.1                        share/doc/adit/{README.md,copyright}
//! ```
//!
//! The binary asks for nothing but the C library: SQLite and all else is in it. It is built in the
//! profile `dist`, not in the one that the tests run in, so it has to pass the conformance suite.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::archive;
use crate::error::{Error, Result};
use crate::project::{self, Project, step};

/// The profile of the workspace that is released.
pub const PROFILE: &str = "dist";
/// Name of the package, and of the folder in the tarball.
const NAME: &str = "adit";
/// The conformance suite.
const SUITE: &str = "adit-conformance";
/// What `dpkg --print-architecture` says of the machines that we build for.
const ARCHITECTURES: [(&str, &str); 2] = [("x86_64", "amd64"), ("aarch64", "arm64")];
/// Shells and where their completions go.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/adit"),
    ("zsh", "share/zsh/vendor-completions/_adit"),
    ("fish", "share/fish/vendor_completions.d/adit.fish"),
];
const UNITS: &str = "lib/systemd/system";

/// `cargo xtask dist [--out DIR]`.
pub fn command(out: Option<&Path>) -> Result<()> {
    let project = Project::load()?;
    let out = out.map_or_else(|| project.target.join("packages"), Path::to_owned);
    step("build", || build(&project))?;
    step("conformance", || conforms(&project))?;
    let version = env!("CARGO_PKG_VERSION");
    let tree = out.join(format!("{NAME}-{version}"));
    remove(&tree)?;
    step("files", || lay_out(&project, &tree))?;
    let machine = std::env::consts::ARCH;
    let tarball = out.join(format!("{NAME}-{version}-{machine}-linux.tar.xz"));
    let folder = format!("{NAME}-{version}");
    let size = archive::pack(&out, &[folder], &tarball)?;
    println!("{} ({} KiB)", tarball.display(), size / 1024);
    match debian_package(&out, &tree, version)? {
        Some(package) => println!("{}", package.display()),
        None => eprintln!("no Debian package: dpkg-deb is not here"),
    }
    Ok(())
}

/// Builds `adit` and the suite.
fn build(project: &Project) -> Result<()> {
    let mut build = project.cargo();
    build.args(["build", "--profile", PROFILE, "--workspace"]);
    project::run(build.args(["--bin", NAME, "--bin", SUITE]))
}

/// One of the programs that were built.
fn built(project: &Project, name: &str) -> PathBuf {
    project.target.join(PROFILE).join(name)
}

/// Runs the suite on what is to be packed.
fn conforms(project: &Project) -> Result<()> {
    let mut suite = Command::new(built(project, SUITE));
    suite.arg("--adit").arg(built(project, NAME));
    project::run(suite.current_dir(&project.root).stdin(Stdio::null()))
}

/// Puts every file where an installation under a prefix has it.
fn lay_out(project: &Project, tree: &Path) -> Result<()> {
    let adit = tree.join("bin/adit");
    copy(&built(project, NAME), &adit)?;
    for (shell, place) in COMPLETIONS {
        let mut print = Command::new(&adit);
        let answer = (print
            .args(["completions", shell])
            .stdin(Stdio::null())
            .output())
        .map_err(|error| project::start(&print, error))?;
        project::succeeded(&print, answer.status)?;
        write(&tree.join(place), &answer.stdout)?;
    }
    let mut man = Command::new(&adit);
    man.arg("--quiet")
        .arg("man")
        .arg(tree.join("share/man/man1"));
    project::run(man.stdin(Stdio::null()))?;
    let units = project.root.join("host/xtask/dist");
    for name in ["adit-coordinator.service", "adit-miner.service"] {
        copy(&units.join(name), &tree.join(UNITS).join(name))?;
    }
    let documents = tree.join("share/doc").join(NAME);
    copy(
        &project.root.join("README.md"),
        &documents.join("README.md"),
    )?;
    copy(&project.root.join("LICENSE"), &documents.join("copyright"))
}

/// A package of the tree under `/usr`, by Debian's own tool, where it is.
fn debian_package(out: &Path, tree: &Path, version: &str) -> Result<Option<PathBuf>> {
    let here = Command::new("dpkg-deb").arg("--version").output();
    if !here.is_ok_and(|answer| answer.status.success()) {
        return Ok(None);
    }
    let machine = std::env::consts::ARCH;
    let known = ARCHITECTURES.iter().find(|(ours, _)| *ours == machine);
    let architecture = known.map_or(machine, |(_, debian)| debian);
    let root = out.join("deb");
    remove(&root)?;
    let usr = root.join("usr");
    copy_tree(tree, &usr)?;
    let control = format!(
        "Package: {NAME}\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: The Adit authors <adit@localhost>\nSection: net\nPriority: optional\n\
         Depends: libc6 (>= {}), libgcc-s1\nRecommends: ca-certificates\n\
         Description: run sandboxed WebAssembly tasks, and check what others ran\n \
         Coordinators ship tasks as WebAssembly components; miners run them in a sandbox and sign\n \
         receipts; anyone replays a receipt bit for bit from the public log.\n",
        libc_version(&usr.join("bin/adit"))?,
    );
    write(&root.join("DEBIAN/control"), control.as_bytes())?;
    let package = out.join(format!("{NAME}_{version}_{architecture}.deb"));
    let mut build = Command::new("dpkg-deb");
    build
        .args(["--root-owner-group", "--build"])
        .arg(&root)
        .arg(&package);
    project::run(build.stdin(Stdio::null()).stdout(Stdio::null()))?;
    remove(&root)?;
    Ok(Some(package))
}

/// The newest version of the C library that the binary names a symbol of: what it needs to run.
fn libc_version(binary: &Path) -> Result<String> {
    let bytes = fs::read(binary).map_err(Error::io("read", binary))?;
    let mark = b"GLIBC_2.";
    let versions = bytes
        .windows(mark.len())
        .enumerate()
        .filter(|(_, w)| w == mark);
    let minor = |(at, _): (usize, &[u8])| {
        let digits = bytes[at + mark.len()..]
            .iter()
            .take_while(|b| b.is_ascii_digit());
        let text: String = digits.map(|b| char::from(*b)).collect();
        text.parse::<u32>().ok()
    };
    let newest = versions.filter_map(minor).max().unwrap_or(0);
    Ok(format!("2.{newest}"))
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).map_err(Error::io("read", from))?;
    for entry in entries {
        let entry = entry.map_err(Error::io("read", from))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match from.is_dir() {
            true => copy_tree(&from, &to)?,
            false => copy(&from, &to)?,
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    make_parent(to)?;
    fs::copy(from, to).map_err(Error::io("copy", from))?;
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    make_parent(path)?;
    fs::write(path, bytes).map_err(Error::io("write", path))
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(Error::io("create", parent))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_library_version_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("binary");
        fs::write(&path, b"xGLIBC_2.17\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_2.").unwrap();
        assert_eq!(libc_version(&path).unwrap(), "2.34");
    }
}
