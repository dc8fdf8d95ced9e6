//! Rosters in the database. They are kept for ever, since an auditor makes every draw again, and one
//! of ten thousand candidates has a megabyte. But each resembles the one before: so it is kept as
//! what changed, where that is shorter. Weights, which all change as soon as one stake does, are left
//! out and computed again.
//!
//! In the table `document`, `base` is the roster that `bytes` is a `Change` of, and `steps` how
//! many changes lie between it and one that is kept whole.

use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::network::roster::{Candidate, Roster, Weighing};
use minicbor::{Decode, Encode};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{self, array, damaged};
use super::{Document, DocumentKind, RosterRow, StoreError, load};

/// Most changes in a row. Reading a roster takes as many steps, each as long as its change.
const STEPS_MAX: u32 = 63;
/// Where the database has the network's [`Weighing`].
const WEIGHING: &str = "weighing";

/// What makes a roster of another one.
#[derive(Debug, Encode, Decode)]
#[cbor(map)]
struct Change {
    /// Node keys that are no candidates any more, one after the other.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    gone: Vec<u8>,
    /// The roster, with those candidates alone that are new, or other than before in more than their
    /// weight.
    #[n(1)]
    roster: Roster,
}

impl Change {
    fn between(base: &Roster, next: &Roster) -> Change {
        let mut before = base.candidates.iter().peekable();
        let mut gone = Vec::new();
        let mut changed = Vec::new();
        for candidate in &next.candidates {
            while let Some(left) = before.next_if(|other| other.node < candidate.node) {
                gone.extend_from_slice(&left.node);
            }
            let old = before.next_if(|other| other.node == candidate.node);
            if old.is_none_or(|old| !alike(old, candidate)) {
                changed.push(candidate.clone());
            }
        }
        before.for_each(|left| gone.extend_from_slice(&left.node));
        Change {
            gone,
            roster: Roster {
                candidates: changed,
                region: next.region.clone(),
                ..*next
            },
        }
    }

    /// The candidates after the change, with whatever weights.
    fn candidates(&self, base: Vec<Candidate>) -> Vec<Candidate> {
        let gone = self.gone.as_chunks::<32>().0;
        let changed = &self.roster.candidates;
        let mut all: Vec<Candidate> = base
            .into_iter()
            .filter(|old| gone.binary_search(&old.node).is_err())
            .filter(|old| changed.binary_search_by_key(&old.node, |c| c.node).is_err())
            .chain(changed.iter().cloned())
            .collect();
        all.sort_unstable_by_key(|candidate| candidate.node);
        all
    }

    /// The roster, its candidates given.
    fn whole(self, mut candidates: Vec<Candidate>, weighing: &Weighing) -> Roster {
        let weights = weighing.weights(&candidates);
        for (candidate, weight) in candidates.iter_mut().zip(weights) {
            candidate.weight = weight;
        }
        Roster {
            candidates,
            ..self.roster
        }
    }
}

fn alike(one: &Candidate, other: &Candidate) -> bool {
    let Candidate { weight, .. } = *other;
    let one = Candidate {
        weight,
        ..one.clone()
    };
    one == *other
}

/// Notes how the network weighs its candidates, which never changes. Without that all rosters are
/// kept whole.
///
/// # Errors
/// [`StoreError`].
pub fn set_weighing(db: &Connection, weighing: &Weighing) -> Result<(), StoreError> {
    let mut value = weighing.least.to_be_bytes().to_vec();
    value.extend_from_slice(&weighing.saturation.to_be_bytes());
    load::set_meta(db, WEIGHING, &value)
}

fn weighing(db: &Connection) -> Result<Option<Weighing>, StoreError> {
    let Some(bytes) = load::meta(db, WEIGHING)? else {
        return Ok(None);
    };
    let what = "how candidates are weighed";
    let [least @ .., a, b, c, d] = array::<20>(&bytes, what)?;
    Ok(Some(Weighing {
        least: u128::from_be_bytes(least),
        saturation: u32::from_be_bytes([a, b, c, d]),
    }))
}

