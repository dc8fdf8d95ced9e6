//! A GPU in software, so that what runs on GPUs is tested where there is none: SwiftShader, which
//! Chromium brings, and the loader by which programs find a Vulkan driver.
//!
//! They are taken out of Debian's packages without installing these, which needs no rights. The
//! versions are not pinned, since Debian keeps but the newest of a browser; they are written down.

use std::fs;
use std::path::{Path, PathBuf};

use crate::debian;
use crate::error::{Error, Result};
use crate::fetch::Scratch;
use crate::project::Project;
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
    let made = scratch.0.join(NAME);
    let versions = debian::take(PACKAGES, &scratch.0, &made, &cannot)?;
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
}
