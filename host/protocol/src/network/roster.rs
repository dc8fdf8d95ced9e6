//! Rosters: the candidates of a coordinator's draws with their weights, and the log entry that
//! fixes them before a draw is made.

use minicbor::{Decode, Encode};
use serde::Serialize;

use super::genesis::Genesis;
use super::membership::ascending;
use crate::cbor::Document;
use crate::cbor::fields::Invalid;
use crate::hash::Hash;
use crate::keys::vrf::VrfSignature;
use crate::keys::{BadSignature, Keypair, PublicKey};
use crate::rand_core::{CryptoRng, RngCore};

/// The VRF's signing context.
pub const VRF_CONTEXT: &[u8] = b"adit-roster-vrf-v1";
/// Most candidates of a roster.
pub const CANDIDATES_MAX: usize = 16_384;
/// A share of one, in the parts per billion that weights are counted in.
const PPB: u128 = 1_000_000_000;
/// Part of the weight that goes by saturated stake; the rest goes by units of the least stake.
const BY_STAKE_PPB: u128 = 700_000_000;
/// A factor of one, in parts per million.
pub const PPM: u64 = 1_000_000;

/// A miner that can be drawn.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Candidate {
    /// Its node key.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub node: [u8; 32],
    /// Its stake by the membership, in 10^-12 token.
    #[n(1)]
    #[cbor(with = "crate::cbor::fields::amount")]
    #[serde(serialize_with = "crate::json::decimal")]
    pub stake: u128,
    /// Assignments that it takes at one time.
    #[n(2)]
    pub slots: u32,
    /// Whether it runs tasks without a GPU.
    #[n(3)]
    pub cpu: bool,
    /// Bytes of memory of its largest GPU; absent if it has none.
    #[n(4)]
    pub gpu_memory_bytes: Option<u64>,
    /// Hashes of the environments that it offers, ascending.
    #[n(5)]
    pub environments: Vec<Hash>,
    /// How its work turned out so far: see [`super::draw::Record::quality_ppm`].
    #[n(6)]
    pub quality_ppm: u64,
    /// Round-trip class to the coordinator's region, as the coordinator measured it: see
    /// [`super::draw::locality_class`].
    #[n(7)]
    pub locality: u8,
    /// Weight in draws: [`weights`] gives it, and anyone can compute it again.
    #[n(8)]
    pub weight: u64,
}

/// The candidates at one time, as a public blob.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Roster {
    /// The epoch.
    #[n(0)]
    pub epoch: u64,
    /// The epoch's beacon.
    #[n(1)]
    pub beacon: Hash,
    /// Hash of the [`super::membership::Membership`] that the stakes are from.
    #[n(2)]
    pub membership: Hash,
    /// The coordinator's region; empty if it has none.
    #[n(3)]
    pub region: String,
    /// The candidates, ascending by node key.
    #[n(4)]
    pub candidates: Vec<Candidate>,
}

impl Document for Roster {
    const NAME: &'static str = "roster";
    const MAX_LEN: usize = 16 * 1024 * 1024;
    const MAX_ITEMS: usize = CANDIDATES_MAX;

    fn check(&self) -> Result<(), Invalid> {
        crate::cbor::fields::text("region", &self.region, 64)?;
        let nodes: Vec<_> = self.candidates.iter().map(|c| c.node).collect();
        ascending("candidates", &nodes)?;
        for candidate in &self.candidates {
            crate::cbor::fields::count(
                "candidates.environments",
                candidate.environments.len(),
                64,
            )?;
            ascending("candidates.environments", &candidate.environments)?;
            if candidate.quality_ppm > PPM {
                return Invalid::new("candidates.quality_ppm", "it is more than 1000000");
            }
        }
        Ok(())
    }
}

/// What a network's genesis says of weights in draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighing {
    /// Least stake of a miner, in 10^-12 token.
    pub least: u128,
    /// Stake above this many times the least counts no more.
    pub saturation: u32,
}

impl Weighing {
    /// By a network's genesis.
    pub fn of(genesis: &Genesis) -> Weighing {
        Weighing {
            least: genesis.miner_stake_min,
            saturation: genesis.saturation,
        }
    }

    /// The weights of candidates, in their order: 0.7 of each one's share of the saturated stakes and
    /// 0.3 of its share of the whole units of the least stake, in parts per billion, times quality.
    /// Both shares are linear in stake up to the saturation, so that splitting an identity gains
    /// nothing. A candidate has at least weight 1, unless its quality is 0.
    pub fn weights(&self, candidates: &[Candidate]) -> Vec<u64> {
        let least = self.least.max(1);
        let most = least.saturating_mul(u128::from(self.saturation));
        // Bounded so that sums and products below stay within 128 bits: 2^14 candidates, 2^30 parts.
        let scale = |stake: u128| stake.min(most) >> most.ilog2().saturating_sub(80);
        let units = |stake: u128| (stake / least).min(u128::from(self.saturation));
        let stakes: u128 = candidates.iter().map(|c| scale(c.stake)).sum();
        let all_units: u128 = candidates.iter().map(|c| units(c.stake)).sum();
        let share = |part: u128, of: u128, total: u128| (part * of).checked_div(total).unwrap_or(0);
        let weigh = |candidate: &Candidate| {
            let by_stake = share(scale(candidate.stake), BY_STAKE_PPB, stakes);
            let by_units = share(units(candidate.stake), PPB - BY_STAKE_PPB, all_units);
            let quality = u128::from(candidate.quality_ppm.min(PPM));
            let weight = (by_stake + by_units) * quality / u128::from(PPM);
            match quality {
                0 => 0,
                _ => u64::try_from(weight.max(1)).unwrap_or(u64::MAX),
            }
        };
        candidates.iter().map(weigh).collect()
    }
}

