//! What of Debian is used where it is there: its packages, by its own tools.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::Result;
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
