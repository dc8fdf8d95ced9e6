//! Deterministic CBOR (RFC 8949, 4.2.1) and the rules by which every document is read.
//!
//! A document is one CBOR map with small integer keys. It is decoded strictly, in this order:
//!
//! 1. its length is at most [`Document::MAX_LEN`];
//! 2. a pass over the bytes finds exactly one item, in deterministic form: definite lengths,
//!    shortest integers, map keys strictly ascending by their encoded bytes, texts in UTF-8, no
//!    floats, negative numbers or nulls; counts, text lengths and nesting (8) within bounds;
//! 3. the fields are decoded by type;
//! 4. the document's own rules hold ([`Document::check`]);
//! 5. encoding it again gives the same bytes, so that unknown fields are refused too.
//!
//! So there is exactly one encoding of each document, and its hash names it.
//!
//! # Keys
//!
//! Types: `u` unsigned integer, `t` text, `b32`/`b64` byte string of that length, `b` one of any
//! length within the document's bound, `h` hash (b32),
//! `f` bool, `[x]` array of x, `{t: x}` map from text to x, `x?` left out when absent. `a` is an
//! amount: `u` up to 64 bits, else tag 2 and the big-endian bytes without leading zeros.
//!
//! | document | keys |
//! |---|---|
//! | engine document | 0 runtime t, 1 wasmtime t, 2 wasm_features \[t\] ascending, 3 operator_cost {t: u}, 4 limits {t: u}, 5 rules {t: t} |
//! | exec spec | 0 engine h, 1 world u, 2 component h, 3 input h, 4 args \[t\], 5 clock_start_ns u, 6 models {t: h}, 7 seed b32, 8 limits (map below) |
//! | — limits | 0 fuel u, 1 memory_bytes u, 2 table_elements u, 3 output_bytes u, 4 emit_bytes u, 5 stderr_bytes u, 6 tensor_bytes_held u, 7 tensor_bytes_moved u, 8 model_bytes u, 9 handles u |
//! | — world | 0 task, 1 command |
//! | task spec | 0 genesis h, 1 coordinator b32, 2 exec h, 3 salt b32, 4 price a, 5 attempt_fee a, 6 deadline_ms u, 7 requirements (map), 8 verification (map), 9 disclosure u, 10 client_tag b32, 11 submitter (map)? |
//! | — requirements | 0 device u, 1 device_memory_bytes u, 2 environments \[h\] |
//! | — device | 0 any, 1 cpu, 2 gpu |
//! | — verification | 0 replicas u, 1 quorum u, 2 adaptive f, 3 tolerance f |
//! | — disclosure | 0 public, 1 checkers, 2 parties |
//! | — submitter | 0 account b32, 1 nonce u, 2 signature b64 |
//! | model manifest | 0 encoding u, 1 files {t: file}, 2 licence t, 3 inputs \[tensor\], 4 outputs \[tensor\], 5 cost (map), 6 tolerance (array), 7 memory_bytes u |
//! | — encoding | 0 openvino, 1 onnx, 2 tensorflow, 3 pytorch, 4 tensorflowlite, 5 ggml, 6 autodetect |
//! | — file | 0 hash h, 1 len u |
//! | — tensor | 0 name t, 1 dtype u, 2 dims \[u or t\] (a text is a symbol, the empty text an unknown dim) |
//! | — dtype | 0 fp16, 1 fp32, 2 fp64, 3 bf16, 4 u8, 5 i32, 6 i64 |
//! | — cost | 0 base u, 1 per_input_element u |
//! | — tolerance | \[0\] exact, \[1, abs_nano u, rel_ppm u\], \[2, min_ppm u\] cosine, \[3, k u, min_ppm u\] top-k, \[4, max_bits u\] perceptual-hash |
//! | environment document | 0 engine h, 1 triple t, 2 cpu_baseline t, 3 backend t, 4 backend_version t, 5 build t, 6 execution_provider t, 7 device t, 8 driver t, 9 precision t, 10 threads u, 11 requested t?, 12 options {t: t}?, 13 fallback {t: u}? |
//! | transcript | 0 environments \[h\], 1 calls \[call\] |
//! | — call | 0 op u, 1 name t?, 2 manifest h?, 3 context u?, 4 chain h?, 5 inputs \[ref\], 6 outputs \[ref\], 7 nn_units u, 8 environment u?, 9 error u? |
//! | — op | 0 load, 1 load-by-name, 2 init-context, 3 compute |
//! | — ref | 0 name t, 1 hash h |
//! | receipt opening | 0 input h, 1 output h, 2 transcript h |
//! | hardware record | 0 node b32, 1 made_ms u, 2 software t, 3 engine h, 4 cpu (map), 5 devices \[device\], 6 network (map)? |
//! | — cpu | 0 model t, 1 cores u, 2 baseline t, 3 memory_bytes u, 4 memory_bandwidth u, 5 guest_fuel_rate u |
//! | — device | 0 environment h, 1 name t, 2 kind u, 3 memory_bytes u, 4 memory_bandwidth u, 5 fp32_rate u, 6 fp16_rate u?, 7 models {t: u} |
//! | — kind | 0 cpu, 1 gpu |
//! | — network | 0 peer t, 1 rtt_us u, 2 down u, 3 up u |
//! | signed hardware record | 0 record b (an encoded hardware record), 1 signature b64 under `adit-hardware-v1` |
//! | device report | 0 environment h, 1 model h, 2 reference (map)?, 3 repeatability (map)? |
//! | — reference | 0 environment h, 1 cases u, 2 accepted u, 3 exact u, 4 max_abs_nano u, 5 max_rel_ppm u |
//! | — repeatability | 0 runs u, 1 processes u, 2 threads \[u\] ascending, 3 repeatable f, 4 across_threads f |
//! | genesis document | 0 name t, 1 created_ms u, 2 authority b32, 3 epoch_ms u, 4 miner_stake_min a, 5 coordinator_stake_min a, 6 saturation u, 7 development f, 8 ledger h? |
//! | membership | 0 genesis h, 1 version u, 2 engines \[h\] ascending, 3 coordinators \[coordinator\], 4 miners \[miner\], 5 witnesses \[witness\]; each ascending by its first field |
//! | — coordinator | 0 node b32, 1 log b32, 2 account b32, 3 stake a, 4 url t, 5 region t, 6 introduction t |
//! | — miner | 0 node b32, 1 account b32, 2 stake a, 3 jailed t?, 4 introduction t |
//! | — witness | 0 name t, 1 cosign b32, 2 url t |
//! | network file | 0 genesis (a genesis document), 1 membership (signed, `adit-membership-v1`) |
//! | roster | 0 epoch u, 1 beacon h, 2 membership h, 3 region t, 4 candidates \[candidate\] ascending by node |
//! | — candidate | 0 node b32, 1 stake a, 2 slots u, 3 cpu f, 4 gpu_memory_bytes u?, 5 environments \[h\] ascending, 6 quality_ppm u, 7 locality u, 8 weight u |
//! | roster entry | 0 epoch u, 1 root h, 2 made_ms u, 3 vrf_point b32, 4 vrf_proof b64 |
//! | assignment | 0 genesis h, 1 coordinator b32, 2 miner b32, 3 task h, 4 attempt u, 5 replica u, 6 roster u, 7 epoch u, 8 local f, 9 issued_ms u, 10 deadline_ms u, 11 escrow a |
//! | acceptance | 0 assignment h, 1 miner b32, 2 at_ms u |
//! | active-until | 0 genesis h, 1 coordinator b32, 2 miner b32, 3 at_ms u, 4 until_ms u |
//! | verdict | 0 task h, 1 receipts \[judged\], 2 validator h? |
//! | — judged | 0 receipt h, 1 decision u |
//! | — decision | 0 accepted, 1 outvoted, 2 no-quorum, 3 refused-by-validator, 4 late, 5 mismatch, 6 not-attestable, 7 task-cancelled |
//! | expiry | 0 assignment h, 1 at_ms u, 2 acceptance (signed, `adit-acceptance-v1`)? |
//! | cancel | 0 task h, 1 by u, 2 at_ms u, 3 assignments \[h\] |
//! | — by | 0 client, 1 coordinator, 2 decided |
//! | any signed document | 0 body b (the encoded document), 1 signature b64 under `adit-<type>-v1` |
//! | hello and the other messages between miners and coordinators | see [`crate::network::exchange`] |

