//! What of Debian is used where it is there: its packages, by its own tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::project;

/// Whether this is Debian or a child of it.
pub fn is_here() -> bool {
    Path::new("/etc/debian_version").exists()
}

/// Whether apt can install here without asking anyone.
pub fn is_root() -> bool {
    let user = Command::new("id").arg("-u").output();
    is_here() && user.is_ok_and(|answer| answer.stdout.trim_ascii() == b"0")
}

/// An apt-get command that asks nothing and reports nothing but complaints.
pub fn apt(args: &[&str]) -> Command {
    let mut apt = Command::new("apt-get");
    apt.arg("-qq")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive");
    apt.stdin(Stdio::null()).stdout(Stdio::null());
    apt
}

/// Installs packages, of an index that is fetched first.
pub fn install(packages: &[&str]) -> Result<()> {
    project::run(&mut apt(&["update"]))?;
    let install = ["install", "-y", "--no-install-recommends"];
    project::run(&mut apt(&[&install[..], packages].concat()))
}

/// A package, and the files that are taken out of it: by their names, or by their paths where a package
/// has several of a name.
pub type Wanted = (&'static str, &'static [&'static str]);

/// Takes single files out of packages of today, which are not installed: that needs no rights. They
/// lie side by side in `made` afterwards. Returns a line for each package with its version.
///
/// # Errors
///
/// What `cannot` makes of the reason.
pub fn take(
    packages: &[Wanted],
    scratch: &Path,
    made: &Path,
    cannot: &dyn Fn(&str) -> Error,
) -> Result<String> {
    let names: Vec<&str> = packages.iter().map(|(package, _)| *package).collect();
    download(&names, scratch).map_err(|error| cannot(&error.to_string()))?;
    fs::create_dir_all(made).map_err(Error::io("create", made))?;
    let mut versions = String::new();
    for (package, files) in packages {
        let archive = archive(scratch, package)?
            .ok_or_else(|| cannot(&format!("apt-get left no package {package}")))?;
        let contents = scratch.join(package);
        project::run(dpkg_deb("-x").arg(&archive).arg(&contents))?;
        for file in *files {
            let name = Path::new(file).file_name().unwrap_or_default();
            let found = match Path::new(file) == Path::new(name) {
                true => find(&contents, file)?,
                false => Some(contents.join(file)).filter(|path| path.is_file()),
            };
            let found =
                found.ok_or_else(|| cannot(&format!("{package} of today has no {file}")))?;
            let place = made.join(name);
            // The name of a library is a link to the file, which is what is copied.
            fs::copy(&found, &place).map_err(Error::io("write", &place))?;
        }
        let version = project::output(dpkg_deb("-f").arg(&archive).arg("Version"))?;
        let version = String::from_utf8_lossy(&version);
        versions.push_str(&format!("{package} {}\n", version.trim()));
    }
    Ok(versions)
}

/// Downloads packages into a folder, with a fresh index if need be and if that is allowed.
fn download(packages: &[&str], folder: &Path) -> Result<()> {
    let download = || {
        // As root, apt would have another user write here, who may not.
        let options = ["-o", "APT::Sandbox::User=root", "download"];
        let mut command = apt(&[&options[..], packages].concat());
        project::run(command.current_dir(folder))
    };
    match download() {
        Err(_) if is_root() => {
            project::run(&mut apt(&["update"]))?;
            download()
        }
        other => other,
    }
}

fn dpkg_deb(action: &str) -> Command {
    let mut command = Command::new("dpkg-deb");
    command.arg(action).stdin(Stdio::null());
    command
}

/// The archive of a package, whatever its version.
fn archive(folder: &Path, package: &str) -> Result<Option<PathBuf>> {
    let begin = format!("{package}_");
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&begin) && name.ends_with(".deb")
    }))
}

/// The file of this name, in whichever folder a package has it today.
fn find(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let kind = entry
            .file_type()
            .map_err(Error::io("read", &entry.path()))?;
        if kind.is_dir() {
            if let Some(found) = find(&entry.path(), name)? {
                return Ok(Some(found));
            }
        } else if entry.file_name() == name {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBRARY: &str = "libvulkan.so.1";

    #[test]
    fn files_are_found_at_any_depth_and_archives_of_any_version() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("usr/lib/any-triple");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join(LIBRARY), "").unwrap();
        let find = |name| find(folder.path(), name).unwrap();
        assert_eq!(find(LIBRARY), Some(deep.join(LIBRARY)));
        assert_eq!(find("other"), None);

        let name = "libvulkan1_1.3.239.0-1_amd64.deb";
        fs::write(folder.path().join(name), "").unwrap();
        let archive = |package| archive(folder.path(), package).unwrap();
        assert_eq!(archive("libvulkan1"), Some(folder.path().join(name)));
        assert_eq!(archive("libvulkan"), None);
    }
}
