//! The checks of receipts that need neither the engine's state nor the log: what a receipt says
//! against the task's specs and against the blobs behind its commitments.
//!
//! Whether the assignment exists, whether it is in time, and whether the numbers follow each other
//! is for [`crate::core`] to say.

use adit_protocol::cbor::Document as _;
use adit_protocol::exec::ExecSpec;
use adit_protocol::network::exchange::HandInItem;
use adit_protocol::network::genesis::network_id;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::{Receipt, ReceiptBody, ReceiptError, verify_miners};
use adit_protocol::task::{DeviceClass, TaskSpec};
use adit_protocol::transcript::Transcript;
use adit_protocol::{Code, Hash};
use rand_core::{CryptoRng, RngCore};

use crate::Refusal;

/// The longest transcript that is taken, in bytes. Longer ones would not be replayed either.
pub const TRANSCRIPT_BYTES_MAX: u64 = 64 << 20;

/// Reads the receipts of a hand-in and checks their miner's signatures. What is refused here is
/// nobody's word, or none that this coordinator could take.
pub fn receipts(
    items: &[HandInItem],
    node: &[u8; 32],
    coordinator: &[u8; 32],
    genesis: &Hash,
    rng: &mut (impl CryptoRng + RngCore),
) -> Vec<Result<Receipt, Refusal>> {
    let mut read: Vec<Result<Receipt, Refusal>> = items
        .iter()
        .map(|item| {
            let receipt = Receipt::from_bytes(&item.receipt).map_err(|error| malformed(&error))?;
            belongs(&receipt.body, node, coordinator, genesis)?;
            Ok(receipt)
        })
        .collect();
    let at: Vec<usize> = (0..)
        .zip(&read)
        .filter_map(|(index, receipt)| receipt.is_ok().then_some(index))
        .collect();
    let good: Vec<Receipt> = read.iter().flatten().cloned().collect();
    if let Err(culprits) = verify_miners(&good, rng) {
        for culprit in culprits {
            if let Some(place) = at.get(culprit).and_then(|index| read.get_mut(*index)) {
                *place = Err(Refusal::new(
                    Code::BadSignature,
                    "the miner's signature does not fit the receipt",
                    "hand in the bytes of the journal as they were signed",
                ));
            }
        }
    }
    read
}

fn malformed(error: &ReceiptError) -> Refusal {
    let message = error.to_string();
    let (detail, hint) = message
        .split_once("; hint: ")
        .unwrap_or((&message, "hand in the 520 bytes of a receipt"));
    Refusal::new(Code::BadEncoding, detail, hint)
}

fn belongs(
    body: &ReceiptBody,
    node: &[u8; 32],
    coordinator: &[u8; 32],
    genesis: &Hash,
) -> Result<(), Refusal> {
    if body.network != network_id(genesis) {
        return Err(Refusal::new(
            Code::VersionMismatch,
            "the receipt is of another network",
            "hand it in to a coordinator of its own network",
        ));
    }
    if body.coordinator != *coordinator {
        return Err(Refusal::new(
            Code::UnknownAssignment,
            "the receipt is for another coordinator",
            "hand it in to the coordinator that it names",
        ));
    }
    if body.miner != *node {
        return Err(Refusal::new(
            Code::Forbidden,
            "the receipt is of another miner than the one that signed the request",
            "sign the request with the node key of the receipt",
        ));
    }
    Ok(())
}

/// What is known of the blobs behind a receipt.
pub struct Behind<'a> {
    /// Length of the output in bytes.
    pub output_len: u64,
    /// The transcript.
    pub transcript: &'a Transcript,
    /// Engines of the receipt's environment and of those in the transcript.
    pub engines: &'a [Hash],
}

/// Whether the opening is that of the receipt. Nothing behind it is looked for otherwise.
pub fn opens(body: &ReceiptBody, opening: &ReceiptOpening, task: &TaskSpec) -> Result<(), String> {
    for (name, hash, commitment) in [
        ("input", &opening.input, &body.input),
        ("output", &opening.output, &body.output),
        ("transcript", &opening.transcript, &body.transcript),
    ] {
        if hash.commit(&task.salt) != *commitment {
            return Err(format!(
                "the hash of the {name} in the opening is not the one that the receipt commits to"
            ));
        }
    }
    Ok(())
}

