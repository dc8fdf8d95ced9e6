//! Texts that close an epoch, settle it or claim, with one failure each.

use serde_json::{Value, json};

use super::bad_texts::{Bad, Change, made, signed};
use super::transactions::{CHECKERS, COORDINATORS, NAMES, claim, closure, settlement, transaction};
use adit_ledger::Action;
use adit_protocol::Hash;

#[rustfmt::skip]
const OF_CLOSURE: &[Change] = &[
    ("close-epoch-of-a-node", "coordinator: ", "node: ", "missing", "coordinator", "a coordinator is named in a line of that name"),
    ("close-epoch-without-size", "size: 70\n", "", "missing", "size", "the log's size is left out"),
    ("close-epoch-size-after-root", "size: 70\nroot: ", "root: ", "missing", "size", "the log's size comes before its root"),
    ("close-epoch-size-negative", "size: 70", "size: -70", "value", "size", "a number has a sign"),
    ("close-epoch-size-with-leading-zero", "size: 70", "size: 070", "not-canonical", "", "a number has a needless digit"),
    ("close-epoch-root-in-hexadecimal", "root: blake3:", "root: 0x", "value", "root", "a hash is written with another prefix"),
    ("close-epoch-signature-cut-off", "\nsignature: 0x51", "\nsignature: 0x", "value", "signature", "a signature has 63 bytes"),
    ("close-epoch-two-log-signatures", "\ncosignature: checker.example/one 1795000000 ", "\nsignature: ", "left", "", "the log signs once"),
    ("cosignature-without-time", "one 1795000000 ", "one ", "value", "cosignature", "a cosignature has no time"),
    ("cosignature-without-name", "checker.example/one 1795", "1795", "value", "cosignature", "a cosignature has no name"),
    ("cosignature-with-two-spaces", "one 1795", "one  1795", "value", "cosignature", "there is one space between two fields of a line"),
    ("cosignature-with-comma", "one 1795000000 ", "one, 1795000000, ", "value", "cosignature", "there is one space between two fields of a line, and nothing else"),
    ("cosignature-name-with-plus", "example/one", "example+one", "value", "cosignature", "a plus would end the name in a verifier key"),
    ("cosignature-time-with-plus", "one 1795", "one +1795", "not-canonical", "", "a time has a needless sign"),
    ("cosignature-time-with-leading-zero", "one 1795", "one 01795", "not-canonical", "", "a time has a needless digit"),
    ("cosignature-time-of-65-bits", "one 1795000000", "one 18446744073709551616", "value", "cosignature", "a time needs 65 bits"),
    ("cosignature-time-as-moment", "one 1795000000", "one 2026-11-18T11:06:40Z", "value", "cosignature", "a cosignature counts seconds"),
    ("cosignature-in-base64", "one 1795000000 0x", "one 1795000000 ", "value", "cosignature", "a signature is written without its prefix"),
    ("cosignatures-not-ascending", "example/one", "example/zzz", "value", "cosignature", "checkers come in the order of their names"),
    ("cosignature-twice", "example/two", "example/one", "value", "cosignature", "a checker cosigns once"),
    ("cosignature-of-another-action", "cosignature: checker.example/two", "attestation: checker.example/two", "left", "", "the action has no such field"),
];

#[rustfmt::skip]
const OF_SETTLEMENT: &[Change] = &[
    ("settle-replaces-no-hash", "\nreplaces: blake3:", "\nreplaces: none ", "value", "replaces", "what replaces nothing has no such line"),
    ("settle-without-epoch", "epoch: 12\n", "", "missing", "epoch", "the epoch is left out"),
    ("settle-without-output", "\noutput: ", "\nresult: ", "missing", "output", "the hash of the output is left out"),
    ("settle-treasury-with-comma", "treasury: 500", "treasury: 500,0", "value", "treasury", "an amount has a comma for its point"),
    ("settle-minted-with-zero-at-end", "minted: 504", "minted: 504.0", "not-canonical", "", "an amount has a needless digit"),
    ("settle-without-paid", "paid: 193.700000000001\n", "", "missing", "paid", "what was earned is left out"),
    ("settle-accounts-negative", "accounts: 3", "accounts: -3", "value", "accounts", "a number has a sign"),
    ("settle-earned-in-upper-case", "earned: blake3:", "earned: BLAKE3:", "value", "earned", "a hash is written in upper case"),
    ("charge-without-burned", " 100 5\n", " 100\n", "value", "charge", "a charge says what was spent and what was burned"),
    ("charge-with-more", " 100 5\n", " 100 5 0\n", "value", "charge", "a charge has three fields"),
    ("charge-with-unit", " 100 5\n", " 100 5ADIT\n", "value", "charge", "an amount has the name of a currency"),
    ("charge-with-zero-at-end", " 100 5\n", " 100 5.0\n", "not-canonical", "", "an amount has a needless digit"),
    ("charge-in-hexadecimal", "charge: 5", "charge: 0x5", "value", "charge", "a coordinator is named by its address"),
    ("charge-empty", "\ncharge: ", "\ncharge: \ncharge: ", "value", "charge", "a line says nothing"),
    ("attestation-cut-off", " 0xa7a7", " 0xa7", "value", "attestation", "a signature has 63 bytes"),
    ("attestation-without-checker", "attestation: 5", "attestation: ", "value", "attestation", "the address of a checker is cut off"),
    ("attestation-of-another-name", "\nattestation: ", "\ncosignature: ", "left", "", "the action has no such field"),
];

