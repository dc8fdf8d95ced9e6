//! The hardware record: what a node says of its machine and its devices, signed by its own key.
//!
//! Everything in it is a **claim**: measured by the node itself, and so worth what the node's word
//! is worth. The signature says whose word it is, not that it is true. What others measure of the
//! node is theirs to sign.
//!
//! | part | subject |
//! |---|---|
//! | this file | the record, its rules, its signature |
//! | [`HardwareClass`] | the coarse class of a device, as `gpu-24g-f14` |

mod class;

pub use class::{HardwareClass, MEMORY_RUNGS_GIB, ParseHardwareClassError};

use minicbor::{Decode, Encode};
use serde::Serialize;
use thiserror::Error;

use crate::cbor::fields::{self, Invalid};
use crate::cbor::{DecodeError, Document, SortedMap};
use crate::hash::Hash;
use crate::keys::{Keypair, PublicKey, PublicKeyError};
use crate::rand_core::{CryptoRng, RngCore};

/// The signing context of hardware records.
pub const CONTEXT: &[u8] = b"adit-hardware-v1";

/// Whether a device is a processor or a graphics card; the number is the wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// The processor, and the machine's own memory.
    #[n(0)]
    Cpu = 0,
    /// A graphics card or another accelerator.
    #[n(1)]
    Gpu = 1,
}

/// What a node claims of its processor.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct CpuClaims {
    /// Its name, as the system gives it; empty if it is not known.
    #[n(0)]
    pub model: String,
    /// Cores that the node may use, from 1.
    #[n(1)]
    pub cores: u32,
    /// Instruction set that compiled code is limited to, as `x86-64-v2`.
    #[n(2)]
    pub baseline: String,
    /// Memory of the machine in bytes; 0 if it is not known.
    #[n(3)]
    pub memory_bytes: u64,
    /// Rate at which the memory is read and written, in bytes per second; 0 if not measured.
    #[n(4)]
    pub memory_bandwidth: u64,
    /// Rate at which one slot runs the standard component, in fuel per second; 0 if not measured.
    #[n(5)]
    pub guest_fuel_rate: u64,
}

/// What a node claims of a device that runs models.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct DeviceClaims {
    /// Hash of the device's environment document, the one without a model. Two cards of one kind
    /// have the same.
    #[n(0)]
    pub environment: Hash,
    /// Its name for people.
    #[n(1)]
    pub name: String,
    /// What it is.
    #[n(2)]
    pub kind: DeviceKind,
    /// Its memory in bytes; 0 if it is not known.
    #[n(3)]
    pub memory_bytes: u64,
    /// Rate at which its memory is read and written, in bytes per second; 0 if not measured.
    #[n(4)]
    pub memory_bandwidth: u64,
    /// Multiplications and additions of binary32, in FLOP per second; 0 if not measured.
    #[n(5)]
    pub fp32_rate: u64,
    /// The same of binary16; absent if it was not measured, or the device has none.
    #[n(6)]
    pub fp16_rate: Option<u64>,
    /// Inferences in 1000 seconds of each standard model that was tried, by its name.
    #[n(7)]
    pub models: SortedMap<u64>,
}

impl DeviceClaims {
    /// The class of the device, if the claims are true.
    pub fn class(&self) -> HardwareClass {
        HardwareClass::new(self.kind, self.memory_bytes, self.fp32_rate)
    }
}

/// What a node claims of its connection to one peer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct NetworkClaims {
    /// The peer that it was measured with: a host name or an address.
    #[n(0)]
    pub peer: String,
    /// Time to the peer and back, in microseconds.
    #[n(1)]
    pub rtt_us: u64,
    /// Bytes per second from the peer.
    #[n(2)]
    pub down: u64,
    /// Bytes per second to the peer.
    #[n(3)]
    pub up: u64,
}

/// What a node claims of its hardware.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct HardwareRecord {
    /// Public key of the node, which signs the record.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub node: [u8; 32],
    /// When it was made, in milliseconds since 1970, by the node's clock.
    #[n(1)]
    pub made_ms: u64,
    /// Version of the software that measured.
    #[n(2)]
    pub software: String,
    /// Engine id.
    #[n(3)]
    pub engine: Hash,
    /// The processor.
    #[n(4)]
    pub cpu: CpuClaims,
    /// The devices that run models, in the node's own order.
    #[n(5)]
    pub devices: Vec<DeviceClaims>,
    /// The network; absent if it was not measured.
    #[n(6)]
    pub network: Option<NetworkClaims>,
}

impl HardwareRecord {
    /// Signs the record. The keypair must be that of `self.node`, or it will not verify.
    pub fn sign(
        &self,
        node: &Keypair,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> SignedHardwareRecord {
        let record = self.to_cbor();
        let signature = node.sign(CONTEXT, &record, rng);
        SignedHardwareRecord { record, signature }
    }
}

impl Document for HardwareRecord {
    const NAME: &'static str = "hardware record";
    const MAX_LEN: usize = 64 * 1024;

