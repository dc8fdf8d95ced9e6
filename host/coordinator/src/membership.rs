//! Who takes part in the network. Here from the network file, which the authority signs; a registry
//! takes its place later.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{
    Membership as MembershipDocument, NetworkError, NetworkFile,
};
use adit_protocol::signed::Signed;
use adit_protocol::{Code, DecodeError};
use thiserror::Error;

use crate::Refusal;
use crate::engine::lock;

/// The members at one time, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// The genesis document.
    pub genesis: Genesis,
    /// Its hash.
    pub genesis_hash: Hash,
    /// The membership.
    pub membership: MembershipDocument,
    /// Its hash, which rosters name.
    pub hash: Hash,
    /// The same as its authority signed it, for auditors.
    pub signed: Signed<MembershipDocument>,
}

impl Members {
    /// The members in a network file, if its authority signed them.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn verify(file: &NetworkFile) -> Result<Members, NetworkError> {
        let membership = file.verify()?;
        Ok(Members {
            genesis_hash: file.genesis.hash(),
            hash: membership.hash(),
            genesis: file.genesis.clone(),
            signed: file.membership.clone(),
            membership,
        })
    }

    /// Stake of a miner that may work.
    ///
    /// # Errors
    /// `not-registered`, `jailed`, `below-minimum-stake`.
    pub fn miner_stake(&self, node: &[u8; 32]) -> Result<u128, Refusal> {
        let Some(member) = self.membership.miner(node) else {
            return Err(Refusal::new(
                Code::NotRegistered,
                format!("the miner {} is not registered", crate::view::hex(node)),
                "register it, or start the program with the registered key",
            ));
        };
        if let Some(why) = &member.jailed {
            return Err(Refusal::new(
                Code::Jailed,
                format!("the miner may not work: {why}"),
                "ask for readmission once the time that the rules set is over",
            ));
        }
        if member.stake < self.genesis.miner_stake_min {
            return Err(Refusal::new(
                Code::BelowMinimumStake,
                format!(
                    "the miner has a stake of {}, and the least is {}, in 10^-12 token",
                    member.stake, self.genesis.miner_stake_min
                ),
                "stake more, or win votes",
            ));
        }
        Ok(member.stake)
    }
}

/// Where the members come from.
pub trait Membership: Send + Sync {
    /// The newest members that are known.
    fn current(&self) -> Arc<Members>;

    /// Looks whether there are newer ones; called about once a second. Whether there were.
    ///
    /// # Errors
    /// [`MembershipError`]; those known before stay.
    fn refresh(&self) -> Result<bool, MembershipError> {
        Ok(false)
    }
}

/// Why a network file is not used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// It cannot be read.
    #[error("the network file {} cannot be read: {source}; hint: check its path and owner", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is malformed.
    #[error("the network file {}: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DecodeError,
    },
    /// It is not signed by its authority, or mixes two networks.
    #[error("the network file {}: {source}", path.display())]
    Network {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NetworkError,
    },
    /// It is of another network than before.
    #[error(
        "the network file is now of the network {found}, and was of {expected}; hint: a node belongs to one network; put the right file back"
    )]
    OtherNetwork {
        /// Hash of the genesis document before.
        expected: Hash,
        /// Hash of the one found.
        found: Hash,
    },
    /// It is older than what was used before.
    #[error(
        "the membership has version {found}, and version {known} is in use; hint: get the network's file anew"
    )]
    Older {
        /// Its version.
        found: u64,
        /// The version in use.
        known: u64,
    },
    /// The authority signed two memberships with one version.
    #[error(
        "there are two memberships of version {version}: {found} and {known}; hint: the network's authority has to give the later one a higher version"
    )]
    Twice {
        /// The version.
        version: u64,
        /// Hash of the one in the file.
        found: Hash,
        /// Hash of the one in use.
        known: Hash,
    },
}

/// Members from the network file, which is read again when it changes.
pub struct FileMembership {
    path: PathBuf,
    state: Mutex<FileState>,
}

struct FileState {
    members: Arc<Members>,
    /// Time of change and length of what was read last, used or not: a bad file is told once.
    seen: Option<(SystemTime, u64)>,
}

