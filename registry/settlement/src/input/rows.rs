//! The bytes of each row. The tables of offsets are in the crate's documentation.

use super::{Coordinator, Miner, Parameters, Receipt, Shares, Vote};
use crate::fields::{Fields, Row};

/// What an input begins with.
pub(super) const MAGIC: [u8; 8] = *b"aditsetl";
/// The version of the format and of the rules.
pub(super) const VERSION: u16 = 1;

const ACCEPTED: u8 = 1;
const NN_REGISTERED: u8 = 2;
const EMITTED: u8 = 4;
/// The flags that have no meaning.
const UNKNOWN: u8 = !(ACCEPTED | NN_REGISTERED | EMITTED);

/// Magic and version, which are read before anything else is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Preamble {
    pub(super) magic: [u8; 8],
    pub(super) version: u16,
}

impl Row for Preamble {
    const LEN: usize = 10;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.magic);
        out.extend_from_slice(&self.version.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Preamble {
        Preamble {
            magic: fields.bytes(),
            version: fields.u16(),
        }
    }
}

/// Parameters and counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) parameters: Parameters,
    pub(super) coordinators: u32,
    pub(super) miners: u32,
    pub(super) votes: u32,
    pub(super) receipts: u64,
}

impl Row for Header {
    const LEN: usize = 184;

    fn encode(&self, out: &mut Vec<u8>) {
        let p = &self.parameters;
        out.extend_from_slice(&p.epoch.to_le_bytes());
        out.extend_from_slice(&p.genesis);
        out.extend_from_slice(&p.emission.to_le_bytes());
        let shares = &p.shares;
        for share in [
            shares.miners,
            shares.voters,
            shares.checkers,
            shares.treasury,
        ] {
            out.extend_from_slice(&share.to_le_bytes());
        }
        out.extend_from_slice(&p.fuel_weight.to_le_bytes());
        out.extend_from_slice(&p.nn_weight.to_le_bytes());
        out.extend_from_slice(&p.work_of_price_ppm.to_le_bytes());
        out.extend_from_slice(&p.slice_of_fees_ppm.to_le_bytes());
        out.extend_from_slice(&p.fee_ppm.to_le_bytes());
        out.extend_from_slice(&p.work_share_ppm.to_le_bytes());
        out.extend_from_slice(&p.cap_ppm.to_le_bytes());
        out.extend_from_slice(&p.saturation.to_le_bytes());
        out.extend_from_slice(&p.miner_stake_min.to_le_bytes());
        out.extend_from_slice(&p.coordinator_stake_min.to_le_bytes());
        out.extend_from_slice(&p.quality_min_ppm.to_le_bytes());
        out.extend_from_slice(&p.attempt_fee_max_ppm.to_le_bytes());
        out.extend_from_slice(&self.coordinators.to_le_bytes());
        out.extend_from_slice(&self.miners.to_le_bytes());
        out.extend_from_slice(&self.votes.to_le_bytes());
        out.extend_from_slice(&self.receipts.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Header {
        Header {
            parameters: Parameters {
                epoch: fields.u64(),
                genesis: fields.bytes(),
                emission: fields.u128(),
                shares: Shares {
                    miners: fields.u32(),
                    voters: fields.u32(),
                    checkers: fields.u32(),
                    treasury: fields.u32(),
                },
                fuel_weight: fields.u64(),
                nn_weight: fields.u64(),
                work_of_price_ppm: fields.u64(),
                slice_of_fees_ppm: fields.u64(),
                fee_ppm: fields.u32(),
                work_share_ppm: fields.u32(),
                cap_ppm: fields.u64(),
                saturation: fields.u32(),
                miner_stake_min: fields.u128(),
                coordinator_stake_min: fields.u128(),
                quality_min_ppm: fields.u32(),
                attempt_fee_max_ppm: fields.u32(),
            },
            coordinators: fields.u32(),
            miners: fields.u32(),
            votes: fields.u32(),
            receipts: fields.u64(),
        }
    }
}

impl Row for Coordinator {
    const LEN: usize = 100;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.node);
        out.extend_from_slice(&self.operator);
        out.extend_from_slice(&self.stake.to_le_bytes());
        out.extend_from_slice(&self.escrow.to_le_bytes());
        out.extend_from_slice(&self.commission_ppm.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Coordinator {
        Coordinator {
            node: fields.bytes(),
            operator: fields.bytes(),
            stake: fields.u128(),
            escrow: fields.u128(),
            commission_ppm: fields.u32(),
        }
    }
}

impl Row for Miner {
    const LEN: usize = 92;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.node);
        out.extend_from_slice(&self.operator);
        out.extend_from_slice(&self.stake.to_le_bytes());
        out.extend_from_slice(&self.commission_ppm.to_le_bytes());
        out.extend_from_slice(&self.quality_ppm.to_le_bytes());
        out.extend_from_slice(&self.cut_ppm.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Miner {
        Miner {
            node: fields.bytes(),
            operator: fields.bytes(),
            stake: fields.u128(),
            commission_ppm: fields.u32(),
            quality_ppm: fields.u32(),
            cut_ppm: fields.u32(),
        }
    }
}

impl Row for Vote {
    const LEN: usize = 52;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.node.to_le_bytes());
        out.extend_from_slice(&self.voter);
        out.extend_from_slice(&self.amount.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Vote {
        Vote {
            node: fields.u32(),
            voter: fields.bytes(),
            amount: fields.u128(),
        }
    }
}

/// A receipt's row with its flags as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReceiptRow {
    pub(super) receipt: Receipt,
    /// Flags that have no meaning.
    pub(super) unknown: u8,
}

impl Row for ReceiptRow {
    const LEN: usize = 139;

