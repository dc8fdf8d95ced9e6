//! Genesis documents, memberships, and both in a network file.

use adit_protocol::cbor::Document;
use adit_protocol::hash::Hash;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{
    CoordinatorMember, Membership, MinerMember, NetworkError, NetworkFile, WitnessMember,
};
use adit_protocol::signed::Signable;
use serde_json::{Value, json};

use super::{SIGNED_ERRORS, TOKEN, account, authority, key, sample_genesis};
use crate::fixtures::{coordinator, miner, rng};
use crate::vectors::documents::samples::h;
use crate::vectors::documents::{REASONS, invalid, kind, mistyped, replaced};
use crate::vectors::kind::{Bad, Kind, Refusal};

pub const NETWORK_ERRORS: &[&str] = &["other-network"];

impl From<NetworkError> for Refusal {
    fn from(error: NetworkError) -> Refusal {
        match error {
            NetworkError::Decode(error) => error.into(),
            NetworkError::Signed(error) => error.into(),
            NetworkError::OtherNetwork { expected, found } => Refusal {
                error: "other-network",
                detail: json!({ "expected": expected, "found": found }),
            },
        }
    }
}

pub fn genesis() -> Kind {
    let g = sample_genesis();
    let good = vec![
        ("plain", sample_genesis()),
        (
            "least",
            Genesis {
                name: "a".into(),
                created_ms: 0,
                epoch_ms: 1000,
                miner_stake_min: 1,
                coordinator_stake_min: 0,
                saturation: 1,
                development: false,
                ..sample_genesis()
            },
        ),
        (
            "largest-numbers",
            Genesis {
                name: "é".repeat(32),
                created_ms: u64::MAX,
                epoch_ms: u64::MAX,
                miner_stake_min: u128::MAX,
                coordinator_stake_min: 1 << 64,
                saturation: u32::MAX,
                ..sample_genesis()
            },
        ),
    ];
    let broken = |name, change: fn(&mut Genesis), field, why| {
        let mut document = sample_genesis();
        change(&mut document);
        invalid(name, &document, field, why)
    };
    let bad = vec![
        broken(
            "name-empty",
            |d| d.name.clear(),
            "name",
            "the network has no name",
        ),
        broken(
            "name-65-bytes",
            |d| d.name = "n".repeat(65),
            "name",
            "the name is one byte too long",
        ),
        broken(
            "name-with-control-character",
            |d| d.name = "a\u{1b}[2J".into(),
            "name",
            "an escape sequence could forge what a terminal shows",
        ),
        broken(
            "epoch-of-999-ms",
            |d| d.epoch_ms = 999,
            "epoch_ms",
            "an epoch is shorter than a second",
        ),
        broken(
            "no-stake",
            |d| d.miner_stake_min = 0,
            "miner_stake_min",
            "whoever has no stake could be as many miners as they like",
        ),
        broken(
            "no-saturation",
            |d| d.saturation = 0,
            "saturation",
            "no stake would count",
        ),
        mistyped(
            "authority-of-31-bytes",
            &g,
            &[2],
            &[&[0x58, 31][..], &[7; 31]].concat(),
            "a byte of the authority's key is missing",
        ),
        mistyped(
            "large-tag-where-64-bits-are-enough",
            &g,
            &[1],
            &[&[0xc2, 0x49][..], &[1; 9]].concat(),
            "a time is not an amount, and has 64 bits",
        ),
        mistyped(
            "saturation-of-33-bits",
            &g,
            &[6],
            &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0],
            "the saturation has 32 bits",
        ),
    ];
    let mut kind = kind(
        "genesis-documents",
        "Genesis documents: what a network is. The hash names it; its first four bytes are the network id. `beacons` are those of the epochs 0, 1 and 2^64 - 1, and `epoch` is the one at the time given.",
        good,
        bad,
    );
    // Inside the first epoch, before the beginning, and long after it.
    let times = [1_700_003_600_000, 999_999, u64::MAX];
    for (good, now_ms) in kind.good.iter_mut().zip(times) {
        good.given = json!({ "now_ms": now_ms });
        good.value = check_genesis(&good.bytes, &good.given).expect("a good document");
    }
    kind.check = check_genesis;
    kind
}