/// What in a receipt is not as the task's specs and the blobs have it.
///
/// # Errors
/// The first thing, in words.
pub fn fits(
    body: &ReceiptBody,
    opening: &ReceiptOpening,
    task: &TaskSpec,
    exec: &ExecSpec,
    behind: &Behind<'_>,
) -> Result<(), String> {
    if body.component != exec.component {
        return Err("the component is not the task's".to_owned());
    }
    if opening.input != exec.input {
        return Err("the input is not the task's".to_owned());
    }
    if behind.engines.iter().any(|engine| *engine != exec.engine) {
        return Err("an environment is of another engine than the task's".to_owned());
    }
    let wanted = &task.requirements.environments;
    if !wanted.is_empty() && !wanted.contains(&body.environment) {
        return Err("the environment is none of those that the task asks for".to_owned());
    }
    if body.fuel > exec.limits.fuel {
        return Err(format!(
            "it reports {} fuel, and the limit is {}",
            body.fuel, exec.limits.fuel
        ));
    }
    let most = exec
        .limits
        .output_bytes
        .saturating_add(exec.limits.emit_bytes);
    if behind.output_len > most {
        return Err(format!(
            "the output has {} bytes, and the limits allow {most}",
            behind.output_len
        ));
    }
    let calls = !behind.transcript.calls.is_empty();
    if body.nn != calls {
        return Err("the flag for inference is not what the transcript says".to_owned());
    }
    if body.gpu && !body.nn {
        return Err("the flag for a GPU is set, and there was no inference".to_owned());
    }
    let units = behind
        .transcript
        .calls
        .iter()
        .fold(0u64, |sum, call| sum.saturating_add(call.nn_units));
    if units != body.nn_units {
        return Err(format!(
            "it reports {} units of inference work, and the transcript has {units}",
            body.nn_units
        ));
    }
    if task.requirements.device == DeviceClass::Gpu && body.nn && !body.gpu {
        return Err("the task asks for a GPU, and none computed".to_owned());
    }
    Ok(())
}

