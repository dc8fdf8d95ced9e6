//! The lines of claims of late receipts, and of answers to them.

use adit_protocol::Hash;
use adit_protocol::receipt::RECEIPT_LEN;

use super::action::Action;
use super::lines::{Lines, Reader};
use super::settling::{PROOF_MAX, each};
use super::text_error::TextError;
use super::values::{Digits, Octets};
use crate::late::{ENTRY_MAX, LateReceipt};
use crate::slashing::SIGNED_BODY;

/// Bytes on each line of an entry but the last.
const PIECE: usize = 480;

pub(super) fn write_claim(lines: &mut Lines, claim: &LateReceipt) {
    lines.field("coordinator", claim.coordinator);
    // A line has no room for all of it.
    if let Some((signed, countersignature)) = claim.receipt.split_first_chunk::<SIGNED_BODY>() {
        lines.field("receipt", Digits(*signed));
        lines.field("countersignature", Octets(countersignature.to_vec()));
    }
    lines.field("assignment", Octets(claim.assignment.clone()));
    lines.field("assignment-signature", Digits(claim.assignment_signature));
}

pub(super) fn read_claim(reader: &mut Reader<'_>) -> Result<Action, TextError> {
    let coordinator = reader.field("coordinator")?;
    let signed = reader.field::<Digits<SIGNED_BODY>>("receipt")?.0;
    let countersignature = reader.field::<Digits>("countersignature")?.0;
    let mut receipt = [0; RECEIPT_LEN];
    let bytes = signed.iter().chain(&countersignature);
    receipt
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    Ok(Action::LateReceipt(Box::new(LateReceipt {
        coordinator,
        receipt,
        assignment: reader.field::<Octets>("assignment")?.0,
        assignment_signature: reader.field::<Digits>("assignment-signature")?.0,
    })))
}

pub(super) fn write_answer(
    lines: &mut Lines,
    assignment: &Hash,
    leaf: u64,
    entry: &[u8],
    proof: &[Hash],
) {
    lines.field("assignment", assignment);
    lines.field("leaf", leaf);
    for piece in entry.chunks(PIECE) {
        lines.field("entry", Octets(piece.to_vec()));
    }
    for hash in proof {
        lines.field("proof", hash);
    }
}

pub(super) fn read_answer(reader: &mut Reader<'_>) -> Result<Action, TextError> {
    let assignment = reader.field("assignment")?;
    let leaf = reader.field("leaf")?;
    let pieces: Vec<Octets> = each(reader, "entry", ENTRY_MAX.div_ceil(PIECE))?;
    // Pieces of another length are found as those of a text that is not written so.
    Ok(Action::Answer {
        assignment,
        leaf,
        entry: pieces.into_iter().flat_map(|piece| piece.0).collect(),
        proof: each(reader, "proof", PROOF_MAX)?,
    })
}
