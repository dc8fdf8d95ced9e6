//! `adit network new`.

use adit_protocol::cbor::Document as _;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{Membership, NetworkFile};
use adit_protocol::signed::Signable as _;
use adit_runtime::engine_document::engine_document;
use rand_core::OsRng;
use serde_json::json;

use super::{Command, development, refused};
use crate::amounts::now_ns;
use crate::error::{Exit, Failure};
use crate::keyring;
use crate::state::{State, write_file};
use crate::ui::Ui;

/// `adit network new ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    let Command::New {
        file,
        name,
        development: for_development,
        epoch,
        miner_stake_min,
        coordinator_stake_min,
        saturation,
        engine,
        authority,
    } = command
    else {
        unreachable!("the dispatcher gives no other command");
    };
    if file.exists() {
        return Failure::argument(format!("{} exists already", file.display()))
            .why("a network that has nodes would be lost with its file")
            .hint("name another file, or move this one away")
            .into_err();
    }
    let secret = keyring::secret(ui, state, &authority.authority, Some(&authority.password))?;
    if secret.development && !for_development {
        return development("authority's key").into_err();
    }
    let genesis = Genesis {
        name: name.clone(),
        created_ms: now_ns() / 1_000_000,
        authority: secret.keypair.public().to_bytes(),
        epoch_ms: u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX),
        miner_stake_min: *miner_stake_min,
        coordinator_stake_min: *coordinator_stake_min,
        saturation: *saturation,
        development: *for_development,
        ledger: None,
    };
    genesis.check().map_err(refused)?;
    let mut engines = match engine.is_empty() {
        true => vec![engine_document().hash()],
        false => engine.clone(),
    };
    engines.sort_unstable();
    engines.dedup();
    let membership = Membership {
        genesis: genesis.hash(),
        version: 1,
        engines,
        coordinators: Vec::new(),
        miners: Vec::new(),
        witnesses: Vec::new(),
    };
    membership.check().map_err(refused)?;
    let network = NetworkFile {
        membership: membership.sign(&secret.keypair, &mut OsRng),
        genesis,
    };
    write_file(file, &network.to_cbor(), 0o644)?;
    if ui.json {
        ui.object(&json!({
            "file": file,
            "network": membership.genesis,
            "genesis": network.genesis,
            "engines": membership.engines,
        }))?;
    } else {
        ui.line(format!("network  {}", membership.genesis))?;
        ui.line(format!("file     {}", file.display()))?;
    }
    ui.note("add nodes with `adit network add-coordinator` and `adit network add-miner`");
    Ok(Exit::Ok)
}