/// Keeps a roster, unless it is there.
pub(super) fn add(db: &Connection, row: &RosterRow) -> Result<(), StoreError> {
    let whole = row.roster.to_cbor();
    let change = change(db, &row.roster)?.filter(|change| change.bytes.len() < whole.len() / 2);
    let (bytes, base, steps) = match &change {
        Some(Step { bytes, base, steps }) => (bytes, Some(base.as_bytes()), *steps),
        None => (&whole, None, 0),
    };
    db.prepare_cached(
        "INSERT INTO document (hash, kind, bytes, base, steps) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (hash) DO NOTHING",
    )?
    .execute(params![
        row.entry.root.as_bytes(),
        rows::document_number(DocumentKind::Roster),
        bytes,
        base,
        steps,
    ])?;
    Ok(())
}

/// A roster as a change of another one.
struct Step {
    bytes: Vec<u8>,
    base: Hash,
    steps: u32,
}

/// The roster as a change of the newest, if it can be made of it again.
fn change(db: &Connection, next: &Roster) -> Result<Option<Step>, StoreError> {
    let newest: Option<(Vec<u8>, u32)> = db
        .prepare_cached(
            "SELECT r.root, d.steps FROM roster r JOIN document d ON d.hash = r.root
             ORDER BY r.leaf DESC LIMIT 1",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (Some((root, steps)), Some(weighing)) = (newest, weighing(db)?) else {
        return Ok(None);
    };
    let base = Hash::from_bytes(array(&root, "the root of a roster")?);
    if steps >= STEPS_MAX {
        return Ok(None);
    }
    let Some(before) = find(db, &base)? else {
        return Ok(None);
    };
    let before = Roster::from_cbor(&before.bytes)
        .map_err(|error| damaged(format!("the roster {base}: {error}")))?;
    let change = Change::between(&before, next);
    let bytes = minicbor::to_vec(&change)
        .map_err(|error| damaged(format!("a roster is not encoded: {error}")))?;
    let candidates = change.candidates(before.candidates);
    let same = change.whole(candidates, &weighing) == *next;
    Ok(same.then_some(Step {
        bytes,
        base,
        steps: steps.saturating_add(1),
    }))
}

/// A row of the table `document`.
struct Row {
    kind: DocumentKind,
    bytes: Vec<u8>,
    base: Option<Hash>,
}

fn row(db: &Connection, hash: &Hash) -> Result<Option<Row>, StoreError> {
    let found: Option<(i64, Vec<u8>, Option<Vec<u8>>)> = db
        .prepare_cached("SELECT kind, bytes, base FROM document WHERE hash = ?1")?
        .query_row([hash.as_bytes()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((kind, bytes, base)) = found else {
        return Ok(None);
    };
    let base = base.map(|base| array(&base, "the base of a roster").map(Hash::from_bytes));
    Ok(Some(Row {
        kind: rows::document_kind(kind)?,
        bytes,
        base: base.transpose()?,
    }))
}

/// A public document, of whatever kind.
pub(super) fn find(db: &Connection, hash: &Hash) -> Result<Option<Document>, StoreError> {
    let bad = |what: String| damaged(format!("the roster {hash}: {what}"));
    let (mut changes, mut at) = (Vec::new(), *hash);
    let whole = loop {
        let row = match row(db, &at)? {
            Some(row) => row,
            None if changes.is_empty() => return Ok(None),
            None => return Err(bad(format!("{at}, which it is a change of, is missing"))),
        };
        let Some(base) = row.base else { break row };
        if changes.len() >= STEPS_MAX as usize {
            return Err(bad(format!(
                "it is more than {STEPS_MAX} changes of one that is whole"
            )));
        }
        let change = minicbor::decode::<Change>(&row.bytes);
        changes.push(change.map_err(|error| bad(error.to_string()))?);
        at = base;
    };
    // The newest change came first.
    let mut changes = changes.into_iter();
    let Some(last) = changes.next() else {
        let Row { kind, bytes, .. } = whole;
        return Ok(Some(Document { kind, bytes }));
    };
    let whole = Roster::from_cbor(&whole.bytes).map_err(|error| bad(error.to_string()))?;
    let before = changes
        .rev()
        .fold(whole.candidates, |before, change| change.candidates(before));
    let weighing = weighing(db)?.ok_or_else(|| bad("the least stake is missing".to_owned()))?;
    let candidates = last.candidates(before);
    let roster = last.whole(candidates, &weighing);
    if roster.hash() != *hash {
        return Err(bad("what is kept of it makes another one".to_owned()));
    }
    Ok(Some(Document {
        kind: DocumentKind::Roster,
        bytes: roster.to_cbor(),
    }))
}

#[cfg(test)]
mod tests;
