//! The transparency log: its files, signed texts, requests to witnesses, and proofs.

use std::convert::Infallible;
use std::sync::LazyLock;

use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::log::bundle::{self, BundleError};
use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::log::key::{KeyKind, KeyName, NoteKey};
use adit_protocol::log::note::{self, Note, NoteSignature};
use adit_protocol::log::origin::Origin;
use adit_protocol::log::proof::{
    PROOF_MAX, consistency, inclusion, verify_consistency, verify_inclusion,
};
use adit_protocol::log::reader::TileReader;
use adit_protocol::log::tile::{self, Level, Tile, WIDTH};
use adit_protocol::log::tree::{
    Frontier, HashReader, SIZE_MAX, empty_root, leaf_hash, node_hash, root,
};
use adit_protocol::log::witness::{AddCheckpoint, State, judge};
use arbitrary::Unstructured;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::built::{alter, any, hash, one_of};

/// Reads the bytes as the path of a file. One that is taken is written the same way, and lies in the
/// largest log.
pub fn log_path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<Tile>() {
        Ok(tile) => {
            assert_eq!(tile.to_string(), text);
            let again = Tile::new(tile.level(), tile.index(), tile.width());
            assert_eq!(again, Ok(tile));
            let level = match tile.level() {
                Level::Entries => 0,
                Level::Hashes(level) => level,
            };
            let end = u128::from(tile.start()) + u128::from(tile.width());
            assert!(end << (8 * level) <= u128::from(SIZE_MAX));
            // The log that ends with it has it, and lists it last of its level.
            let size = (end << (8 * level)) as u64;
            let listed = tile::new_tiles(size - 1, size).filter(|new| new.level() == tile.level());
            assert_eq!(listed.last(), Some(tile));
            assert_eq!(
                Tile::holding(tile.level(), tile.start(), size),
                Some(tile),
                "{text}"
            );
        }
        Err(error) => assert!(error.to_string().len() < 256),
    }
}

/// Reads the bytes as a bundle of entries and as a tile of hashes. What is taken is written as the
/// same bytes.
pub fn log_bundle(bytes: &[u8]) {
    match bundle::decode(bytes) {
        Ok(entries) => {
            assert!((1..=usize::from(WIDTH)).contains(&entries.len()));
            assert_eq!(bundle::encode(&entries).as_deref(), Ok(bytes));
            let width = entries.len() as u16;
            assert_eq!(bundle::decode_width(bytes, width).as_ref(), Ok(&entries));
            assert!(bundle::decode_width(bytes, width + 1).is_err());
        }
        Err(BundleError::EntryLength { .. }) => panic!("a reader cannot meet it"),
        Err(error) => assert!(error.to_string().len() < 256),
    }
    let width = (bytes.len() / 32).clamp(1, 256) as u16;
    let tile = Tile::new(Level::Hashes(0), 0, width).expect("a tile of any width");
    match tile.hashes(bytes) {
        Ok(hashes) => {
            assert_eq!(tile::to_bytes(&hashes), bytes);
            // Read as a log, its root is that of the hashes as leaves.
            let mut frontier = Frontier::new();
            for hash in &hashes {
                frontier.append(*hash).expect("room");
            }
            let size = u64::from(width);
            let mut reader = TileReader::new(size, |asked: Tile| match asked.level() {
                Level::Hashes(0) => Ok::<_, Infallible>(bytes.to_vec()),
                _ => Ok(tile::to_bytes(&[frontier.root()])),
            });
            assert_eq!(root(&mut reader, size), Ok(frontier.root()));
            assert_eq!(
                tile::full_hash(&hashes).is_some(),
                width == WIDTH,
                "only a full tile has a hash"
            );
        }
        Err(error) => {
            assert!(bytes.len() != usize::from(width) * 32);
            assert!(error.to_string().len() < 256);
        }
    }
}

