//! What a registry of OCI artifacts is asked, by the distribution specification: a manifest, and a blob.
//!
//! All answers are bounded. A registry that wants a token is given the one that it gives to anyone. It
//! may say that a blob is elsewhere, as those in clouds do: that is followed, without the token, to
//! addresses of the same kind as its own.

use adit_ledger::oci::{OciReference, OciTarget};
use adit_net::http::client::{Answer, Call, Client, ClientConfig, ClientError};
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use serde::Deserialize;
use url::{Host, Url};

/// Longest manifest in bytes, as registries have it.
const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// Longest answer with a token, in bytes.
const TOKEN_BYTES_MAX: usize = 64 << 10;
/// How often a blob may be elsewhere.
const REDIRECTS_MAX: usize = 5;
/// Longest time for an answer, in milliseconds, besides that for its length.
const ANSWER_MS: u64 = 30_000;
/// Slowest that a blob may come, in bytes per millisecond.
const BYTES_PER_MS_MIN: u64 = 64;
/// The manifests that are understood: those of artifacts, and indexes, of which that is said.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// Why a registry did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The address, the connection, or the answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It wants a login.
    #[error("{host} gives it to nobody without a login")]
    Login {
        /// The registry.
        host: String,
    },
    /// It points where nothing is fetched from.
    #[error("{host} points to {to}, which is not followed")]
    Elsewhere {
        /// The registry.
        host: String,
        /// Where it points.
        to: String,
    },
}

/// A registry.
pub struct Registry {
    base: Url,
    client: Client,
    host: String,
    repository: String,
}

impl Registry {
    /// The registry that a reference names. Nothing is sent yet.
    ///
    /// # Errors
    /// [`RegistryError::Client`] for an address that is none.
    pub fn of(reference: &OciReference) -> Result<Registry, RegistryError> {
        let OciReference {
            host, repository, ..
        } = reference;
        // What is on this machine needs no certificate.
        let scheme = match super::is_loopback(host) {
            true => "http",
            false => "https",
        };
        let base = Url::parse(&format!("{scheme}://{host}"));
        let base = base.map_err(|error| ClientError::Build(error.to_string()))?;
        Ok(Registry {
            client: Client::new(ClientConfig::new(base.clone()))?,
            base,
            host: host.clone(),
            repository: repository.clone(),
        })
    }

