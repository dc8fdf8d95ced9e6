//! Paths, bundles, notes, checkpoints and requests: each has one form, and other implementations read
//! the same from it.

use adit_protocol::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::log::key::{KeyId, KeyKind, KeyName, NoteKey};
use adit_protocol::log::note::Note;
use adit_protocol::log::tile::{Level, Tile};
use adit_protocol::log::tree::SIZE_MAX;
use adit_protocol::log::witness::AddCheckpoint;
use adit_protocol::log::{bundle, note};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::fixtures::rng;

/// What is put into texts to see whether it is noticed: what has a meaning in the formats, and what
/// looks like it.
const PIECES: &[&str] = &[
    "",
    "\n",
    "\n\n",
    "\r",
    " ",
    "  ",
    "\t",
    "\u{0}",
    "\u{7f}",
    "\u{2028}",
    "\u{a0}",
    "+",
    "-",
    "—",
    "— ",
    "=",
    "==",
    "/",
    "//",
    "x",
    "0",
    "00",
    "9",
    "A",
    "é",
    ".p/",
    "old ",
    "tile/",
    "256",
    "18446744073709551616",
];

/// A change of a text: how much is taken away somewhere, and what is put there.
type Edit = (Index, usize, &'static str);

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let one = (any::<Index>(), 0usize..3, select(PIECES));
    prop::collection::vec(one, 0..4)
}

fn edited(text: &str, edits: &[Edit]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for (at, gone, put) in edits {
        let at = at.index(chars.len() + 1);
        let end = (at + gone).min(chars.len());
        chars.splice(at..end, put.chars());
    }
    chars.into_iter().collect()
}

fn key(number: u8) -> Keypair {
    Keypair::from_seed([number; 32])
}

fn signed() -> SignedCheckpoint {
    let origin: KeyName = "example.com/log".parse().unwrap();
    let checkpoint = Checkpoint {
        origin,
        size: 300,
        root: Hash::of(b"root"),
    };
    let mut signed = checkpoint.sign(&key(1), &mut rng());
    for (number, kind) in [(2, KeyKind::Cosignature), (3, KeyKind::Mirror)] {
        let name = format!("example.com/w{number}").parse().unwrap();
        let line = signed.cosign(kind, &name, &key(number), 1_700_000_000, &mut rng());
        signed.add(line.unwrap()).unwrap();
    }
    signed
}

fn request() -> AddCheckpoint {
    AddCheckpoint {
        old: 256,
        proof: vec![Hash::of(b"1"), Hash::of(b"2")],
        checkpoint: signed(),
    }
}

/// The ids of `signed-note` are those of this function over name and encoded key.
#[test]
fn signed_note_computes_the_same_ids() {
    let name: KeyName = "example.com/log".parse().unwrap();
    for kind in KeyKind::ALL {
        let public = key(1).public();
        let ours = NoteKey::new(name.clone(), kind, public).id();
        let encoded = [&[255], kind.identifier().as_bytes(), &public.to_bytes()[..]].concat();
        let theirs = signed_note::key_id(name.as_str(), &encoded);
        assert_eq!(ours, KeyId(theirs.to_be_bytes()));
    }
}

