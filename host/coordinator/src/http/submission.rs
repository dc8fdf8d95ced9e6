//! What a client sends to submit a task, and the specs that are made of it.
//!
//! Whatever is wrong is said at once and by the name of the field: a mistyped field or requirement
//! must never become a task that waits for miners which cannot exist.

use std::collections::BTreeMap;

use adit_net::Problem;
use adit_net::http::extract::parse_json;
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::network::exchange::INLINE_BYTES_MAX;
use adit_protocol::task::{DeviceClass, Disclosure, Requirements, TaskSpec, Verification};
use adit_protocol::{Code, Hash};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::wire::{Amount, Bytes32, HashText, Number};

/// The longest body of a submission, in bytes: an exec spec may hold half a megabyte of arguments,
/// which JSON may write at six bytes a character.
pub const SUBMISSION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A task to be run.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskRequest {
    /// The component, a blob that was uploaded.
    pub component: HashText,
    /// The component's world.
    #[serde(default)]
    pub world: WorldName,
    /// The input; an empty one if it is left out.
    #[serde(default)]
    pub input: Input,
    /// Arguments of the program, without its name: at most 64 KiB each and 512 KiB together, with
    /// no NUL.
    #[serde(default)]
    #[schema(max_items = 1024)]
    pub args: Vec<String>,
    /// What the task's clock shows at its start, in nanoseconds since 1970; else the time of
    /// submission.
    #[serde(default)]
    pub clock_start_ns: Option<Number>,
    /// Models that the task may load: name -> hash of the model's manifest; at most 256, with names
    /// of 1 to 256 bytes.
    #[serde(default)]
    pub models: BTreeMap<String, HashText>,
    /// Seed of the task's random numbers; zero if it is left out.
    #[serde(default)]
    pub seed: Option<Bytes32>,
    /// Limits of the run, each of which has a default.
    #[serde(default)]
    pub limits: LimitsWanted,
    /// Time for one attempt, in milliseconds; a minute if it is left out. `deadline_ms_max` of
    /// `/v1/info` is the longest.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub deadline_ms: Option<u64>,
    /// What a miner must have.
    #[serde(default)]
    pub requirements: RequirementsWanted,
    /// How a result is checked before it counts.
    #[serde(default)]
    pub verification: VerificationWanted,
    /// Who is given the spec and the blobs.
    #[serde(default)]
    pub disclosure: DisclosureName,
    /// Pay for an accepted result.
    #[serde(default)]
    pub price: Amount,
    /// Pay for an honest attempt without a result.
    #[serde(default)]
    pub attempt_fee: Amount,
    /// A mark by which the client knows the task again, blinded by the client.
    #[serde(default)]
    pub client_tag: Option<Bytes32>,
    /// The client's region, at most 64 bytes. If it is the coordinator's, miners near to it are
    /// preferred.
    #[serde(default)]
    #[schema(max_length = 64)]
    pub region: Option<String>,
    /// A component that is given each result before it is accepted, and may refuse it.
    #[serde(default)]
    pub validator: Option<HashText>,
}

/// The input of a task: a hash of a blob as a string, or an object with the input itself, of at
/// most 64 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "a hash as a string, or an object with one of `text`, `base64` and `hash`"
)]
pub enum Input {
    /// The hash of a blob that was uploaded.
    Hash(HashText),
    /// The input itself.
    Inline(Inline),
}

/// An input in the submission itself: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1, max_properties = 1)]
pub struct Inline {
    /// The input as text.
    #[serde(default)]
    pub text: Option<String>,
    /// The input in base64.
    #[serde(default)]
    pub base64: Option<String>,
    /// The hash of a blob that was uploaded.
    #[serde(default)]
    pub hash: Option<HashText>,
}

impl Default for Input {
    fn default() -> Input {
        Input::Inline(Inline {
            text: Some(String::new()),
            ..Inline::default()
        })
    }
}

/// The worlds of components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WorldName {
    /// `adit:task/task`: a function from bytes to bytes.
    #[default]
    Task,
    /// `wasi:cli/command`: a program.
    Command,
}

/// Kinds of devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceName {
    /// Any device.
    #[default]
    Any,
    /// A CPU only.
    Cpu,
    /// A GPU only.
    Gpu,
}