    /// The manifest of an artifact, as it was sent.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn manifest(&mut self, target: &OciTarget) -> Result<Answer, RegistryError> {
        let (OciTarget::Tag(target) | OciTarget::Digest(target)) = target;
        let path = format!("/v2/{}/manifests/{target}", self.repository);
        let ask = |client: &Client| {
            client
                .get(&path)
                .header(ACCEPT, HeaderValue::from_static(MANIFESTS))
                .answer_bytes_max(MANIFEST_BYTES_MAX)
                .timeout_ms(ANSWER_MS)
        };
        self.answered(ask).await
    }

    /// A blob of `len` bytes by its digest. Whether it has it is for the caller to see.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn blob(&mut self, digest: &str, len: u64) -> Result<Answer, RegistryError> {
        let bounded = |call: Call| {
            call.answer_bytes_max(usize::try_from(len).unwrap_or(usize::MAX))
                .timeout_ms(ANSWER_MS.saturating_add(len / BYTES_PER_MS_MIN))
                .redirected()
        };
        let path = format!("/v2/{}/blobs/{digest}", self.repository);
        let mut answer = self.answered(|client| bounded(client.get(&path))).await?;
        let mut at = self.base.clone();
        at.set_path(&path);
        for _ in 0..REDIRECTS_MAX {
            if !answer.status.is_redirection() {
                return Ok(answer);
            }
            let location = answer.headers.get(LOCATION);
            let location = location.and_then(|value| value.to_str().ok());
            let to = location.and_then(|text| at.join(text).ok());
            at = match to {
                Some(to) if self.may_be_asked(&to) => to,
                _ => return Err(self.elsewhere(location.unwrap_or("nowhere"))),
            };
            // Without the token: it is for the registry alone.
            let client = Client::new(ClientConfig::new(origin(&at)))?;
            let call = client.get(at.path()).exact_query(at.query());
            answer = bounded(call).send().await?;
        }
        Err(self.elsewhere("one place after another"))
    }

    /// Asks, and once more with a token if it wants one.
    async fn answered(&mut self, ask: impl Fn(&Client) -> Call) -> Result<Answer, RegistryError> {
        let answer = ask(&self.client)
            .also(StatusCode::UNAUTHORIZED)
            .send()
            .await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let login = || RegistryError::Login {
            host: self.host.clone(),
        };
        let challenge = answer.headers.get(WWW_AUTHENTICATE);
        let challenge = challenge.and_then(|value| Challenge::parse(value.to_str().ok()?));
        let token = self.token(challenge.ok_or_else(login)?).await?;
        self.client = Client::new(ClientConfig {
            token: Some(token.ok_or_else(login)?),
            ..ClientConfig::new(self.base.clone())
        })?;
        let answer = ask(&self.client)
            .also(StatusCode::UNAUTHORIZED)
            .send()
            .await?;
        match answer.status {
            StatusCode::UNAUTHORIZED => Err(login()),
            _ => Ok(answer),
        }
    }

    /// The token that anyone gets.
    async fn token(&self, challenge: Challenge) -> Result<Option<String>, RegistryError> {
        let Challenge { realm, service } = challenge;
        let realm = match Url::parse(&realm) {
            Ok(url) if self.may_be_asked(&url) => url,
            _ => return Err(self.elsewhere(&realm)),
        };
        let client = Client::new(ClientConfig::new(origin(&realm)))?;
        let scope = format!("repository:{}:pull", self.repository);
        let mut call = client
            .get(realm.path())
            .exact_query(realm.query())
            .query("scope", scope)
            .answer_bytes_max(TOKEN_BYTES_MAX)
            .timeout_ms(ANSWER_MS);
        if let Some(service) = service {
            call = call.query("service", service);
        }
        let given: Given = call.send().await?.json()?;
        Ok(given.token.or(given.access_token))
    }

    /// Whether an address is of the same kind as the registry's own: over TLS, or of this machine for a
    /// registry of this machine.
    fn may_be_asked(&self, url: &Url) -> bool {
        let local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match self.base.scheme() {
            "http" => local && url.scheme() == "http",
            _ => !local && url.scheme() == "https",
        }
    }

    fn elsewhere(&self, to: &str) -> RegistryError {
        RegistryError::Elsewhere {
            host: self.host.clone(),
            to: to.chars().take(200).collect(),
        }
    }
}

/// Scheme, host and port of an address.
fn origin(url: &Url) -> Url {
    let mut origin = url.clone();
    origin.set_path("");
    origin.set_query(None);
    origin.set_fragment(None);
    origin
}

/// What a registry answers whom it gives a token.
#[derive(Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
}

/// Where a token is to be had: `Bearer realm="...",service="..."`.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: Option<String>,
}

impl Challenge {
    /// Reads the value of `www-authenticate`; of another scheme than `Bearer` there is none.
    fn parse(value: &str) -> Option<Challenge> {
        let (scheme, mut rest) = value.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        // name="value" with commas between them; a scope has commas inside.
        while let Some((name, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"')?;
            match name.trim_matches([' ', ',']).to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                _ => {}
            }
            rest = after;
        }
        Some(Challenge {
            realm: realm?,
            service,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let read = |text: &str| Challenge::parse(text);
        let of = |realm: &str, service: Option<&str>| {
            Some(Challenge {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
            })
        };
        assert_eq!(
            read(
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a:pull,push\""
            ),
            of("https://auth.docker.io/token", Some("registry.docker.io"))
        );
        assert_eq!(
            read("bearer scope=\"a,b\", realm=\"https://x/t\""),
            of("https://x/t", None)
        );
        for none in ["Basic realm=\"x\"", "Bearer", "Bearer realm=\"x", ""] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn nobody_is_led_to_another_kind_of_address() {
        let of = |host: &str| {
            let reference = format!("oci://{host}/acme/count:1");
            Registry::of(&reference.parse().unwrap()).unwrap()
        };
        let may = |registry: &Registry, url: &str| registry.may_be_asked(&url.parse().unwrap());
        let public = of("ghcr.io");
        assert!(may(&public, "https://cdn.example/x?sig=1"));
        for never in [
            "http://cdn.example/x",
            "https://127.0.0.1/x",
            "https://localhost:1/x",
            "file:///etc/passwd",
        ] {
            assert!(!may(&public, never), "{never}");
        }
        let local = of("127.0.0.1:5000");
        assert!(may(&local, "http://localhost:5001/x"));
        assert!(!may(&local, "http://10.0.0.1/x"));
        assert!(!may(&local, "https://cdn.example/x"));
    }
}