pub mod fields;
mod map;
mod scan;

pub use fields::Invalid;
pub use map::SortedMap;

use minicbor::{Decode, Encode};
use thiserror::Error;

use crate::hash::Hash;

/// A value with exactly one encoding, named by the hash of that encoding.
pub trait Document: Sized + Encode<()> + for<'b> Decode<'b, ()> {
    /// What the document is called in messages.
    const NAME: &'static str;
    /// The longest encoding, in bytes.
    const MAX_LEN: usize;
    /// The most entries of any array or map in it.
    const MAX_ITEMS: usize = 4096;
    /// The longest text in it, in bytes.
    const MAX_TEXT: usize = 1024;
    /// The longest byte string in it: a signature, but for documents that hold another.
    const MAX_BYTES: usize = 64;

    /// The rules that a document keeps beyond being well encoded, bounds of single fields above
    /// all. [`Document::to_cbor`] does not call it, [`Document::from_cbor`] does.
    ///
    /// # Errors
    /// The first rule that is broken.
    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }

    /// The deterministic encoding.
    fn to_cbor(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail, and no `Encode` of this crate returns a message.
        if let Err(error) = minicbor::encode(self, &mut bytes) {
            unreachable!("{} cannot be encoded: {error}", Self::NAME);
        }
        bytes
    }

    /// Reads a document by the rules at the top of this module.
    ///
    /// # Errors
    /// [`DecodeError`], which names the document and the first rule that is broken.
    fn from_cbor(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fail = |reason| DecodeError {
            document: Self::NAME,
            reason,
        };
        if bytes.len() > Self::MAX_LEN {
            return Err(fail(Reason::TooLong {
                found: bytes.len(),
                max: Self::MAX_LEN,
            }));
        }
        let bounds = scan::Bounds {
            items: Self::MAX_ITEMS,
            text: Self::MAX_TEXT,
            bytes: Self::MAX_BYTES,
        };
        scan::scan(bytes, &bounds).map_err(fail)?;
        let document: Self = minicbor::decode(bytes).map_err(|error| {
            fail(Reason::Malformed {
                detail: error.to_string(),
            })
        })?;
        document.validate()?;
        let again = document.to_cbor();
        if again != bytes {
            let offset = again.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            return Err(fail(Reason::NotReproduced { offset }));
        }
        Ok(document)
    }

    /// Whether [`Document::from_cbor`] would accept what [`Document::to_cbor`] makes of this
    /// value, as far as [`Document::check`] goes. For whoever builds one.
    ///
    /// # Errors
    /// [`DecodeError`] with [`Reason::Invalid`].
    fn validate(&self) -> Result<(), DecodeError> {
        self.check()
            .map_err(|Invalid { field, detail }| DecodeError {
                document: Self::NAME,
                reason: Reason::Invalid { field, detail },
            })
    }

    /// The BLAKE3 hash of the encoding: the document's name everywhere else.
    fn hash(&self) -> Hash {
        Hash::of(&self.to_cbor())
    }
}