impl FileMembership {
    /// The members in the file at `path`.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub fn open(path: &Path) -> Result<FileMembership, MembershipError> {
        let seen = stamp(path);
        let members = read(path)?;
        Ok(FileMembership {
            path: path.to_owned(),
            state: Mutex::new(FileState {
                members: Arc::new(members),
                seen,
            }),
        })
    }

    /// Reads the file now, changed or not. Whether it has other members than before.
    ///
    /// # Errors
    /// [`MembershipError`]; those known before stay.
    pub fn reload(&self) -> Result<bool, MembershipError> {
        let mut state = lock(&self.state);
        state.seen = stamp(&self.path);
        let new = read(&self.path)?;
        let known = &state.members;
        if new.genesis_hash != known.genesis_hash {
            return Err(MembershipError::OtherNetwork {
                expected: known.genesis_hash,
                found: new.genesis_hash,
            });
        }
        if new.hash == known.hash {
            return Ok(false);
        }
        let (found, version) = (new.membership.version, known.membership.version);
        if found < version {
            return Err(MembershipError::Older {
                found,
                known: version,
            });
        }
        if found == version {
            return Err(MembershipError::Twice {
                version,
                found: new.hash,
                known: known.hash,
            });
        }
        state.members = Arc::new(new);
        Ok(true)
    }
}

impl Membership for FileMembership {
    fn current(&self) -> Arc<Members> {
        Arc::clone(&lock(&self.state).members)
    }

    fn refresh(&self) -> Result<bool, MembershipError> {
        let seen = stamp(&self.path);
        // A file that is gone for a moment is being replaced.
        if seen.is_none() || seen == lock(&self.state).seen {
            return Ok(false);
        }
        self.reload()
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path) -> Result<Members, MembershipError> {
    use std::io::Read as _;
    let source = |source| MembershipError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too long.
    let most = u64::try_from(NetworkFile::MAX_LEN).unwrap_or(u64::MAX);
    std::fs::File::open(path)
        .map_err(source)?
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(source)?;
    let file = NetworkFile::from_cbor(&bytes).map_err(|source| MembershipError::Decode {
        path: path.to_owned(),
        source,
    })?;
    Members::verify(&file).map_err(|source| MembershipError::Network {
        path: path.to_owned(),
        source,
    })
}

/// Members that never change, or only by hand: for tests and simulations.
pub struct FixedMembership(Mutex<Arc<Members>>);

impl FixedMembership {
    /// These members.
    pub fn new(members: Members) -> FixedMembership {
        FixedMembership(Mutex::new(Arc::new(members)))
    }

    /// Other members from now on.
    pub fn set(&self, members: Members) {
        *lock(&self.0) = Arc::new(members);
    }
}

impl Membership for FixedMembership {
    fn current(&self) -> Arc<Members> {
        Arc::clone(&lock(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{genesis, membership, network_file};

    fn write(path: &Path, file: &NetworkFile) {
        std::fs::write(path, file.to_cbor()).unwrap();
    }

    #[test]
    fn a_file_is_read_again_and_never_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network");
        let version = |version| {
            let mut members = membership(2);
            members.version = version;
            network_file(&members)
        };
        write(&path, &version(3));
        let source = FileMembership::open(&path).unwrap();
        assert_eq!(source.current().genesis, genesis());
        assert!(!source.reload().unwrap());
        write(&path, &version(5));
        assert!(source.reload().unwrap());
        assert_eq!(source.current().membership.version, 5);

        write(&path, &version(4));
        assert!(matches!(
            source.reload(),
            Err(MembershipError::Older { found: 4, known: 5 })
        ));
        let mut other = membership(3);
        other.version = 5;
        write(&path, &network_file(&other));
        assert!(matches!(
            source.reload(),
            Err(MembershipError::Twice { version: 5, .. })
        ));
        std::fs::write(&path, b"garbage").unwrap();
        assert!(matches!(
            source.reload(),
            Err(MembershipError::Decode { .. })
        ));
        assert_eq!(source.current().membership.version, 5);
    }

    #[test]
    fn what_the_authority_did_not_sign_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network");
        let mut file = network_file(&membership(1));
        file.genesis.authority = [9; 32];
        write(&path, &file);
        assert!(matches!(
            FileMembership::open(&path),
            Err(MembershipError::Network { .. })
        ));
    }

    #[test]
    fn refresh_notices_a_change_and_tells_of_a_bad_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network");
        write(&path, &network_file(&membership(1)));
        let source = FileMembership::open(&path).unwrap();
        assert!(!source.refresh().unwrap());
        std::fs::write(&path, b"garbage").unwrap();
        assert!(source.refresh().is_err());
        assert!(!source.refresh().unwrap());
        let mut newer = membership(2);
        newer.version += 1;
        write(&path, &network_file(&newer));
        assert!(source.refresh().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(!source.refresh().unwrap());
    }
}
