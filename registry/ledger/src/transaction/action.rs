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
//! | `close-epoch`, `settle`, `claim` | in [`super::settling`] |
//! | `propose` | `title`, `set`\*, `spend`\* |
//! | `report` | `node`, `misdeed`, and of `equivocation` `first`, `second`; of `log-fork` `key`, `size`, `first-root`, `first-signature`, `second-root`, `second-signature` |
//! | `accuse` | `node`, `misdeed` (`wrong-execution`, `missing-receipt`, `not-serving`, `judgement`), `evidence` |
//! | `verdict` | `report`, `verdict` (`guilty` or `not-guilty`), `fraction`? (if guilty), `attestation`: checker, signature; each, ascending |
//! | `appeal` | `report` |
//! | `late-receipt` | `coordinator`, `receipt`, `countersignature`, `assignment` (the document, encoded), `assignment-signature` |
//! | `answer` | `assignment` (its hash), `leaf`, `entry`\* (its bytes, 480 on each line but the last), `proof`: a hash; each |
//! | `unjail` | `node` |
//! | `ballot` | `proposal`, `choice` (`yes` or `no`) |
//! | `publish` | `name`, `version`, `component`, `world`, `model`* (`NAME HASH`, ascending by name), `description`?, `source`? |
//! | `yank` | `name`, `version`, `yanked` (`true`, or `false` to take it back) |
//! | `transfer-name` | `name` (a scope), `to` |
//!
//! The profile is `commission`, `url`?, `region`?, `introduction`?, and of miners
//! `service-class`?, with it `service-uptime` and `service-latency` (milliseconds).
//!
//! `*` marks lines of which there may be several, or none. `set` is a parameter and what it is to be
//! (see [`crate::setting`]), at most 32, ascending by their bytes and each parameter once; `spend` is
//! an account and an amount of the treasury, at most 8. What checkers sign of a report is a
//! [`Finding`](crate::slashing::Finding).
//! `first`, `second` and `receipt` are bytes [0, 456) of receipts: the body and its miner's signature.

use adit_protocol::{Amount, Hash};