fn check_genesis(file: &[u8], given: &Value) -> Result<Value, Refusal> {
    let genesis = Genesis::from_cbor(file)?;
    assert_eq!(genesis.to_cbor(), file);
    let beacons: Vec<Hash> = [0, 1, u64::MAX].map(|epoch| genesis.beacon(epoch)).into();
    Ok(json!({
        "hash": genesis.hash(),
        "document": genesis,
        "network_id": crate::vectors::kind::hex(genesis.network_id()),
        "beacons": beacons,
        "epoch": genesis.epoch_at(number(&given["now_ms"])),
    }))
}

/// A number of an index, which may be a text.
pub fn number(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.parse().expect("a number"),
        other => other.as_u64().expect("a number"),
    }
}

/// Two coordinators, three miners, one of them jailed, and a witness.
pub fn membership() -> Membership {
    let coordinators = [coordinator(), miner(210)].map(|node| CoordinatorMember {
        node: key(&node),
        log: key(&miner(10)),
        account: account(1),
        stake: 200_000 * TOKEN,
        url: "https://coordinator.example:8443".into(),
        region: "eu-central".into(),
        introduction: "Coordinator of Example™".into(),
    });
    let stakes = [20_000, 60_000, 2_000_000];
    let miners = [1, 2, 3].map(|number| MinerMember {
        node: key(&miner(number)),
        account: account(number),
        stake: stakes[usize::from(number) - 1] * TOKEN,
        jailed: (number == 3).then(|| "its results were wrong".into()),
        introduction: String::new(),
    });
    let witness = WitnessMember {
        name: "witness.example/w1".into(),
        cosign: key(&miner(30)),
        url: "https://witness.example".into(),
    };
    let mut membership = Membership {
        genesis: sample_genesis().hash(),
        version: 3,
        engines: vec![h("engine"), h("another engine")],
        coordinators: coordinators.into(),
        miners: miners.into(),
        witnesses: vec![witness],
    };
    membership.engines.sort();
    membership.coordinators.sort_by_key(|member| member.node);
    membership.miners.sort_by_key(|member| member.node);
    membership
}

/// The least that a membership has.
fn nobody() -> Membership {
    Membership {
        version: 0,
        engines: vec![h("engine")],
        coordinators: vec![],
        miners: vec![],
        witnesses: vec![],
        ..membership()
    }
}

pub fn memberships() -> Kind {
    let m = membership();
    let good = vec![
        ("plain", membership()),
        ("nobody", nobody()),
        ("largest-numbers", {
            let mut large = membership();
            large.version = u64::MAX;
            large.miners[0].stake = u128::MAX;
            large.miners[1].stake = 1 << 64;
            large.miners[1].jailed = Some("j".repeat(512));
            large.coordinators[0].introduction = "é".repeat(256);
            large
        }),
    ];
    let broken = |name, change: fn(&mut Membership), field, why| {
        let mut document = membership();
        change(&mut document);
        invalid(name, &document, field, why)
    };
    let bad = vec![
        broken(
            "no-engine",
            |d| d.engines.clear(),
            "engines",
            "no result could count",
        ),
        broken(
            "engines-65",
            |d| {
                d.engines = (0..65).map(|n: u8| Hash::of(&[n])).collect();
                d.engines.sort();
            },
            "engines",
            "65 engines are one too many",
        ),
        broken(
            "engines-descending",
            |d| d.engines.reverse(),
            "engines",
            "the engines are in descending order",
        ),
        broken(
            "coordinator-twice",
            |d| d.coordinators[1] = d.coordinators[0].clone(),
            "coordinators",
            "one coordinator is there twice",
        ),
        broken(
            "miner-twice",
            |d| d.miners[1].node = d.miners[0].node,
            "miners",
            "one miner is there twice, with two stakes",
        ),
        broken(
            "miners-descending",
            |d| d.miners.reverse(),
            "miners",
            "the miners are in descending order",
        ),
        broken(
            "witness-twice",
            |d| d.witnesses.push(d.witnesses[0].clone()),
            "witnesses",
            "one witness is there twice",
        ),
        broken(
            "witness-without-name",
            |d| d.witnesses[0].name.clear(),
            "witnesses.name",
            "a witness has no name",
        ),
        broken(
            "no-url",
            |d| d.coordinators[0].url.clear(),
            "coordinators.url",
            "nobody could reach the coordinator",
        ),
        broken(
            "region-65-bytes",
            |d| d.coordinators[0].region = "r".repeat(65),
            "coordinators.region",
            "the region is one byte too long",
        ),
        broken(
            "log-key-is-node-key",
            |d| d.coordinators[0].log = d.coordinators[0].node,
            "coordinators.log",
            "the log key is used for something else too",
        ),
        broken(
            "jailed-for-nothing",
            |d| d.miners[0].jailed = Some(String::new()),
            "miners.jailed",
            "a miner is jailed, and the reason is empty",
        ),
        broken(
            "introduction-with-control-character",
            |d| d.miners[0].introduction = "\u{7}".into(),
            "miners.introduction",
            "a control character could forge what a terminal shows",
        ),
        mistyped(
            "stake-of-bytes",
            &m,
            &[4, 0, 2],
            &[0x40],
            "a stake is a byte string",
        ),
        mistyped(
            "witness-key-of-33-bytes",
            &m,
            &[5, 0, 1],
            &[&[0x58, 33][..], &[7; 33]].concat(),
            "the key of a witness has a byte too many",
        ),
    ];
    kind(
        "memberships",
        "Memberships: who takes part in a network, before the authority signs.",
        good,
        bad,
    )
}

