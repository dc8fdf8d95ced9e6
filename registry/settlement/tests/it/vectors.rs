//! Files in `conformance/vectors/registry/settlements` that other implementations are compared with:
//! inputs with the output, byte for byte, and inputs that must be refused. With `ADIT_BLESS` set in
//! the environment they are written anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use adit_settlement::settle;
use serde_json::{Value, json};

use super::epochs::{Epoch, Size, made_up, plain};
use super::hostile;

fn folder() -> PathBuf {
    // Asked when the test runs, since clones that share a target folder share this binary.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("tests are run by cargo");
    let root = Path::new(&here).ancestors().nth(2);
    root.expect("the crate is in registry/")
        .join("conformance/vectors/registry/settlements")
}

fn good() -> Vec<(&'static str, Epoch, &'static str)> {
    let size = |coordinators, miners, receipts| Size {
        coordinators,
        miners,
        receipts,
    };
    let mut wide = made_up(3, size(2, 5, 40));
    // Products of a stake or an amount with another need more than 128 bits: supply is 2^120 units.
    let parameters = &mut wide.snapshot.parameters;
    parameters.emission <<= 60;
    parameters.miner_stake_min <<= 50;
    parameters.coordinator_stake_min <<= 50;
    parameters.slice_of_fees_ppm = u64::MAX;
    parameters.cap_ppm = u64::MAX;
    for vote in &mut wide.snapshot.votes {
        vote.amount <<= 50;
    }
    for node in &mut wide.snapshot.coordinators {
        node.stake <<= 50;
        node.escrow <<= 50;
    }
    for node in &mut wide.snapshot.miners {
        node.stake <<= 50;
    }
    let mut even = plain(4, size(1, 3, 9));
    // Equal weights everywhere, so that units left over go by the order of nodes and voters.
    even.snapshot.parameters.emission = 1_000;
    even.snapshot.parameters.slice_of_fees_ppm = u64::MAX;
    even.snapshot.parameters.cap_ppm = u64::MAX;
    for (at, receipt) in even.receipts.iter_mut().enumerate() {
        (receipt.miner, receipt.price, receipt.fuel) = (at as u32 % 3, 100, u64::MAX);
    }
    for miner in &mut even.snapshot.miners {
        (miner.quality_ppm, miner.commission_ppm, miner.cut_ppm) = (1_000_000, 0, 0);
    }
    let nodes = 4;
    even.snapshot.votes = (0..nodes)
        .flat_map(|node| {
            [1, 2, 3].map(|voter| adit_settlement::input::Vote {
                node,
                voter: [voter; 32],
                amount: 7,
            })
        })
        .collect();
    even.snapshot.coordinators[0].stake = 21;
    for miner in &mut even.snapshot.miners {
        miner.stake = 21;
    }
    // One miner's work is as much as there can be, that of the others a tenth of the price; some prices
    // are so low that a unit is all of them that can be burned.
    let mut junk = plain(7, size(2, 3, 36));
    junk.snapshot.parameters.cap_ppm = 1_000_000;
    for (at, receipt) in junk.receipts.iter_mut().enumerate() {
        (receipt.status, receipt.nn_units) = ([0, 0, 0, 17][at % 4], 0);
        if at % 3 == 0 {
            (receipt.price, receipt.attempt_fee) = (1 + at as u128, at as u128);
        }
        receipt.fuel = match receipt.miner {
            0 => u64::MAX,
            _ => (receipt.price / 20) as u64,
        };
    }
    // Of what goes by stake some miners may not have their share, and others get more for it.
    let mut uneven = plain(8, size(1, 6, 60));
    let parameters = &mut uneven.snapshot.parameters;
    (parameters.emission, parameters.saturation) = (1_700_000_000_007, u32::MAX);
    let miners = (1..).zip(&mut uneven.snapshot.miners);
    for (number, miner) in miners.filter(|(number, _)| number % 2 == 0) {
        let votes = uneven.snapshot.votes.iter_mut();
        for vote in votes.filter(|vote| vote.node == number) {
            vote.amount *= 50;
        }
        miner.stake *= 50;
    }
    vec![
        (
            "nobody",
            made_up(0, size(0, 0, 0)),
            "no node at all: only the treasury's part is minted",
        ),
        ("idle", made_up(1, size(2, 3, 0)), "nodes, but no receipt"),
        (
            "small",
            made_up(2, size(2, 3, 12)),
            "two coordinators, three miners, twelve receipts",
        ),
        ("wide", wide, "amounts whose products need 256 bits"),
        (
            "even",
            even,
            "equal weights: units left over go by the order of nodes and voters",
        ),
        ("plain", plain(5, size(2, 4, 30)), "every receipt is paid"),
        (
            "junk",
            junk,
            "work that fees do not pay for, and prices of a few units",
        ),
        (
            "uneven",
            uneven,
            "stake that fees allow little, and stake that gets what is left",
        ),
        (
            "mixed",
            made_up(6, size(4, 12, 250)),
            "every status and every reason not to pay",
        ),
    ]
}

/// The files by their names.
fn files() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut index: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (name, epoch, about) in good() {
        let input = epoch.bytes();
        let mut output = Vec::new();
        settle(&input[..], &mut output).unwrap();
        index
            .entry("good")
            .or_default()
            .push(json!({"name": name, "about": about}));
        files.insert(format!("{name}.in"), input);
        files.insert(format!("{name}.out"), output);
    }
    for bad in hostile::bad() {
        let entry = json!({"name": bad.name, "error": bad.error, "why": bad.why});
        index.entry("bad").or_default().push(entry);
        files.insert(format!("bad-{}.in", bad.name), bad.bytes);
    }
    let text = serde_json::to_string_pretty(&index).unwrap() + "\n";
    files.insert("index.json".to_owned(), text.into_bytes());
    files
}

#[test]
fn the_files_are_what_is_computed() {
    let (folder, files) = (folder(), files());
    if std::env::var_os("ADIT_BLESS").is_some() {
        for (name, bytes) in &files {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }
    let there = fs::read_dir(&folder).unwrap();
    let mut there: Vec<String> = there
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    let expected: Vec<String> = files.keys().cloned().collect();
    assert_eq!(there, expected);
    for (name, bytes) in &files {
        let found = fs::read(folder.join(name)).unwrap();
        assert!(found == *bytes, "{name} is not what is computed");
    }
}