    fn encode(&self, out: &mut Vec<u8>) {
        let r = &self.receipt;
        let mut flags = self.unknown & UNKNOWN;
        for (set, flag) in [
            (r.accepted, ACCEPTED),
            (r.nn_registered, NN_REGISTERED),
            (r.emitted, EMITTED),
        ] {
            flags |= if set { flag } else { 0 };
        }
        out.extend_from_slice(&r.coordinator.to_le_bytes());
        out.extend_from_slice(&r.miner.to_le_bytes());
        out.extend_from_slice(&r.leaf.to_le_bytes());
        out.extend_from_slice(&r.epoch.to_le_bytes());
        out.extend_from_slice(&r.task);
        out.extend_from_slice(&r.assignment);
        out.extend_from_slice(&[r.status, flags, r.replicas]);
        out.extend_from_slice(&r.fuel.to_le_bytes());
        out.extend_from_slice(&r.nn_units.to_le_bytes());
        out.extend_from_slice(&r.price.to_le_bytes());
        out.extend_from_slice(&r.attempt_fee.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> ReceiptRow {
        let (coordinator, miner) = (fields.u32(), fields.u32());
        let (leaf, epoch) = (fields.u64(), fields.u64());
        let (task, assignment) = (fields.bytes(), fields.bytes());
        let (status, flags, replicas) = (fields.u8(), fields.u8(), fields.u8());
        ReceiptRow {
            receipt: Receipt {
                coordinator,
                miner,
                leaf,
                epoch,
                task,
                assignment,
                status,
                accepted: flags & ACCEPTED != 0,
                nn_registered: flags & NN_REGISTERED != 0,
                emitted: flags & EMITTED != 0,
                replicas,
                fuel: fields.u64(),
                nn_units: fields.u64(),
                price: fields.u128(),
                attempt_fee: fields.u128(),
            },
            unknown: flags & UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::assert_fixed;
    use crate::testing;

    #[test]
    fn rows_have_their_lengths() {
        let snapshot = testing::snapshot();
        assert_fixed(&Preamble {
            magic: MAGIC,
            version: 0x0201,
        });
        assert_fixed(&Header {
            parameters: snapshot.parameters.clone(),
            coordinators: 1,
            miners: 2,
            votes: 3,
            receipts: 4,
        });
        assert_fixed(&snapshot.coordinators[0]);
        assert_fixed(&snapshot.miners[0]);
        assert_fixed(&snapshot.votes[0]);
        for unknown in [0, 0x80] {
            assert_fixed(&ReceiptRow {
                receipt: testing::receipt(1),
                unknown,
            });
        }
    }
}
