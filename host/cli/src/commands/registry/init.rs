//! `adit registry init`.

use adit_ledger::genesis::Allocation;
use adit_ledger::rules::{GovernanceRules, RewardRules, SlashingRules};
use adit_ledger::{Key, LedgerGenesis, Parameters};
use adit_protocol::cbor::{Document, Invalid};
use adit_protocol::network::genesis::Genesis;
use adit_protocol::{Amount, Hash};
use adit_runtime::engine_document::engine_document;
use anyhow::Context as _;
use serde_json::json;

use super::{InitArgs, component, folder};
use crate::amounts::{self, now_ns};
use crate::error::{Exit, Failure};
use crate::keyring;
use crate::ledger::refuse_development;
use crate::state::{State, key_file, make_key, private_folder, write_file};
use crate::text::one_line;
use crate::ui::Ui;

/// What the faucet of a network for development gives an account, and all accounts, in an epoch.
const FAUCET: (u64, u64) = (5_000_000, 100_000_000);

/// `adit registry init ...`.
pub fn command(ui: &Ui, state: &State, args: &InitArgs) -> anyhow::Result<Exit> {
    let folder = folder(state)?;
    let path = folder.join("genesis");
    if path.exists() {
        return Failure::argument(format!(
            "there is a registry in {} already",
            folder.display()
        ))
        .why("its network would be lost")
        .hint("run it with `adit registry run`, or choose another folder with --state")
        .into_err();
    }
    let allocations = allocations(state, args)?;
    let settlement = match &args.settlement {
        Some(file) => Some(component::read(ui, file)?),
        None => None,
    };
    let keys = folder.join("keys");
    private_folder(&keys).with_context(|| format!("{} could not be made", keys.display()))?;
    for name in ["authority", "log"] {
        let path = keys.join(name);
        // What a first try that failed has left is used.
        if std::fs::symlink_metadata(&path).is_err() {
            make_key(&keys, &path)?;
        }
    }
    let authority = key_file(&keys.join("authority"))?.public();
    let log = key_file(&keys.join("log"))?.public();
    let (faucet_account, faucet_epoch) = match args.development {
        true => (Amount::tokens(FAUCET.0), Amount::tokens(FAUCET.1)),
        false => (Amount::ZERO, Amount::ZERO),
    };
    let units = Amount::from_units;
    let ledger = LedgerGenesis {
        log: Key::new(&log),
        parameters: Parameters {
            fee_min: units(args.fee_min),
            miner_stake_min: units(args.miner_stake_min),
            coordinator_stake_min: units(args.coordinator_stake_min),
            checker_stake_min: units(args.checker_stake_min),
            vote_min: Amount::tokens(1),
            unbonding_epochs: args.unbonding,
            faucet_account,
            faucet_epoch,
            engines: vec![engine_document().hash()],
            rewards: RewardRules {
                saturation: args.saturation,
                settlement: settlement.as_deref().map(Hash::of),
                ..RewardRules::default()
            },
            slashing: SlashingRules::default(),
            governance: GovernanceRules {
                // So that whoever does not agree can be gone before.
                timelock_epochs: args.unbonding.saturating_add(2),
                ..GovernanceRules::default()
            },
        },
        allocations,
    };
    ledger.check().map_err(|error| refused(&ledger, error))?;
    let genesis = Genesis {
        name: args.name.clone(),
        created_ms: now_ns() / 1_000_000,
        authority: authority.to_bytes(),
        epoch_ms: u64::try_from(args.epoch.as_millis()).unwrap_or(u64::MAX),
        miner_stake_min: args.miner_stake_min,
        coordinator_stake_min: args.coordinator_stake_min,
        saturation: args.saturation,
        development: args.development,
        ledger: Some(ledger.hash()),
    };
    genesis.check().map_err(|error| refused(&genesis, error))?;
    if let Some(wasm) = &settlement {
        let added = component::add(state, &folder, wasm, &ledger.parameters, genesis.hash())?;
        if let Err(interrupted) = added {
            return Ok(interrupted);
        }
    }
    write_file(&folder.join("ledger-genesis"), &ledger.to_cbor(), 0o644)?;
    // Last: it is what says that there is a registry.
    write_file(&path, &genesis.to_cbor(), 0o644)?;
    match ui.json {
        true => ui.object(&json!({
            "folder": folder,
            "network": genesis.hash(),
            "genesis": genesis,
            "ledger": ledger,
        }))?,
        false => {
            ui.line(format!("folder   {}", folder.display()))?;
            ui.line(format!("network  {}", genesis.hash()))?;
            ui.line(format!("supply   {}", ledger.supply()))?;
        }
    }
    ui.note("run it with `adit registry run`; its keys are in the folder, make a backup of them");
    Ok(Exit::Ok)
}

fn refused<D: Document>(_: &D, error: Invalid) -> Failure {
    Failure::argument(format!("the {} cannot be made", D::NAME))
        .why(format!("{}: {}", error.field, error.detail))
        .hint("choose another value")
}

fn allocations(state: &State, args: &InitArgs) -> anyhow::Result<Vec<Allocation>> {
    let mut all = Vec::new();
    for text in &args.allocations {
        let wrong = |why: String| {
            Failure::argument(format!("`{}` allocates nothing", one_line(text)))
                .why(why)
                .hint("write --allocate KEY=TOKENS")
        };
        let Some((key, tokens)) = text.rsplit_once('=') else {
            return wrong("there is no = in it".to_owned()).into_err();
        };
        let units = amounts::tokens(tokens).map_err(wrong)?;
        let (public, development) = keyring::public(state, key)?;
        if development && !args.development {
            return refuse_development("account").into_err();
        }
        all.push(Allocation {
            account: Key::new(&public),
            amount: Amount::from_units(units),
        });
    }
    all.sort_by_key(|one| one.account);
    Ok(all)
}
