//! What a transaction does, and the lines that say so.
//!
//! | action | lines |
//! |---|---|
//! | `transfer` | `to`, `amount` |
//! | `faucet` | `amount` |
//! | `stake` | `amount` |
//! | `unstake` | `amount`, `from`? |
//! | `vote`, `unvote` | `node`, `amount` |
//! | `register` | `role`, `node`, `log-key`? (of coordinators; of checkers the cosigning key), `name`? (of checkers), `bond`, profile, `proof` |
//! | `update` | `node`, profile |
//! | `rotate-key` | `node`, `new-node-key`, `new-log-key`?, `proof` |
//! | `deregister` | `node` |
//! | `deposit`, `withdraw` | `node`, `amount` |
//! | `publish` | `name`, `version`, `component`, `world`, `model`* (`NAME HASH`, ascending by name), `description`?, `source`? |
//! | `yank` | `name`, `version`, `yanked` (`true`, or `false` to take it back) |
//! | `transfer-name` | `name` (a scope), `to` |
//!
//! The profile is `commission`, `url`?, `region`?, `introduction`?, and of miners
//! `service-class`?, with it `service-uptime` and `service-latency` (milliseconds).

use adit_protocol::{Amount, Hash};

use super::lines::{Lines, Percent, Reader};
use super::text_error::TextError;
use super::{publishing, values};
use crate::index::{ComponentName, Publication, Scope, Version};
use crate::key::Key;
use crate::registration::{NodeKeys, Possession, Profile, Registration, Role, Service};

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Moves free tokens to another account.
    Transfer {
        /// To whom.
        to: Key,
        /// How many.
        amount: Amount,
    },
    /// Takes new tokens, on networks for tests.
    Faucet {
        /// How many.
        amount: Amount,
    },
    /// Makes free tokens stake.
    Stake {
        /// How many.
        amount: Amount,
    },
    /// Makes stake free tokens, after the unbonding time.
    Unstake {
        /// How many.
        amount: Amount,
        /// The node whose votes are taken back; absent for stake that is no vote.
        from: Option<Key>,
    },
    /// Makes stake votes for a node.
    Vote {
        /// The node.
        node: Key,
        /// How many.
        amount: Amount,
    },
    /// Makes votes stake again, after the unbonding time.
    Unvote {
        /// The node.
        node: Key,
        /// How many.
        amount: Amount,
    },
    /// Lets a node take part.
    Register {
        /// The node.
        registration: Registration,
        /// The operator's own votes for it, from its stake.
        bond: Amount,
    },
    /// Changes what is said of a node.
    Update {
        /// The node.
        node: Key,
        /// All that is said from now on.
        profile: Profile,
    },
    /// Gives a node other keys from the next epoch on.
    RotateKey {
        /// The node.
        node: Key,
        /// Its keys then.
        keys: NodeKeys,
        /// The signature of the new node key, see [`Possession`].
        proof: [u8; 64],
    },
    /// Ends a node's part.
    Deregister {
        /// The node.
        node: Key,
    },
    /// Puts free tokens into a coordinator's escrow, of which its tasks are paid.
    Deposit {
        /// The coordinator.
        node: Key,
        /// How many.
        amount: Amount,
    },
    /// Takes tokens out of a coordinator's escrow, after the unbonding time.
    Withdraw {
        /// The coordinator.
        node: Key,
        /// How many.
        amount: Amount,
    },
    /// Publishes a version of a component, for ever.
    Publish(Publication),
    /// Marks a version as one that should not be used, or takes the mark back.
    Yank {
        /// The component.
        name: ComponentName,
        /// The version.
        version: Version,
        /// Whether it is marked from now on.
        yanked: bool,
    },
    /// Gives a scope, with all names in it, to another account.
    TransferName {
        /// The scope.
        scope: Scope,
        /// To whom.
        to: Key,
    },
}

