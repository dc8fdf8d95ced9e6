//! `adit registry replay` and `fsck`: the state from the log alone.

use adit_net::log::LogReader;
use adit_protocol::codes::Code;
use adit_registry::follow::{FollowError, Follower, trust};
use serde_json::json;

use super::{documents, folder};
use crate::error::{Exit, Failure};
use crate::ledger::RegistryArgs;
use crate::remote::{block_on, shown};
use crate::state::State;
use crate::text::grouped;
use crate::ui::{ProgressLine, Ui};

/// `adit registry replay`.
pub fn replay(ui: &Ui, registry: &RegistryArgs) -> anyhow::Result<Exit> {
    let done = block_on(async {
        let ledger = registry.connect(ui).await?;
        let document = ledger.ledger_genesis().await?;
        let what = format!("the log of {} was not followed", shown(&ledger.url));
        let trust = trust(&ledger.genesis, &document).map_err(|e| failure(&what, &e))?;
        let reader = LogReader::new(ledger.log()?, trust);
        let checkpoint = reader.checkpoint().await;
        let checkpoint = checkpoint
            .map_err(|e| failure(&what, &e.into()))?
            .checkpoint;
        let mut follower = Follower::new(&ledger.genesis, &document)
            .map_err(|error| failure(&what, &error.into()))?;
        let followed = follower.walk(&reader, &checkpoint).await;
        followed.map_err(|error| failure(&what, &error))?;
        if !ledger.pinned {
            ui.note(format!(
                "note: the network is the one that {} says itself; --network FILE compares with a file that you have from elsewhere",
                shown(&ledger.url)
            ));
        }
        report(ui, &follower, checkpoint.size)
    })?;
    Ok(done.unwrap_or_else(|exit| exit))
}

/// `adit registry fsck`.
pub fn fsck(ui: &Ui, state: &State) -> anyhow::Result<Exit> {
    let folder = folder(state)?;
    let (genesis, ledger) = documents(&folder)?;
    let data = folder.join("data");
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
    report(ui, &checked.follower, size)
}

fn report(ui: &Ui, follower: &Follower, entries: u64) -> anyhow::Result<Exit> {
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
