//! strace, with which tests let system calls of nodes fail and look at their order.

use std::process::{Command, Stdio};

use crate::debian;
use crate::error::{Error, Result};
use crate::project::Project;

const NAME: &str = "strace";

/// Installs it from Debian where it is missing and that is possible. Elsewhere the tests that need it
/// are left out, with a hint.
///
/// # Errors
///
/// The same is an error where the environment has `CI` set.
pub fn install(_: &Project) -> Result<()> {
    if works() {
        eprintln!("    {NAME} (already here)");
        return Ok(());
    }
    if debian::is_root() {
        debian::install(&[NAME])?;
    }
    if works() {
        eprintln!("    {NAME}");
        return Ok(());
    }
    let missing = Error::NoRuntime {
        name: NAME,
        why: "it is not installed, or may not trace processes here".to_owned(),
        hint: "install it (on Debian: apt install strace), and let processes trace their children",
    };
    match std::env::var_os("CI") {
        Some(_) => Err(missing),
        None => {
            eprintln!("    {NAME}: skipped, and so will be its tests: {missing}");
            Ok(())
        }
    }
}

/// Whether it is here and may trace.
fn works() -> bool {
    let mut strace = Command::new(NAME);
    strace.args(["-f", "-qq", "-o", "/dev/null", "true"]);
    strace.stdin(Stdio::null()).stdout(Stdio::null());
    let ended = strace.stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}
