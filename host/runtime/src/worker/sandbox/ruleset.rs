//! The Landlock layer: everything is handled and nothing is allowed, but what a GPU's driver needs
//! in a worker that has one.

use super::{LandlockLevel, SandboxError};
use ::landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, RestrictSelfAttr,
    Ruleset, RulesetAttr, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};
use std::path::PathBuf;

/// The rights asked for: those of the newest ABI these tests have run on. Later ABIs add rights
/// over UDP and Unix sockets by path, which the system-call filter takes away in any case.
const RIGHTS: ABI = ABI::V7;

/// The ABI that has every right this sandbox counts on: files, TCP, and both scopes.
const FULL_SINCE: ABI = ABI::V6;

/// Restricts the calling thread, its children and, from ABI 8 on, all other threads.
///
/// Returns the ABI in use and how much is in force. A kernel without Landlock is no error.
pub(super) fn restrict(threads: usize) -> Result<(u32, LandlockLevel), SandboxError> {
    level(threads, enforce(&[], &[], &[]))
}

fn level(
    threads: usize,
    status: Result<::landlock::RestrictionStatus, RulesetError>,
) -> Result<(u32, LandlockLevel), SandboxError> {
    let status = status.map_err(|error| SandboxError::Landlock {
        reason: error.to_string(),
    })?;
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => ABI::Unsupported,
    };
    let everywhere = threads == 1 || status.all_threads;
    let level = match status.ruleset {
        RulesetStatus::NotEnforced => LandlockLevel::Unavailable,
        _ if abi >= FULL_SINCE && everywhere => LandlockLevel::Full,
        _ => LandlockLevel::Partial,
    };
    Ok((abi as u32, level))
}

/// What a GPU's driver and libraries may read, besides what an operator names: the system's
/// libraries and their configuration, and what the kernel tells of devices.
const READABLE: &[&str] = &[
    "/usr",
    "/lib",
    "/lib64",
    "/opt",
    "/etc/ld.so.cache",
    "/etc/vulkan",
    "/etc/OpenCL",
    "/etc/nvidia",
    "/etc/drirc",
    "/sys",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/devices",
    "/proc/driver",
    "/proc/filesystems",
    "/proc/meminfo",
    "/proc/modules",
    "/proc/stat",
    "/proc/sys/vm",
    "/proc/version",
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
];

/// Device nodes of GPUs, which are also written to.
const DEVICES: &[&str] = &[
    "/dev/dri",
    "/dev/dxg",
    "/dev/kfd",
    "/dev/nvidia-caps",
    "/dev/nvidia-modeset",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidiactl",
];

/// Where a driver names its threads, by a file of each: CUDA does not start where it cannot. The
/// rest of that folder is of this process too, and gives it nothing that it does not have.
const THREADS: &str = "/proc/self/task";

/// Like [`restrict`], but what a GPU needs can be read and its device nodes used.
pub(super) fn restrict_for_device(
    threads: usize,
    readable: &[PathBuf],
) -> Result<(u32, LandlockLevel), SandboxError> {
    let mut devices: Vec<PathBuf> = DEVICES.iter().map(PathBuf::from).collect();
    devices.extend((0..16).map(|index| PathBuf::from(format!("/dev/nvidia{index}"))));
    let readable: Vec<PathBuf> = READABLE
        .iter()
        .map(PathBuf::from)
        .chain(readable.iter().cloned())
        .collect();
    level(threads, enforce(&readable, &devices, &[THREADS.into()]))
}

fn enforce(
    readable: &[PathBuf],
    devices: &[PathBuf],
    named: &[PathBuf],
) -> Result<::landlock::RestrictionStatus, RulesetError> {
    let read = AccessFs::from_read(RIGHTS);
    // Not those that make or remove anything.
    let use_device =
        AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile | AccessFs::IoctlDev;
    // A name is written over what the file had.
    let name = AccessFs::WriteFile | AccessFs::Truncate;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RIGHTS))?
        .handle_access(AccessNet::from_all(RIGHTS))?
        .scope(Scope::from_all(RIGHTS))?
        .create()?
        // What is not there is left out.
        .add_rules(path_beneath_rules(readable, read))?
        .add_rules(path_beneath_rules(devices, use_device))?
        .add_rules(path_beneath_rules(named, name))?
        .all_threads(true)?
        .restrict_self()
}
