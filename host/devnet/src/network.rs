//! What a development network is like; and its network file where there is no registry, as in
//! simulations and benchmarks.

use std::path::Path;

use adit_protocol::Amount;
use adit_protocol::cbor::Document as _;
use adit_protocol::keys::Keypair;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{
    CoordinatorMember, Membership, MinerMember, NetworkFile, WitnessMember,
};
use adit_protocol::signed::Signable as _;
use adit_runtime::engine_document::engine_document;
use rand_core::OsRng;

use crate::devnet::DevError;
use crate::folder::write;
use crate::{faults::Fault, keys};

/// Length of an epoch in milliseconds.
pub(crate) const EPOCH_MS: u64 = 30_000;
/// Stakes, in tokens: the defaults of the protocol, and a little more for each miner.
pub(crate) const MINER_STAKE: u64 = 20_000;
pub(crate) const COORDINATOR_STAKE: u64 = 2_000_000;
pub(crate) const CHECKER_STAKE: u64 = 50_000;
const SATURATION: u32 = 50;

/// A miner that is to be a member.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its node key.
    pub node: Keypair,
    /// What it does wrong, if anything.
    pub fault: Option<Fault>,
}

/// Reads the network file at `path` and brings it up to date, or makes one: with the coordinator at
/// `url`, these miners and these witnesses. Its genesis stays, and its version counts up only with a
/// change.
///
/// # Errors
/// [`DevError`], if the file is that of another network, or cannot be read or written.
pub fn bring_up_to_date(
    path: &Path,
    url: &str,
    miners: &[Member],
    witnesses: &[WitnessMember],
    now_ms: u64,
) -> Result<NetworkFile, DevError> {
    let authority = Keypair::from_uri(keys::AUTHORITY)?;
    let known = match std::fs::read(path) {
        Ok(bytes) => Some(read(path, &bytes, &authority)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(DevError::file("read", path, error)),
    };
    let (genesis, version) = match &known {
        Some((file, membership)) => (file.genesis.clone(), membership.version),
        None => (genesis(&authority, now_ms), 0),
    };
    let mut membership = members(&genesis, url, miners, witnesses)?;
    membership.version = version;
    if let Some((file, known)) = known
        && known == membership
    {
        return Ok(file);
    }
    membership.version = version.saturating_add(1);
    let file = NetworkFile {
        membership: membership.sign(&authority, &mut OsRng),
        genesis,
    };
    write(path, &file.to_cbor(), 0o644)?;
    Ok(file)
}

fn read(
    path: &Path,
    bytes: &[u8],
    authority: &Keypair,
) -> Result<(NetworkFile, Membership), DevError> {
    let other = |why: String| DevError::Folder {
        path: path.to_owned(),
        why,
    };
    let file = NetworkFile::from_cbor(bytes).map_err(|error| other(error.to_string()))?;
    let membership = file.verify().map_err(|error| other(error.to_string()))?;
    if !file.genesis.development || file.genesis.authority != authority.public().to_bytes() {
        return Err(other(
            "it is of a network that is no development network".to_owned(),
        ));
    }
    Ok((file, membership))
}

/// The stake of the miner with a number, in tokens: more than the least, and not all the same, so
/// that draws have weights to go by.
pub(crate) fn miner_stake(number: u32) -> u64 {
    MINER_STAKE + u64::from(number % 10) * 1_000
}

/// What is said of the miner with a number.
pub(crate) fn introduction(number: u32, fault: Option<Fault>) -> String {
    match fault {
        None => format!("Miner {number} of a development network."),
        Some(fault) => format!("Miner {number} of a development network, which cheats: {fault}."),
    }
}

pub(crate) fn genesis(authority: &Keypair, now_ms: u64) -> Genesis {
    Genesis {
        name: "adit-dev".to_owned(),
        created_ms: now_ms,
        authority: authority.public().to_bytes(),
        epoch_ms: EPOCH_MS,
        miner_stake_min: Amount::tokens(MINER_STAKE).units(),
        coordinator_stake_min: Amount::tokens(COORDINATOR_STAKE).units(),
        saturation: SATURATION,
        development: true,
        ledger: None,
    }
}

fn members(
    genesis: &Genesis,
    url: &str,
    miners: &[Member],
    witnesses: &[WitnessMember],
) -> Result<Membership, DevError> {
    let accounts = keys::accounts()?;
    let account = accounts.first().map(|account| account.keypair.public());
    let coordinator = CoordinatorMember {
        node: Keypair::from_uri(keys::COORDINATOR)?.public().to_bytes(),
        log: Keypair::from_uri(keys::COORDINATOR_LOG)?
            .public()
            .to_bytes(),
        account: account.map(|key| key.to_bytes()).unwrap_or_default(),
        stake: Amount::tokens(COORDINATOR_STAKE).units(),
        url: url.to_owned(),
        region: "local".to_owned(),
        introduction: "The coordinator of a development network.".to_owned(),
    };
    let mut members = Vec::with_capacity(miners.len());
    for (number, miner) in (0u32..).zip(miners) {
        members.push(MinerMember {
            node: miner.node.public().to_bytes(),
            account: keys::operator(number)?.public().to_bytes(),
            stake: Amount::tokens(miner_stake(number)).units(),
            jailed: None,
            introduction: introduction(number, miner.fault),
        });
    }
    members.sort_by_key(|member| member.node);
    Ok(Membership {
        genesis: genesis.hash(),
        version: 0,
        engines: vec![engine_document().hash()],
        coordinators: vec![coordinator],
        miners: members,
        witnesses: witnesses.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn miners(count: u32) -> Vec<Member> {
        (0..count)
            .map(|number| Member {
                node: keys::miner(number).unwrap(),
                fault: None,
            })
            .collect()
    }

    #[test]
    fn a_network_stays_itself_and_its_version_counts_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network");
        let version = |url: &str, count: u32, now_ms: u64| {
            let file = bring_up_to_date(&path, url, &miners(count), &[], now_ms).unwrap();
            let membership = file.verify().unwrap();
            assert_eq!(membership.miners.len() as u32, count);
            (file.genesis.hash(), membership.version)
        };
        let (genesis, first) = version("http://127.0.0.1:1", 3, 5);
        assert_eq!(first, 1);
        assert_eq!(version("http://127.0.0.1:1", 3, 6), (genesis, 1));
        assert_eq!(version("http://127.0.0.1:2", 3, 7), (genesis, 2));
        assert_eq!(version("http://127.0.0.1:2", 4, 8), (genesis, 3));
    }

    #[test]
    fn the_file_of_another_network_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network");
        let authority = Keypair::from_seed([7; 32]);
        let genesis = Genesis {
            development: false,
            ..genesis(&authority, 1)
        };
        let membership = members(&genesis, "https://real", &miners(1), &[]).unwrap();
        let bytes = NetworkFile {
            membership: membership.sign(&authority, &mut OsRng),
            genesis,
        }
        .to_cbor();
        std::fs::write(&path, &bytes).unwrap();
        assert!(bring_up_to_date(&path, "http://127.0.0.1:1", &miners(1), &[], 1).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
