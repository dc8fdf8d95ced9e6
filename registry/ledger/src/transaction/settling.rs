//! What closes an epoch, settles it, and takes what was earned.
//!
//! | action | lines |
//! |---|---|
//! | `close-epoch` | `coordinator`, `epoch`, `size`, `root`, `signature` (by the log key), `cosignature`: name, time in seconds, signature; each, ascending by name |
//! | `settle` | `epoch`, `replaces`? (hash of the settlement of that epoch that it corrects), `input`, `output`, `minted`, `treasury`, `paid`, `accounts`, `earned` (the tree's root), `charge`: coordinator, spent, burned; each, ascending; `attestation`: checker, signature; each, ascending |
//! | `claim` | `total`, `index`, `proof`: a hash; each |

use std::fmt::{self, Display};
use std::str::FromStr;

use adit_protocol::{Amount, Hash};

use super::lines::{Lines, Reader, parse};
use super::text_error::TextError;
use super::values::{CosignerName, Digits};
use crate::key::Key;
use crate::rewards::{CHARGES_MAX, Charge, Settlement};
use crate::tree::TreeRoot;

/// Most signatures of checkers in a transaction.
pub const CHECKERS_MAX: usize = 64;
/// Most hashes of a proof.
pub(super) const PROOF_MAX: usize = 63;

/// The end of an epoch in a coordinator's log: its checkpoint, in parts, with the cosignatures of
/// checkers that hold the data up to there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// The coordinator.
    pub coordinator: Key,
    /// The epoch.
    pub epoch: u64,
    /// Size of the log.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// The log's signature over the checkpoint.
    pub signature: [u8; 64],
    /// Cosignatures as a mirror, ascending by name, each name once.
    pub cosignatures: Vec<Cosigned>,
}

/// A checker's cosignature of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The checker's name.
    pub name: String,
    /// When, in seconds since 1970.
    pub time_s: u64,
    /// The signature.
    pub signature: [u8; 64],
}

/// A checker's signature of a document that a quorum signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// The checker.
    pub checker: Key,
    /// The signature of its node key.
    pub signature: [u8; 64],
}

impl Display for Cosigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.name,
            self.time_s,
            Digits(self.signature)
        )
    }
}

impl Display for Attestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.checker, Digits(self.signature))
    }
}

/// The fields of a line that has several, with a space between each two.
pub(super) fn fields<const N: usize>(text: &str, what: &str) -> Result<[String; N], String> {
    let fields: Vec<_> = text.split(' ').map(str::to_owned).collect();
    fields
        .try_into()
        .map_err(|_| format!("write {what}, with one space between"))
}

/// A field of such a line.
pub(super) fn field<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

impl FromStr for Cosigned {
    type Err = String;

    fn from_str(text: &str) -> Result<Cosigned, String> {
        let [name, time, signature] = fields(text, "name, seconds and signature")?;
        Ok(Cosigned {
            name: field::<CosignerName>(&name)?.0,
            time_s: field(&time)?,
            signature: field::<Digits>(&signature)?.0,
        })
    }
}

impl FromStr for Attestation {
    type Err = String;

    fn from_str(text: &str) -> Result<Attestation, String> {
        let [checker, signature] = fields(text, "checker and signature")?;
        Ok(Attestation {
            checker: field(&checker)?,
            signature: field::<Digits>(&signature)?.0,
        })
    }
}

struct ChargeLine(Charge);

impl Display for ChargeLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Charge {
            node,
            spent,
            burned,
        } = self.0;
        write!(f, "{node} {spent} {burned}")
    }
}

impl FromStr for ChargeLine {
    type Err = String;

    fn from_str(text: &str) -> Result<ChargeLine, String> {
        let [node, spent, burned] = fields(text, "coordinator, spent and burned")?;
        Ok(ChargeLine(Charge {
            node: field(&node)?,
            spent: field(&spent)?,
            burned: field(&burned)?,
        }))
    }
}