#[rustfmt::skip]
const OF_CLAIM: &[Change] = &[
    ("claim-of-an-amount", "total: ", "amount: ", "missing", "total", "a claim says what was earned in all"),
    ("claim-total-with-13-digits", "96.850000000001", "96.8500000000010", "value", "total", "an amount has a part of a unit"),
    ("claim-without-index", "index: 2\n", "", "missing", "index", "the place in the tree is left out"),
    ("claim-index-of-65-bits", "index: 2", "index: 18446744073709551616", "value", "index", "a number needs 65 bits"),
    ("claim-index-with-plus", "index: 2", "index: +2", "not-canonical", "", "a number has a needless sign"),
    ("claim-proof-before-index", "index: 2\n", "proof: blake3:0000000000000000000000000000000000000000000000000000000000000000\nindex: 2\n", "missing", "index", "the proof comes last"),
    ("claim-proof-empty", "\nproof: ", "\nproof: \nproof: ", "value", "proof", "a line says nothing"),
    ("claim-proof-without-prefix", "proof: blake3:", "proof: ", "value", "proof", "a hash is written without its prefix"),
    ("claim-two-hashes-in-a-line", "\nproof: blake3:", "\nproof: blake3:0000000000000000000000000000000000000000000000000000000000000000 blake3:", "value", "proof", "each hash has its line"),
    ("claim-of-another-account", "total: ", "of: 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY\ntotal: ", "missing", "total", "an account claims for itself"),
];

/// Texts that are not made by replacing something.
fn other_texts() -> Vec<Bad> {
    let bad = |name: &str, text: String, field: &str, why: &str| Bad {
        name: name.to_owned(),
        bytes: signed(text),
        of: "text",
        error: "value",
        detail: json!({ "name": field }),
        why: why.to_owned(),
    };
    let text = |action| transaction(action).to_text();
    // The lines of a name, in other ways than they should be.
    let lines = |action: Action, name: &str, change: fn(&mut Vec<String>)| {
        let text = text(action);
        let (of_name, other): (Vec<_>, Vec<_>) = text
            .lines()
            .map(str::to_owned)
            .partition(|line| line.starts_with(name));
        let at = text
            .lines()
            .position(|line| line.starts_with(name))
            .unwrap();
        let mut of_name = of_name;
        change(&mut of_name);
        let mut all = other;
        all.splice(at..at, of_name);
        all.join("\n")
    };
    let plain = || settlement(None, &COORDINATORS, &CHECKERS);
    // That no more than 64 checkers and 256 coordinators can stand in a text is tested beside the code:
    // such texts are large.
    let mut list = vec![bad(
        "claim-with-64-hashes",
        text(claim(64)),
        "proof",
        "no tree is higher than 63",
    )];
    for (name, field, why) in [
        (
            "charge",
            "charge: ",
            "coordinators come in the order of their keys",
        ),
        (
            "attestation",
            "attestation: ",
            "checkers come in the order of their keys",
        ),
    ] {
        let descending = lines(plain(), field, |lines| lines.reverse());
        list.push(bad(
            &format!("{name}s-not-ascending"),
            descending,
            name,
            why,
        ));
        let twice = lines(plain(), field, |lines| lines[1] = lines[0].clone());
        list.push(bad(
            &format!("{name}-twice"),
            twice,
            name,
            "each comes once",
        ));
    }
    let late = text(settlement(None, &COORDINATORS, &CHECKERS));
    let charge = late
        .lines()
        .find(|line| line.starts_with("charge: "))
        .unwrap();
    list.push(Bad {
        name: "charge-after-attestations".to_owned(),
        bytes: signed(format!("{late}\n{charge}")),
        of: "text",
        error: "left",
        detail: Value::Null,
        why: "charges come before signatures".to_owned(),
    });
    list
}

pub fn all() -> Vec<Bad> {
    let text = |action| transaction(action).to_text();
    let correction = settlement(Some(Hash::of(b"before")), &COORDINATORS, &CHECKERS);
    let mut list = made(OF_CLOSURE, &text(closure(&NAMES)));
    list.extend(made(OF_SETTLEMENT, &text(correction)));
    list.extend(made(OF_CLAIM, &text(claim(2))));
    list.extend(other_texts());
    list
}
