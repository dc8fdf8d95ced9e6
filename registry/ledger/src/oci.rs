//! References of artifacts in OCI registries, by the distribution specification, with `oci://` before.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Longest host and repository together: 255, as registries have it.
const REPOSITORY_MAX: usize = 255;
/// Longest tag.
const TAG_MAX: usize = 128;

/// Where an artifact is in a registry of OCI artifacts: `oci://host/repository:tag`, or
/// `@sha256:digest` in place of the tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciReference {
    /// Host, with a port if it has one.
    pub host: String,
    /// The repository.
    pub repository: String,
    /// A tag, which its owner can move, or `sha256:` and 64 digits.
    pub reference: OciTarget,
}

/// Which artifact of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OciTarget {
    /// The one that a tag names now.
    Tag(String),
    /// The one whose manifest has this digest, `sha256:` and 64 digits.
    Digest(String),
}

/// Why a text is no OCI reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "an artifact is named by host, repository, and tag or digest; hint: write it as oci://ghcr.io/acme/word-count:1.2.3"
)]
pub struct OciReferenceError;

impl FromStr for OciReference {
    type Err = OciReferenceError;

    fn from_str(text: &str) -> Result<OciReference, OciReferenceError> {
        let parsed = || {
            let (host, rest) = text.strip_prefix("oci://")?.split_once('/')?;
            let (repository, target) = match rest.split_once('@') {
                Some((repository, digest)) => (repository, OciTarget::Digest(digest.to_owned())),
                None => {
                    let (repository, tag) = rest.split_once(':')?;
                    (repository, OciTarget::Tag(tag.to_owned()))
                }
            };
            let host_fits =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b);
            // As the distribution specification has it: parts of letters and digits, with single
            // separators between them.
            let part_fits = |part: &str| {
                let inner =
                    |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
                let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
                part.starts_with(ends) && part.ends_with(ends) && part.bytes().all(inner)
            };
            let target_fits = match &target {
                OciTarget::Tag(tag) => {
                    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
                    tag.bytes().all(fits)
                        && tag.len() <= TAG_MAX
                        && !tag.is_empty()
                        && !tag.starts_with(['-', '.'])
                }
                OciTarget::Digest(digest) => digest.strip_prefix("sha256:").is_some_and(|hex| {
                    let fits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                    hex.len() == 64 && hex.bytes().all(fits)
                }),
            };
            let fits = !host.is_empty()
                && host.bytes().all(host_fits)
                && repository.split('/').all(part_fits)
                && host.len().saturating_add(repository.len()) <= REPOSITORY_MAX
                && target_fits;
            fits.then(|| OciReference {
                host: host.to_owned(),
                repository: repository.to_owned(),
                reference: target,
            })
        };
        parsed().ok_or(OciReferenceError)
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "oci://{}/{}", self.host, self.repository)?;
        match &self.reference {
            OciTarget::Tag(tag) => write!(f, ":{tag}"),
            OciTarget::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_artifacts() {
        let digest = format!("oci://localhost:5000/a/b_c.d@sha256:{}", "0a".repeat(32));
        for good in [
            "oci://ghcr.io/acme/word-count:1.2.3",
            "oci://h/r:_T",
            &digest,
        ] {
            let parsed: OciReference = good.parse().unwrap();
            assert_eq!(parsed.to_string(), good);
        }
        for bad in [
            "",
            "oci://",
            "oci://ghcr.io",
            "oci://ghcr.io/acme",
            "oci://ghcr.io/acme:",
            "oci://ghcr.io/Acme:1",
            "oci:///acme:1",
            "oci://ghcr.io//acme:1",
            "oci://ghcr.io/../acme:1",
            "oci://ghcr.io/acme:-1",
            "oci://ghcr.io/acme:1/2",
            "oci://ghcr.io/acme:1@sha256:00",
            "oci://user@ghcr.io/acme:1",
            "https://ghcr.io/acme:1",
            &digest.to_uppercase(),
            &digest[..digest.len() - 1],
        ] {
            assert!(bad.parse::<OciReference>().is_err(), "{bad}");
        }
        let long = [
            format!("oci://h/r:{}", "a".repeat(129)),
            format!("oci://h/{}:1", "a".repeat(255)),
        ];
        assert!(long.iter().all(|bad| bad.parse::<OciReference>().is_err()));
    }
}
