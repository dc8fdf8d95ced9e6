use adit_protocol::exec::World;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::*;
use crate::index::{Model, Publication};
use crate::registration::{NodeKeys, Possession, Profile, Registration, Role, Service};
use crate::rewards::{CHARGES_MAX, Charge, Settlement};
use crate::slashing::{Evidence, Misdeed};
use crate::tree::TreeRoot;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([3; 32])
}

fn alice() -> Keypair {
    Keypair::from_uri("//Alice").unwrap()
}

fn key(uri: &str) -> Key {
    Key::new(&Keypair::from_uri(uri).unwrap().public())
}

fn transaction(action: Action) -> Transaction {
    Transaction {
        genesis: Hash::of(b"a network"),
        account: key("//Alice"),
        number: 7,
        fee: "0.01".parse().unwrap(),
        expires_ms: 1_795_759_200_000,
        action,
    }
}

fn registration(role: Role) -> Action {
    let node = Keypair::from_uri("//Node").unwrap();
    let keys = NodeKeys {
        node: Key::new(&node.public()),
        log: (role != Role::Miner).then(|| key("//Log")),
    };
    let possession = Possession {
        genesis: Hash::of(b"a network"),
        operator: key("//Alice"),
        keys,
    };
    Action::Register {
        registration: Registration {
            role,
            keys,
            name: (role == Role::Checker).then(|| "witness.example".to_owned()),
            profile: Profile {
                commission_ppm: 125_000,
                url: (role != Role::Miner).then(|| "https://node.example:4430".to_owned()),
                region: Some("eu-central".to_owned()),
                introduction: Some("A node: in the cellar.".to_owned()),
                service: (role == Role::Miner).then(|| Service {
                    class: "gpu-24g-f10".to_owned(),
                    uptime_ppm: 995_000,
                    latency_ms: 250,
                }),
            },
            proof: possession.sign(&node, &mut rng()),
        },
        bond: Amount::tokens(20_000),
    }
}

fn publish() -> Action {
    let model = |name: &str| Model {
        name: name.to_owned(),
        manifest: Hash::of(name.as_bytes()),
    };
    Action::Publish(Publication {
        name: "acme/word-count".parse().unwrap(),
        version: "1.2.3-rc.1".parse().unwrap(),
        component: Hash::of(b"component"),
        world: World::Task,
        models: vec![model("bert"), model("whisper")],
        description: Some("Counts words.".to_owned()),
        source: Some("oci://ghcr.io/acme/word-count:1.2.3".to_owned()),
    })
}

