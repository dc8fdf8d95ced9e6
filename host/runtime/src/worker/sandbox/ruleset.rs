//! The Landlock layer: everything is handled and nothing is allowed.

use super::{LandlockLevel, SandboxError};
use ::landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, RestrictSelfAttr,
    Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope,
};

/// The rights asked for: those of the newest ABI these tests have run on. Later ABIs add rights
/// over UDP and Unix sockets by path, which the system-call filter takes away in any case.
const RIGHTS: ABI = ABI::V7;

/// The ABI that has every right this sandbox counts on: files, TCP, and both scopes.
const FULL_SINCE: ABI = ABI::V6;

/// Restricts the calling thread, its children and, from ABI 8 on, all other threads.
///
/// Returns the ABI in use and how much is in force. A kernel without Landlock is no error.
pub(super) fn restrict(threads: usize) -> Result<(u32, LandlockLevel), SandboxError> {
    let status = enforce().map_err(|error| SandboxError::Landlock {
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

fn enforce() -> Result<::landlock::RestrictionStatus, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RIGHTS))?
        .handle_access(AccessNet::from_all(RIGHTS))?
        .scope(Scope::from_all(RIGHTS))?
        .create()?
        .all_threads(true)?
        .restrict_self()
}
