//! Reports with evidence, and accusations: what is wrong with them is found here, before a fee or a
//! deposit is paid for it.

use std::path::{Path, PathBuf};

use adit_ledger::registration::Role;
use adit_ledger::slashing::contradiction::NoContradiction;
use adit_ledger::slashing::{Evidence, Misdeed};
use adit_ledger::{Action, Key};
use adit_protocol::Hash;
use adit_protocol::codes::Code;
use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::log::note;
use adit_protocol::log::origin::Origin;
use adit_protocol::network::genesis::network_id;
use adit_protocol::receipt::Receipt;
use anyhow::Context as _;

use crate::commands::receipt;
use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::ledger::submit::{Context, SignArgs};
use crate::ledger::wire::{Head, Node};
use crate::ledger::{Ledger, key};
use crate::state::State;
use crate::text::one_line;
use crate::ui::Ui;

/// Largest document that an accusation rests on, in bytes: its hash alone is handed in.
const DOCUMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why nothing was reported.
fn none(code: Code, exit: Exit) -> Failure {
    Failure::new(code, "nothing was reported").exit(exit)
}

fn contradiction(error: &NoContradiction) -> Failure {
    let (code, exit) = match error {
        NoContradiction::ReceiptSignature { .. } | NoContradiction::CheckpointSignature { .. } => {
            (Code::BadSignature, Exit::Signature)
        }
        NoContradiction::MoreLines { .. } => (Code::BadEncoding, Exit::Signature),
        _ => (Code::InvalidArgument, Exit::Fixable),
    };
    none(code, exit).because(error)
}

/// A node, by any of its keys.
///
/// # Errors
///
/// When none has that key.
pub async fn node(ledger: &Ledger, key: &Key) -> anyhow::Result<(Key, Node)> {
    let node: Node = ledger
        .get(&format!("/v1/nodes/{key}"))
        .await
        .with_context(|| format!("the node {key} is not known"))?;
    let address = node.address.parse();
    let address = address.context("the registry's answer cannot be read")?;
    Ok((address, node))
}

fn fits(misdeed: Misdeed, address: &Key, node: &Node) -> anyhow::Result<()> {
    let role = Role::ALL.into_iter().find(|role| role.name() == node.role);
    match role.is_some_and(|role| misdeed.fits(role)) {
        true => Ok(()),
        false => none(Code::InvalidArgument, Exit::Fixable)
            .why(format!(
                "{address} is a {}, and those cannot do {}",
                one_line(&node.role),
                misdeed.name()
            ))
            .hint("`adit node show` tells what a node is")
            .into_err(),
    }
}

/// `adit report equivocation`.
pub fn equivocation(
    ui: &Ui,
    state: &State,
    named: [&str; 2],
    sign: &SignArgs,
) -> anyhow::Result<Exit> {
    let [first, second] = named.map(|named| receipt::named(state, named));
    let (first, second) = (first?, second?);
    sign.run_with(ui, state, async |context| {
        let Context { ledger, .. } = context;
        let genesis = &ledger.genesis_hash;
        let evidence = Evidence::of_receipts(genesis, &first, &second);
        let evidence = evidence.map_err(|error| contradiction(&error))?;
        let (address, node) = node(ledger, &Key::from_bytes(first.body.miner)).await?;
        fits(Misdeed::Equivocation, &address, &node)?;
        Ok(Action::Report {
            node: address,
            evidence: Box::new(evidence),
        })
    })
}

fn checkpoint(path: &Path) -> anyhow::Result<SignedCheckpoint> {
    let bytes = read_file(path, note::MAX_LEN as u64, "the checkpoint")?;
    Ok(SignedCheckpoint::parse(&bytes).map_err(|error| {
        none(Code::BadEncoding, Exit::Signature)
            .because(error)
            .why(format!("{} is no signed checkpoint", path.display()))
            .or_hint("give a signed note, as `adit log checkpoint` prints it")
    })?)
}

/// `adit report fork`.
pub fn fork(ui: &Ui, state: &State, paths: [&PathBuf; 2], sign: &SignArgs) -> anyhow::Result<Exit> {
    let [first, second] = paths.map(|path| checkpoint(path));
    let (first, second) = (first?, second?);
    sign.run_with(ui, state, async |context| {
        let Context { ledger, .. } = context;
        let name = first.unverified().origin.to_string();
        let origin: Origin = name
            .parse()
            .map_err(|error| none(Code::InvalidArgument, Exit::Fixable).because(error))?;
        let named_by = origin.coordinator;
        let (address, node) = node(ledger, &Key::new(&named_by)).await?;
        fits(Misdeed::LogFork, &address, &node)?;
        let log = log_key(&node, &Key::new(&named_by)).ok_or_else(|| {
            none(Code::NotRegistered, Exit::Fixable)
                .why(format!("{address} does not answer for that key any more"))
                .hint("what stood behind it then can be gone after the unbonding time")
        })?;
        let log = log
            .public()
            .context("the coordinator's log key cannot be used")?;
        let genesis = &ledger.genesis_hash;
        let evidence = Evidence::of_checkpoints(genesis, &named_by, &log, &first, &second);
        let evidence = evidence.map_err(|error| contradiction(&error))?;
        Ok(Action::Report {
            node: address,
            evidence: Box::new(evidence),
        })
    })
}

