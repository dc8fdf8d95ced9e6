//! Proposals and votes on them: as JSON, as transactions, as texts that are none.

use adit_ledger::Action;
use adit_ledger::state::{Proposal, Spend};
use adit_protocol::{Amount, Hash};
use serde_json::{Value, json};

use super::bad_texts::Change;
use super::transactions::key;
use super::values::{self, hex};

/// The lists of a state's JSON that belong here.
pub const LISTS: [&str; 3] = ["stakes", "proposals", "ballots"];

pub fn fields(action: &Action) -> Option<Value> {
    Some(match action {
        Action::Propose {
            title,
            settings,
            spends,
        } => json!({ "title": title, "set": settings, "spend": spends_json(spends) }),
        Action::Ballot { proposal, yes } => {
            json!({ "proposal": proposal, "choice": if *yes { "yes" } else { "no" } })
        }
        _ => return None,
    })
}

fn spends_json(spends: &[Spend]) -> Vec<Value> {
    let one =
        |spend: &Spend| json!({ "account": values::key(&spend.account), "amount": spend.amount });
    spends.iter().map(one).collect()
}

/// An entry of a state: in which list, and as what.
pub fn entry(tag: u8, key: &[u8], value: &[u8]) -> Option<(&'static str, Value)> {
    let first = hex(&key[..key.len().min(32)]);
    let id = || format!("blake3:{}", &first[2..]);
    Some(match tag {
        10 => {
            let epoch = u64::from_be_bytes(key[32..].try_into().unwrap());
            let amount: Amount = minicbor::decode(value).unwrap();
            let stake = json!({ "account": first, "epoch": epoch, "amount": amount });
            ("stakes", stake)
        }
        11 => {
            let of: Proposal = minicbor::decode(value).unwrap();
            let proposal = json!({
                "id": id(),
                "proposer": values::key(&of.proposer),
                "epoch": of.epoch,
                "title": of.title,
                "settings": of.settings,
                "spends": spends_json(&of.spends),
                "deposit": of.deposit,
                "staked": of.staked,
                "yes": of.yes,
                "no": of.no,
                "until_epoch": of.until_epoch,
                "effect_epoch": of.effect_epoch,
            });
            ("proposals", proposal)
        }
        12 => {
            let yes: bool = minicbor::decode(value).unwrap();
            let ballot = json!({ "proposal": id(), "account": hex(&key[32..]), "yes": yes });
            ("ballots", ballot)
        }
        _ => return None,
    })
}

pub fn proposal() -> Action {
    let settings = [
        "engine-add blake3:b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0",
        "fee_min 0.002",
        "rewards.saturation 40",
    ];
    Action::Propose {
        title: "Cheaper: and one engine more".to_owned(),
        settings: settings.map(|text| text.parse().unwrap()).to_vec(),
        spends: ["//Bob", "//Alice"]
            .map(|uri| Spend {
                account: key(uri),
                amount: Amount::tokens(12),
            })
            .to_vec(),
    }
}

pub fn good() -> Vec<(&'static str, Action)> {
    let proposal_id = Hash::of(b"a proposal");
    let hash = Hash::of(b"settlement");
    let engine = |name: &str, seed: &[u8]| format!("{name} {}", Hash::of(seed));
    let mut everything: Vec<String> = [
        "checker_stake_min 1",
        "coordinator_stake_min 1.5",
        "faucet_account 0",
        "faucet_epoch 0",
        "fee_min 0.000000000001",
        "governance.deposit 5",
        "governance.quorum_ppm 1",
        "governance.threshold_ppm 4294967295",
        "governance.timelock_epochs 18446744073709551615",
        "governance.voting_epochs 0",
        "miner_stake_min 340282366920938463463374607.431768211455",
        "rewards.cap_ppm 7",
        "rewards.challenge_epochs 7",
        "rewards.emission 7",
        "rewards.fee_ppm 7",
        "rewards.fuel_weight 7",
        "rewards.nn_weight 7",
        "rewards.quality_min_ppm 7",
        "rewards.quorum_ppm 7",
        "rewards.saturation 7",
        "rewards.shares.checkers 7",
        "rewards.shares.miners 7",
        "rewards.shares.treasury 7",
        "rewards.shares.voters 7",
        "rewards.slice_of_fees_ppm 7",
        "rewards.work_of_price_ppm 7",
        "rewards.work_share_ppm 7",
        "slashing.appeal_epochs 7",
        "slashing.deposit 7",
        "slashing.fraction_ppm 7",
        "unbonding_epochs 7",
        "vote_min 7",
    ]
    .map(str::to_owned)
    .to_vec();
    everything.sort();
    let mut rest = vec![
        engine("engine-add", b"1"),
        engine("engine-add", b"2"),
        engine("engine-remove", b"3"),
        "rewards.attempt_fee_max_ppm 7".to_owned(),
        format!("rewards.settlement {hash}"),
        "slashing.reporter_ppm 7".to_owned(),
    ];
    rest.sort();
    let of = |settings: Vec<String>| Action::Propose {
        title: "As many as there can be".to_owned(),
        settings: settings.iter().map(|text| text.parse().unwrap()).collect(),
        spends: Vec::new(),
    };
    let spend = Spend {
        account: key("//Bob"),
        amount: Amount::from_units(1),
    };
    vec![
        ("propose", proposal()),
        ("propose-32-settings", of(everything)),
        ("propose-the-other-settings", of(rest)),
        (
            "propose-no-settlement",
            of(vec!["rewards.settlement none".to_owned()]),
        ),
        (
            "propose-8-spends",
            Action::Propose {
                title: "Eight times the same".to_owned(),
                settings: Vec::new(),
                spends: vec![spend; 8],
            },
        ),
        (
            "propose-nothing",
            Action::Propose {
                title: "Is it good as it is?".to_owned(),
                settings: Vec::new(),
                spends: Vec::new(),
            },
        ),
        (
            "ballot-yes",
            Action::Ballot {
                proposal: proposal_id,
                yes: true,
            },
        ),
        (
            "ballot-no",
            Action::Ballot {
                proposal: proposal_id,
                yes: false,
            },
        ),
    ]
}

