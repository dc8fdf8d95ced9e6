//! What can be wrong with certificates and keys.

use std::io;
use std::path::PathBuf;

use adit_protocol::Code;
use rustls::pki_types::pem;
use thiserror::Error;

use super::{CHAIN_MAX, FILE_BYTES_MAX};

/// Why certificates or keys cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{}: {source}; hint: check the path and who may read it", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is longer than any certificate bundle.
    #[error(
        "{} is longer than {FILE_BYTES_MAX} bytes; hint: is it a certificate or key at all?",
        path.display()
    )]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A file is not PEM.
    #[error(
        "{} is not PEM: {source}; hint: it has lines `-----BEGIN ...-----`; `openssl x509 -inform der` converts a binary one",
        path.display()
    )]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A file has no certificate in it.
    #[error(
        "{} holds no certificate; hint: were the files of certificate and key exchanged?",
        path.display()
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A chain is longer than any client would follow.
    #[error(
        "{} holds {found} certificates, at most {CHAIN_MAX} make a chain; hint: give the node's own and the intermediate ones, not a bundle of authorities",
        path.display()
    )]
    ChainTooLong {
        /// The file.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// A file has no private key in it.
    #[error(
        "{} holds no private key; hint: were the files of certificate and key exchanged? A key with a password must be decrypted first",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key file that others than its owner can read or change.
    #[error(
        "the key {} can be read or changed by others (mode {mode:03o}); hint: chmod 600 it, and use a new key if others may have read it",
        path.display()
    )]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The first certificate is not that of the key, and a later one is.
    #[error(
        "certificate {position} of {} belongs to the key, not the first; hint: put the node's own certificate first, then the intermediate ones",
        path.display()
    )]
    WrongOrder {
        /// The certificate file.
        path: PathBuf,
        /// The position of the right one, from 1.
        position: usize,
    },
    /// The key belongs to none of the certificates.
    #[error(
        "the key {} does not belong to the certificate {}; hint: was one of them renewed without the other?",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// rustls refuses the certificate or the key.
    #[error("{}: {source}; hint: use a key of ECDSA (P-256 or P-384), Ed25519 or RSA", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Its reason.
        source: rustls::Error,
    },
    /// A certificate of one's own could not be made.
    #[error(
        "a certificate for {names} could not be made: {source}; hint: give host names and IP addresses, without scheme or port"
    )]
    Generate {
        /// The names it was to have.
        names: String,
        /// What rcgen says.
        source: rcgen::Error,
    },
    /// The system has no authorities that could be trusted.
    #[error(
        "the system's certificate authorities could not be loaded: {0}; hint: install the package ca-certificates, or name a CA file"
    )]
    NoRoots(rustls::Error),
    /// The parts of the TLS library do not fit together.
    #[error("TLS cannot be set up: {0}; hint: please report this")]
    Setup(rustls::Error),
}

impl TlsError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            TlsError::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Code::PermissionDenied
            }
            TlsError::File { .. } => Code::InvalidArgument,
            TlsError::KeyExposed { .. } => Code::PermissionDenied,
            TlsError::Setup(_) => Code::Internal,
            _ => Code::BadCertificate,
        }
    }
}
