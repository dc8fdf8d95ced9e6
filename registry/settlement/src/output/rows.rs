//! The bytes of each row. The tables of offsets are in the crate's documentation.

use super::{AccountRow, CoordinatorRow, Counts, MinerRow, Totals};
use crate::fields::{Fields, Row};

/// What an output begins with.
pub(super) const MAGIC: [u8; 8] = *b"aditrwrd";
/// The version of the format.
pub(super) const VERSION: u16 = 1;

/// The byte before each row that says what it is; they ascend.
pub(super) const ACCOUNT: u8 = 1;
pub(super) const MINER: u8 = 2;
pub(super) const COORDINATOR: u8 = 3;
pub(super) const TRAILER: u8 = 4;

/// Magic and version.
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

/// What was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) epoch: u64,
    pub(super) genesis: [u8; 32],
}

impl Row for Header {
    const LEN: usize = 40;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.genesis);
    }

    fn decode(fields: &mut Fields<'_>) -> Header {
        Header {
            epoch: fields.u64(),
            genesis: fields.bytes(),
        }
    }
}

/// The tag of the row that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag(pub(super) u8);

impl Row for Tag {
    const LEN: usize = 1;

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.0);
    }

    fn decode(fields: &mut Fields<'_>) -> Tag {
        Tag(fields.u8())
    }
}

fn encode_counts(counts: &Counts, out: &mut Vec<u8>) {
    out.extend_from_slice(&counts.paid.to_le_bytes());
    for count in counts.unpaid {
        out.extend_from_slice(&count.to_le_bytes());
    }
}

fn decode_counts(fields: &mut Fields<'_>) -> Counts {
    let paid = fields.u64();
    Counts {
        paid,
        unpaid: std::array::from_fn(|_| fields.u64()),
    }
}

fn encode_amounts<const N: usize>(amounts: [u128; N], out: &mut Vec<u8>) {
    for amount in amounts {
        out.extend_from_slice(&amount.to_le_bytes());
    }
}

impl Row for AccountRow {
    const LEN: usize = 48;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.account);
        out.extend_from_slice(&self.amount.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> AccountRow {
        AccountRow {
            account: fields.bytes(),
            amount: fields.u128(),
        }
    }
}

impl Row for MinerRow {
    const LEN: usize = 176;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.node);
        let amounts = [
            self.income,
            self.by_work,
            self.by_stake,
            self.capped,
            self.cut,
        ];
        encode_amounts(amounts, out);
        encode_counts(&self.counts, out);
    }

    fn decode(fields: &mut Fields<'_>) -> MinerRow {
        MinerRow {
            node: fields.bytes(),
            income: fields.u128(),
            by_work: fields.u128(),
            by_stake: fields.u128(),
            capped: fields.u128(),
            cut: fields.u128(),
            counts: decode_counts(fields),
        }
    }
}

impl Row for CoordinatorRow {
    const LEN: usize = 160;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.node);
        encode_amounts([self.spent, self.burned, self.slice, self.earned], out);
        encode_counts(&self.counts, out);
    }

    fn decode(fields: &mut Fields<'_>) -> CoordinatorRow {
        CoordinatorRow {
            node: fields.bytes(),
            spent: fields.u128(),
            burned: fields.u128(),
            slice: fields.u128(),
            earned: fields.u128(),
            counts: decode_counts(fields),
        }
    }
}

/// Counts of the rows before, and the totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) accounts: u32,
    pub(super) miners: u32,
    pub(super) coordinators: u32,
    pub(super) totals: Totals,
}

impl Row for Trailer {
    const LEN: usize = 188;

    fn encode(&self, out: &mut Vec<u8>) {
        for count in [self.accounts, self.miners, self.coordinators] {
            out.extend_from_slice(&count.to_le_bytes());
        }
        let t = &self.totals;
        let amounts = [
            t.emission, t.minted, t.unminted, t.treasury, t.spent, t.burned, t.paid,
        ];
        encode_amounts(amounts, out);
        encode_counts(&t.counts, out);
    }

    fn decode(fields: &mut Fields<'_>) -> Trailer {
        Trailer {
            accounts: fields.u32(),
            miners: fields.u32(),
            coordinators: fields.u32(),
            totals: Totals {
                emission: fields.u128(),
                minted: fields.u128(),
                unminted: fields.u128(),
                treasury: fields.u128(),
                spent: fields.u128(),
                burned: fields.u128(),
                paid: fields.u128(),
                counts: decode_counts(fields),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::assert_fixed;

    #[test]
    fn rows_have_their_lengths() {
        let counts = Counts {
            paid: 1,
            unpaid: [2, 3, 4, 5, 6, 7, 8],
        };
        assert_fixed(&Preamble {
            magic: MAGIC,
            version: 0x0201,
        });
        assert_fixed(&Header {
            epoch: 3,
            genesis: [4; 32],
        });
        assert_fixed(&Tag(3));
        assert_fixed(&AccountRow {
            account: [1; 32],
            amount: 1 << 100,
        });
        assert_fixed(&MinerRow {
            node: [1; 32],
            income: 1,
            by_work: 2,
            by_stake: 3,
            capped: 4,
            cut: 5,
            counts,
        });
        assert_fixed(&CoordinatorRow {
            node: [1; 32],
            spent: 1,
            burned: 2,
            slice: 3,
            earned: 4,
            counts,
        });
        assert_fixed(&Trailer {
            accounts: 1,
            miners: 2,
            coordinators: 3,
            totals: Totals {
                emission: 1,
                minted: 2,
                unminted: 3,
                treasury: 4,
                spent: 5,
                burned: 6,
                paid: 7,
                counts,
            },
        });
    }
}