/// The tensors that were answered, each once. A replay needs these; what was asked it makes again.
pub fn tensors(transcript: &Transcript) -> Vec<Hash> {
    let mut hashes: Vec<Hash> = transcript
        .calls
        .iter()
        .flat_map(|call| &call.outputs)
        .map(|tensor| tensor.hash)
        .collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// The transcript of a run without inference. It need not be handed in.
pub fn no_inference() -> (Hash, Vec<u8>) {
    let bytes = Transcript::default().to_cbor();
    (Hash::of(&bytes), bytes)
}

#[cfg(test)]
mod tests {
    use adit_protocol::SortedMap;
    use adit_protocol::exec::{Limits, World};
    use adit_protocol::keys::Keypair;
    use adit_protocol::status::Status;
    use adit_protocol::transcript::{Call, Op, TensorRef};
    use rand_core::OsRng;

    use super::*;

    fn exec() -> ExecSpec {
        ExecSpec {
            engine: Hash::of(b"engine"),
            world: World::Task,
            component: Hash::of(b"component"),
            input: Hash::of(b"input"),
            args: Vec::new(),
            clock_start_ns: 0,
            models: SortedMap::default(),
            seed: [0; 32],
            limits: Limits::default(),
        }
    }

    fn task() -> TaskSpec {
        TaskSpec {
            genesis: Hash::of(b"genesis"),
            coordinator: [7; 32],
            salt: [3; 32],
            ..TaskSpec::local(exec().hash(), 1000)
        }
    }

    fn opening() -> ReceiptOpening {
        ReceiptOpening {
            input: exec().input,
            output: Hash::of(b"OUTPUT"),
            transcript: no_inference().0,
        }
    }

    fn body(miner: &Keypair) -> ReceiptBody {
        let (task, opening) = (task(), opening());
        ReceiptBody {
            network: network_id(&task.genesis),
            status: Status::Ok,
            gpu: false,
            nn: false,
            epoch: 0,
            seq: 1,
            start_ms: 0,
            duration_us: 1,
            fuel: 5,
            nn_units: 0,
            peak_memory: 1,
            miner: miner.public().to_bytes(),
            coordinator: task.coordinator,
            task: task.hash(),
            assignment: Hash::of(b"assignment"),
            component: exec().component,
            input: opening.input.commit(&task.salt),
            output: opening.output.commit(&task.salt),
            transcript: opening.transcript.commit(&task.salt),
            environment: Hash::of(b"environment"),
            prev: Hash::ZERO,
        }
    }

    fn item(receipt: &Receipt) -> HandInItem {
        HandInItem {
            receipt: receipt.to_bytes().to_vec(),
            opening: opening(),
            blobs: Vec::new(),
            detail: None,
            log: None,
        }
    }

    #[test]
    fn only_the_senders_own_receipts_with_good_signatures_pass() {
        let (miner, other) = (Keypair::from_seed([1; 32]), Keypair::from_seed([2; 32]));
        let good = body(&miner).sign(&miner, &mut OsRng);
        let mut forged = good.clone();
        forged.body.fuel += 1;
        let foreign = body(&other).sign(&other, &mut OsRng);
        let mut network = body(&miner);
        network.network = [9; 4];
        let network = network.sign(&miner, &mut OsRng);
        let mut elsewhere = body(&miner);
        elsewhere.coordinator = [8; 32];
        let elsewhere = elsewhere.sign(&miner, &mut OsRng);
        let mut short = item(&good);
        short.receipt.pop();
        let items = [
            item(&good),
            short,
            item(&forged),
            item(&foreign),
            item(&network),
            item(&elsewhere),
            item(&good),
        ];
        let genesis = task().genesis;
        let node = miner.public().to_bytes();
        let codes: Vec<Option<Code>> = receipts(&items, &node, &[7; 32], &genesis, &mut OsRng)
            .into_iter()
            .map(|read| read.err().map(|refusal| refusal.code))
            .collect();
        assert_eq!(
            codes,
            [
                None,
                Some(Code::BadEncoding),
                Some(Code::BadSignature),
                Some(Code::Forbidden),
                Some(Code::VersionMismatch),
                Some(Code::UnknownAssignment),
                None
            ]
        );
    }

    #[test]
    fn an_opening_must_lead_to_what_was_committed() {
        let body = body(&Keypair::from_seed([1; 32]));
        assert_eq!(opens(&body, &opening(), &task()), Ok(()));
        for (change, name) in [
            (
                ReceiptOpening {
                    input: Hash::ZERO,
                    ..opening()
                },
                "input",
            ),
            (
                ReceiptOpening {
                    output: Hash::ZERO,
                    ..opening()
                },
                "output",
            ),
            (
                ReceiptOpening {
                    transcript: Hash::ZERO,
                    ..opening()
                },
                "transcript",
            ),
        ] {
            let why = opens(&body, &change, &task()).unwrap_err();
            assert!(why.contains(name), "{why}");
        }
    }

    #[test]
    fn each_field_that_can_be_compared_is() {
        let miner = Keypair::from_seed([1; 32]);
        let call = Call {
            op: Op::Compute,
            name: None,
            manifest: None,
            context: None,
            chain: None,
            inputs: vec![TensorRef {
                name: "asked".to_owned(),
                hash: Hash::of(b"asked"),
            }],
            outputs: vec![TensorRef {
                name: "x".to_owned(),
                hash: Hash::of(b"x"),
            }],
            nn_units: 4,
            environment: None,
            error: None,
        };
        let (none, some) = (
            Transcript::default(),
            Transcript {
                environments: Vec::new(),
                calls: vec![call.clone(), call],
            },
        );
        assert_eq!(tensors(&some), [Hash::of(b"x")]);
        let engine = [exec().engine];
        let judge = |body: &ReceiptBody, task: &TaskSpec, behind: &Behind<'_>| {
            fits(body, &opening(), task, &exec(), behind)
        };
        let behind = |transcript| Behind {
            output_len: 6,
            transcript,
            engines: &engine,
        };
        let good = body(&miner);
        assert_eq!(judge(&good, &task(), &behind(&none)), Ok(()));
        let inferred = ReceiptBody {
            nn: true,
            nn_units: 8,
            ..good.clone()
        };
        assert_eq!(judge(&inferred, &task(), &behind(&some)), Ok(()));

        for (bad, transcript) in [
            (
                ReceiptBody {
                    component: Hash::ZERO,
                    ..good.clone()
                },
                &none,
            ),
            (
                ReceiptBody {
                    fuel: Limits::default().fuel + 1,
                    ..good.clone()
                },
                &none,
            ),
            (
                ReceiptBody {
                    nn: true,
                    ..good.clone()
                },
                &none,
            ),
            (
                ReceiptBody {
                    gpu: true,
                    ..good.clone()
                },
                &none,
            ),
            (
                ReceiptBody {
                    nn_units: 1,
                    ..good.clone()
                },
                &none,
            ),
            (good.clone(), &some),
            (
                ReceiptBody {
                    nn_units: 9,
                    ..inferred.clone()
                },
                &some,
            ),
        ] {
            assert!(
                judge(&bad, &task(), &behind(transcript)).is_err(),
                "{bad:?}"
            );
        }
        let mut gpu = task();
        gpu.requirements.device = DeviceClass::Gpu;
        assert!(judge(&inferred, &gpu, &behind(&some)).is_err());
        let mut elsewhere = task();
        elsewhere.requirements.environments = vec![Hash::of(b"another")];
        assert!(judge(&good, &elsewhere, &behind(&none)).is_err());
        let long = Behind {
            output_len: u64::MAX,
            ..behind(&none)
        };
        assert!(judge(&good, &task(), &long).is_err());
        let foreign = Behind {
            engines: &[Hash::of(b"old")],
            ..behind(&none)
        };
        assert!(judge(&good, &task(), &foreign).is_err());
        let other_input = ReceiptOpening {
            input: Hash::of(b"other"),
            ..opening()
        };
        assert!(fits(&good, &other_input, &task(), &exec(), &behind(&none)).is_err());
    }
}