/// A key whose signatures `signed_note` checks by our own code.
struct Known(NoteKey, &'static [u8]);

impl signed_note::Verifier for Known {
    fn name(&self) -> &str {
        self.0.name().as_str()
    }

    fn key_id(&self) -> u32 {
        u32::from_be_bytes(self.0.id().0)
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let signature = <&[u8; 64]>::try_from(signature);
        signature.is_ok_and(|signature| self.0.key().verify(self.1, text, signature).is_ok())
    }
}

#[test]
fn signed_note_verifies_our_checkpoints() {
    let signed = signed();
    let theirs = signed_note::Note::from_bytes(signed.to_string().as_bytes()).unwrap();
    let log = |number| {
        let name = "example.com/log".parse().unwrap();
        let key = NoteKey::new(name, KeyKind::Checkpoint, key(number).public());
        signed_note::VerifierList::new(vec![Box::new(Known(key, b"substrate"))])
    };
    let (verified, others) = theirs.verify(&log(1)).unwrap();
    assert_eq!((verified.len(), others.len()), (1, 2));
    assert!(theirs.verify(&log(9)).is_err());
    let checkpoint = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
    let ours = signed.unverified();
    assert_eq!(checkpoint.origin(), ours.origin.as_str());
    assert_eq!(checkpoint.size(), ours.size);
    assert_eq!(checkpoint.hash().0, *ours.root.as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn notes_are_read_as_signed_note_reads_them(edits in edits()) {
        let text = edited(&signed().to_string(), &edits);
        let theirs = signed_note::Note::from_bytes(text.as_bytes());
        match (Note::parse(text.as_bytes()), theirs) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!(ours.text().as_bytes(), theirs.text());
                prop_assert_eq!(ours.to_string(), text);
                prop_assert_eq!(ours.to_string().into_bytes(), theirs.to_bytes());
            }
            (Err(_), Err(_)) => {}
            // Control characters of 127 and above in a name are what we refuse besides.
            (Err(_), Ok(_)) if text.contains('\u{7f}') => {}
            (ours, theirs) => prop_assert!(false, "{text:?}: {ours:?}, {theirs:?}"),
        }
    }

    #[test]
    fn checkpoints_are_read_as_tlog_tiles_reads_them(edits in edits()) {
        let text = edited("example.com/log\n300\nNgau/cCKtES58G6mlxw31Ycu+0UGI1hbiIVDbYT9EQE=\nx\n", &edits);
        // Its strict reader wants the text alone, and ends where a blank line begins the signatures.
        let theirs = tlog_tiles::Checkpoint::from_bytes(text.as_bytes());
        match (Checkpoint::from_text(&text), theirs) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!(ours.origin.as_str(), theirs.origin());
                prop_assert_eq!(ours.size, theirs.size());
                prop_assert_eq!(*ours.root.as_bytes(), theirs.hash().0);
                let text_of_three = ours.text();
                prop_assert!(text.starts_with(&text_of_three));
            }
            (Err(_), Err(_)) => {}
            // We want an origin that can be the name of a key, and a size that a log can have.
            (Err(_), Ok(theirs)) => prop_assert!(
                theirs.origin().parse::<KeyName>().is_err() || theirs.size() > SIZE_MAX,
                "{text:?}"
            ),
            (Ok(_), Err(_)) => prop_assert!(false, "{text:?}: we alone accept it"),
        }
    }

    #[test]
    fn paths_are_read_as_tlog_tiles_reads_them(
        entries: bool, level in 0u8..8, index: u64, shift in 0u32..64, width in 1u16..=256,
        edits in edits(),
    ) {
        let level = if entries { Level::Entries } else { Level::Hashes(level) };
        let Ok(tile) = Tile::new(level, index >> shift, width) else {
            return Ok(());
        };
        prop_assert_eq!(tile.to_string().parse(), Ok(tile));
        let path = edited(&tile.to_string(), &edits);
        // Go's form has the height in the path, and `data` for entries.
        let theirs = path.strip_prefix("tile/").and_then(|rest| {
            let rest = match rest.strip_prefix("entries/") {
                Some(rest) => format!("data/{rest}"),
                None if rest.starts_with("data/") => "no such tile".into(),
                None => rest.to_owned(),
            };
            // It panics at a width of zero and at levels above 63, which we must refuse.
            let level = rest.split('/').next().and_then(|level| level.parse::<u8>().ok());
            let width = rest.rsplit(".p/").next().and_then(|width| width.parse::<u32>().ok());
            match level.is_some_and(|level| level > 63) || width == Some(0) {
                true => None,
                false => tlog_tiles::Tile::from_path(&format!("tile/8/{rest}")).ok(),
            }
        });
        match (path.parse::<Tile>(), theirs) {
            (Ok(ours), Some(theirs)) => {
                prop_assert_eq!(ours.to_string(), path);
                prop_assert_eq!(ours.index(), theirs.level_index());
                prop_assert_eq!(u32::from(ours.width()), theirs.width());
                prop_assert_eq!(ours.level() == Level::Entries, theirs.is_data());
            }
            (Err(_), None) => {}
            (Err(_), Some(theirs)) => {
                let level = match theirs.is_data() {
                    true => Level::Entries,
                    false => Level::Hashes(theirs.level()),
                };
                let width = u16::try_from(theirs.width()).unwrap();
                prop_assert!(Tile::new(level, theirs.level_index(), width).is_err(), "{path}");
            }
            (Ok(_), None) => prop_assert!(false, "{path}: we alone accept it"),
        }
    }

    /// What is accepted is written again as it was.
    #[test]
    fn requests_have_one_form(edits in edits()) {
        let text = edited(&request().to_string(), &edits);
        if let Ok(request) = AddCheckpoint::parse(text.as_bytes()) {
            prop_assert_eq!(request.to_string(), text);
        }
    }

    #[test]
    fn verifier_keys_have_one_form(edits in edits(), kind in select(KeyKind::ALL.to_vec())) {
        let key = NoteKey::new("example.com/log".parse().unwrap(), kind, key(1).public());
        let text = edited(&key.to_string(), &edits);
        if let Ok(again) = text.parse::<NoteKey>() {
            prop_assert_eq!(again.to_string(), text);
            prop_assert_eq!(again, key);
        }
    }

    #[test]
    fn bundles_have_one_form(
        entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256),
        cut: Index,
    ) {
        let bytes = bundle::encode(&entries).unwrap();
        let decoded = bundle::decode(&bytes).unwrap();
        prop_assert!(decoded.iter().eq(entries.iter()));
        let cut = &bytes[..cut.index(bytes.len())];
        if let Ok(fewer) = bundle::decode(cut) {
            prop_assert!(fewer.len() < entries.len());
            prop_assert_eq!(bundle::encode(fewer).unwrap(), cut);
        }
    }

    #[test]
    fn bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(entries) = bundle::decode(&bytes) {
            prop_assert_eq!(bundle::encode(entries).unwrap(), bytes.clone());
        }
        let _ = Note::parse(&bytes);
        let _ = note::parse_signatures(&bytes);
        let _ = AddCheckpoint::parse(&bytes);
    }
}
