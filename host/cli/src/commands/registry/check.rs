//! `adit registry replay` and `fsck`: the state from the log alone.

use adit_ledger::LedgerGenesis;
use adit_net::http::client::Client;
use adit_net::log::{LogReader, Trusted};
use adit_protocol::codes::Code;
use adit_registry::follow::{FollowError, Follower, trust};
use serde_json::json;

use super::{Rest, WitnessArgs, at_rest, documents};
use crate::commands::log::failure::of_read;
use crate::commands::log::place::{cosigned, witness_keys};
use crate::error::{Exit, Failure};
use crate::ledger::{Ledger, RegistryArgs};
use crate::remote::{block_on, shown};
use crate::state::State;
use crate::text::grouped;
use crate::ui::{ProgressLine, Ui};

/// `adit registry replay`.
pub fn replay(ui: &Ui, registry: &RegistryArgs, witnesses: &WitnessArgs) -> anyhow::Result<Exit> {
    let done = block_on(async {
        let ledger = registry.connect(ui).await?;
        let what = format!("the log of {} was not followed", shown(&ledger.url));
        let (document, reader, newest) = newest(&ledger, witnesses, &what).await?;
        let checkpoint = &newest.checkpoint;
        let mut follower = Follower::new(&ledger.genesis, &document)
            .map_err(|error| failure(&what, &error.into()))?;
        let followed = follower.walk(&reader, checkpoint).await;
        followed.map_err(|error| failure(&what, &error))?;
        if !ledger.pinned {
            ui.note(format!(
                "note: the network is the one that {} says itself; --network FILE compares with a file that you have from elsewhere",
                shown(&ledger.url)
            ));
        }
        report(ui, &follower, checkpoint.size, &names(&newest))
    })?;
    Ok(done.unwrap_or_else(|exit| exit))
}

/// The newest checkpoint of a registry's log that enough witnesses have cosigned, what reads the log,
/// and the ledger's genesis document, which names its key.
pub async fn newest(
    ledger: &Ledger,
    witnesses: &WitnessArgs,
    what: &str,
) -> anyhow::Result<(LedgerGenesis, LogReader<Client>, Trusted)> {
    let document = ledger.ledger_genesis().await?;
    let own = trust(&ledger.genesis, &document).map_err(|error| failure(what, &error))?;
    let trust = cosigned(
        own.log,
        witness_keys(&witnesses.witnesses)?,
        witnesses.quorum,
    )?;
    let reader = LogReader::new(ledger.log()?, trust);
    let newest = reader.checkpoint().await;
    let newest = newest.map_err(|error| of_read(what, &error))?;
    Ok((document, reader, newest))
}

/// The witnesses that have cosigned a checkpoint.
pub fn names(trusted: &Trusted) -> Vec<String> {
    let names = trusted.cosigned.iter().map(|(name, _)| name.to_string());
    names.collect()
}

/// `adit registry fsck`.
pub fn fsck(ui: &Ui, state: &State) -> anyhow::Result<Exit> {
    let Rest {
        documents: folder,
        data,
    } = at_rest(state)?;
    let (genesis, ledger) = documents(&folder)?;
    let mut line = ProgressLine::new(ui.shows_progress());
    let done = block_on(async {
        let mut progress = |done, all| line.show(done, all, "entries");
        let checked = adit_registry::fsck::fsck(&data, &genesis, &ledger, &mut progress).await;
        Ok(checked)
    })?;
    line.clear();
    let checked = match done {
        Ok(checked) => checked,
        Err(exit) => return Ok(exit),
    };
    let checked = checked.map_err(|error| {
        let what = match error.code() {
            Code::StateLocked => "was not checked",
            _ => "is not in order",
        };
        Failure::new(
            error.code(),
            format!("the state in {} {what}", data.display()),
        )
        .because(&error)
        .exit(exit(error.code()))
    })?;
    let size = checked
        .log
        .checkpoint
        .size
        .saturating_add(checked.log.waiting);
    report(ui, &checked.follower, size, &[])
}

fn report(ui: &Ui, follower: &Follower, entries: u64, cosigned: &[String]) -> anyhow::Result<Exit> {
    let head = follower.state().head();
    let supply = follower.state().supply();
    let expected = head.issued.minus(head.burned);
    if expected != Some(supply.total()) {
        return Failure::new(Code::Diverged, "the tokens do not add up")
            .why(format!(
                "there are {}, and {} were issued and {} burned",
                supply.total(),
                head.issued,
                head.burned
            ))
            .exit(Exit::Diverged)
            .into_err();
    }
    let root = follower.tree().map(adit_ledger::root::StateTree::root);
    if ui.json {
        ui.object(&json!({
            "network": head.genesis,
            "entries": entries,
            "cosigned": cosigned,
            "height": head.height,
            "epoch": head.epoch,
            "transactions": follower.transactions(),
            "roots": follower.epochs(),
            "root": root,
            "issued": head.issued,
            "burned": head.burned,
            "supply": supply,
            "ok": true,
        }))?;
        return Ok(Exit::Ok);
    }
    ui.line(format!("network       {}", head.genesis))?;
    ui.line(format!("entries       {}", grouped(entries)))?;
    if !cosigned.is_empty() {
        ui.line(format!("cosigned      by {}", cosigned.join(", ")))?;
    }
    ui.line(format!("blocks        {}", grouped(head.height)))?;
    ui.line(format!(
        "transactions  {}",
        grouped(follower.transactions())
    ))?;
    ui.line(format!("epoch         {}", head.epoch))?;
    ui.line(format!(
        "roots         {} compared",
        grouped(follower.epochs())
    ))?;
    if let Some(root) = root {
        ui.line(format!(
            "newest root   {} of {} entries",
            root.root,
            grouped(root.size)
        ))?;
    }
    ui.line(format!(
        "tokens        {} issued, {} burned",
        head.issued, head.burned
    ))?;
    ui.line("ok: every entry follows the rules, and every root is the one that it leads to")?;
    Ok(Exit::Ok)
}

/// Why a registry's log was not followed.
pub fn failure(what: &str, error: &FollowError) -> Failure {
    Failure::new(error.code(), what)
        .because(error)
        .exit(exit(error.code()))
}

/// How the program ends when a log does not hold.
pub fn exit(code: Code) -> Exit {
    match code {
        Code::BadSignature | Code::BadEncoding | Code::BadKey => Exit::Signature,
        Code::BadProof | Code::StateCorrupt => Exit::Proof,
        Code::Diverged => Exit::Diverged,
        _ => Exit::Unchecked,
    }
}