fn file_of(genesis: &Genesis, membership: &Membership) -> NetworkFile {
    NetworkFile {
        genesis: genesis.clone(),
        membership: membership.sign(&authority(), &mut rng()),
    }
}

pub fn network_files() -> Kind {
    let plain = file_of(&sample_genesis(), &membership());
    let good = vec![
        ("plain", plain.clone()),
        ("nobody", file_of(&sample_genesis(), &nobody())),
    ];
    let refused = |name, file: &NetworkFile, why| {
        let error = file.verify().expect_err(name);
        Bad::new(name, file.to_cbor(), error, why)
    };
    let other = Genesis {
        name: "another".into(),
        ..sample_genesis()
    };
    let signed = |change: fn(&mut Membership)| {
        let mut membership = membership();
        change(&mut membership);
        file_of(&sample_genesis(), &membership)
    };
    let mut short = sample_genesis();
    short.epoch_ms = 1;
    let forged = NetworkFile {
        membership: membership().sign(&coordinator(), &mut rng()),
        ..plain.clone()
    };
    let of_authority = |authority| {
        let genesis = Genesis {
            authority,
            ..sample_genesis()
        };
        let mut membership = membership();
        membership.genesis = genesis.hash();
        file_of(&genesis, &membership)
    };
    let mut altered = membership();
    altered.miners[0].stake += 1;
    let bad = vec![
        refused(
            "membership-of-another-network",
            &file_of(&other, &membership()),
            "the genesis document is of one network and the membership of another",
        ),
        refused(
            "another-key-signed",
            &forged,
            "a coordinator signed in place of the authority",
        ),
        refused(
            "membership-without-engines",
            &signed(|d| d.engines.clear()),
            "the membership that was signed breaks a rule",
        ),
        refused(
            "authority-of-zeros",
            &of_authority([0; 32]),
            "the authority is the identity, under which anyone can sign",
        ),
        refused(
            "authority-not-a-point",
            &of_authority(crate::vectors::signatures::NEGATIVE),
            "the authority's key is odd, which Ristretto does not allow as the form of a point",
        ),
        Bad::new(
            "altered-membership",
            replaced(&plain, &[1, 0], &{
                let mut bytes = minicbor::Encoder::new(Vec::new());
                bytes.bytes(&altered.to_cbor()).expect("a vector");
                bytes.into_writer()
            }),
            forged.verify().expect_err("another key"),
            "a stake was changed after signing",
        ),
        invalid(
            "genesis-breaks-a-rule",
            &file_of(&short, &membership()),
            "epoch_ms",
            "the genesis document has epochs of a millisecond",
        ),
        mistyped(
            "membership-unsigned",
            &plain,
            &[1],
            &membership().to_cbor(),
            "the membership is there without a signature",
        ),
    ];
    let mut kind = kind(
        "network-files",
        "Network files: a genesis document, and the membership under the signature of its authority, with the context `adit-membership-v1`.",
        good,
        bad,
    );
    for good in &mut kind.good {
        good.value = check_file(&good.bytes, &Value::Null).expect("a good file");
    }
    kind.check = check_file;
    kind.errors = &[
        ("DecodeError", REASONS),
        ("SignedError", SIGNED_ERRORS),
        ("NetworkError", NETWORK_ERRORS),
    ];
    kind
}

fn check_file(bytes: &[u8], _: &Value) -> Result<Value, Refusal> {
    let file = NetworkFile::from_cbor(bytes)?;
    assert_eq!(file.to_cbor(), bytes);
    let membership = file.verify()?;
    let mut value = crate::vectors::documents::value(&file);
    value["membership"] = json!(membership.hash());
    Ok(value)
}
