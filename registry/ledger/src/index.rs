//! The component index: names, versions, and what is published under them.
//!
//! A name is `component` or `scope/component`. Whoever first publishes under a name owns its scope,
//! which is the part before `/`, or all of it: with it every name of that scope. So nobody else can
//! publish `acme/x` once somebody publishes `acme` or `acme/y`.
//!
//! The ledger holds hashes and no bytes. Whatever is fetched for a release, from wherever, is
//! compared with them.

use std::fmt;
use std::str::FromStr;

use adit_protocol::Hash;
use adit_protocol::exec::World;
use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::key::Key;

/// Longest part of a name, in bytes.
const PART_MAX: usize = 64;
/// Longest text of a version, in bytes.
const VERSION_MAX: usize = 64;
/// Longest name of a model, in bytes.
const MODEL_MAX: usize = 64;
/// Most models of a release.
pub const MODELS_MAX: usize = 32;
/// Most releases of a name, yanked ones included.
pub const RELEASES_MAX: usize = 1024;
/// How many of the least fees the first release in a new scope costs: names are for whoever comes
/// first, and to take thousands of them for nothing should cost something.
pub const SCOPE_FEES: u32 = 100;

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a name is `component` or `scope/component`, each of 1 to 64 lower-case letters, digits and hyphens, with no hyphen in front; hint: write it as acme/word-count"
)]
pub struct NameError;

fn is_part(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && !text.starts_with('-') && text.len() <= PART_MAX && text.bytes().all(fits)
}

/// What all names of an owner have in common: see [`ComponentName::scope`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Scope(String);

impl Scope {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Scope, NameError> {
        match is_part(text) {
            true => Ok(Scope(text.to_owned())),
            false => Err(NameError),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name of a component, without a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ComponentName(String);

impl ComponentName {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before `/`, or all of it.
    pub fn scope(&self) -> Scope {
        let scope = self.0.split('/').next().unwrap_or_default();
        Scope(scope.to_owned())
    }
}

impl FromStr for ComponentName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<ComponentName, NameError> {
        let mut parts = text.splitn(2, '/');
        match parts.all(is_part) {
            true => Ok(ComponentName(text.to_owned())),
            false => Err(NameError),
        }
    }
}

impl fmt::Display for ComponentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a version is that of SemVer 2.0.0 without build metadata, at most 64 bytes; hint: write it as 1.2.3 or 1.2.3-rc.1"
)]
pub struct VersionError;

/// A version by SemVer 2.0.0, without build metadata: two versions that differ only in it would
/// count as the same. In the order of SemVer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(semver::Version);

impl Version {
    /// Whether it comes before the release that it names, as `1.0.0-rc.1`.
    pub fn is_pre_release(&self) -> bool {
        !self.0.pre.is_empty()
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Version, VersionError> {
        match semver::Version::parse(text) {
            Ok(version) if text.len() <= VERSION_MAX && version.build.is_empty() => {
                Ok(Version(version))
            }
            _ => Err(VersionError),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A model that a component asks for by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Model {
    /// The name that the component uses.
    #[n(0)]
    pub name: String,
    /// Hash of the model's manifest.
    #[n(1)]
    pub manifest: Hash,
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.manifest)
    }
}

impl FromStr for Model {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Model, &'static str> {
        const WRONG: &str = "write it as NAME blake3:..., where the name is 1 to 64 visible ASCII \
                             characters and the hash that of the model's manifest";
        let (name, manifest) = text.split_once(' ').ok_or(WRONG)?;
        let visible = name.bytes().all(|b| b.is_ascii_graphic());
        if name.is_empty() || name.len() > MODEL_MAX || !visible {
            return Err(WRONG);
        }
        Ok(Model {
            name: name.to_owned(),
            manifest: manifest.parse().map_err(|_| WRONG)?,
        })
    }
}

/// The name of a world in texts.
pub const fn world_name(world: World) -> &'static str {
    match world {
        World::Task => "adit:task/task",
        World::Command => "wasi:cli/command",
    }
}

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Under which name.
    pub name: ComponentName,
    /// As which version.
    pub version: Version,
    /// Hash of the component.
    pub component: Hash,
    /// The world that it implements.
    pub world: World,
    /// The models that it asks for, ascending by name, each once, at most [`MODELS_MAX`].
    pub models: Vec<Model>,
    /// What it does, for people.
    pub description: Option<String>,
    /// Where its blobs can be fetched: a coordinator's address, or an [`OciReference`](crate::oci::OciReference) of the
    /// component. A hint: it may be gone, and says nothing of what is fetched there.
    pub source: Option<String>,
}