/// Bytes that are not the document they were taken for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "this is not a valid {document}: {reason}; hint: it was damaged, written by another version, or is another kind of file"
)]
pub struct DecodeError {
    /// The document that was expected.
    pub document: &'static str,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with the bytes of a document. Offsets count bytes from its start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// Longer than the document may be.
    #[error("it has {found} bytes, at most {max} are allowed")]
    TooLong {
        /// Its length.
        found: usize,
        /// The longest allowed.
        max: usize,
    },
    /// The bytes end inside an item.
    #[error("it is cut off at byte {offset}")]
    CutOff {
        /// Where the bytes end.
        offset: usize,
    },
    /// Bytes follow the document.
    #[error("there are more bytes after its end at byte {offset}")]
    Trailing {
        /// Where the document ends.
        offset: usize,
    },
    /// Something that deterministic CBOR does not allow.
    #[error("at byte {offset} there is {what}")]
    NotDeterministic {
        /// Where it begins.
        offset: usize,
        /// What it is.
        what: &'static str,
    },
    /// A count, length or depth above its bound.
    #[error("at byte {offset} there is a {what} of {found}, at most {max} is allowed")]
    OverBound {
        /// Where it begins.
        offset: usize,
        /// What is counted.
        what: &'static str,
        /// The count found.
        found: u64,
        /// The highest allowed.
        max: u64,
    },
    /// A field is missing or of another type.
    #[error("{detail}")]
    Malformed {
        /// The decoder's message.
        detail: String,
    },
    /// A rule of the document is broken.
    #[error("field `{field}`: {detail}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// Encoding the decoded document gives other bytes: it has a field that is not known.
    #[error(
        "it has a field that this version does not know, or another form of one, from byte {offset} on"
    )]
    NotReproduced {
        /// The first byte that differs.
        offset: usize,
    },
}