/// Reads the bytes as a note, as a witness's answer, as a checkpoint, as a verifier key, as an
/// origin. What is taken is written as the same bytes.
pub fn log_note(bytes: &[u8]) {
    let note = Note::parse(bytes);
    match &note {
        Ok(note) => {
            assert_eq!(note.to_string().as_bytes(), bytes);
            assert!(note.text().ends_with('\n'));
            let mut again = note.clone();
            for line in note.signatures() {
                again.add(line.clone()).expect("it takes a line's place");
            }
            assert_eq!(Note::parse(again.to_string().as_bytes()), Ok(again));
        }
        Err(error) => assert!(error.to_string().len() < 512),
    }
    match SignedCheckpoint::parse(bytes) {
        Ok(signed) => {
            assert_eq!(Ok(signed.note()), note.as_ref());
            let checkpoint = signed.unverified();
            assert!(checkpoint.size <= SIZE_MAX);
            assert!(signed.note().text().starts_with(&checkpoint.text()));
            assert_eq!(
                Checkpoint::from_text(&checkpoint.text()).as_ref(),
                Ok(checkpoint)
            );
        }
        Err(error) => assert!(error.to_string().len() < 512),
    }
    if let Ok(lines) = note::parse_signatures(bytes) {
        let written: String = lines.iter().map(NoteSignature::to_string).collect();
        assert_eq!(written.as_bytes(), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match text.parse::<NoteKey>() {
        Ok(key) => assert_eq!(key.to_string(), text),
        Err(error) => assert!(error.to_string().len() < 256),
    }
    if let Ok(origin) = text.parse::<Origin>() {
        assert_eq!(origin.to_string(), text);
        assert_eq!(origin.name().as_str(), text);
    }
}

fn log_keys() -> (Keypair, NoteKey) {
    let pair = Keypair::from_seed([1; 32]);
    let name: KeyName = "example.com/log".parse().expect("a name");
    let key = NoteKey::new(name, KeyKind::Checkpoint, pair.public());
    (pair, key)
}

/// Reads the bytes as a request to a witness. One that is taken is written as the same bytes, and is
/// cosigned only if it continues what the witness knows.
pub fn log_request(bytes: &[u8]) {
    let request = match AddCheckpoint::parse(bytes) {
        Ok(request) => request,
        Err(error) => return assert!(error.to_string().len() < 512),
    };
    assert_eq!(request.to_string().as_bytes(), bytes);
    assert!(request.proof.len() <= PROOF_MAX);
    let (_, key) = log_keys();
    let states = [0, 3, 7].map(|size| State {
        size,
        root: LOG.root(size),
    });
    assert_eq!(judge(&request, None, None).unwrap_err().status(), 404);
    for state in states.map(Some).into_iter().chain([None]) {
        match judge(&request, Some(&key), state) {
            Ok(checkpoint) => {
                assert_eq!(request.old, state.map_or(0, |state| state.size));
                assert!(request.old <= checkpoint.size);
                assert_eq!(request.checkpoint.verify(&key), Ok(checkpoint));
            }
            Err(refusal) => {
                assert!([400, 403, 409, 422].contains(&refusal.status()));
                assert_eq!(refusal.status() == 409, refusal.known_size().is_some());
                assert!(refusal.to_string().len() < 1024);
            }
        }
    }
}

/// Builds a checkpoint with cosignatures, and changes the note: whoever signed it, no change of the
/// text goes unnoticed, and before it every check passes.
pub fn log_signed(bytes: &[u8]) {
    let mut recipe = Unstructured::new(bytes);
    let recipe = &mut recipe;
    let rng = &mut ChaCha20Rng::from_seed([2; 32]);
    let (pair, key) = log_keys();
    let checkpoint = Checkpoint {
        origin: key.name().clone(),
        size: any::<u64>(recipe) >> 2,
        root: hash(recipe),
    };
    let mut signed = checkpoint.clone().sign(&pair, rng);
    let kind = one_of(recipe, &[KeyKind::Cosignature, KeyKind::Mirror]);
    let witness = Keypair::from_seed([any(recipe); 32]);
    let name: KeyName = one_of(recipe, &["w", "example.com/log", "\u{436}"])
        .parse()
        .expect("a name");
    let time_s = any::<u64>(recipe) >> 1;
    let line = signed
        .cosign(kind, &name, &witness, time_s, rng)
        .expect("a kind and a time of cosigners");
    signed.add(line).expect("room");
    let cosigner = NoteKey::new(name, kind, witness.public());
    assert_eq!(signed.verify(&key), Ok(&checkpoint));
    let cosignature = signed.verify_cosignature(&cosigner).expect("it was made");
    assert_eq!(cosignature.time_s, time_s);

    let good = signed.to_string().into_bytes();
    let mut changed = good.clone();
    alter(&mut changed, recipe);
    let Ok(changed_note) = SignedCheckpoint::parse(&changed) else {
        return log_note(&changed);
    };
    let same_text = changed_note.note().text() == signed.note().text();
    if changed_note.verify(&key).is_ok() {
        assert!(same_text, "a changed text verifies");
    }
    match changed_note.verify_cosignature(&cosigner) {
        Ok(cosignature) => assert!(same_text && cosignature.time_s == time_s),
        Err(_) => assert_ne!(changed, good),
    }
    log_note(&changed);
    log_request(&[b"old 0\n\n", &changed[..]].concat());
}

/// A small log, whose entries are their own indices.
struct Log(Vec<Vec<Hash>>);

const LOG_SIZE: u64 = 600;

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let leaves = (0..LOG_SIZE).map(|index| leaf_hash(&index.to_le_bytes()));
    let mut levels: Vec<Vec<Hash>> = vec![leaves.collect()];
    while let Some(row) = levels.last().filter(|row| row.len() > 1) {
        let (pairs, _) = row.as_chunks::<2>();
        levels.push(pairs.iter().map(|[l, r]| node_hash(l, r)).collect());
    }
    Log(levels)
});