/// The lines of a name that come next, at most `max`.
pub(super) fn each<T: FromStr<Err: Display>>(
    reader: &mut Reader<'_>,
    name: &'static str,
    max: usize,
) -> Result<Vec<T>, TextError> {
    let mut all = Vec::new();
    while let Some(text) = reader.optional_text(name)? {
        if all.len() >= max {
            return Err(TextError::Value {
                name,
                why: format!("at most {max} are allowed"),
            });
        }
        all.push(parse(name, text)?);
    }
    Ok(all)
}

/// Refuses what does not ascend, and so each double.
pub(super) fn ascending<T, K: Ord>(
    name: &'static str,
    all: &[T],
    key: impl Fn(&T) -> K,
) -> Result<(), TextError> {
    match all.is_sorted_by(|a, b| key(a) < key(b)) {
        true => Ok(()),
        false => Err(TextError::Value {
            name,
            why: "these lines must ascend, each once".to_owned(),
        }),
    }
}

/// Checkers' signatures, ascending by checker.
pub(super) fn read_attestations(reader: &mut Reader<'_>) -> Result<Vec<Attestation>, TextError> {
    let all = each::<Attestation>(reader, "attestation", CHECKERS_MAX)?;
    ascending("attestation", &all, |one| one.checker)?;
    Ok(all)
}

pub(super) fn write_closure(lines: &mut Lines, closure: &Closure) {
    lines.field("coordinator", closure.coordinator);
    lines.field("epoch", closure.epoch);
    lines.field("size", closure.size);
    lines.field("root", closure.root);
    lines.field("signature", Digits(closure.signature));
    for one in &closure.cosignatures {
        lines.field("cosignature", one);
    }
}

pub(super) fn read_closure(reader: &mut Reader<'_>) -> Result<Closure, TextError> {
    let closure = Closure {
        coordinator: reader.field("coordinator")?,
        epoch: reader.field("epoch")?,
        size: reader.field("size")?,
        root: reader.field("root")?,
        signature: reader.field::<Digits>("signature")?.0,
        cosignatures: each(reader, "cosignature", CHECKERS_MAX)?,
    };
    ascending("cosignature", &closure.cosignatures, |one| one.name.clone())?;
    Ok(closure)
}

pub(super) fn write_settlement(
    lines: &mut Lines,
    settlement: &Settlement,
    attestations: &[Attestation],
) {
    lines.field("epoch", settlement.epoch);
    lines.optional("replaces", settlement.replaces);
    lines.field("input", settlement.input);
    lines.field("output", settlement.output);
    lines.field("minted", settlement.minted);
    lines.field("treasury", settlement.treasury);
    lines.field("paid", settlement.paid);
    lines.field("accounts", settlement.earned.size);
    lines.field("earned", settlement.earned.root);
    for charge in &settlement.charges {
        lines.field("charge", ChargeLine(*charge));
    }
    for one in attestations {
        lines.field("attestation", one);
    }
}

/// The settlement is of the network that the transaction names.
pub(super) fn read_settlement(
    reader: &mut Reader<'_>,
    genesis: Hash,
) -> Result<(Settlement, Vec<Attestation>), TextError> {
    let settlement = Settlement {
        genesis,
        epoch: reader.field("epoch")?,
        replaces: reader.optional("replaces")?,
        input: reader.field("input")?,
        output: reader.field("output")?,
        minted: reader.field("minted")?,
        treasury: reader.field("treasury")?,
        paid: reader.field("paid")?,
        earned: TreeRoot {
            size: reader.field("accounts")?,
            root: reader.field("earned")?,
        },
        charges: each::<ChargeLine>(reader, "charge", CHARGES_MAX)?
            .into_iter()
            .map(|line| line.0)
            .collect(),
    };
    ascending("charge", &settlement.charges, |charge| charge.node)?;
    Ok((settlement, read_attestations(reader)?))
}

pub(super) fn write_claim(lines: &mut Lines, total: Amount, index: u64, proof: &[Hash]) {
    lines.field("total", total);
    lines.field("index", index);
    for hash in proof {
        lines.field("proof", hash);
    }
}

pub(super) fn read_claim(reader: &mut Reader<'_>) -> Result<(Amount, u64, Vec<Hash>), TextError> {
    Ok((
        reader.field("total")?,
        reader.field("index")?,
        each(reader, "proof", PROOF_MAX)?,
    ))
}
