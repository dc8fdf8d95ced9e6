//! The keys of development networks. They derive from the phrase that everyone has, so that they are
//! the same on every machine, and worth nothing on any other network.

use adit_protocol::keys::uri::UriError;
use adit_protocol::keys::{Keypair, PublicKey, ss58};

/// Names of the accounts, as secret URIs.
pub const ACCOUNTS: [&str; 10] = [
    "//Alice",
    "//Bob",
    "//Charlie",
    "//Dave",
    "//Eve",
    "//Ferdie",
    "//Grace",
    "//Heidi",
    "//Ivan",
    "//Judy",
];

/// Signs the membership of development networks.
pub const AUTHORITY: &str = "//Authority";
/// Node key of their coordinator.
pub const COORDINATOR: &str = "//Coordinator";
/// Log key of their coordinator.
pub const COORDINATOR_LOG: &str = "//Coordinator//log";

/// Cosigning key of their witness.
pub const WITNESS: &str = "//Witness";
/// Node key of their witness, which is registered as a checker.
pub const CHECKER: &str = "//Checker";
/// Signs the checkpoints of their registry's log.
pub const REGISTRY_LOG: &str = "//Registry//log";
/// Pays the fees of what the checker hands in.
pub const CHECKER_FEES: &str = "//Checker//fees";

/// What the phrase that everyone has comes to (BIP39), which takes some time to compute.
const SEED: &str = "0xfac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e";
/// Prefix of addresses of no network in particular.
const PREFIX: u16 = 42;
/// Numbers of miners whose keys count as everyone's.
const MINERS: u32 = 320;

/// An account that everyone has.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its secret URI.
    pub uri: &'static str,
    /// Its keypair.
    pub keypair: Keypair,
    /// Its address.
    pub address: String,
}

/// The keypair of a name of the phrase that everyone has.
fn derive(name: &str) -> Result<Keypair, UriError> {
    Keypair::from_uri(&format!("{SEED}{name}"))
}

/// The accounts.
///
/// # Errors
/// None, as long as the names above are secret URIs; a test makes sure of that.
pub fn accounts() -> Result<Vec<Account>, UriError> {
    let account = |uri: &'static str| {
        let keypair = derive(uri)?;
        Ok(Account {
            address: ss58::encode(&keypair.public(), PREFIX),
            uri,
            keypair,
        })
    };
    ACCOUNTS.into_iter().map(account).collect()
}

/// Node key of the miner with a number.
///
/// # Errors
/// As [`accounts`].
pub fn miner(number: u32) -> Result<Keypair, UriError> {
    derive(&format!("//Miner//{number}"))
}

/// The account of the operator of the miner with a number: not the coordinator's, which is the first.
///
/// # Errors
/// As [`accounts`].
pub fn operator(number: u32) -> Result<Keypair, UriError> {
    let rest = ACCOUNTS.len().saturating_sub(1);
    let at = usize::try_from(number).unwrap_or(0) % rest;
    derive(ACCOUNTS.iter().skip(1).nth(at).unwrap_or(&"//Bob"))
}

/// Public keys of all accounts, and of all nodes that a development network may have.
pub fn all() -> impl Iterator<Item = PublicKey> {
    let nodes = [
        AUTHORITY,
        COORDINATOR,
        COORDINATOR_LOG,
        WITNESS,
        CHECKER,
        REGISTRY_LOG,
    ];
    let named = ACCOUNTS.into_iter().chain(nodes).map(derive);
    let miners = (0..MINERS).map(miner);
    named
        .chain(miners)
        .filter_map(|key| Some(key.ok()?.public()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_phrase_that_everyone_has() {
        let accounts = accounts().unwrap();
        assert_eq!(accounts.len(), 10);
        // From other tools of that phrase.
        assert_eq!(
            accounts[0].address,
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
        );
        for number in 0..20 {
            assert_ne!(
                operator(number).unwrap().public(),
                accounts[0].keypair.public()
            );
            miner(number).unwrap();
        }
        for name in [
            "//Alice",
            AUTHORITY,
            COORDINATOR,
            COORDINATOR_LOG,
            WITNESS,
            CHECKER,
            REGISTRY_LOG,
        ] {
            let slowly = Keypair::from_uri(name).unwrap().public();
            assert!(all().any(|key| key == slowly), "{name}");
        }
        assert_eq!(all().count(), 10 + 6 + 320);
    }
}