/// Who is given the spec and the blobs of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DisclosureName {
    /// Anyone who asks.
    Public,
    /// The parties and the checkers.
    Checkers,
    /// The client, the coordinator and the miners of the task.
    #[default]
    Parties,
}

/// What a miner must have.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequirementsWanted {
    /// The kind of device.
    pub device: DeviceName,
    /// Bytes of the device's memory that the task needs.
    pub device_memory_bytes: u64,
    /// Hashes of the environments to choose from; empty for any.
    #[schema(max_items = 256)]
    pub environments: Vec<HashText>,
}

/// How a result is checked.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VerificationWanted {
    /// Miners that run the task; if it is left out two, or one where only one miner is active.
    /// `replicas_max` of `/v1/info` is the most.
    #[schema(minimum = 1, maximum = 255)]
    pub replicas: Option<u8>,
    /// Equal results that make one accepted, at most as many as there are replicas; more than half
    /// of these if it is left out.
    #[schema(minimum = 1, maximum = 255)]
    pub quorum: Option<u8>,
    /// Whether miners with a good record are replicated less.
    pub adaptive: bool,
    /// Whether results are to be equal within the models' tolerance, and not bit for bit. No release
    /// compares them so yet: it is refused.
    pub tolerance: bool,
}

impl Default for VerificationWanted {
    fn default() -> VerificationWanted {
        VerificationWanted {
            replicas: None,
            quorum: None,
            adaptive: true,
            tolerance: false,
        }
    }
}

/// Limits of the run; those that are left out have their defaults.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsWanted {
    /// Fuel: about one unit for each instruction.
    pub fuel: Option<Number>,
    /// Bytes of all memories and tables together.
    pub memory_bytes: Option<Number>,
    /// Elements of all tables together.
    pub table_elements: Option<Number>,
    /// Bytes of the result.
    pub output_bytes: Option<Number>,
    /// Bytes of all emitted chunks together.
    pub emit_bytes: Option<Number>,
    /// Bytes of stderr.
    pub stderr_bytes: Option<Number>,
    /// Bytes of tensors that exist at one time.
    pub tensor_bytes_held: Option<Number>,
    /// Bytes of tensors that cross between guest and host.
    pub tensor_bytes_moved: Option<Number>,
    /// Bytes of models that the guest itself hands to the host.
    pub model_bytes: Option<Number>,
    /// Handles that exist at one time.
    pub handles: Option<Number>,
}

/// Names of the fields by the object that has them, for suggestions.
const FIELDS: [(&str, &[&str]); 5] = [
    (
        "",
        &[
            "component",
            "world",
            "input",
            "args",
            "clock_start_ns",
            "models",
            "seed",
            "limits",
            "deadline_ms",
            "requirements",
            "verification",
            "disclosure",
            "price",
            "attempt_fee",
            "client_tag",
            "region",
            "validator",
        ],
    ),
    ("input", &["text", "base64", "hash"]),
    (
        "requirements",
        &["device", "device_memory_bytes", "environments"],
    ),
    (
        "verification",
        &["replicas", "quorum", "adaptive", "tolerance"],
    ),
    (
        "limits",
        &[
            "fuel",
            "memory_bytes",
            "table_elements",
            "output_bytes",
            "emit_bytes",
            "stderr_bytes",
            "tensor_bytes_held",
            "tensor_bytes_moved",
            "model_bytes",
            "handles",
        ],
    ),
];

/// What the coordinator adds to a submission.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Hash of the network's genesis document.
    pub genesis: Hash,
    /// Node key of the coordinator.
    pub coordinator: [u8; 32],
    /// The engine that the task is for.
    pub engine: Hash,
    /// The coordinator's region.
    pub region: &'a str,
    /// Longest deadline, in milliseconds.
    pub deadline_ms_max: u64,
    /// Most replicas.
    pub replicas_max: u8,
    /// Miners that are active now.
    pub miners: u64,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
    /// Fresh random bytes.
    pub salt: [u8; 32],
}

/// The specs of a submission.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What determines the result.
    pub exec: ExecSpec,
    /// The order for it; its hash is the task id.
    pub task: TaskSpec,
    /// The input, if it was sent along.
    pub input: Option<Vec<u8>>,
    /// Whether the client is in the coordinator's region.
    pub local: bool,
    /// Hash of the validator component.
    pub validator: Option<Hash>,
}

