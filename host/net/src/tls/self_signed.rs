//! A certificate that a node signs for itself: for a network of one's own, and for tests.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{ServerName, UnixTime};

use super::{ServerTls, TlsError, load_certificates, provider};
use crate::clock::Clock;

/// The name of the certificate's file. It is also what a client takes as a CA file.
pub const CERTIFICATE_FILE: &str = "tls-cert.pem";

/// The name of the key's file.
pub const KEY_FILE: &str = "tls-key.pem";

/// How long a certificate is valid: what Apple's systems accept at most.
const VALID_DAYS: u64 = 825;

/// A certificate with less time left than this is replaced when the node starts.
const RENEW_DAYS: u64 = 30;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The certificate in `folder`, if it is there, covers all `names` and is valid for a while yet;
/// else a new one, written there. Names are host names and IP addresses.
///
/// # Errors
/// [`TlsError`], also if files are there that cannot be used: they are not overwritten.
pub fn load_or_create(
    folder: &Path,
    names: &[String],
    clock: &dyn Clock,
) -> Result<ServerTls, TlsError> {
    let (certificate, key) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
    if certificate.exists() || key.exists() {
        let tls = ServerTls::load(&certificate, &key)?;
        if covers(&certificate, names, clock)? {
            return Ok(tls);
        }
        tracing::info!(file = %certificate.display(), "the certificate is made anew: it lacks a name, or ends soon");
    }
    create(&certificate, &key, names, clock)?;
    ServerTls::load(&certificate, &key)
}

/// Whether a client would accept the certificate for all names, now and for [`RENEW_DAYS`] days.
fn covers(certificate: &Path, names: &[String], clock: &dyn Clock) -> Result<bool, TlsError> {
    let unusable = |source| TlsError::Unusable {
        path: certificate.to_owned(),
        source,
    };
    let chain = load_certificates(certificate)?;
    let Some((own, others)) = chain.split_first() else {
        return Ok(false);
    };
    let mut roots = RootCertStore::empty();
    roots.add(own.clone()).map_err(unusable)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| unusable(rustls::Error::General(error.to_string())))?;
    let now = Duration::from_millis(clock.now_ms());
    Ok(names.iter().all(|name| {
        ServerName::try_from(name.as_str()).is_ok_and(|name| {
            [now, now + DAY * RENEW_DAYS as u32].into_iter().all(|at| {
                let at = UnixTime::since_unix_epoch(at);
                verifier
                    .verify_server_cert(own, others, &name, &[], at)
                    .is_ok()
            })
        })
    }))
}

fn create(
    certificate: &Path,
    key: &Path,
    names: &[String],
    clock: &dyn Clock,
) -> Result<(), TlsError> {
    let failed = |source| TlsError::Generate {
        names: names.join(", "),
        source,
    };
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name.push(
        DnType::CommonName,
        names.first().map_or("adit", String::as_str),
    );
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(clock.now_s());
    // A day of leeway for clients whose clocks are behind.
    params.not_before = now - DAY;
    params.not_after = now - DAY + DAY * VALID_DAYS as u32;
    let pair = KeyPair::generate().map_err(failed)?;
    let signed = params.self_signed(&pair).map_err(failed)?;
    write(key, &pair.serialize_pem(), 0o600)?;
    write(certificate, &signed.pem(), 0o644)
}

/// Writes a file under a name of its own and renames it, so that it is there whole or not at all,
/// and a key is never readable by others, not even for a moment.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    let failed = |source| TlsError::File {
        path: path.to_owned(),
        source,
    };
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(mode);
    }
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(&fresh).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&fresh, path).map_err(failed)
}