impl HashReader for &Log {
    type Error = Infallible;

    fn hash(&mut self, level: u8, index: u64) -> Result<Hash, Infallible> {
        Ok(self.0[usize::from(level)][index as usize])
    }
}

impl Log {
    fn root(&self, size: u64) -> Hash {
        root(&mut { self }, size).expect("a size within the log")
    }
}

/// Builds proofs and changes them: a proof holds for its own statement, and one that was changed for
/// none. Then any hashes are taken for a proof of any sizes.
pub fn log_proof(bytes: &[u8]) {
    let mut recipe = Unstructured::new(bytes);
    let recipe = &mut recipe;
    let mut log = &*LOG;
    let size = recipe.int_in_range(1..=LOG_SIZE).unwrap_or(1);
    let index = recipe.int_in_range(0..=size - 1).unwrap_or(0);
    let old = recipe.int_in_range(0..=size).unwrap_or(0);
    let (root, old_root) = (log.root(size), log.root(old));
    let leaf = log.0[0][index as usize];

    let proof = inclusion(&mut log, index, size).expect("within the log");
    assert_eq!(verify_inclusion(&leaf, index, size, &root, &proof), Ok(()));
    let changed = altered(&proof, recipe);
    assert_eq!(
        verify_inclusion(&leaf, index, size, &root, &changed).is_ok(),
        changed == proof
    );
    let proof = consistency(&mut log, old, size).expect("within the log");
    let verify = |proof: &[Hash]| verify_consistency(old, &old_root, size, &root, proof);
    assert_eq!(verify(&proof), Ok(()));
    let changed = altered(&proof, recipe);
    assert_eq!(verify(&changed).is_ok(), changed == proof);
    if old > 0 && old < size {
        assert!(verify_consistency(old, &empty_root(), size, &root, &proof).is_err());
    }

    // Whatever else is claimed is judged without a panic, and nothing is shown of roots that are no
    // hash of anything.
    let (old, new) = (any::<u64>(recipe), any::<u64>(recipe));
    let proof: Vec<Hash> = (0..recipe.int_in_range(0..=70).unwrap_or(0))
        .map(|_| hash(recipe))
        .collect();
    let (zero, one) = (Hash::ZERO, Hash::from_bytes([1; 32]));
    assert!(verify_inclusion(&zero, old, new, &one, &proof).is_err());
    assert!(verify_consistency(old, &zero, new, &one, &proof).is_err());
    let mut reader = |_: u8, _: u64| Ok::<_, Infallible>(zero);
    for proof in [
        inclusion(&mut reader, old, new),
        consistency(&mut reader, old, new),
    ] {
        assert!(proof.is_ok_and(|proof| proof.len() <= PROOF_MAX) || new > SIZE_MAX || old >= new);
    }
}

/// The proof with its bytes changed in a few places, or hashes added or left out.
fn altered(proof: &[Hash], recipe: &mut Unstructured) -> Vec<Hash> {
    let mut bytes = tile::to_bytes(proof);
    alter(&mut bytes, recipe);
    let (whole, _) = bytes.as_chunks::<32>();
    whole.iter().map(|bytes| Hash::from_bytes(*bytes)).collect()
}