impl TaskRequest {
    /// Reads a submission.
    ///
    /// # Errors
    /// `invalid-request`, which names the field, and for an unknown one the field that may have
    /// been meant.
    pub fn parse(bytes: &[u8]) -> Result<TaskRequest, Problem> {
        parse_json(bytes).map_err(|problem| unknown_field(bytes).unwrap_or(problem))
    }

    /// Makes the specs.
    ///
    /// # Errors
    /// `invalid-request`, which names the field.
    pub fn plan(self, frame: &Frame<'_>) -> Result<Planned, Problem> {
        let (hash, input) = self.input.read()?;
        let exec = ExecSpec {
            engine: frame.engine,
            world: match self.world {
                WorldName::Task => World::Task,
                WorldName::Command => World::Command,
            },
            component: self.component.0,
            input: hash,
            args: self.args,
            clock_start_ns: self
                .clock_start_ns
                .map_or(frame.now_ms.saturating_mul(1_000_000), |n| n.0),
            models: self
                .models
                .into_iter()
                .map(|(name, hash)| (name, hash.0))
                .collect(),
            seed: self.seed.map_or([0; 32], |seed| seed.0),
            limits: self.limits.limits(),
        };
        exec.check()
            .map_err(|error| invalid(error.field, &error.detail))?;
        let size = exec.to_cbor().len();
        if size > ExecSpec::MAX_LEN {
            return Err(invalid(
                "args",
                &format!(
                    "with them the exec spec has {size} bytes, at most {} are allowed",
                    ExecSpec::MAX_LEN
                ),
            ));
        }
        let deadline_ms = self.deadline_ms.unwrap_or(60_000);
        if deadline_ms == 0 || deadline_ms > frame.deadline_ms_max {
            return Err(invalid(
                "deadline_ms",
                &format!(
                    "it is {deadline_ms}, which is not from 1 to {}",
                    frame.deadline_ms_max
                ),
            ));
        }
        let region = self.region.unwrap_or_default();
        if region.len() > 64 || region.chars().any(char::is_control) {
            return Err(invalid(
                "region",
                "it is longer than 64 bytes or has a control character",
            ));
        }
        let task = TaskSpec {
            genesis: frame.genesis,
            coordinator: frame.coordinator,
            exec: exec.hash(),
            salt: frame.salt,
            price: self.price.0,
            attempt_fee: self.attempt_fee.0,
            deadline_ms,
            requirements: self.requirements.read()?,
            verification: self.verification.read(frame)?,
            disclosure: match self.disclosure {
                DisclosureName::Public => Disclosure::Public,
                DisclosureName::Checkers => Disclosure::Checkers,
                DisclosureName::Parties => Disclosure::Parties,
            },
            client_tag: self.client_tag.map_or([0; 32], |tag| tag.0),
            submitter: None,
        };
        task.check()
            .map_err(|error| invalid(error.field, &error.detail))?;
        Ok(Planned {
            exec,
            task,
            input,
            local: !region.is_empty() && region == frame.region,
            validator: self.validator.map(|hash| hash.0),
        })
    }
}

impl Input {
    /// The hash of the input, and the input itself if it was sent along.
    fn read(self) -> Result<(Hash, Option<Vec<u8>>), Problem> {
        let inline = match self {
            Input::Hash(hash) => return Ok((hash.0, None)),
            Input::Inline(inline) => inline,
        };
        let bytes = match (inline.text, inline.base64, inline.hash) {
            (None, None, Some(hash)) => return Ok((hash.0, None)),
            (Some(text), None, None) => text.into_bytes(),
            (None, Some(text), None) => STANDARD
                .decode(text)
                .map_err(|error| invalid("input.base64", &format!("it is not base64: {error}")))?,
            _ => {
                return Err(invalid(
                    "input",
                    "it has not exactly one of the fields `text`, `base64` and `hash`",
                ));
            }
        };
        if bytes.len() > INLINE_BYTES_MAX {
            let problem = invalid(
                "input",
                &format!(
                    "it has {} bytes, and at most {INLINE_BYTES_MAX} can be sent along",
                    bytes.len()
                ),
            );
            return Err(problem.hint("upload it with PUT /v1/blobs/HASH, and give its hash here"));
        }
        Ok((Hash::of(&bytes), Some(bytes)))
    }
}