use super::accusing;
use super::governing;
use super::late;
use super::lines::{Lines, Percent, Reader};
use super::settling::{self, Attestation, Closure};
use super::text_error::TextError;
use super::{publishing, values};
use crate::index::{ComponentName, Publication, Scope, Version};
use crate::key::Key;
use crate::late::LateReceipt;
use crate::registration::{NodeKeys, Possession, Profile, Registration, Role, Service};
use crate::rewards::Settlement;
use crate::setting::Setting;
use crate::slashing::{Evidence, Misdeed};
use crate::state::Spend;

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
    /// Fixes what of a coordinator's log belongs to an epoch.
    CloseEpoch(Box<Closure>),
    /// Settles an epoch.
    Settle {
        /// What was computed.
        settlement: Box<Settlement>,
        /// The checkers that say so, ascending.
        attestations: Vec<Attestation>,
    },
    /// Takes what the account earned and has not taken before.
    Claim {
        /// What it earned in all, in 10^-12 token.
        total: Amount,
        /// Its place among the accounts that earned anything.
        index: u64,
        /// The way from there to the root.
        proof: Vec<Hash>,
    },
    /// Proves a misdeed, which is punished at once.
    Report {
        /// The node.
        node: Key,
        /// What proves it.
        evidence: Box<Evidence>,
    },
    /// Says that a node did something on which checkers must find a verdict. The transaction's id
    /// names the report.
    Accuse {
        /// The node.
        node: Key,
        /// What it did.
        misdeed: Misdeed,
        /// What that rests on: the hash of a receipt or of a document that checkers have.
        evidence: Hash,
    },
    /// Brings what a quorum of checkers found.
    Verdict {
        /// The report.
        report: Hash,
        /// What the node loses, in parts per million; absent if it is not guilty.
        fraction_ppm: Option<u32>,
        /// The checkers that say so, ascending; they sign a [`Finding`](crate::slashing::Finding).
        attestations: Vec<Attestation>,
    },
    /// Asks for a second verdict, for the accused.
    Appeal {
        /// The report.
        report: Hash,
    },
    /// Claims that a countersigned receipt is missing in its coordinator's log.
    LateReceipt(Box<LateReceipt>),
    /// Shows that it is not, or that nothing was owed for it any more.
    Answer {
        /// Hash of the receipt's assignment.
        assignment: Hash,
        /// Index of an entry in the log.
        leaf: u64,
        /// The entry, see [`answers`](crate::late::answers).
        entry: Vec<u8>,
        /// The way from there to the log's root.
        proof: Vec<Hash>,
    },
    /// Lets a node take part again that was jailed.
    Unjail {
        /// The node.
        node: Key,
    },
    /// Asks those who have stake to change parameters, or to spend of the treasury; without either,
    /// what they think. The transaction's id names the proposal.
    Propose {
        /// What it is about, for people.
        title: String,
        /// The parameters that change.
        settings: Vec<Setting>,
        /// What is spent of the treasury.
        spends: Vec<Spend>,
    },
    /// Votes on a proposal.
    Ballot {
        /// The proposal.
        proposal: Hash,
        /// Whether for it.
        yes: bool,
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
            Action::CloseEpoch(_) => "close-epoch",
            Action::Settle { .. } => "settle",
            Action::Claim { .. } => "claim",
            Action::Report { .. } => "report",
            Action::Accuse { .. } => "accuse",
            Action::Verdict { .. } => "verdict",
            Action::Appeal { .. } => "appeal",
            Action::LateReceipt(_) => "late-receipt",
            Action::Answer { .. } => "answer",
            Action::Unjail { .. } => "unjail",
            Action::Propose { .. } => "propose",
            Action::Ballot { .. } => "ballot",
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
            Action::CloseEpoch(closure) => settling::write_closure(lines, closure),
            Action::Settle {
                settlement,
                attestations,
            } => settling::write_settlement(lines, settlement, attestations),
            Action::Claim {
                total,
                index,
                proof,
            } => settling::write_claim(lines, *total, *index, proof),
            Action::Deregister { node } | Action::Unjail { node } => lines.field("node", node),
            Action::Report { node, evidence } => accusing::write_report(lines, node, evidence),
            Action::Accuse {
                node,
                misdeed,
                evidence,
            } => accusing::write_accusation(lines, node, *misdeed, evidence),
            Action::Verdict {
                report,
                fraction_ppm,
                attestations,
            } => accusing::write_verdict(lines, report, *fraction_ppm, attestations),
            Action::Appeal { report } => lines.field("report", report),
            Action::LateReceipt(claim) => late::write_claim(lines, claim),
            Action::Answer {
                assignment,
                leaf,
                entry,
                proof,
            } => late::write_answer(lines, assignment, *leaf, entry, proof),
            Action::Propose {
                title,
                settings,
                spends,
            } => governing::write_proposal(lines, title, settings, spends),
            Action::Ballot { proposal, yes } => governing::write_ballot(lines, proposal, *yes),
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

    /// Reads the lines from `action` on, of a transaction of the network of this genesis hash.
    pub(super) fn read(reader: &mut Reader<'_>, genesis: Hash) -> Result<Action, TextError> {
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
            "close-epoch" => Action::CloseEpoch(Box::new(settling::read_closure(reader)?)),
            "settle" => {
                let (settlement, attestations) = settling::read_settlement(reader, genesis)?;
                Action::Settle {
                    settlement: Box::new(settlement),
                    attestations,
                }
            }
            "claim" => {
                let (total, index, proof) = settling::read_claim(reader)?;
                Action::Claim {
                    total,
                    index,
                    proof,
                }
            }
            "report" => accusing::read_report(reader)?,
            "accuse" => accusing::read_accusation(reader)?,
            "verdict" => accusing::read_verdict(reader)?,
            "appeal" => Action::Appeal {
                report: reader.field("report")?,
            },
            "late-receipt" => late::read_claim(reader)?,
            "answer" => late::read_answer(reader)?,
            "unjail" => Action::Unjail {
                node: reader.field("node")?,
            },
            "propose" => governing::read_proposal(reader)?,
            "ballot" => governing::read_ballot(reader)?,
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