/// A version of a name, as the state has it. Only [`Release::yanked`] ever changes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Release {
    /// Hash of the component.
    #[n(0)]
    pub component: Hash,
    /// The world that it implements.
    #[n(1)]
    #[serde(serialize_with = "serialize_world")]
    pub world: World,
    /// The models that it asks for, ascending by name.
    #[n(2)]
    pub models: Vec<Model>,
    /// What it does, for people.
    #[n(3)]
    pub description: Option<String>,
    /// Where its blobs can be fetched.
    #[n(4)]
    pub source: Option<String>,
    /// Whether its owner advises against it. It can still be used by whoever names the version.
    #[n(5)]
    pub yanked: bool,
    /// Time of the block that has it, in milliseconds since 1970.
    #[n(6)]
    pub published_ms: u64,
    /// Who published it; the name may have another owner since.
    #[n(7)]
    pub publisher: Key,
    /// Id of the transaction that published it.
    #[n(8)]
    pub transaction: Hash,
}

fn serialize_world<S: Serializer>(world: &World, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(world_name(*world))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_scope() {
        for (name, scope) in [("word-count", "word-count"), ("acme/0", "acme"), ("7", "7")] {
            let parsed: ComponentName = name.parse().unwrap();
            assert_eq!(parsed.scope().as_str(), scope);
            assert_eq!(parsed.to_string(), name);
        }
        let long = "a".repeat(65);
        for bad in [
            "", "/", "a/", "/a", "a/b/c", "A", "-a", "a/-b", "a b", "a_b", "ä", "a.b", &long,
        ] {
            assert!(bad.parse::<ComponentName>().is_err(), "{bad}");
        }
        assert!("acme/x".parse::<Scope>().is_err());
        assert!("acme".parse::<Scope>().is_ok());
    }

    #[test]
    fn versions_are_in_the_order_of_semver() {
        let order = [
            "0.0.1",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.2.0",
            "1.10.0",
        ];
        let versions = order.map(|text| text.parse::<Version>().unwrap());
        assert!(versions.is_sorted_by(|a, b| a < b));
        for (text, version) in order.iter().zip(&versions) {
            assert_eq!(version.to_string(), *text);
            assert_eq!(version.is_pre_release(), text.contains('-'));
        }
        let long = format!("1.0.0-{}", "a".repeat(59));
        for bad in [
            "",
            "1",
            "1.0",
            "v1.0.0",
            "01.0.0",
            "1.0.0+5",
            "1.0.0-",
            "1.0.0-01",
            "1.0.0 ",
            "latest",
            "18446744073709551616.0.0",
            &long,
        ] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
        assert!(long[..64].parse::<Version>().is_ok());
    }

    #[test]
    fn models() {
        let text = format!("all-MiniLM-L6-v2 {}", Hash::of(b"manifest"));
        let model: Model = text.parse().unwrap();
        assert_eq!(model.manifest, Hash::of(b"manifest"));
        assert_eq!(model.to_string(), text);
        for bad in [
            "",
            "a",
            "a blake3:",
            &text.replacen("all", "äll", 1),
            &format!(" {text}"),
        ] {
            assert!(bad.parse::<Model>().is_err(), "{bad}");
        }
    }
}