impl RequirementsWanted {
    fn read(self) -> Result<Requirements, Problem> {
        if self.device == DeviceName::Cpu && self.device_memory_bytes > 0 {
            return Err(invalid(
                "requirements.device_memory_bytes",
                "it is the memory of a GPU, and a CPU was asked for",
            )
            .hint("leave it out, or ask for the device `gpu`"));
        }
        let mut environments: Vec<Hash> = self.environments.into_iter().map(|h| h.0).collect();
        environments.sort_unstable();
        environments.dedup();
        Ok(Requirements {
            device: match self.device {
                DeviceName::Any => DeviceClass::Any,
                DeviceName::Cpu => DeviceClass::Cpu,
                DeviceName::Gpu => DeviceClass::Gpu,
            },
            device_memory_bytes: self.device_memory_bytes,
            environments,
        })
    }
}

impl VerificationWanted {
    fn read(self, frame: &Frame<'_>) -> Result<Verification, Problem> {
        let replicas_max = frame.replicas_max;
        // A second one would be waited for, and perhaps never come.
        let usual = if frame.miners == 1 { 1 } else { 2 };
        let replicas = self
            .replicas
            .unwrap_or_else(|| self.quorum.unwrap_or(0).max(usual));
        if replicas == 0 || replicas > replicas_max {
            return Err(invalid(
                "verification.replicas",
                &format!("it is {replicas}, which is not from 1 to {replicas_max}",),
            ));
        }
        // Taken and not done, it would end tasks without a result, and nobody would know why.
        if self.tolerance {
            return Err(invalid(
                "verification.tolerance",
                "this release compares results bit for bit only",
            )
            .hint("leave it out; where devices differ, name one of their environments in requirements.environments, or have one miner run the task"));
        }
        Ok(Verification {
            replicas,
            quorum: self.quorum.unwrap_or(replicas / 2 + 1),
            adaptive: self.adaptive,
            tolerance: self.tolerance,
        })
    }
}

impl LimitsWanted {
    fn limits(self) -> Limits {
        let default = Limits::default();
        let or = |wanted: Option<Number>, default| wanted.map_or(default, |number| number.0);
        Limits {
            fuel: or(self.fuel, default.fuel),
            memory_bytes: or(self.memory_bytes, default.memory_bytes),
            table_elements: or(self.table_elements, default.table_elements),
            output_bytes: or(self.output_bytes, default.output_bytes),
            emit_bytes: or(self.emit_bytes, default.emit_bytes),
            stderr_bytes: or(self.stderr_bytes, default.stderr_bytes),
            tensor_bytes_held: or(self.tensor_bytes_held, default.tensor_bytes_held),
            tensor_bytes_moved: or(self.tensor_bytes_moved, default.tensor_bytes_moved),
            model_bytes: or(self.model_bytes, default.model_bytes),
            handles: or(self.handles, default.handles),
        }
    }
}

/// A field that is not what it may be.
pub fn invalid(field: &str, why: &str) -> Problem {
    Problem::new(
        Code::InvalidRequest,
        format!("the field `{field}` is not valid: {why}"),
    )
    .hint("correct that field; /v1/openapi.json describes each")
}

/// The problem of the first field that no submission has.
fn unknown_field(bytes: &[u8]) -> Option<Problem> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    FIELDS.iter().find_map(|(path, known)| {
        let object = match *path {
            "" => value.as_object()?,
            path => value.get(path).and_then(|part| part.as_object())?,
        };
        let unknown = object.keys().find(|key| !known.contains(&key.as_str()))?;
        let shown: String = unknown
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(64)
            .collect();
        let place = match *path {
            "" => String::new(),
            path => format!(" in `{path}`"),
        };
        let hint = match nearest(unknown, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it may have {}", known.join(", ")),
        };
        Some(
            Problem::new(
                Code::InvalidRequest,
                format!("there is no field `{shown}`{place}"),
            )
            .hint(hint),
        )
    })
}

/// The known name that is most like a text, if one is at all.
fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    if text.len() > 64 {
        return None;
    }
    let distances = known.iter().map(|name| (distance(text, name), *name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= name.len().div_ceil(3)).then_some(name)
}

/// Insertions, deletions and changes of a character that lead from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, x) in a.chars().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let changed = diagonal + usize::from(x != *y);
            diagonal = *cell;
            left = changed.min(*cell + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
