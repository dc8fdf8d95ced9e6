//! The registry of a development network, and the registrations in it.
//!
//! A new network begins at the end of its first epoch, so that the nodes that are registered at once
//! take part a moment later and not after a whole epoch.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit_ledger::genesis::Allocation;
use adit_ledger::registration::{NodeKeys, Possession, Profile, Registration, Role};
use adit_ledger::rules::{GovernanceRules, RewardRules, SlashingRules};
use adit_ledger::{Action, Key, LedgerGenesis, Parameters, Transaction};
use adit_net::http::server::{Limits, Listen, ListenError};
use adit_net::tls::Roots;
use adit_net::{Clock as _, Stopped, SystemClock};
use adit_protocol::keys::Keypair;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{Membership, NetworkFile};
use adit_protocol::{Amount, Document as _};
use adit_registry::settling::settler::SettlerOptions;
use adit_registry::{Options, Registry, Running, StartError};
use adit_runtime::engine_document::engine_document;
use rand_core::OsRng;

use crate::devnet::DevError;
use crate::folder::{Folder, make, port_of, write};
use crate::keys;
use crate::network::{self, EPOCH_MS, Member};

/// Name of its checker in cosignatures.
const CHECKER_NAME: &str = "adit-dev/witness";
/// The file of the address where it listened last.
const ADDRESS: &str = "registry-address";
/// How long before the end of its first epoch a new network begins, in milliseconds.
const SETUP_MS: u64 = 1_000;
/// How long a transaction is good, in milliseconds.
const EXPIRES_MS: u64 = 60_000;
/// A wait from which on one would ask what is waited for, in milliseconds.
const NOTICED_MS: u64 = 3_000;
/// How often members are looked at that are to come.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What each account that everyone has begins with, in tokens.
const ACCOUNT_TOKENS: u64 = 10_000_000;
/// What the coordinator's tasks can be paid of at the beginning, in tokens.
const ESCROW_TOKENS: u64 = 1_000_000;
/// What the checker has for fees, in tokens.
const FEES_TOKENS: u64 = 100_000;
/// The operators' part of what nodes earn, in parts per million.
const COMMISSION_PPM: u32 = 100_000;

/// The registry, which listens on this machine.
pub(crate) struct DevRegistry {
    running: Running,
    genesis: Genesis,
}

/// A node that is to take part.
struct Wanted {
    role: Role,
    operator: Keypair,
    node: Keypair,
    log: Option<Keypair>,
    name: Option<String>,
    bond: Amount,
    url: Option<String>,
    introduction: String,
}

impl DevRegistry {
    /// Starts it, where it was the last time if that port is free. `program` becomes a worker.
    ///
    /// # Errors
    /// [`DevError`].
    pub async fn start(folder: &Folder, program: &Path) -> Result<DevRegistry, DevError> {
        let (genesis, ledger) = documents(folder)?;
        let state = folder.path("registry");
        make(&state)?;
        let options = |port: u16| -> Result<Options, DevError> {
            Ok(Options {
                state: state.clone(),
                network_file: folder.path("network"),
                genesis: genesis.clone(),
                ledger: ledger.clone(),
                authority: Keypair::from_uri(keys::AUTHORITY)?,
                log: Keypair::from_uri(keys::REGISTRY_LOG)?,
                listen: Listen::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
                limits: Limits::default(),
                clock: Arc::new(SystemClock),
                settler: Some(settler(program)?),
                witnesses: Vec::new(),
            })
        };
        let before = folder.text(ADDRESS);
        let last = before.as_deref().and_then(port_of).unwrap_or(0);
        let running = match Registry::start(options(last)?).await {
            Err(StartError::Listen(ListenError::Bind { .. })) if last != 0 => {
                Registry::start(options(0)?).await?
            }
            started => started?,
        };
        let url = running.url();
        if before.as_deref() != Some(url.as_str()) {
            write(&folder.path(ADDRESS), url.as_bytes(), 0o644)?;
        }
        Ok(DevRegistry { running, genesis })
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.running.url()
    }

    /// Ends when it has failed, with the reason.
    pub async fn failed(&self) -> Stopped {
        self.running.failed().await
    }

    /// Ends it.
    pub async fn stop(self) {
        self.running.stop().await;
    }

    /// Who takes part in this epoch.
    ///
    /// # Errors
    /// [`DevError::Registry`] once it has failed.
    pub fn members(&self) -> Result<Arc<Membership>, DevError> {
        Ok(Arc::clone(&self.live()?.members))
    }

    /// The network file of this epoch.
    ///
    /// # Errors
    /// As [`DevRegistry::members`].
    pub fn network(&self) -> Result<NetworkFile, DevError> {
        let bytes = self.live()?.network.clone();
        NetworkFile::from_cbor(&bytes).map_err(|error| DevError::Ledger(error.to_string()))
    }

