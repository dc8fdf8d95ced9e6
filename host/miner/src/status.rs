//! What a miner says of itself: to its operator, over the control socket, and to whoever runs it
//! within a program.

use adit_protocol::network::membership::CoordinatorMember;
use adit_protocol::{Code, Hash};
use serde::Serialize;

use crate::cache::CacheUse;
use crate::held::HeldCounts;
use crate::transport::ApiError;

/// Why nothing of a coordinator runs here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Idle {
    /// Node key of the coordinator, as `0x` and digits.
    pub coordinator: String,
    /// The reason.
    pub code: Code,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// The particulars.
    pub detail: String,
}

/// What a miner is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It asks for work.
    Working,
    /// It finishes what it has, and then leaves.
    Draining,
    /// It is about to end.
    Stopping,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceStatus {
    /// What the operator calls it.
    pub name: String,
    /// Whether it is a GPU.
    pub gpu: bool,
    /// Hash of its environment document.
    pub environment: Hash,
    /// Runs that it makes at one time.
    pub slots: u32,
    /// Runs that it makes now.
    pub busy: u32,
    /// Whether its operator has paused it.
    pub paused: bool,
    /// Whether it is hotter than it may be.
    pub hot: bool,
    /// Its temperature in degrees Celsius, if it can be read.
    pub temperature_c: Option<u32>,
}

/// How many receipts of a series are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReceiptCounts {
    /// On disk without a signature.
    pub begun: u64,
    /// Signed, and not answered.
    pub signed: u64,
    /// Acknowledged by the coordinator.
    pub acknowledged: u64,
    /// Refused by the coordinator.
    pub refused: u64,
}

/// A coordinator, as this miner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CoordinatorStatus {
    /// Node key, as `0x` and digits.
    pub node: String,
    /// Where it is reached.
    pub url: String,
    /// Its region.
    pub region: String,
    /// Its stake, in 10^-12 token.
    #[serde(serialize_with = "decimal")]
    pub stake: u128,
    /// Its share of this miner's slots when all coordinators send more than fits, in parts per
    /// million.
    pub share_ppm: u64,
    /// Why nothing of it runs; absent while something does.
    pub idle: Option<Idle>,
    /// Assignments that are held.
    pub held: HeldCounts,
    /// Assignments that can be held.
    pub held_max: u32,
    /// Until when the coordinator counts this miner as active, in milliseconds since 1970.
    pub active_until_ms: Option<u64>,
    /// How long the last echo took, in microseconds.
    pub round_trip_us: Option<u64>,
    /// Receipts.
    pub receipts: ReceiptCounts,
    /// Things that it sent and that were not taken.
    pub refused_work: u64,
    /// Why the last of these was not taken.
    pub last_refusal: Option<String>,
    /// The last error of a request.
    pub last_error: Option<String>,
}

impl CoordinatorStatus {
    /// One that there is no session with.
    pub(crate) fn unconnected(
        node: &[u8; 32],
        member: Option<&CoordinatorMember>,
        since_ms: u64,
        error: &ApiError,
    ) -> CoordinatorStatus {
        let coordinator = crate::text::hex(node);
        CoordinatorStatus {
            node: coordinator.clone(),
            url: member.map(|m| m.url.clone()).unwrap_or_default(),
            region: member.map(|m| m.region.clone()).unwrap_or_default(),
            stake: member.map_or(0, |m| m.stake),
            share_ppm: 0,
            idle: Some(Idle {
                coordinator,
                code: error.code(),
                since_ms,
                detail: crate::text::tame(&error.to_string()),
            }),
            held: HeldCounts::default(),
            held_max: 0,
            active_until_ms: None,
            round_trip_us: None,
            receipts: ReceiptCounts::default(),
            refused_work: 0,
            last_refusal: None,
            last_error: None,
        }
    }
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Node key, as `0x` and digits.
    pub node: String,
    /// Version of the program.
    pub software: String,
    /// Engine id.
    pub engine: Hash,
    /// Genesis hash of the network.
    pub network: Hash,
    /// What the network is called.
    pub network_name: String,
    /// Version of the membership that is known.
    pub membership: u64,
    /// This miner's stake by the membership, in 10^-12 token; absent if it is no member.
    #[serde(serialize_with = "maybe_decimal")]
    pub stake: Option<u128>,
    /// What it is doing.
    pub mode: Mode,
    /// Since when it runs, in milliseconds since 1970.
    pub started_ms: u64,
    /// Its devices.
    pub devices: Vec<DeviceStatus>,
    /// The coordinators that it works for.
    pub coordinators: Vec<CoordinatorStatus>,
    /// How full the cache is.
    pub cache: CacheUse,
    /// Why the journal cannot be written, if so.
    pub journal_failing: Option<String>,
}

fn decimal<S: serde::Serializer>(amount: &u128, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(amount)
}

fn maybe_decimal<S: serde::Serializer>(amount: &Option<u128>, s: S) -> Result<S::Ok, S::Error> {
    match amount {
        Some(amount) => s.collect_str(amount),
        None => s.serialize_none(),
    }
}