fn actions() -> Vec<Action> {
    let (node, amount) = (key("//Node"), Amount::from_units(1_500_000_000_000));
    let Action::Register {
        registration: miner,
        ..
    } = registration(Role::Miner)
    else {
        unreachable!()
    };
    let keys = NodeKeys {
        node: key("//Other"),
        log: Some(key("//Log")),
    };
    vec![
        Action::Transfer {
            to: key("//Bob"),
            amount,
        },
        Action::Faucet { amount },
        Action::Stake { amount },
        Action::Unstake { amount, from: None },
        Action::Unstake {
            amount,
            from: Some(node),
        },
        Action::Vote { node, amount },
        Action::Unvote { node, amount },
        registration(Role::Miner),
        registration(Role::Coordinator),
        registration(Role::Checker),
        Action::Update {
            node,
            profile: miner.profile,
        },
        Action::RotateKey {
            node,
            keys,
            proof: [0xab; 64],
        },
        Action::Deregister { node },
        Action::Deposit { node, amount },
        Action::Withdraw { node, amount },
        closure(2),
        settlement(2, 2),
        Action::Claim {
            total: amount,
            index: 3,
            proof: vec![Hash::of(b"left"), Hash::of(b"right")],
        },
        Action::Propose {
            title: "Cheaper".to_owned(),
            settings: ["fee_min 0.001", "rewards.settlement none"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            spends: vec![crate::state::Spend {
                account: key("//Bob"),
                amount,
            }],
        },
        Action::Propose {
            title: "What do you think?".to_owned(),
            settings: Vec::new(),
            spends: Vec::new(),
        },
        Action::Report {
            node,
            evidence: Box::new(Evidence::Equivocation {
                first: [1; 456],
                second: [0xfe; 456],
            }),
        },
        Action::Report {
            node,
            evidence: Box::new(Evidence::LogFork {
                key: node,
                size: u64::MAX,
                first: (Hash::of(b"1"), [1; 64]),
                second: (Hash::of(b"2"), [2; 64]),
            }),
        },
        Action::Accuse {
            node,
            misdeed: Misdeed::WrongExecution,
            evidence: Hash::of(b"a receipt"),
        },
        verdict(2),
        Action::Verdict {
            report: Hash::of(b"a report"),
            fraction_ppm: None,
            attestations: Vec::new(),
        },
        Action::Appeal {
            report: Hash::of(b"a report"),
        },
        Action::Unjail { node },
        Action::Ballot {
            proposal: Hash::of(b"a proposal"),
            yes: true,
        },
        publish(),
        Action::Yank {
            name: "acme/word-count".parse().unwrap(),
            version: "1.2.3-rc.1".parse().unwrap(),
            yanked: true,
        },
        Action::TransferName {
            scope: "acme".parse().unwrap(),
            to: key("//Bob"),
        },
    ]
}

fn closure(cosigners: usize) -> Action {
    let cosigned = |number: usize| Cosigned {
        name: format!("{number:0255}"),
        time_s: u64::MAX,
        signature: [0xcd; 64],
    };
    Action::CloseEpoch(Box::new(Closure {
        coordinator: key("//Node"),
        epoch: u64::MAX,
        size: u64::MAX,
        root: Hash::of(b"log"),
        signature: [0xef; 64],
        cosignatures: (0..cosigners).map(cosigned).collect(),
    }))
}

/// With numbers as long as they can be.
/// So many keys, ascending.
fn keys(count: usize) -> impl Iterator<Item = Key> {
    let mut keys: Vec<_> = (0..count).map(|n| key(&format!("//{n}"))).collect();
    keys.sort();
    keys.into_iter()
}

fn attestations(count: usize) -> Vec<Attestation> {
    let one = |checker| Attestation {
        checker,
        signature: [0xab; 64],
    };
    keys(count).map(one).collect()
}

fn verdict(count: usize) -> Action {
    Action::Verdict {
        report: Hash::of(b"a report"),
        fraction_ppm: Some(333_333),
        attestations: attestations(count),
    }
}

fn settlement(charges: usize, attestations: usize) -> Action {
    let most = Amount::from_units(u128::MAX);
    let charge = |node| Charge {
        node,
        spent: most,
        burned: most,
    };
    Action::Settle {
        settlement: Box::new(Settlement {
            genesis: Hash::of(b"a network"),
            epoch: u64::MAX,
            input: Hash::of(b"input"),
            output: Hash::of(b"output"),
            minted: most,
            treasury: most,
            paid: most,
            earned: TreeRoot {
                size: u64::MAX,
                root: Hash::of(b"tree"),
            },
            charges: keys(charges).map(charge).collect(),
            replaces: Some(Hash::of(b"another")),
        }),
        attestations: self::attestations(attestations),
    }
}

#[test]
fn the_longest_transactions_have_room() {
    for action in [
        closure(settling::CHECKERS_MAX),
        settlement(CHARGES_MAX, settling::CHECKERS_MAX),
        verdict(settling::CHECKERS_MAX),
    ] {
        let transaction = transaction(action);
        let text = transaction.to_text();
        assert!(text.len() <= TEXT_MAX, "{}", text.len());
        assert_eq!(Transaction::from_text(&text), Ok(transaction));
    }
    for action in [
        closure(settling::CHECKERS_MAX + 1),
        settlement(0, settling::CHECKERS_MAX + 1),
        settlement(CHARGES_MAX + 1, 0),
        verdict(settling::CHECKERS_MAX + 1),
    ] {
        let refused = Transaction::from_text(&transaction(action).to_text());
        assert!(
            matches!(refused, Err(TextError::Value { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_person_can_read_it() {
    let text = transaction(registration(Role::Miner)).to_text();
    let proof = text.lines().last().unwrap();
    assert!(proof.starts_with("proof: 0x") && proof.len() == 7 + 2 + 128);
    assert_eq!(
        text.strip_suffix(proof).unwrap(),
        format!(
            "Adit transaction, version 1\n\
             genesis: {}\n\
             account: 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY\n\
             number: 7\n\
             fee: 0.01\n\
             expires: 2026-11-27T06:00:00Z\n\
             action: register\n\
             role: miner\n\
             node: {}\n\
             bond: 20000\n\
             commission: 12.5%\n\
             region: eu-central\n\
             introduction: A node: in the cellar.\n\
             service-class: gpu-24g-f10\n\
             service-uptime: 99.5%\n\
             service-latency: 250\n",
            Hash::of(b"a network"),
            key("//Node"),
        )
    );
}

#[test]
fn what_is_published_can_be_read_too() {
    let text = transaction(publish()).to_text();
    let hash = |of: &str| Hash::of(of.as_bytes());
    let (component, bert, whisper) = (hash("component"), hash("bert"), hash("whisper"));
    let said = format!(
        "action: publish\n\
         name: acme/word-count\n\
         version: 1.2.3-rc.1\n\
         component: {component}\n\
         world: adit:task/task\n\
         model: bert {bert}\n\
         model: whisper {whisper}\n\
         description: Counts words.\n\
         source: oci://ghcr.io/acme/word-count:1.2.3"
    );
    assert!(text.ends_with(&said), "{text}");
}

#[test]
fn each_action_is_read_as_it_was_written() {
    let names: std::collections::BTreeSet<_> = actions().iter().map(Action::name).collect();
    assert_eq!(names.len(), 25, "an action is missing here");
    for action in actions() {
        let transaction = transaction(action);
        let text = transaction.to_text();
        assert_eq!(
            Transaction::from_text(&text).as_ref(),
            Ok(&transaction),
            "{text}"
        );
        let signed = transaction.sign(&alice(), &mut rng());
        assert_eq!(
            SignedTransaction::from_bytes(&signed.to_bytes()).as_ref(),
            Ok(&signed)
        );
        assert_eq!(signed.id(), Hash::of(text.as_bytes()));
    }
}

#[test]
fn there_is_one_text() {
    let text = transaction(Action::Stake {
        amount: Amount::tokens(20_000),
    })
    .to_text();
    for (from, to) in [
        ("20000", "020000"),
        ("20000", "20000.0"),
        ("number: 7", "number: 07"),
        ("number: 7", "number: +7"),
        ("06:00:00Z", "06:00:00.000Z"),
        ("06:00:00Z", "06:00:00.0001Z"),
        ("fee: 0.01", "fee: 0.010"),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text);
        let refused = Transaction::from_text(&other);
        assert!(
            matches!(refused, Err(TextError::NotCanonical { .. })),
            "{to}: {refused:?}"
        );
    }
    for other in [
        format!("{text}\n"),
        format!("{text}\nmemo: hello"),
        text.replace('\n', "\r\n"),
        text.replace("fee: 0.01\n", ""),
        text.replace(": ", ":"),
        text.replace("version 1", "version 2"),
        text.replace("stake", "burn"),
        text.replacen("5Grw", "5grw", 1),
        String::new(),
        "a".repeat(TEXT_MAX + 1),
    ] {
        assert!(Transaction::from_text(&other).is_err(), "{other}");
    }
}

#[test]
fn both_signatures_are_checked() {
    let signed = transaction(registration(Role::Coordinator)).sign(&alice(), &mut rng());
    assert!(signed.clone().verify().is_ok());
    // What a wallet would sign without its wrapping, and under another context.
    let plain = alice().sign(b"substrate", signed.text().as_bytes(), &mut rng());
    let other = alice().sign(b"adit", &wrapped(signed.text()), &mut rng());
    let bob = Keypair::from_uri("//Bob").unwrap();
    let bob = bob.sign(b"substrate", &wrapped(signed.text()), &mut rng());
    for signature in [plain, other, bob, [0; 64]] {
        let forged = SignedTransaction::new(signed.text(), signature).unwrap();
        assert_eq!(forged.verify(), Err(SignatureError::Account));
    }
    let Action::Register {
        mut registration,
        bond,
    } = registration(Role::Coordinator)
    else {
        unreachable!()
    };
    // Somebody else's node key: its word was given for Alice.
    let stolen = Transaction {
        account: key("//Bob"),
        ..transaction(Action::Register {
            registration: registration.clone(),
            bond,
        })
    };
    let stolen = stolen.sign(&Keypair::from_uri("//Bob").unwrap(), &mut rng());
    assert_eq!(stolen.verify(), Err(SignatureError::Node));
    registration.keys.log = Some(key("//OtherLog"));
    let changed = transaction(Action::Register { registration, bond });
    let changed = changed.sign(&alice(), &mut rng());
    assert_eq!(changed.verify(), Err(SignatureError::Node));
}

#[test]
fn garbage_is_refused() {
    let good = transaction(registration(Role::Miner))
        .sign(&alice(), &mut rng())
        .to_bytes();
    for length in 0..good.len() {
        assert!(SignedTransaction::from_bytes(&good[..length]).is_err());
    }
    for at in 64..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x80;
        assert!(SignedTransaction::from_bytes(&bytes).is_err(), "{at}");
    }
    let long = vec![b'a'; SignedTransaction::BYTES_MAX + 1];
    assert!(matches!(
        SignedTransaction::from_bytes(&long),
        Err(TextError::TooLong { .. })
    ));
}
