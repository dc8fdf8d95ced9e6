//! Assignments, acceptances and the coordinator's word for how long a miner is active, each as it is
//! signed.

use adit_protocol::Amount;
use adit_protocol::cbor::{Document, Reason};
use adit_protocol::network::assignment::{Acceptance, ActiveUntil, Assignment, Terms};
use adit_protocol::signed::{Signable, SignedError};

use super::{Signing, assembled, check_signed, key, sample_genesis, signed};
use crate::fixtures::{coordinator, miner, rng};
use crate::vectors::documents::samples::h;
use crate::vectors::kind::{Bad, Kind};

pub fn assignment() -> Assignment {
    Assignment {
        genesis: sample_genesis().hash(),
        coordinator: key(&coordinator()),
        miner: key(&miner(1)),
        task: h("task"),
        attempt: 1,
        replica: 2,
        roster: 70_000,
        epoch: 5,
        local: true,
        issued_ms: 1_700_000_000_000,
        deadline_ms: 1_700_000_060_000,
        escrow: 3_000_000_000_000,
        terms: None,
    }
}

pub fn acceptance() -> Acceptance {
    Acceptance {
        assignment: assignment().hash(),
        miner: key(&miner(1)),
        at_ms: 1_700_000_000_100,
    }
}

pub fn active_until() -> ActiveUntil {
    ActiveUntil {
        genesis: sample_genesis().hash(),
        coordinator: key(&coordinator()),
        miner: key(&miner(1)),
        at_ms: 1_700_000_000_000,
        until_ms: 1_700_000_030_000,
    }
}

pub fn assignments() -> Kind {
    let least = Assignment {
        attempt: 0,
        replica: 0,
        roster: 0,
        epoch: 0,
        local: false,
        issued_ms: 0,
        deadline_ms: 1,
        escrow: 0,
        ..assignment()
    };
    let most = Assignment {
        attempt: u32::MAX,
        replica: u32::MAX,
        roster: u64::MAX,
        epoch: u64::MAX,
        issued_ms: u64::MAX - 1,
        deadline_ms: u64::MAX,
        escrow: u128::MAX,
        ..assignment()
    };
    let ended = Assignment {
        deadline_ms: assignment().issued_ms,
        ..assignment()
    };
    let broken = ended.sign(&coordinator(), &mut rng());
    let error = broken.verify(|a| a.coordinator).expect_err("a broken rule");
    let signing = Signing {
        name: "assignments",
        about: "Assignments under the signature of their coordinator, with the context `adit-assignment-v1`. The hash is that of the document without the signature.",
        signer: |a: &Assignment| a.coordinator,
        at: 1,
    };
    let bad = vec![
        Bad::new(
            "ends-before-it-begins",
            broken.to_cbor(),
            error,
            "the lease ends when it begins",
        ),
        Bad::new(
            "body-over-bound",
            [0xa2, 0, 0x59, 2, 1],
            Reason::OverBound {
                offset: 2,
                what: "byte string",
                found: 513,
                max: 512,
            },
            "it claims a body of 513 bytes",
        ),
        Bad::new(
            "body-of-another-kind",
            {
                let body = acceptance().to_cbor();
                let signature = coordinator().sign(Assignment::CONTEXT, &body, &mut rng());
                assembled(&body, &signature)
            },
            SignedError::Body(Assignment::from_cbor(&acceptance().to_cbor()).unwrap_err()),
            "an acceptance was signed as an assignment",
        ),
    ];
    let paid = Assignment {
        terms: Some(Terms {
            price: Amount::tokens(3),
            attempt_fee: Amount::from_units(u128::MAX),
            replicas: 3,
        }),
        ..assignment()
    };
    let good = vec![
        ("plain", assignment()),
        ("paid", paid),
        ("least", least),
        ("most", most),
    ];
    signed(&signing, &coordinator(), good, bad, |file, _| {
        check_signed(file, |a: &Assignment| a.coordinator)
    })
}

pub fn acceptances() -> Kind {
    let last = Acceptance {
        at_ms: u64::MAX,
        ..acceptance()
    };
    let signing = Signing {
        name: "acceptances",
        about: "Acceptances under the signature of their miner, with the context `adit-acceptance-v1`.",
        signer: |a: &Acceptance| a.miner,
        at: 1,
    };
    let good = vec![("plain", acceptance()), ("last", last)];
    signed(&signing, &miner(1), good, vec![], |file, _| {
        check_signed(file, |a: &Acceptance| a.miner)
    })
}

pub fn active_untils() -> Kind {
    let never = ActiveUntil {
        at_ms: 0,
        until_ms: 0,
        ..active_until()
    };
    let always = ActiveUntil {
        at_ms: u64::MAX,
        until_ms: u64::MAX,
        ..active_until()
    };
    let signing = Signing {
        name: "active-untils",
        about: "Until when a miner is among the candidates, under the signature of the coordinator, with the context `adit-active-v1`.",
        signer: |a: &ActiveUntil| a.coordinator,
        at: 1,
    };
    let good = vec![
        ("plain", active_until()),
        ("never", never),
        ("always", always),
    ];
    signed(&signing, &coordinator(), good, vec![], |file, _| {
        check_signed(file, |a: &ActiveUntil| a.coordinator)
    })
}
