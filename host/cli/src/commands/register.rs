//! `adit register`: a node takes part.

use adit_ledger::registration::{NodeKeys, Possession, Profile, Registration, Role, Service};
use adit_ledger::transaction::Percent;
use adit_ledger::{Action, Key};
use adit_protocol::Amount;
use rand_core::OsRng;

use crate::amounts;
use crate::error::{Exit, Failure};
use crate::keyring;
use crate::ledger::submit::{Context, SignArgs};
use crate::ledger::{key, refuse_development};
use crate::state::State;
use crate::ui::Ui;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RoleName {
    /// Runs tasks
    Miner,
    /// Hands out tasks and keeps a log
    Coordinator,
    /// Watches logs and miners
    Checker,
}

/// Options of `adit register`.
#[derive(clap::Args)]
pub struct Args {
    /// What the node does
    #[arg(value_enum, value_name = "ROLE")]
    role: RoleName,
    /// The node's key, which signs that it belongs to you: a key file (miner/keys/node or
    /// coordinator/keys/node in its state folder), `local`, or a development key as //Name
    #[arg(long, value_name = "KEY")]
    node: String,
    /// A coordinator's log key, or a checker's cosigning key: an address, 0x and digits, or a key file
    #[arg(long, value_name = "KEY")]
    log: Option<String>,
    /// A checker's name in its cosignatures
    #[arg(long)]
    name: Option<String>,
    /// Your votes for it, in tokens, out of your stake: at least the least stake of its role
    #[arg(long, value_name = "TOKENS", value_parser = amounts::tokens)]
    bond: u128,
    #[command(flatten)]
    profile: ProfileArgs,
    #[command(flatten)]
    sign: SignArgs,
}

/// What is said of a node.
#[derive(clap::Args, Clone, Debug)]
pub struct ProfileArgs {
    /// Your part of what the node earns, before its voters get theirs
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = percent)]
    commission: u32,
    /// Where it is reached, as https://host:port; miners need none
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The region that it is in, as eu-central
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Who it is, for people
    #[arg(long, value_name = "TEXT")]
    introduction: Option<String>,
    /// Class of a miner's hardware, as `adit bench` names it, with which it promises service
    #[arg(long, value_name = "CLASS", requires_all = ["service_uptime", "service_latency"])]
    service_class: Option<String>,
    /// The share of time that it promises to be there
    #[arg(long, value_name = "PERCENT", requires = "service_class", value_parser = percent)]
    service_uptime: Option<u32>,
    /// The time within which it promises to take a task, in milliseconds
    #[arg(long, value_name = "MS", requires = "service_class")]
    service_latency: Option<u32>,
}

fn percent(text: &str) -> Result<u32, String> {
    let percent: Percent = text.parse().map_err(str::to_owned)?;
    Ok(percent.0)
}

impl ProfileArgs {
    /// What is said, as the ledger has it.
    pub fn profile(&self) -> Profile {
        let service = self.service_class.as_ref().map(|class| Service {
            class: class.clone(),
            uptime_ppm: self.service_uptime.unwrap_or_default(),
            latency_ms: self.service_latency.unwrap_or_default(),
        });
        Profile {
            commission_ppm: self.commission,
            url: self.url.clone(),
            region: self.region.clone(),
            introduction: self.introduction.clone(),
            service,
        }
    }
}

/// `adit register ROLE ...`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    args.sign.run(ui, state, |context| {
        let (keys, proof) = possession(ui, state, context, &args.node, args.log.as_deref())?;
        Ok(Action::Register {
            registration: Registration {
                role: match args.role {
                    RoleName::Miner => Role::Miner,
                    RoleName::Coordinator => Role::Coordinator,
                    RoleName::Checker => Role::Checker,
                },
                keys,
                name: args.name.clone(),
                profile: args.profile.profile(),
                proof,
            },
            bond: Amount::from_units(args.bond),
        })
    })
}

/// A node's keys, and the node key's word that they belong to the account that signs.
///
/// # Errors
///
/// When a key cannot be read, or is not for this network.
pub fn possession(
    ui: &Ui,
    state: &State,
    context: &Context<'_>,
    node: &str,
    log: Option<&str>,
) -> anyhow::Result<(NodeKeys, [u8; 64])> {
    let genesis = &context.ledger.genesis;
    if node == "-" {
        return Failure::argument("the node key cannot be read")
            .why("standard input is for the account's secret")
            .hint("give the node's key file")
            .into_err();
    }
    let secret = keyring::secret(ui, state, node, None)?;
    if secret.development && !genesis.development {
        return refuse_development("node key").into_err();
    }
    let log = log.map(|log| key(state, genesis, log, "log key"));
    let keys = NodeKeys {
        node: Key::new(&secret.keypair.public()),
        log: log.transpose()?,
    };
    let possession = Possession {
        genesis: context.ledger.genesis_hash,
        operator: context.account,
        keys,
    };
    Ok((keys, possession.sign(&secret.keypair, &mut OsRng)))
}