/// The weights of candidates of a network: see [`Weighing::weights`].
pub fn weights(genesis: &Genesis, candidates: &[Candidate]) -> Vec<u64> {
    Weighing::of(genesis).weights(candidates)
}

/// The log entry of a roster: which candidates the draws after it are made from, and the
/// coordinator's verifiable random output for them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct RosterEntry {
    /// The epoch.
    #[n(0)]
    pub epoch: u64,
    /// Hash of the [`Roster`], which is a public blob.
    #[n(1)]
    pub root: Hash,
    /// When it was made, in milliseconds since 1970: a claim of the coordinator.
    #[n(2)]
    pub made_ms: u64,
    /// The VRF's point.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub vrf_point: [u8; 32],
    /// The VRF's proof.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub vrf_proof: [u8; 64],
}

impl Document for RosterEntry {
    const NAME: &'static str = "roster entry";
    const MAX_LEN: usize = 512;
}

impl RosterEntry {
    /// Makes the entry that will be at leaf `leaf`, and the VRF output for the draws after it.
    pub fn make(
        genesis: &Hash,
        roster: &Roster,
        leaf: u64,
        made_ms: u64,
        node: &Keypair,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> (RosterEntry, Hash) {
        let root = roster.hash();
        let input = vrf_input(genesis, &roster.beacon, leaf, &root);
        let (output, signature) = node.vrf_sign(VRF_CONTEXT, &input, rng);
        let entry = RosterEntry {
            epoch: roster.epoch,
            root,
            made_ms,
            vrf_point: signature.point,
            vrf_proof: signature.proof,
        };
        (entry, output)
    }

    /// The VRF output, if the coordinator's proof holds for this leaf.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn output(
        &self,
        genesis: &Hash,
        beacon: &Hash,
        leaf: u64,
        coordinator: &PublicKey,
    ) -> Result<Hash, BadSignature> {
        let signature = VrfSignature {
            point: self.vrf_point,
            proof: self.vrf_proof,
        };
        let input = vrf_input(genesis, beacon, leaf, &self.root);
        coordinator.vrf_verify(VRF_CONTEXT, &input, &signature)
    }
}

/// genesis ‖ epoch beacon ‖ leaf index (u64 LE) ‖ root: 104 bytes.
fn vrf_input(genesis: &Hash, beacon: &Hash, leaf: u64, root: &Hash) -> Vec<u8> {
    [
        genesis.as_bytes().as_slice(),
        beacon.as_bytes(),
        &leaf.to_le_bytes(),
        root.as_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: u128 = 20_000_000_000_000_000;

    fn genesis() -> Genesis {
        Genesis {
            name: "test".into(),
            created_ms: 0,
            authority: [1; 32],
            epoch_ms: 1_000,
            miner_stake_min: LEAST,
            coordinator_stake_min: 0,
            saturation: 50,
            development: true,
            ledger: None,
        }
    }

    fn weigh(stakes: &[u128]) -> Vec<u64> {
        let candidates: Vec<_> = (0..)
            .zip(stakes)
            .map(|(n, stake)| Candidate {
                node: [n; 32],
                stake: *stake,
                slots: 1,
                cpu: true,
                gpu_memory_bytes: None,
                environments: Vec::new(),
                quality_ppm: PPM,
                locality: 0,
                weight: 0,
            })
            .collect();
        weights(&genesis(), &candidates)
    }

    #[test]
    fn splitting_an_identity_gains_nothing() {
        let whole = weigh(&[10 * LEAST, 30 * LEAST]);
        let split = weigh(&[5 * LEAST, 5 * LEAST, 30 * LEAST]);
        let gained = i128::from(split[0] + split[1]) - i128::from(whole[0]);
        assert!((-2..=0).contains(&gained), "{gained}");
        // Parts that leave less than a unit over lose that.
        let uneven = weigh(&[LEAST * 3 / 2, LEAST * 3 / 2, 30 * LEAST]);
        assert!(uneven[0] + uneven[1] < weigh(&[3 * LEAST, 30 * LEAST])[0]);
    }

    #[test]
    fn stake_saturates_and_newcomers_get_work() {
        let weights = weigh(&[LEAST, 50 * LEAST, 5_000 * LEAST]);
        assert_eq!(weights[1], weights[2]);
        assert!(
            weights[0] > 9_000_000,
            "a hundredth of the draws: {weights:?}"
        );
        assert_eq!(weigh(&[LEAST]), [1_000_000_000]);
        assert_eq!(weigh(&[u128::MAX, u128::MAX]), [500_000_000, 500_000_000]);
        assert_eq!(weigh(&[0]), [1]);
    }
}