    fn check(&self) -> Result<(), Invalid> {
        fields::name("software", &self.software, 64)?;
        fields::text("cpu.model", &self.cpu.model, 256)?;
        if self.cpu.cores == 0 {
            return Invalid::new("cpu.cores", "it is 0, and nothing could have run");
        }
        fields::text("cpu.baseline", &self.cpu.baseline, 256)?;
        fields::count("devices", self.devices.len(), 64)?;
        for device in &self.devices {
            fields::name("devices.name", &device.name, 256)?;
            if device.fp16_rate == Some(0) {
                return Invalid::new(
                    "devices.fp16_rate",
                    "it is 0, which is said by leaving it out",
                );
            }
            fields::count("devices.models", device.models.len(), 256)?;
            for name in device.models.keys() {
                fields::name("devices.models", name, 128)?;
            }
        }
        match &self.network {
            Some(network) => fields::name("network.peer", &network.peer, 256),
            None => Ok(()),
        }
    }
}

/// A hardware record with the node's signature. Nothing of the record is read before
/// [`SignedHardwareRecord::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct SignedHardwareRecord {
    /// The encoded [`HardwareRecord`], which is what is signed.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub record: Vec<u8>,
    /// Signature of the node under [`CONTEXT`].
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub signature: [u8; 64],
}

impl Document for SignedHardwareRecord {
    const NAME: &'static str = "signed hardware record";
    const MAX_LEN: usize = HardwareRecord::MAX_LEN + 128;
    const MAX_BYTES: usize = HardwareRecord::MAX_LEN;
}

impl SignedHardwareRecord {
    /// The record, if it is well formed and its own node signed it. That it is true is not checked:
    /// the numbers in it are claims.
    ///
    /// # Errors
    /// [`HardwareError`].
    pub fn verify(&self) -> Result<HardwareRecord, HardwareError> {
        let record = HardwareRecord::from_cbor(&self.record)?;
        PublicKey::from_bytes(&record.node)
            .map_err(HardwareError::Key)?
            .verify(CONTEXT, &self.record, &self.signature)
            .map_err(|_| HardwareError::Signature)?;
        Ok(record)
    }
}

/// Why a signed hardware record is nobody's word.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HardwareError {
    /// What was signed is no hardware record.
    #[error(transparent)]
    Record(#[from] DecodeError),
    /// The node's key is no public key.
    #[error("the node's key is not usable: {0}")]
    Key(PublicKeyError),
    /// The signature does not fit the record and its node.
    #[error(
        "the node's signature does not fit; hint: the record was altered after signing, or another key than the node's signed it"
    )]
    Signature,
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn record(node: &Keypair) -> HardwareRecord {
        HardwareRecord {
            node: node.public().to_bytes(),
            made_ms: 1,
            software: "0.1.0".into(),
            engine: Hash::ZERO,
            cpu: CpuClaims {
                model: String::new(),
                cores: 2,
                baseline: "x86-64-v2".into(),
                memory_bytes: 0,
                memory_bandwidth: 0,
                guest_fuel_rate: 0,
            },
            devices: vec![DeviceClaims {
                environment: Hash::ZERO,
                name: "card".into(),
                kind: DeviceKind::Gpu,
                memory_bytes: 25_757_220_864,
                memory_bandwidth: 0,
                fp32_rate: 20_000_000_000_000,
                fp16_rate: None,
                models: SortedMap::new(),
            }],
            network: None,
        }
    }

    #[test]
    fn a_node_signs_for_itself_alone() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let (node, other) = (Keypair::from_seed([1; 32]), Keypair::from_seed([2; 32]));
        let record = record(&node);
        let signed = record.sign(&node, &mut rng);
        assert_eq!(signed.verify(), Ok(record.clone()));
        let again = SignedHardwareRecord::from_cbor(&signed.to_cbor());
        assert_eq!(again.unwrap().verify(), Ok(record.clone()));

        let of_another = record.sign(&other, &mut rng);
        assert_eq!(of_another.verify(), Err(HardwareError::Signature));
        let mut altered = signed.clone();
        let last = altered.record.len() - 1;
        altered.record[last] ^= 1;
        assert!(altered.verify().is_err());
        let under_another_context = SignedHardwareRecord {
            signature: node.sign(b"substrate", &signed.record, &mut rng),
            ..signed
        };
        assert_eq!(
            under_another_context.verify(),
            Err(HardwareError::Signature)
        );
    }

    #[test]
    fn a_device_has_the_class_of_its_claims() {
        let record = record(&Keypair::from_seed([1; 32]));
        assert_eq!(record.devices[0].class().to_string(), "gpu-24g-f14");
    }
}
