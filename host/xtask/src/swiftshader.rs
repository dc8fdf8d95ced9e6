//! A GPU in software, so that what runs on GPUs is tested where there is none: SwiftShader, which
//! Chromium brings, and the loader by which programs find a Vulkan driver.
//!
//! They are taken out of Debian's packages without installing these, which needs no rights. The
//! versions are not pinned, since Debian keeps but the newest of a browser; they are written down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::debian;
use crate::error::{Error, Result};
use crate::fetch::Scratch;
use crate::project::{self, Project};
use crate::runtimes::{STAMP, or_leave_out, put_in_place};

const NAME: &str = "swiftshader";
const HINT: &str = "the tests on a software GPU run on Debian; apt-get and dpkg-deb must work \
                    there, and `apt-get update` have run";

/// The driver, and what tells the loader of it.
const DRIVER: &str = "libvk_swiftshader.so";
const ICD: &str = "vk_swiftshader_icd.json";
/// The loader.
pub const LOADER: &str = "libvulkan.so.1";

/// A package, and the files that are taken out of it.
const PACKAGES: &[(&str, &[&str])] = &[
    ("chromium-common", &[DRIVER, ICD]),
    ("libvulkan1", &[LOADER]),
];

/// Where it is.
pub fn folder(project: &Project) -> PathBuf {
    project.runtimes().join(NAME)
}

/// Fetches it unless it is there already. Where it cannot be had it is left out with a hint.
///
/// # Errors
///
/// The same is an error where the environment has `CI` set.
pub fn install(project: &Project) -> Result<()> {
    let folder = folder(project);
    // The folder is made elsewhere and has its name only once it is whole.
    let present = fs::read_to_string(folder.join(STAMP));
    let fetched = present.is_err();
    let versions = match present {
        Ok(versions) => Some(versions),
        Err(_) => or_leave_out(fetch(project, &folder))?,
    };
    for version in versions.iter().flat_map(|versions| versions.lines()) {
        let already = if fetched { "" } else { " (already here)" };
        eprintln!("    {version}{already}");
    }
    Ok(())
}

/// Puts the files in their place. Returns a line for each package with its version.
fn fetch(project: &Project, folder: &Path) -> Result<String> {
    let cannot = |why: &str| Error::NoRuntime {
        name: NAME,
        why: why.to_owned(),
        hint: HINT,
    };
    if !debian::is_here() {
        return Err(cannot("this is not Debian"));
    }
    let scratch = Scratch::new(&project.target)?;
    download(&scratch.0).map_err(|error| cannot(&error.to_string()))?;
    let made = scratch.0.join(NAME);
    fs::create_dir_all(&made).map_err(Error::io("create", &made))?;
    let mut versions = String::new();
    for (package, files) in PACKAGES {
        let archive = archive(&scratch.0, package)?
            .ok_or_else(|| cannot(&format!("apt-get left no package {package}")))?;
        let contents = scratch.0.join(package);
        project::run(dpkg_deb("-x").arg(&archive).arg(&contents))?;
        for file in *files {
            let found = find(&contents, file)?
                .ok_or_else(|| cannot(&format!("{package} of today has no {file}")))?;
            let place = made.join(file);
            // The loader's name is a link to the file, which is what is copied.
            fs::copy(&found, &place).map_err(Error::io("write", &place))?;
        }
        let version = project::output(dpkg_deb("-f").arg(&archive).arg("Version"))?;
        let version = String::from_utf8_lossy(&version);
        versions.push_str(&format!("{package} {}\n", version.trim()));
    }
    let icd = made.join(ICD);
    let text = fs::read_to_string(&icd).map_err(Error::io("read", &icd))?;
    let text =
        beside_itself(&text).ok_or_else(|| cannot(&format!("{ICD} of today is not understood")))?;
    fs::write(&icd, text).map_err(Error::io("write", &icd))?;
    let stamp = made.join(STAMP);
    fs::write(&stamp, &versions).map_err(Error::io("write", &stamp))?;
    put_in_place(&made, folder)?;
    Ok(versions)
}

/// Downloads the packages into a folder, with a fresh index if need be and if that is allowed.
fn download(folder: &Path) -> Result<()> {
    let packages: Vec<&str> = PACKAGES.iter().map(|(package, _)| *package).collect();
    let download = || {
        // As root, apt would have another user write here, who may not.
        let options = ["-o", "APT::Sandbox::User=root", "download"];
        let mut apt = debian::apt(&[&options[..], &packages].concat());
        project::run(apt.current_dir(folder))
    };
    match download() {
        Err(_) if debian::is_root() => {
            project::run(&mut debian::apt(&["update"]))?;
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

/// The description of the driver, with the driver in the description's own folder.
fn beside_itself(icd: &str) -> Option<String> {
    let mut icd: serde_json::Value = serde_json::from_str(icd).ok()?;
    let about = icd.get_mut("ICD")?.as_object_mut()?;
    about.insert("library_path".to_owned(), format!("./{DRIVER}").into());
    Some(format!("{icd:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_is_expected_beside_its_description() {
        let icd = r#"{"file_format_version": "1.0.0",
            "ICD": {"library_path": "/usr/lib/x/libvk.so", "api_version": "1.1.0"}}"#;
        let text = beside_itself(icd).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["ICD"]["library_path"], "./libvk_swiftshader.so");
        assert_eq!(read["ICD"]["api_version"], "1.1.0");
        assert_eq!(read["file_format_version"], "1.0.0");
        for other in ["#", "[]", r#"{"ICD": 1}"#] {
            assert_eq!(beside_itself(other), None, "{other}");
        }
    }

    #[test]
    fn files_are_found_at_any_depth_and_archives_of_any_version() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("usr/lib/any-triple");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join(LOADER), "").unwrap();
        let find = |name| find(folder.path(), name).unwrap();
        assert_eq!(find(LOADER), Some(deep.join(LOADER)));
        assert_eq!(find(ICD), None);

        let name = "libvulkan1_1.3.239.0-1_amd64.deb";
        fs::write(folder.path().join(name), "").unwrap();
        let archive = |package| archive(folder.path(), package).unwrap();
        assert_eq!(archive("libvulkan1"), Some(folder.path().join(name)));
        assert_eq!(archive("libvulkan"), None);
    }
}
