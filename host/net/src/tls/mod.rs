//! Certificates and keys: what a server shows, and whom a client trusts.
//!
//! rustls with *ring* does the work. Files are PEM: the certificate chain with the node's own
//! certificate first, and the private key in a file of its own.

mod error;
pub mod self_signed;

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsAcceptor;

pub use error::TlsError;

/// The longest file that is read, in bytes: a bundle of all public authorities has 230 kB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The most certificates of a chain that a server sends.
const CHAIN_MAX: usize = 10;

/// The cryptography of all TLS connections.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Gives the process the same cryptography, for a library that builds its own TLS. One that is there
/// already stays.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The certificate and key of a server. Clones share them, so that [`ServerTls::reload`] reaches
/// a server that runs.
#[derive(Clone)]
pub struct ServerTls {
    certificate: PathBuf,
    key: PathBuf,
    resolver: Arc<Resolver>,
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Loads a chain and its key from PEM files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<ServerTls, TlsError> {
        let provider = provider();
        let certified = load_certified(certificate, key, &provider)?;
        let resolver = Arc::new(Resolver(RwLock::new(certified)));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&resolver) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(ServerTls {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            resolver,
            config: Arc::new(config),
        })
    }

    /// Loads the files again, for new connections. If they cannot be used, the old ones stay.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let certified = load_certified(&self.certificate, &self.key, &provider())?;
        let mut current = self
            .resolver
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = certified;
        Ok(())
    }

    /// The certificate file; a client that trusts no authority for it can be given this one.
    pub fn certificate_path(&self) -> &Path {
        &self.certificate
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ServerTls({}, key not shown)",
            self.certificate.display()
        )
    }
}

/// Gives every connection the certificate of the moment.
#[derive(Debug)]
struct Resolver(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

fn load_certified(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = load_certificates(certificate)?;
    if chain.len() > CHAIN_MAX {
        return Err(TlsError::ChainTooLong {
            path: certificate.to_owned(),
            found: chain.len(),
        });
    }
    let signing = provider
        .key_provider
        .load_private_key(load_key(key)?)
        .map_err(|source| TlsError::Unusable {
            path: key.to_owned(),
            source,
        })?;
    for (index, one) in chain.iter().enumerate() {
        let candidate = CertifiedKey::new(vec![one.clone()], Arc::clone(&signing));
        match candidate.keys_match() {
            Ok(()) if index == 0 => return Ok(Arc::new(CertifiedKey::new(chain, signing))),
            Ok(()) => {
                return Err(TlsError::WrongOrder {
                    path: certificate.to_owned(),
                    position: index + 1,
                });
            }
            Err(rustls::Error::InconsistentKeys(_)) => {}
            Err(source) => {
                return Err(TlsError::Unusable {
                    path: certificate.to_owned(),
                    source,
                });
            }
        }
    }
    Err(TlsError::Mismatch {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    })
}

/// All certificates of a PEM file, of which there is at least one.
fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path, |_| Ok(()))?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::NotPem {
            path: path.to_owned(),
            source,
        })?;
    match certificates.is_empty() {
        true => Err(TlsError::NoCertificate {
            path: path.to_owned(),
        }),
        false => Ok(certificates),
    }
}

fn load_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path, |file| check_mode(path, file))?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::NoKey {
            path: path.to_owned(),
        },
        source => TlsError::NotPem {
            path: path.to_owned(),
            source,
        },
    })
}

/// A key that a group reads is common where a service has a group for it; nobody else may.
#[cfg(unix)]
fn check_mode(path: &Path, file: &std::fs::File) -> Result<(), TlsError> {
    use std::os::unix::fs::PermissionsExt as _;

    let metadata = file.metadata().map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })?;
    match metadata.permissions().mode() & 0o777 {
        mode if mode & 0o027 != 0 => Err(TlsError::KeyExposed {
            path: path.to_owned(),
            mode,
        }),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &std::fs::File) -> Result<(), TlsError> {
    Ok(())
}

fn read(
    path: &Path,
    check: impl FnOnce(&std::fs::File) -> Result<(), TlsError>,
) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    check(&file)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(TlsError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

/// Whom a client trusts to name servers.
#[derive(Clone, Debug)]
pub struct Roots {
    system: bool,
    extra: Vec<CertificateDer<'static>>,
}

impl Default for Roots {
    fn default() -> Roots {
        Roots::system()
    }
}

impl Roots {
    /// The authorities that the operating system trusts.
    pub fn system() -> Roots {
        Roots {
            system: true,
            extra: Vec::new(),
        }
    }

    /// No one, until files are added.
    pub fn none() -> Roots {
        Roots {
            system: false,
            extra: Vec::new(),
        }
    }

    /// The same and the certificates of a PEM file: of authorities, or of single servers.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn and_file(mut self, path: &Path) -> Result<Roots, TlsError> {
        let certificates = load_certificates(path)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store
                .add(certificate.clone())
                .map_err(|source| TlsError::Unusable {
                    path: path.to_owned(),
                    source,
                })?;
        }
        self.extra.extend(certificates);
        Ok(self)
    }

    /// The configuration of a client that trusts these. It speaks HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// [`TlsError::NoRoots`] if the system's are asked for and there are none.
    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let mut config = if self.system {
            let verifier = Verifier::new_with_extra_roots(self.extra.iter().cloned(), provider)
                .map_err(TlsError::NoRoots)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth()
        } else {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(self.extra.iter().cloned());
            builder.with_root_certificates(store).with_no_client_auth()
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}
