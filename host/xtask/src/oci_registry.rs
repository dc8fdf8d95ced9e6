//! A registry of OCI artifacts, so that components are fetched in tests from the program that others run:
//! Docker's, out of Debian's package, which is not installed.

use std::fs;

use crate::debian::{self, Wanted};
use crate::error::{Error, Result};
use crate::fetch::Scratch;
use crate::project::Project;
use crate::runtimes::{STAMP, or_leave_out, put_in_place};

const NAME: &str = "oci-registry";
const HINT: &str = "the tests with a registry of OCI artifacts run on Debian; apt-get and dpkg-deb \
                    must work there, and `apt-get update` have run";
/// The package, and the program in it: beside it lies a script of the same name.
const PACKAGES: &[Wanted] = &[("docker-registry", &["usr/bin/docker-registry"])];

/// Fetches it unless it is there already. Where it cannot be had it is left out with a hint.
///
/// # Errors
///
/// The same is an error where the environment has `CI` set.
pub fn install(project: &Project) -> Result<()> {
    let folder = project.target.join("tools").join(NAME);
    let (versions, already) = match fs::read_to_string(folder.join(STAMP)) {
        Ok(versions) => (Some(versions), " (already here)"),
        Err(_) => (or_leave_out(fetch(project))?, ""),
    };
    for version in versions.iter().flat_map(|versions| versions.lines()) {
        eprintln!("    {version}{already}");
    }
    Ok(())
}

/// Puts the program in its place. Returns a line with its version.
fn fetch(project: &Project) -> Result<String> {
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
    let stamp = made.join(STAMP);
    fs::write(&stamp, &versions).map_err(Error::io("write", &stamp))?;
    let tools = project.target.join("tools");
    fs::create_dir_all(&tools).map_err(Error::io("create", &tools))?;
    put_in_place(&made, &tools.join(NAME))?;
    Ok(versions)
}