impl Action {
    /// Its name in texts.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Transfer { .. } => "transfer",
            Action::Faucet { .. } => "faucet",
            Action::Stake { .. } => "stake",
            Action::Unstake { .. } => "unstake",
            Action::Vote { .. } => "vote",
            Action::Unvote { .. } => "unvote",
            Action::Register { .. } => "register",
            Action::Update { .. } => "update",
            Action::RotateKey { .. } => "rotate-key",
            Action::Deregister { .. } => "deregister",
            Action::Deposit { .. } => "deposit",
            Action::Withdraw { .. } => "withdraw",
            Action::Publish(_) => "publish",
            Action::Yank { .. } => "yank",
            Action::TransferName { .. } => "transfer-name",
        }
    }

    pub(super) fn write(&self, lines: &mut Lines) {
        lines.field("action", self.name());
        match self {
            Action::Transfer { to, amount } => {
                lines.field("to", to);
                lines.field("amount", amount);
            }
            Action::Faucet { amount } | Action::Stake { amount } => {
                lines.field("amount", amount);
            }
            Action::Unstake { amount, from } => {
                lines.field("amount", amount);
                lines.optional("from", from.as_ref());
            }
            Action::Vote { node, amount }
            | Action::Unvote { node, amount }
            | Action::Deposit { node, amount }
            | Action::Withdraw { node, amount } => {
                lines.field("node", node);
                lines.field("amount", amount);
            }
            Action::Register { registration, bond } => {
                write_registration(lines, registration, *bond)
            }
            Action::Update { node, profile } => {
                lines.field("node", node);
                write_profile(lines, profile);
            }
            Action::RotateKey { node, keys, proof } => {
                lines.field("node", node);
                lines.field("new-node-key", keys.node);
                lines.optional("new-log-key", keys.log.as_ref());
                lines.field("proof", values::Digits(*proof));
            }
            Action::Deregister { node } => lines.field("node", node),
            Action::Publish(publication) => publishing::write(lines, publication),
            Action::Yank {
                name,
                version,
                yanked,
            } => {
                lines.field("name", name);
                lines.field("version", version);
                lines.field("yanked", yanked);
            }
            Action::TransferName { scope, to } => {
                lines.field("name", scope);
                lines.field("to", to);
            }
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Action, TextError> {
        let name = reader.text("action")?;
        Ok(match name {
            "transfer" => Action::Transfer {
                to: reader.field("to")?,
                amount: reader.field("amount")?,
            },
            "faucet" => Action::Faucet {
                amount: reader.field("amount")?,
            },
            "stake" => Action::Stake {
                amount: reader.field("amount")?,
            },
            "unstake" => Action::Unstake {
                amount: reader.field("amount")?,
                from: reader.optional("from")?,
            },
            "vote" => Action::Vote {
                node: reader.field("node")?,
                amount: reader.field("amount")?,
            },
            "unvote" => Action::Unvote {
                node: reader.field("node")?,
                amount: reader.field("amount")?,
            },
            "register" => read_registration(reader)?,
            "update" => Action::Update {
                node: reader.field("node")?,
                profile: read_profile(reader)?,
            },
            "rotate-key" => Action::RotateKey {
                node: reader.field("node")?,
                keys: NodeKeys {
                    node: reader.field("new-node-key")?,
                    log: reader.optional("new-log-key")?,
                },
                proof: reader.field::<values::Digits>("proof")?.0,
            },
            "deregister" => Action::Deregister {
                node: reader.field("node")?,
            },
            "deposit" => Action::Deposit {
                node: reader.field("node")?,
                amount: reader.field("amount")?,
            },
            "withdraw" => Action::Withdraw {
                node: reader.field("node")?,
                amount: reader.field("amount")?,
            },
            "publish" => Action::Publish(publishing::read(reader)?),
            "yank" => Action::Yank {
                name: reader.field("name")?,
                version: reader.field("version")?,
                yanked: reader.field::<publishing::Choice>("yanked")?.0,
            },
            "transfer-name" => Action::TransferName {
                scope: reader.field("name")?,
                to: reader.field("to")?,
            },
            _ => {
                return Err(TextError::Value {
                    name: "action",
                    why: "there is no action of this name".to_owned(),
                });
            }
        })
    }

    /// The word of a node key that goes with the action, and the signature under it.
    pub fn possession(&self, genesis: Hash, operator: Key) -> Option<(Possession, [u8; 64])> {
        let (keys, proof) = match self {
            Action::Register { registration, .. } => (registration.keys, registration.proof),
            Action::RotateKey { keys, proof, .. } => (*keys, *proof),
            _ => return None,
        };
        let possession = Possession {
            genesis,
            operator,
            keys,
        };
        Some((possession, proof))
    }
}

fn write_registration(lines: &mut Lines, registration: &Registration, bond: Amount) {
    lines.field("role", registration.role.name());
    lines.field("node", registration.keys.node);
    lines.optional("log-key", registration.keys.log.as_ref());
    lines.optional("name", registration.name.as_ref());
    lines.field("bond", bond);
    write_profile(lines, &registration.profile);
    lines.field("proof", values::Digits(registration.proof));
}

fn read_registration(reader: &mut Reader<'_>) -> Result<Action, TextError> {
    let name = reader.text("role")?;
    let role = Role::ALL.into_iter().find(|role| role.name() == name);
    let role = role.ok_or_else(|| TextError::Value {
        name: "role",
        why: "write miner, coordinator or checker".to_owned(),
    })?;
    let keys = NodeKeys {
        node: reader.field("node")?,
        log: reader.optional("log-key")?,
    };
    let name = reader.optional::<values::CosignerName>("name")?;
    let bond = reader.field("bond")?;
    let profile = read_profile(reader)?;
    let registration = Registration {
        role,
        keys,
        name: name.map(|name| name.0),
        profile,
        proof: reader.field::<values::Digits>("proof")?.0,
    };
    Ok(Action::Register { registration, bond })
}

fn write_profile(lines: &mut Lines, profile: &Profile) {
    lines.field("commission", Percent(profile.commission_ppm));
    lines.optional("url", profile.url.as_ref());
    lines.optional("region", profile.region.as_ref());
    lines.optional("introduction", profile.introduction.as_ref());
    if let Some(service) = &profile.service {
        lines.field("service-class", &service.class);
        lines.field("service-uptime", Percent(service.uptime_ppm));
        lines.field("service-latency", service.latency_ms);
    }
}

fn read_profile(reader: &mut Reader<'_>) -> Result<Profile, TextError> {
    let commission: Percent = reader.field("commission")?;
    let url = reader.optional::<values::NodeUrl>("url")?;
    let region = reader.optional::<values::Word>("region")?;
    let introduction = reader.optional::<values::Sentence>("introduction")?;
    let service = match reader.optional::<values::Word>("service-class")? {
        None => None,
        Some(class) => Some(Service {
            class: class.0,
            uptime_ppm: reader.field::<Percent>("service-uptime")?.0,
            latency_ms: reader.field("service-latency")?,
        }),
    };
    Ok(Profile {
        commission_ppm: commission.0,
        url: url.map(|url| url.0),
        region: region.map(|region| region.0),
        introduction: introduction.map(|text| text.0),
        service,
    })
}
