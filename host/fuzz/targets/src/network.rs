//! Networks: documents, messages between nodes, entries of a coordinator's log.

use adit_protocol::cbor::Document;
use adit_protocol::hardware::SignedHardwareRecord;
use adit_protocol::network::assignment::{Acceptance, ActiveUntil, Assignment};
use adit_protocol::network::entry::{Cancel, Entry, Expiry, Verdict};
use adit_protocol::network::exchange::{
    Echo, HandIn, HandInAnswer, Hello, Poll, PollAnswer, ProgressReport, Welcome,
};
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{Membership, NetworkFile};
use adit_protocol::network::roster::{Roster, RosterEntry, weights};
use adit_protocol::signed::{Signable, Signed};
use serde::Serialize;

use crate::documents::{decode, taken};

/// Longest entry that a bundle of the log can hold.
const ENTRY_MAX: usize = 65_535;

/// Reads the bytes as each document of a network, with the promises of [`crate::documents`].
///
/// The signed forms are one kind among themselves, as nothing but the body and the context tells
/// them apart; a signature that nobody made never holds.
pub fn network_documents(bytes: &[u8]) {
    let own = [
        decode::<Genesis>(bytes),
        decode::<Membership>(bytes),
        decode::<NetworkFile>(bytes),
        decode::<Roster>(bytes),
        decode::<RosterEntry>(bytes),
        decode::<Assignment>(bytes),
        decode::<Acceptance>(bytes),
        decode::<ActiveUntil>(bytes),
        decode::<Verdict>(bytes),
        decode::<Expiry>(bytes),
        decode::<Cancel>(bytes),
    ];
    let signed = [
        signed::<Membership>(bytes, |_| [0; 32]),
        signed::<Assignment>(bytes, |a| a.coordinator),
        signed::<Acceptance>(bytes, |a| a.miner),
        signed::<ActiveUntil>(bytes, |a| a.coordinator),
    ];
    let own = own.iter().filter(|taken| **taken).count();
    let hardware = SignedHardwareRecord::from_cbor(bytes).is_ok();
    let signed = signed.contains(&true) && !hardware;
    let taken = own + usize::from(signed) + taken(bytes);
    assert!(taken <= 1, "the bytes are {taken} kinds of document");

    if let Ok(genesis) = Genesis::from_cbor(bytes) {
        assert_eq!(genesis.epoch_at(genesis.created_ms), 0);
        assert_eq!(genesis.epoch_at(0), 0);
        assert_eq!(genesis.network_id(), genesis.hash().as_bytes()[..4]);
    }
    if let Ok(file) = NetworkFile::from_cbor(bytes)
        && let Ok(membership) = file.verify()
    {
        assert_eq!(membership.genesis, file.genesis.hash());
    }
    if let Ok(roster) = Roster::from_cbor(bytes) {
        let genesis = Genesis {
            name: "n".into(),
            created_ms: 0,
            authority: [0; 32],
            epoch_ms: 1000,
            miner_stake_min: 1,
            coordinator_stake_min: 0,
            saturation: u32::MAX,
            development: true,
            ledger: None,
        };
        let all = weights(&genesis, &roster.candidates);
        assert_eq!(all.len(), roster.candidates.len());
        for (weight, candidate) in all.iter().zip(&roster.candidates) {
            assert!(*weight <= 1_000_000_000);
            assert_eq!(*weight == 0, candidate.quality_ppm == 0);
        }
    }
}

/// `true` if the bytes are the signed form of such a document.
fn signed<T: Signable + Serialize>(bytes: &[u8], signer: fn(&T) -> [u8; 32]) -> bool {
    if let Ok(signed) = Signed::<T>::from_cbor(bytes) {
        assert_eq!(signed.body_hash(), adit_protocol::Hash::of(body(bytes)));
        match signed.verify(signer) {
            Ok(document) => assert_eq!(document.hash(), signed.body_hash()),
            Err(error) => assert!(error.to_string().len() < 4096),
        }
        // Under the identity anyone could sign.
        assert!(signed.verify(|_| [0; 32]).is_err());
    }
    decode::<Signed<T>>(bytes)
}

/// What is between the heads and the signature of an accepted signed form.
fn body(bytes: &[u8]) -> &[u8] {
    let mut decoder = minicbor::Decoder::new(bytes);
    decoder.map().expect("a map");
    decoder.u8().expect("a key");
    decoder.bytes().expect("the body")
}

/// Reads the bytes as each message between miners and coordinators. One that is taken is written as
/// the same bytes. Nothing names a message by its hash, so that two kinds may have a form in common.
pub fn network_messages(bytes: &[u8]) {
    decode::<Hello>(bytes);
    decode::<Welcome>(bytes);
    decode::<Echo>(bytes);
    decode::<Poll>(bytes);
    decode::<PollAnswer>(bytes);
    decode::<ProgressReport>(bytes);
    decode::<HandIn>(bytes);
    decode::<HandInAnswer>(bytes);
}

/// Reads the bytes as an entry of a coordinator's log. One that is taken is written as the same bytes
/// and fits into a bundle.
pub fn log_entry(bytes: &[u8]) {
    match Entry::decode(bytes) {
        Ok(entry) => {
            assert_eq!(entry.encode(), bytes);
            assert!(bytes.len() <= ENTRY_MAX);
            serde_json::to_string(&entry).expect("an entry can be shown");
        }
        Err(error) => assert!(error.to_string().len() < 4096),
    }
}