#[rustfmt::skip]
pub const OF_PROPOSAL: &[Change] = &[
    ("propose-without-title", "title: Cheaper: and one engine more\n", "", "missing", "title", "a proposal has a title"),
    ("propose-title-ends-with-space", "engine more", "engine more ", "value", "title", "a space at the end is not seen"),
    ("propose-unknown-parameter", "set: fee_min", "set: fee_max", "value", "set", "there is no parameter of this name"),
    ("propose-all-engines", "engine-add", "engines", "value", "set", "engines come and go one by one"),
    ("propose-no-value", "fee_min 0.002", "fee_min", "value", "set", "it is not said what the parameter is to be"),
    ("propose-two-spaces", "fee_min 0.002", "fee_min  0.002", "value", "set", "a value begins with a space"),
    ("propose-value-of-another-type", "saturation 40", "saturation 4.5", "value", "set", "the parameter is a whole number"),
    ("propose-value-of-33-bits", "saturation 40", "saturation 4294967296", "value", "set", "the parameter has 32 bits"),
    ("propose-value-with-leading-zero", "saturation 40", "saturation 040", "not-canonical", "", "a number has a needless digit"),
    ("propose-value-with-zero-at-end", "0.002", "0.0020", "not-canonical", "", "an amount has a needless digit"),
    ("propose-engine-none", "engine-add blake3:b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0", "engine-add none", "value", "set", "an engine has an id"),
    ("propose-set-twice", "set: fee_min 0.002\n", "set: fee_min 0.002\nset: fee_min 0.003\n", "value", "set", "a parameter is set twice"),
    ("propose-out-of-order", "set: fee_min 0.002\nset: rewards.saturation 40", "set: rewards.saturation 40\nset: fee_min 0.002", "value", "set", "settings are in order"),
    ("propose-engine-twice", "set: fee_min 0.002", "set: engine-add blake3:b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0", "value", "set", "an engine is added twice"),
    ("propose-spend-without-amount", " 12\nspend", "\nspend", "value", "spend", "a spend has an address and an amount"),
    ("propose-spend-before-set", "set: rewards.saturation 40\nspend: 5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty 12", "spend: 5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty 12\nset: rewards.saturation 40", "left", "", "what is set comes before what is spent"),
    ("propose-choice", "action: propose\ntitle: Cheaper: and one engine more\n", "action: ballot\nproposal: blake3:b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0\nchoice: maybe\n", "value", "choice", "a choice is yes or no"),
];

/// Texts with more lines than there can be: of what, and which line, so many times.
pub fn too_many() -> [(&'static str, &'static str, Action); 2] {
    let spend = Spend {
        account: key("//Bob"),
        amount: Amount::from_units(1),
    };
    let mut engines: Vec<_> = (0u8..33)
        .map(|seed| format!("engine-add {}", Hash::of(&[seed])))
        .collect();
    engines.sort();
    let settings = engines.iter().map(|text| text.parse().unwrap()).collect();
    let of = |settings, spends| Action::Propose {
        title: "Too much".to_owned(),
        settings,
        spends,
    };
    [
        ("propose-33-settings", "set", of(settings, Vec::new())),
        ("propose-9-spends", "spend", of(Vec::new(), vec![spend; 9])),
    ]
}