    fn live(&self) -> Result<impl std::ops::Deref<Target = adit_registry::engine::Live>, DevError> {
        let live = self.running.handle().shared().live();
        live.map_err(|error| DevError::Ledger(error.to_string()))
    }

    /// Registers what is not registered yet, has changed what is said of what is, and waits until all
    /// of it takes part.
    ///
    /// # Errors
    /// [`DevError`].
    pub async fn register(&self, url: &str, miners: &[Member]) -> Result<(), DevError> {
        let wanted = wanted(url, miners, &self.url())?;
        for node in &wanted {
            self.bring_up_to_date(node).await?;
        }
        // Those that were registered now take part from the next epoch on.
        let wait_ms = {
            let live = self.live()?;
            let next = live.state.head().epoch.saturating_add(1);
            let begins_ms = live.state.epoch_begins_ms(next);
            begins_ms.saturating_sub(SystemClock.now_ms())
        };
        let members = self.members()?;
        if wait_ms > NOTICED_MS && !wanted.iter().all(|node| takes_part(&members, node)) {
            tracing::warn!(
                "new nodes take part from the next epoch on, in {} s",
                wait_ms / 1000
            );
        }
        let patience = Duration::from_millis(EPOCH_MS.saturating_mul(2));
        let looks = async {
            loop {
                let members = self.members()?;
                if wanted.iter().all(|node| takes_part(&members, node)) {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        match tokio::time::timeout(patience, looks).await {
            Ok(done) => done,
            Err(_) => Err(DevError::Ledger(
                "its nodes do not come to take part".to_owned(),
            )),
        }
    }

    async fn bring_up_to_date(&self, wanted: &Wanted) -> Result<(), DevError> {
        let node = Key::new(&wanted.node.public());
        let operator = Key::new(&wanted.operator.public());
        let profile = Profile {
            commission_ppm: COMMISSION_PPM,
            url: wanted.url.clone(),
            region: Some("local".to_owned()),
            introduction: Some(wanted.introduction.clone()),
            service: None,
        };
        let (known, stake) = {
            let live = self.live()?;
            let known = live.state.node(&node).cloned();
            (known, live.state.account(&operator).stake)
        };
        if let Some(known) = known {
            // Another commission, or less stake, is what somebody tries out here.
            let same = known.profile.url == profile.url
                && known.profile.introduction == profile.introduction;
            if known.operator == operator && !known.leaving && !same {
                let profile = Profile {
                    commission_ppm: known.profile.commission_ppm,
                    ..profile
                };
                self.submit(&wanted.operator, Action::Update { node, profile })
                    .await?;
            }
            return Ok(());
        }
        if let Some(amount) = wanted.bond.minus(stake).filter(|amount| !amount.is_zero()) {
            self.submit(&wanted.operator, Action::Stake { amount })
                .await?;
        }
        let keys = NodeKeys {
            node,
            log: wanted.log.as_ref().map(|log| Key::new(&log.public())),
        };
        let possession = Possession {
            genesis: self.genesis.hash(),
            operator,
            keys,
        };
        let registration = Registration {
            role: wanted.role,
            keys,
            name: wanted.name.clone(),
            profile,
            proof: possession.sign(&wanted.node, &mut OsRng),
        };
        let bond = wanted.bond;
        let action = Action::Register { registration, bond };
        self.submit(&wanted.operator, action).await?;
        if wanted.role == Role::Coordinator {
            let amount = Amount::tokens(ESCROW_TOKENS);
            self.submit(&wanted.operator, Action::Deposit { node, amount })
                .await?;
        }
        Ok(())
    }

    async fn submit(&self, account: &Keypair, action: Action) -> Result<(), DevError> {
        let ledger = |error: &dyn std::fmt::Display| DevError::Ledger(error.to_string());
        let key = Key::new(&account.public());
        let transaction = {
            let live = self.live()?;
            Transaction {
                genesis: self.genesis.hash(),
                account: key,
                number: live.state.account(&key).number,
                fee: live.state.parameters().fee_min,
                expires_ms: SystemClock.now_ms().saturating_add(EXPIRES_MS),
                action,
            }
        };
        let signed = transaction.sign(account, &mut OsRng);
        let verified = signed.verify().map_err(|error| ledger(&error))?;
        let accepted = self.running.handle().submit(verified).await;
        accepted.map(drop).map_err(|error| ledger(&error))
    }
}

/// The checker of the network is run by its registry.
fn settler(program: &Path) -> Result<SettlerOptions, DevError> {
    Ok(SettlerOptions {
        account: Keypair::from_uri(keys::CHECKER_FEES)?,
        node: Keypair::from_uri(keys::CHECKER)?,
        name: (CHECKER_NAME.parse()).map_err(|_| DevError::Ledger("it has no name".to_owned()))?,
        cosign: Keypair::from_uri(keys::WITNESS)?,
        roots: Roots::system(),
        worker: program.to_owned(),
    })
}

fn takes_part(members: &Membership, wanted: &Wanted) -> bool {
    let node = wanted.node.public().to_bytes();
    match wanted.role {
        Role::Miner => members.miner(&node).is_some(),
        Role::Coordinator => members.coordinator(&node).is_some(),
        Role::Checker => true,
    }
}

fn wanted(url: &str, miners: &[Member], registry: &str) -> Result<Vec<Wanted>, DevError> {
    let operator = keys::accounts()?
        .into_iter()
        .next()
        .map(|alice| alice.keypair);
    let operator = operator.ok_or_else(|| DevError::Ledger("there is no account".to_owned()))?;
    let mut all = vec![
        Wanted {
            role: Role::Coordinator,
            operator: operator.clone(),
            node: Keypair::from_uri(keys::COORDINATOR)?,
            log: Some(Keypair::from_uri(keys::COORDINATOR_LOG)?),
            name: None,
            bond: Amount::tokens(network::COORDINATOR_STAKE),
            url: Some(url.to_owned()),
            introduction: "The coordinator of a development network.".to_owned(),
        },
        Wanted {
            role: Role::Checker,
            operator,
            node: Keypair::from_uri(keys::CHECKER)?,
            log: Some(Keypair::from_uri(keys::WITNESS)?),
            name: Some(CHECKER_NAME.to_owned()),
            bond: Amount::tokens(network::CHECKER_STAKE),
            url: Some(registry.to_owned()),
            introduction: "The checker of a development network.".to_owned(),
        },
    ];
    for (number, miner) in (0u32..).zip(miners) {
        all.push(Wanted {
            role: Role::Miner,
            operator: keys::operator(number)?,
            node: miner.node.clone(),
            log: None,
            name: None,
            bond: Amount::tokens(network::miner_stake(number)),
            url: None,
            introduction: network::introduction(number, miner.fault),
        });
    }
    Ok(all)
}

/// The genesis documents of the folder's network, made if there are none.
fn documents(folder: &Folder) -> Result<(Genesis, LedgerGenesis), DevError> {
    let (network, ledger) = (folder.path("genesis"), folder.path("ledger-genesis"));
    if network.exists() {
        let genesis: Genesis = read(&network)?;
        let authority = Keypair::from_uri(keys::AUTHORITY)?.public().to_bytes();
        if !genesis.development || genesis.authority != authority {
            return Err(DevError::Folder {
                path: network,
                why: "it is of a network that is no development network".to_owned(),
            });
        }
        return Ok((genesis, read(&ledger)?));
    }
    if folder.path("network").exists() {
        return Err(DevError::Folder {
            path: folder.root().to_owned(),
            why: "it is of an earlier version, in which development networks had no registry"
                .to_owned(),
        });
    }
    let mut allocations = Vec::new();
    for account in keys::accounts()? {
        allocations.push(Allocation {
            account: Key::new(&account.keypair.public()),
            amount: Amount::tokens(ACCOUNT_TOKENS),
        });
    }
    allocations.push(Allocation {
        account: Key::new(&Keypair::from_uri(keys::CHECKER_FEES)?.public()),
        amount: Amount::tokens(FEES_TOKENS),
    });
    allocations.sort_by_key(|one| one.account);
    let document = LedgerGenesis {
        log: Key::new(&Keypair::from_uri(keys::REGISTRY_LOG)?.public()),
        parameters: Parameters {
            fee_min: Amount::from_units(10_000_000_000),
            miner_stake_min: Amount::tokens(network::MINER_STAKE),
            coordinator_stake_min: Amount::tokens(network::COORDINATOR_STAKE),
            checker_stake_min: Amount::tokens(network::CHECKER_STAKE),
            vote_min: Amount::tokens(1),
            unbonding_epochs: 2,
            faucet_account: Amount::tokens(5_000_000),
            faucet_epoch: Amount::tokens(100_000_000),
            engines: vec![engine_document().hash()],
            rewards: RewardRules {
                emission: Amount::tokens(1_000),
                ..RewardRules::default()
            },
            slashing: SlashingRules::default(),
            governance: GovernanceRules {
                voting_epochs: 2,
                timelock_epochs: 3,
                ..GovernanceRules::default()
            },
        },
        allocations,
    };
    let authority = Keypair::from_uri(keys::AUTHORITY)?;
    let begins_ms = SystemClock.now_ms().saturating_sub(EPOCH_MS - SETUP_MS);
    let genesis = Genesis {
        ledger: Some(document.hash()),
        ..network::genesis(&authority, begins_ms)
    };
    // In this order: where the second is missing, the first is made anew.
    write(&ledger, &document.to_cbor(), 0o644)?;
    write(&network, &genesis.to_cbor(), 0o644)?;
    Ok((genesis, document))
}

fn read<D: adit_protocol::Document>(path: &Path) -> Result<D, DevError> {
    let bytes = std::fs::read(path).map_err(|error| DevError::file("read", path, error))?;
    D::from_cbor(&bytes).map_err(|error| DevError::Folder {
        path: path.to_owned(),
        why: error.to_string(),
    })
}