/// The log key that goes or went with a node key.
fn log_key(node: &Node, key: &Key) -> Option<Key> {
    let former = node.former_keys.iter().map(|former| &former.keys);
    let mut all = former.chain([&node.keys]);
    let keys = all.find(|keys| keys.node.parse() == Ok(*key))?;
    keys.log.as_ref()?.parse().ok()
}

/// `adit report accuse`.
pub fn accuse(
    ui: &Ui,
    state: &State,
    named: &str,
    misdeed: &str,
    evidence: &str,
    sign: &SignArgs,
) -> anyhow::Result<Exit> {
    let misdeed = parse(misdeed)?;
    sign.run_with(ui, state, async |context| {
        let Context { ledger, .. } = context;
        let named = key(state, &ledger.genesis, named, "node key")?;
        let (address, node) = node(ledger, &named).await?;
        fits(misdeed, &address, &node)?;
        let evidence = rests_on(ui, state, context, misdeed, &address, evidence).await?;
        let head: Head = ledger
            .get("/v1/ledger")
            .await
            .context("the rules are not known")?;
        ui.note(format!(
            "a deposit of {} is put down, which is lost if the checkers acquit the node",
            head.parameters.slashing.deposit
        ));
        Ok(Action::Accuse {
            node: address,
            misdeed,
            evidence,
        })
    })
}

fn parse(text: &str) -> anyhow::Result<Misdeed> {
    let found = Misdeed::ALL.into_iter().find(|one| one.name() == text);
    match found {
        Some(Misdeed::Equivocation) => none(Code::InvalidArgument, Exit::Fixable)
            .why("two receipts prove it, without any verdict")
            .hint("hand them in: adit report equivocation RECEIPT RECEIPT")
            .into_err(),
        Some(Misdeed::LogFork) => none(Code::InvalidArgument, Exit::Fixable)
            .why("two checkpoints prove it, without any verdict")
            .hint("hand them in: adit report fork CHECKPOINT CHECKPOINT")
            .into_err(),
        Some(misdeed) => Ok(misdeed),
        None => none(Code::InvalidArgument, Exit::Fixable)
            .why(format!("`{}` is no misdeed", one_line(text)))
            .hint("write wrong-execution, missing-receipt, not-serving or judgement")
            .into_err(),
    }
}

/// The hash that an accusation rests on. A receipt that is at hand must be one that the node answers
/// for.
async fn rests_on(
    ui: &Ui,
    state: &State,
    context: &Context<'_>,
    misdeed: Misdeed,
    address: &Key,
    text: &str,
) -> anyhow::Result<Hash> {
    let path = Path::new(text);
    let hash: Option<Hash> = text.parse().ok().filter(|_| !path.exists());
    let signer: fn(&Receipt) -> ([u8; 32], bool) = match misdeed {
        Misdeed::WrongExecution => |one| (one.body.miner, one.verify_miner().is_ok()),
        Misdeed::MissingReceipt => |one| (one.body.coordinator, one.verify().is_ok()),
        _ => {
            if let Some(hash) = hash {
                return Ok(hash);
            }
            let bytes = read_file(path, DOCUMENT_BYTES_MAX, "the evidence")?;
            let hash = Hash::of(&bytes);
            ui.note(format!(
                "the evidence is {hash}: keep the file for the checkers"
            ));
            return Ok(hash);
        }
    };
    if let Some(hash) = hash {
        ui.note("note: the receipt is named by its id, and not looked at here");
        return Ok(hash);
    }
    let receipt = receipt::named(state, text)?;
    let (signer, signed) = signer(&receipt);
    if !signed {
        return none(Code::BadSignature, Exit::Signature)
            .why("a signature of the receipt does not fit")
            .hint("`adit receipt verify` says which")
            .into_err();
    }
    if receipt.body.network != network_id(&context.ledger.genesis_hash) {
        return none(Code::InvalidArgument, Exit::Fixable)
            .why("the receipt is of another network, or of a local run")
            .hint("name the registry of its network with --registry")
            .into_err();
    }
    let (of, _) = node(context.ledger, &Key::from_bytes(signer)).await?;
    match of == *address {
        true => Ok(receipt.id()),
        false => none(Code::InvalidArgument, Exit::Fixable)
            .why(format!("the receipt is one of {of}, and not of {address}"))
            .hint("check the node and the file")
            .into_err(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Report;

    #[test]
    fn what_proves_itself_is_not_an_accusation() {
        for misdeed in Misdeed::ALL {
            assert_eq!(parse(misdeed.name()).is_ok(), !misdeed.is_proven());
        }
        let why = Report::new(&parse("equivocation").unwrap_err()).why();
        assert!(why.contains("adit report equivocation"), "{why}");
        assert!(parse("").is_err() && parse("Judgement").is_err());
    }
}
