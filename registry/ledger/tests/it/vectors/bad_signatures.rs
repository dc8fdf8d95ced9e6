//! Transactions whose text is right, and a signature is not.

use adit_ledger::Action;
use adit_ledger::registration::{NodeKeys, Possession, Registration, Role};
use adit_protocol::{Amount, Document as _, Hash};
use serde_json::{Value, json};

use super::bad_texts::{Bad, signed, stake};
use super::transactions::{key, network, pair, proof, register, rng, transaction};
use super::values::unhex;

/// Texts that are right, with signatures that are not.
pub fn all() -> Vec<Bad> {
    let text = stake().to_text();
    let wrapped = format!("<Bytes>{text}</Bytes>");
    let sign = |uri: &str, context: &[u8], message: &str| {
        pair(uri).sign(context, message.as_bytes(), &mut rng())
    };
    let good = sign("//Alice", b"substrate", &wrapped);
    let mut unmarked = good;
    unmarked[63] &= 0x7f;
    let mut flipped = good;
    flipped[0] ^= 1;
    // The order of the group is added to the second half, which a lax reader reduces.
    let mut larger = good;
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let order = unhex(&json!(format!("0x{order}")));
    let mut carry = 0u16;
    for (byte, add) in larger[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    let other = text.replacen("20000", "20001", 1);
    let account = [
        (
            "signed-without-wrapping",
            sign("//Alice", b"substrate", &text),
            "the text was signed without `<Bytes>` around it",
        ),
        (
            "signed-wrapped-with-line-feed",
            sign("//Alice", b"substrate", &format!("<Bytes>{text}\n</Bytes>")),
            "the text was signed with a line feed at its end",
        ),
        (
            "signed-under-another-context",
            sign("//Alice", b"adit", &wrapped),
            "the text was signed under another context",
        ),
        (
            "signed-by-another-account",
            sign("//Bob", b"substrate", &wrapped),
            "another account signed",
        ),
        (
            "signed-another-amount",
            sign("//Alice", b"substrate", &format!("<Bytes>{other}</Bytes>")),
            "the account signed another text",
        ),
        (
            "signature-of-zeros",
            [0; 64],
            "the signature is nothing but zeros",
        ),
        (
            "signature-not-marked",
            unmarked,
            "the highest bit, which marks signatures of this kind, is not set",
        ),
        (
            "signature-with-flipped-bit",
            flipped,
            "a bit of the signature is another",
        ),
        (
            "signature-not-reduced",
            larger,
            "the second half is not below the order of the group",
        ),
    ];
    let mut list: Vec<Bad> = account
        .into_iter()
        .map(|(name, signature, why)| Bad {
            name: name.to_owned(),
            bytes: [&signature, text.as_bytes()].concat(),
            of: "signature",
            error: "account",
            detail: Value::Null,
            why: why.to_owned(),
        })
        .collect();
    list.extend(proofs());
    list
}

/// Registrations that the account signed, and the node key did not agree to.
fn proofs() -> Vec<Bad> {
    let good = register(Role::Coordinator);
    let word = |genesis: Hash, operator: &str, keys: NodeKeys| Possession {
        genesis,
        operator: key(operator),
        keys,
    };
    let node = pair("//Node");
    let network = network();
    let other_log = NodeKeys {
        log: Some(key("//Log//2")),
        ..good.keys
    };
    let own = word(network, "//Alice", good.keys);
    let cbor = own.to_cbor();
    let cases = [
        (
            "proof-for-another-operator",
            word(network, "//Bob", good.keys).sign(&node, &mut rng()),
            "the node key gave its word for another account",
        ),
        (
            "proof-for-another-network",
            word(Hash::of(b"another"), "//Alice", good.keys).sign(&node, &mut rng()),
            "the node key gave its word for another network",
        ),
        (
            "proof-for-another-log-key",
            word(network, "//Alice", other_log).sign(&node, &mut rng()),
            "the node key gave its word for another log key",
        ),
        (
            "proof-by-the-operator",
            own.sign(&pair("//Alice"), &mut rng()),
            "the account signed for the node key",
        ),
        (
            "proof-under-another-context",
            node.sign(b"substrate", &cbor, &mut rng()),
            "the node key signed under another context",
        ),
        ("proof-of-zeros", [0; 64], "the proof is nothing but zeros"),
    ];
    let bond = Amount::tokens(20_000);
    let mut actions: Vec<_> = cases
        .into_iter()
        .map(|(name, proof, why)| {
            let registration = Registration {
                proof,
                ..good.clone()
            };
            (name, Action::Register { registration, bond }, why)
        })
        .collect();
    let keys = NodeKeys {
        node: key("//Node//2"),
        log: None,
    };
    actions.push((
        "proof-of-the-old-node-key",
        Action::RotateKey {
            node: key("//Node"),
            keys,
            proof: proof(keys, "//Node"),
        },
        "the old node key gave its word, and the new one has to",
    ));
    actions
        .into_iter()
        .map(|(name, action, why)| Bad {
            name: name.to_owned(),
            bytes: signed(transaction(action).to_text()),
            of: "signature",
            error: "node",
            detail: Value::Null,
            why: why.to_owned(),
        })
        .collect()
}
