//! Rosters in the database. They are kept for ever, since an auditor makes every draw again, and one
//! of ten thousand candidates has a megabyte. But each resembles the one before: so it is kept as
//! what changed, where that is shorter. Weights, which all change as soon as one stake does, are left
//! out and computed again.
//!
//! In the table `document`, `base` is the roster that `bytes` is a `Change` of; of one that is kept
//! whole it is null.

use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::network::roster::{Candidate, Roster, Weighing};
use minicbor::{Decode, Encode};
use rusqlite::{Connection, OptionalExtension as _};

use super::rows::{self, array, damaged};
use super::{Document, DocumentKind, StoreError, load};

/// Most changes in a row. Reading a roster takes as many steps, each as long as its change.
const STEPS_MAX: usize = 63;
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

/// What to keep of a roster that becomes the newest: its bytes, or those of a change and the roster
/// that it is one of.
pub(super) fn shortest(
    db: &Connection,
    roster: &Roster,
) -> Result<(Vec<u8>, Option<Hash>), StoreError> {
    let whole = roster.to_cbor();
    Ok(match change(db, roster)? {
        Some((bytes, base)) if bytes.len() < whole.len() / 2 => (bytes, Some(base)),
        _ => (whole, None),
    })
}

/// The roster as a change of the newest, if it can be made of it again.
fn change(db: &Connection, next: &Roster) -> Result<Option<(Vec<u8>, Hash)>, StoreError> {
    let newest: Option<Vec<u8>> = db
        .prepare_cached("SELECT root FROM roster ORDER BY leaf DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let (Some(root), Some(weighing)) = (newest, weighing(db)?) else {
        return Ok(None);
    };
    let base = Hash::from_bytes(array(&root, "the root of a roster")?);
    let Some(kept) = kept(db, &base)? else {
        return Ok(None);
    };
    if kept.changes.len() >= STEPS_MAX {
        return Ok(None);
    }
    let (before, _) = kept.roster(db, &base)?;
    let change = Change::between(&before, next);
    let bytes = minicbor::to_vec(&change)
        .map_err(|error| damaged(format!("a roster is not encoded: {error}")))?;
    let candidates = change.candidates(before.candidates);
    let same = change.whole(candidates, &weighing) == *next;
    Ok(same.then_some((bytes, base)))
}

/// A document as it is kept: the bytes of one that is whole, and the changes that make it of that,
/// the newest first.
struct Kept {
    kind: DocumentKind,
    whole: Vec<u8>,
    changes: Vec<Change>,
}

impl Kept {
    /// The roster of that hash, and its bytes.
    fn roster(self, db: &Connection, hash: &Hash) -> Result<(Roster, Vec<u8>), StoreError> {
        let bad = |what: String| damaged(format!("the roster {hash}: {what}"));
        let whole = Roster::from_cbor(&self.whole).map_err(|error| bad(error.to_string()))?;
        let mut changes = self.changes.into_iter();
        let Some(last) = changes.next() else {
            return Ok((whole, self.whole));
        };
        let before = changes
            .rev()
            .fold(whole.candidates, |before, change| change.candidates(before));
        let weighing = weighing(db)?.ok_or_else(|| bad("the least stake is missing".to_owned()))?;
        let candidates = last.candidates(before);
        let roster = last.whole(candidates, &weighing);
        let bytes = roster.to_cbor();
        match Hash::of(&bytes) == *hash {
            true => Ok((roster, bytes)),
            false => Err(bad("what is kept of it makes another one".to_owned())),
        }
    }
}

fn kept(db: &Connection, hash: &Hash) -> Result<Option<Kept>, StoreError> {
    let bad = |what: String| damaged(format!("the roster {hash}: {what}"));
    let (mut changes, mut at) = (Vec::new(), *hash);
    let mut statement =
        db.prepare_cached("SELECT kind, bytes, base FROM document WHERE hash = ?1")?;
    loop {
        let found: Option<(i64, Vec<u8>, Option<Vec<u8>>)> = statement
            .query_row([at.as_bytes()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let (kind, bytes, base) = match found {
            Some(found) => found,
            None if changes.is_empty() => return Ok(None),
            None => return Err(bad(format!("{at}, which it is a change of, is missing"))),
        };
        let Some(base) = base else {
            return Ok(Some(Kept {
                kind: rows::document_kind(kind)?,
                whole: bytes,
                changes,
            }));
        };
        if changes.len() >= STEPS_MAX {
            return Err(bad(format!(
                "it is more than {STEPS_MAX} changes of one that is whole"
            )));
        }
        let change = minicbor::decode::<Change>(&bytes);
        changes.push(change.map_err(|error| bad(error.to_string()))?);
        at = Hash::from_bytes(array(&base, "the base of a roster")?);
    }
}

/// A roster.
pub(super) fn roster(db: &Connection, hash: &Hash) -> Result<Option<Roster>, StoreError> {
    let kept = kept(db, hash)?;
    kept.map(|kept| Ok(kept.roster(db, hash)?.0)).transpose()
}

/// A public document, of whatever kind.
pub(super) fn find(db: &Connection, hash: &Hash) -> Result<Option<Document>, StoreError> {
    let Some(kept) = kept(db, hash)? else {
        return Ok(None);
    };
    let kind = kept.kind;
    let bytes = match kept.changes.is_empty() {
        true => kept.whole,
        false => kept.roster(db, hash)?.1,
    };
    Ok(Some(Document { kind, bytes }))
}

#[cfg(test)]
mod tests;
