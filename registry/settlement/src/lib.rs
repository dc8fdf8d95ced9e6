//! Rewards of an epoch: a pure function from the ledger's snapshot and the receipts of the closed
//! logs to what each account earned (protocol.md, "Epochs and settlement").
//!
//! [`settle`] reads rows from one stream and writes rows to another. It is the same code natively
//! and as a `wasi:cli/command` component, whose hash a network votes on: no clock, no float, no
//! randomness in the result, no I/O but the two streams. [`InputWriter`] makes inputs, and
//! [`Output::read`] reads outputs.
//!
//! | module | subject |
//! |---|---|
//! | [`input`] | what an epoch is settled from: types, reader and writer |
//! | [`output`] | what comes out: types, reader and writer, [`Totals::check`] |
//! | [`amount`] | products in 256 bits, ratios, splits by largest remainder and within bounds |
//!
//! # What is refused, and what is only not paid
//!
//! An input is made from ledger and logs by whoever settles. What that program controls must be
//! right, or the input is refused: order, counts, indices, sums, ratios. What a miner, a coordinator
//! or a client can bring into a log is never an error, only a receipt that is not paid, with the
//! reason counted ([`output::Unpaid`]).
//!
//! # Input, version 1
//!
//! Integers are little-endian, amounts are u128 in 10^-12 token, ratios are in parts per million.
//! The header, then the sections in this order, then nothing.
//!
//! | offset | length | header, 194 bytes |
//! |---|---|---|
//! | 0 | 8 | magic `aditsetl` |
//! | 8 | 2 | version, 1 |
//! | 10 | 8 | epoch |
//! | 18 | 32 | hash of the genesis document |
//! | 50 | 16 | emission of the epoch |
//! | 66 | 4 x 4 | shares of it: miners, voters of coordinators, checkers, treasury; they sum to 1,000,000 |
//! | 82 | 8 | a, work of a unit of fuel, in 10^-12 token |
//! | 90 | 8 | b, work of an nn_unit, in 10^-12 token |
//! | 98 | 8 | c, most work of a receipt, of its price |
//! | 106 | 8 | k, largest slice, of the fees burned; and what a miner gets by stake, of its own |
//! | 114 | 4 | fee, what is burned of a payment; at most 1,000,000 |
//! | 118 | 4 | what goes by work of a slice; at most 1,000,000 |
//! | 122 | 8 | cap, most that a miner earns by work, of its stake |
//! | 130 | 4 | saturation, at least 1 |
//! | 134 | 16 | least stake of a miner |
//! | 150 | 16 | least stake of a coordinator |
//! | 166 | 4 | least quality; at most 1,000,000 |
//! | 170 | 4 | attempt fee, most that is due for one, of the price; at most 1,000,000 |
//! | 174 | 4 | C, number of coordinators; at most 2^16 |
//! | 178 | 4 | M, number of miners; at most 2^20 |
//! | 182 | 4 | number of votes; at most 2^24 |
//! | 186 | 8 | number of receipts; at most 2^32 |
//!
//! | offset | length | coordinator, 100 bytes; strictly ascending by node |
//! |---|---|---|
//! | 0 | 32 | node key |
//! | 32 | 32 | operator's account |
//! | 64 | 16 | stake: the sum of its votes |
//! | 80 | 16 | escrow at the epoch's end |
//! | 96 | 4 | commission; at most 1,000,000 |
//!
//! | offset | length | miner, 92 bytes; strictly ascending by node |
//! |---|---|---|
//! | 0 | 32 | node key |
//! | 32 | 32 | operator's account |
//! | 64 | 16 | stake: the sum of its votes |
//! | 80 | 4 | commission; at most 1,000,000 |
//! | 84 | 4 | quality; at most 1,000,000 |
//! | 88 | 4 | service cut; at most 1,000,000 |
//!
//! | offset | length | vote, 52 bytes; strictly ascending by node's number, then by voter |
//! |---|---|---|
//! | 0 | 4 | number of the node: coordinators are 0 to C - 1, miners C to C + M - 1 |
//! | 4 | 32 | voter's account |
//! | 36 | 16 | amount, not zero |
//!
//! | offset | length | receipt, 139 bytes; strictly ascending by coordinator, then by leaf |
//! |---|---|---|
//! | 0 | 4 | index of the coordinator in whose log it is, 0 to C - 1 |
//! | 4 | 4 | index of the miner, 0 to M - 1; 2^32 - 1 if no miner of the input has its key |
//! | 8 | 8 | leaf |
//! | 16 | 8 | epoch of the draw |
//! | 24 | 32 | task id |
//! | 56 | 32 | hash of the assignment |
//! | 88 | 1 | status |
//! | 89 | 1 | flags: bit 0 accepted: not rejected by a verdict, its blobs available, its assignment not paid in an epoch before; bit 1 nn under a registered manifest; bit 2 output was emitted; others 0 |
//! | 90 | 1 | replicas of the task |
//! | 91 | 8 | fuel |
//! | 99 | 8 | nn_units |
//! | 107 | 16 | price of the task |
//! | 123 | 16 | attempt fee of the task |
//!
//! Besides what the tables say: emission plus all escrows fit into 128 bits, and so do the sum of
//! the coordinators' saturated stakes, that of the miners', and floor(escrow · c) of each
//! coordinator. Then no sum below can overflow.
//!
//! # Rules
//!
//! `floor(x · ppm)` is x · ppm / 1,000,000 rounded down. A **split** of an amount by weights gives
//! each floor(amount · weight / sum of weights), and then one unit each to those with the largest
//! remainders until nothing is left; among equal remainders, to those first in the order named.
//! With no weight above 0 there is nobody to split among, and the amount stays where it is.
//!
//! 1. **Parts.** The emission is split by the four shares, in the order of the header, into the parts
//!    E_m (miners), E_v (voters), E_c (checkers) and E_t (treasury). E_t is minted in full, of E_c
//!    nothing in this version.
//! 2. **Receipts**, by coordinator and leaf. One is not paid for the first of these reasons that
//!    holds: its miner is not registered; its draw was neither in the epoch nor in the one before;
//!    it is not accepted; its status is due nothing; its assignment has been paid before in this
//!    log; it is due the price, and as many receipts as its own row says replicas have been paid the
//!    price of its task before in this log. Assignments and tasks are told apart by the first 16
//!    bytes of their hashes. Due is the price for the statuses 0 to 4, and for 19 (cancelled) with
//!    output emitted; for 5, 16, 17, 21, and 19 without, the attempt fee, but at most
//!    floor(price · attempt fee of the header); else nothing, also for a number that is no status.
//! 3. **Payment** is min(due, what is left of the escrow). Of it payment · fee, rounded up, is burned,
//!    so that no price is too small for that; the rest is the miner's income. It has used up its
//!    assignment, and if it was due the price a place of its task. If it is less than due, the receipt counts as not paid for the reason "escrow".
//!    After a shortfall the escrow is empty, so only what is due 0 is still paid in full.
//! 4. **Completed.** A receipt completes a task if it is due the price, has a status below 16, and
//!    was paid in full more than 0. Its work is min(a · fuel + b · nn_units, floor(price · c)); nn_units
//!    count only under a registered manifest, and a trap (2) has work 0.
//! 5. **Slice** of a coordinator = min(L, floor(k · F)), with L = floor(E_m · s / S), s its saturated
//!    stake min(stake, least stake · saturation), S the sum of s over all coordinators, and F all that
//!    was burned of its escrow. L is 0 if S is 0. What is left of E_m is not minted.
//! 6. **Pieces.** Here a miner's quality counts as 0 if it is below the least. What below is above a
//!    bound, cannot be divided, or is lost in rounding is not minted.
//!    - **By work:** W = floor(slice · work share). A receipt that completed a task weighs
//!      w = floor(its work · its miner's quality), and f was burned of its payment. It brings its miner
//!      min(floor(W · w / sum of w), floor(W · f / F)), the sum that over all such receipts of the
//!      coordinator; 0 if a sum is 0.
//!    - **By stake:** floor(L · (1,000,000 - work share)) is for the miners that completed a task for the
//!      coordinator. Of one, the weight is floor(saturated stake · quality), and with own what was burned
//!      of this escrow for all of its receipts, those due the attempt fee too, its bound is
//!      floor(min(floor(k · floor(own · quality)), L) · (1,000,000 - work share)). In ascending order of
//!      bound / weight, and of nodes where that is equal, each gets the least of its bound and of
//!      floor(what is left · weight / sum of the weights of those that are left); without weight, nothing.
//! 7. **Cap.** All that a miner then gets by work, of all slices, is at most floor(stake · cap); the
//!    excess is not minted. **Capped off** is both, this and what the bound of rule 6 left of
//!    floor(W · w / sum of w). **Cut**: floor((by work after the cap + by stake) · service cut) is not
//!    minted. A miner's earnings are income + by work + by stake - cut.
//! 8. **Coordinators** earn floor(E_v · slice / E_m) each, 0 if E_m is 0; the rest of E_v is not
//!    minted.
//! 9. **Accounts.** Of a node's earnings floor(earnings · commission) is its operator's, and the rest
//!    is split among its votes by amount, in the order of voters; without votes all of it is the
//!    operator's. An account's amount is the sum over all nodes and roles.
//!
//! One receipt per assignment and n per task are counted within a log, whose escrow pays for them:
//! otherwise a coordinator could take up assignments of others. Attempt fees take no place of a task,
//! or a miner that repeats an attempt that had failed on another's machine would work for nothing.
//!
//! Tasks of one's own, on one's own miners, with all votes one's own, gain no more than they burn if
//! k · (1 + voters' share / miners' share) is at most 1, as the slice earns for the coordinator's
//! voters too. For whatever the other receipts are, one of which f is burned raises what all of one's own
//! nodes get
//! - by work by at most k · f · work share. That is the receipt's bound, so it is the most if the others'
//!   shares by weight do not grow; and if they do, they and the receipt's have no more than W grew by;
//! - by stake by at most k · f · (1 - work share): the bound of its miner grows by that, and L, which is
//!   divided, by nothing. Were it the slice that is divided, that would grow for one's other miners too;
//! - by the votes of the coordinator by at most k · f · voters' share / miners' share.
//!
//! So junk pays nowhere, however little work clients' tasks have for their price. And a miner that
//! completes a task of next to no price gets next to nothing by its stake, and leaves the rest to others.
//! An attempt fee is due on a miner's word, and is bound by the price so that to fail is worth less than
//! to run.
//!
//! A coordinator that takes a miner's output and does not countersign its receipt, rejects it, or has let
//! its escrow run dry, does not pay it; and one whose commission is everything does not pay its voters.
//! No settlement sees that. Miners and voters do.
//!
//! A snapshot's maker leaves out who is jailed or below the least stake, or gives it the quality 0. A
//! receipt that has no verdict when its time is over counts as accepted, or whoever withholds verdicts
//! would have work for nothing.
//!
//! Below saturation all is linear in stake and work, or bounded by what is, so splitting a node gains
//! nothing but units of rounding. What a node has above saturation counts if it is another's, and nobody
//! can say whose nodes are one owner's: only a network that knows its operators gains by a saturation
//! that stakes can reach.
//!
//! # Output, version 1
//!
//! Magic, version, epoch and genesis; then rows, each behind a byte that says which; the trailer is
//! the last. Every miner and coordinator has a row, an account only if it earned anything.
//!
//! | offset | length | header, 50 bytes |
//! |---|---|---|
//! | 0 | 8 | magic `aditrwrd` |
//! | 8 | 2 | version, 1 |
//! | 10 | 8 | epoch |
//! | 18 | 32 | hash of the genesis document |
//!
//! | byte | row | fields | length without the byte |
//! |---|---|---|---|
//! | 1 | account, ascending | account 32, amount 16 | 48 |
//! | 2 | miner, ascending by node | node 32; income, by work after the cap, by stake, capped off, cut, each 16; counts 64 | 176 |
//! | 3 | coordinator, ascending by node | node 32; spent, burned, slice, earned, each 16; counts 64 | 160 |
//! | 4 | trailer | number of accounts, miners, coordinators, each 4; emission, minted, not minted, treasury, spent, burned, paid to accounts, each 16; counts 64 | 188 |
//!
//! Counts are eight u64: receipts paid in full, then those not paid in full by reason: not
//! registered, epoch, not accepted, status, duplicate, surplus, escrow. A miner's first reason is
//! always 0.
//!
//! Minted is the sum of treasury, all that coordinators earned, and by work + by stake - cut of all
//! miners. It holds that paid + treasury = minted + spent - burned, and minted + not minted =
//! emission. [`settle`] checks this and every sum before it writes a byte, [`Output::read`] again.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod amount;
mod epoch;
mod error;
mod fields;
pub mod input;
pub mod output;
#[cfg(test)]
mod testing;

use std::io::{Read, Write};

pub use epoch::{Due, compute, due};
pub use error::SettleError;
pub use input::{InputError, InputReader, InputWriter};
pub use output::{Output, OutputError, Totals};

/// Settles an epoch: reads an input to its end, and writes the output.
///
/// Memory grows with the nodes and votes, and with the receipts of the one log that has most: what is
/// divided by work is known only at its end.
///
/// # Errors
/// [`SettleError`] if the input is refused, when nothing has been written, or if writing fails.
pub fn settle(input: impl Read, output: impl Write) -> Result<Totals, SettleError> {
    let settled = compute(input)?;
    settled.write(output)?;
    Ok(settled.totals)
}
