//! `adit network show`.

use std::path::Path;

use adit_protocol::cbor::Document as _;
use adit_protocol::keys::{PublicKey, ss58};
use serde_json::json;

use super::read;
use crate::amounts::in_tokens;
use crate::error::Exit;
use crate::text::{date_ms, hex, one_line};
use crate::ui::Ui;

/// `adit network show FILE`. Ends with exit code 3 if the authority's signature does not hold.
pub fn command(ui: &Ui, path: &Path) -> anyhow::Result<Exit> {
    let (file, membership) = read(path)?;
    let verified = file.verify();
    let exit = match verified {
        Ok(_) => Exit::Ok,
        Err(_) => Exit::Signature,
    };
    let problem = verified.as_ref().err().map(ToString::to_string);
    let genesis = &file.genesis;
    if ui.json {
        ui.object(&json!({
            "network": genesis.hash(),
            "network_id": hex(&genesis.network_id()),
            "genesis": genesis,
            "membership": membership,
            "signed": problem.is_none(),
            "problem": problem,
        }))?;
        return Ok(exit);
    }
    ui.line(format!(
        "network     {} ({})",
        genesis.hash(),
        one_line(&genesis.name)
    ))?;
    ui.line(format!("created     {}", date_ms(genesis.created_ms)))?;
    ui.line(format!("authority   {}", hex(&genesis.authority)))?;
    ui.line(format!("epoch       {} s", genesis.epoch_ms / 1000))?;
    ui.line(format!(
        "least stake {} for a miner, {} for a coordinator",
        in_tokens(genesis.miner_stake_min),
        in_tokens(genesis.coordinator_stake_min)
    ))?;
    ui.line(format!(
        "development {}",
        if genesis.development {
            "yes: development keys are allowed"
        } else {
            "no"
        }
    ))?;
    ui.line(format!("version     {}", membership.version))?;
    ui.line(format!(
        "signature   {}",
        problem.as_deref().map_or("holds".to_owned(), one_line)
    ))?;
    for engine in &membership.engines {
        ui.line(format!("engine      {engine}"))?;
    }
    for member in &membership.coordinators {
        ui.line(format!(
            "coordinator {} {} stake {} {}",
            address(&member.node),
            one_line(&member.url),
            in_tokens(member.stake),
            one_line(&member.introduction)
        ))?;
    }
    for member in &membership.miners {
        let jailed = match &member.jailed {
            Some(why) => format!("JAILED ({}) ", one_line(why)),
            None => String::new(),
        };
        ui.line(format!(
            "miner       {} stake {} {jailed}{}",
            address(&member.node),
            in_tokens(member.stake),
            one_line(&member.introduction)
        ))?;
    }
    for member in &membership.witnesses {
        ui.line(format!(
            "witness     {} {}",
            one_line(&member.name),
            hex(&member.cosign)
        ))?;
    }
    Ok(exit)
}

/// The address of a key, or its digits where it is no key.
fn address(node: &[u8; 32]) -> String {
    match PublicKey::from_bytes(node) {
        Ok(key) => ss58::encode(&key, ss58::GENERIC_PREFIX),
        Err(_) => hex(node),
    }
}
