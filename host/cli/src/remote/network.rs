//! Which network a coordinator is of, and who is a member of it: from a file that the user has, or
//! from what the coordinator said when it was first asked, as ssh does it with hosts.

use std::path::{Path, PathBuf};

use adit_net::http::client::ClientError;
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{Membership, NetworkFile};
use anyhow::Context as _;

use super::{Remote, shown};
use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::state::{State, private_folder, read_own, write_file};
use crate::ui::Ui;

/// A network and its members.
#[derive(Clone, Debug)]
pub struct Known {
    /// The network.
    pub genesis: Genesis,
    /// Its hash.
    pub genesis_hash: Hash,
    /// Its members.
    pub membership: Membership,
}

impl Remote {
    /// The network, with the newest members that are known here or there.
    ///
    /// # Errors
    ///
    /// When it is another one than before, or than the user's file says; when signatures do not hold.
    pub async fn network(&self, ui: &Ui, state: &State) -> anyhow::Result<Known> {
        let pinned = match &self.pinned {
            None => None,
            Some(path) => {
                let max = NetworkFile::MAX_LEN as u64;
                let bytes = read_file(path, max, "the network file")?;
                Some(known(
                    &bytes,
                    &format!("the network file {}", path.display()),
                )?)
            }
        };
        let told = match (self.api.network().await, &pinned) {
            (Ok(bytes), _) => bytes,
            // What the user has is enough.
            (Err(ClientError::Refused { .. }), Some(pinned)) => return Ok(pinned.clone()),
            (Err(error), _) => {
                return Err(error)
                    .with_context(|| format!("the network of {} is not known", shown(&self.url)));
            }
        };
        let told_now = known(&told, &format!("the network file of {}", shown(&self.url)))?;
        match pinned {
            Some(pinned) => newer(pinned, told_now, || "the network file says so".to_owned()),
            // Whoever can listen here can do as much as this program.
            None if self.loopback => Ok(told_now),
            None => self.remembered(ui, state, told_now, &told),
        }
    }

    /// Compares with what the address said before, and keeps what is newer.
    fn remembered(
        &self,
        ui: &Ui,
        state: &State,
        told: Known,
        bytes: &[u8],
    ) -> anyhow::Result<Known> {
        let path = remembered_at(state, &shown(&self.url))?;
        let version = told.membership.version;
        if std::fs::symlink_metadata(&path).is_err() {
            ui.note(format!(
                "note: {} is of the network {}, as it says itself; --network FILE compares with a file that you have from elsewhere",
                shown(&self.url),
                told.genesis_hash,
            ));
            keep(&path, bytes)?;
            return Ok(told);
        }
        let before = read_own(&path, NetworkFile::MAX_LEN as u64, "the network file")?;
        let before = known(&before, &format!("the network file {}", path.display()))?;
        let newest = newer(before, told, || {
            format!(
                "{} said so before; if it has moved on purpose, remove {}",
                shown(&self.url),
                path.display()
            )
        })?;
        if newest.membership.version == version {
            keep(&path, bytes)?;
        }
        Ok(newest)
    }
}

fn remembered_at(state: &State, url: &str) -> anyhow::Result<PathBuf> {
    let name = Hash::of(url.as_bytes()).to_hex();
    Ok(state.root()?.join("networks").join(name))
}

fn keep(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        private_folder(folder).with_context(|| format!("the folder {}", folder.display()))?;
    }
    write_file(path, bytes, 0o600)
}

/// Reads a network file, whose signature has to hold. `what` names it in messages.
fn known(bytes: &[u8], what: &str) -> anyhow::Result<Known> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(Code::BadSignature, format!("{what} does not hold"))
            .because(error)
            .exit(Exit::Signature)
    };
    let file = NetworkFile::from_cbor(bytes).map_err(|error| failed(&error))?;
    let membership = file.verify().map_err(|error| failed(&error))?;
    Ok(Known {
        genesis_hash: membership.genesis,
        genesis: file.genesis,
        membership,
    })
}

/// The newer one of two, which must be of one network.
fn newer(own: Known, told: Known, why: impl FnOnce() -> String) -> anyhow::Result<Known> {
    if own.genesis_hash != told.genesis_hash {
        return Failure::new(
            Code::VersionMismatch,
            "the coordinator is of another network",
        )
        .why(format!(
            "it is of {}, and should be of {}: {}",
            told.genesis_hash,
            own.genesis_hash,
            why()
        ))
        .hint("nothing was sent to it; check the address and the network file")
        .exit(Exit::Signature)
        .into_err();
    }
    Ok(match told.membership.version > own.membership.version {
        true => told,
        false => own,
    })
}

#[cfg(test)]
mod tests {
    use adit_protocol::keys::Keypair;
    use adit_protocol::signed::Signable as _;
    use rand_core::OsRng;

    use super::*;

    fn file(authority: &Keypair, name: &str, version: u64) -> Vec<u8> {
        let genesis = Genesis {
            name: name.into(),
            created_ms: 1,
            authority: authority.public().to_bytes(),
            epoch_ms: 1000,
            miner_stake_min: 1,
            coordinator_stake_min: 1,
            saturation: 1,
            development: true,
            ledger: None,
        };
        let membership = Membership {
            genesis: genesis.hash(),
            version,
            engines: vec![Hash::ZERO],
            coordinators: Vec::new(),
            miners: Vec::new(),
            witnesses: Vec::new(),
        };
        NetworkFile {
            membership: membership.sign(authority, &mut OsRng),
            genesis,
        }
        .to_cbor()
    }

    #[test]
    fn another_network_is_refused_and_older_members_are_passed_over() {
        let authority = Keypair::from_seed([1; 32]);
        let one = known(&file(&authority, "one", 2), "it").unwrap();
        let older = known(&file(&authority, "one", 1), "it").unwrap();
        let why = || "why".to_owned();
        let newest = newer(one.clone(), older.clone(), why).unwrap();
        assert_eq!(newest.membership.version, 2);
        assert_eq!(
            newer(older, one.clone(), why).unwrap().membership.version,
            2
        );
        let other = known(&file(&authority, "two", 3), "it").unwrap();
        assert!(newer(one, other, why).is_err());
    }

    #[test]
    fn members_that_the_authority_has_not_signed_are_refused() {
        let authority = Keypair::from_seed([1; 32]);
        let bytes = file(&authority, "one", 1);
        let good = NetworkFile::from_cbor(&bytes).unwrap();
        let other = NetworkFile::from_cbor(&file(&Keypair::from_seed([2; 32]), "one", 1)).unwrap();
        let mixed = NetworkFile {
            genesis: good.genesis,
            membership: other.membership,
        };
        assert!(known(&mixed.to_cbor(), "it").is_err());
        assert!(known(&bytes[..bytes.len() - 1], "it").is_err());
    }
}
