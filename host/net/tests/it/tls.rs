//! Certificates: which are loaded, which are made, and whom a client believes.

use std::path::Path;
use std::time::{Duration, Instant};

use adit_net::clock::{Clock as _, ManualClock, SystemClock};
use adit_net::http::client::{Client, ClientConfig, ClientError};
use adit_net::http::server::{Limits, Listen, Peer, Server};
use adit_net::tls::self_signed::{CERTIFICATE_FILE, KEY_FILE, load_or_create};
use adit_net::tls::{Roots, ServerTls, TlsError};
use adit_protocol::Code;
use axum::routing::get;
use axum::{Extension, Router};
use tempfile::TempDir;
use url::Url;

use crate::fixtures::{LOOPBACK, Raw, config};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn made(folder: &TempDir, of: &[&str]) -> ServerTls {
    load_or_create(folder.path(), &names(of), &SystemClock).unwrap()
}

async fn serve(tls: ServerTls, limits: Limits) -> Server {
    let router = Router::new().route(
        "/",
        get(
            async |Extension(peer): Extension<Peer>, version: http::Version| {
                format!("{} {version:?}", peer.tls)
            },
        ),
    );
    let listen = Listen::tls(LOOPBACK, tls);
    Server::start(listen, limits, router, Default::default())
        .await
        .unwrap()
}

fn client(server: &Server, roots: Roots) -> Client {
    Client::new(ClientConfig {
        roots,
        ..config(server)
    })
    .unwrap()
}

fn trusting(file: &Path) -> Roots {
    Roots::none().and_file(file).unwrap()
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_trusted_by_those_who_are_given_it() {
    let folder = tempfile::tempdir().unwrap();
    let tls = made(&folder, &["127.0.0.1", "localhost"]);
    let file = tls.certificate_path().to_owned();
    let server = serve(tls, Limits::default()).await;
    let answer = client(&server, trusting(&file)).get("/").send().await;
    assert_eq!(answer.unwrap().bytes, "true HTTP/2.0");

    // By another of its names.
    let by_name = ClientConfig {
        roots: trusting(&file),
        base: Url::parse(&format!("https://localhost:{}", server.address().port())).unwrap(),
        ..config(&server)
    };
    assert!(Client::new(by_name).unwrap().get("/").send().await.is_ok());

    // Nobody else believes it.
    let other_folder = tempfile::tempdir().unwrap();
    let other = made(&other_folder, &["127.0.0.1"]);
    for roots in [Roots::none(), trusting(other.certificate_path())] {
        let error = client(&server, roots).get("/").send().await.unwrap_err();
        assert!(matches!(error, ClientError::Tls { .. }), "{error}");
        assert_eq!((error.code(), error.retryable()), (Code::TlsFailed, false));
    }
}

#[tokio::test]
async fn the_systems_authorities_come_with_the_extra_ones() {
    let folder = tempfile::tempdir().unwrap();
    let tls = made(&folder, &["127.0.0.1"]);
    let roots = Roots::system().and_file(tls.certificate_path()).unwrap();
    let server = serve(tls, Limits::default()).await;
    assert!(client(&server, roots).get("/").send().await.is_ok());
    // A machine may have no authorities at all, which is an error that says so.
    match Client::new(config(&server)) {
        Ok(client) => {
            let error = client.get("/").send().await.unwrap_err();
            assert!(matches!(error, ClientError::Tls { .. }), "{error}");
        }
        Err(error) => assert!(
            matches!(error, ClientError::Setup(TlsError::NoRoots(_))),
            "{error}"
        ),
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tls = made(&folder, &["elsewhere.example"]);
    let file = tls.certificate_path().to_owned();
    let server = serve(tls, Limits::default()).await;
    let error = client(&server, trusting(&file))
        .get("/")
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Tls { .. }), "{error}");
}

#[tokio::test]
async fn without_tls_and_with_it_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        first_request_ms: 300,
        ..Limits::default()
    };
    let server = serve(made(&folder, &["127.0.0.1"]), limits).await;
    let plain = ClientConfig {
        base: Url::parse(&format!("http://{}", server.address())).unwrap(),
        ..config(&server)
    };
    let error = Client::new(plain)
        .unwrap()
        .get("/")
        .send()
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");

    // A handshake that is begun and not continued.
    let begun = Instant::now();
    let mut socket = Raw::connect(&server).await;
    socket.send(b"\x16\x03\x01\x02\x00\x01\x00").await;
    socket.rest().await;
    let after = begun.elapsed();
    assert!(after >= Duration::from_millis(250) && after < Duration::from_secs(10));
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections() {
    let folder = tempfile::tempdir().unwrap();
    let tls = made(&folder, &["127.0.0.1"]);
    let old = folder.path().join("old.pem");
    std::fs::copy(tls.certificate_path(), &old).unwrap();
    let server = serve(tls.clone(), Limits::default()).await;
    let old_roots = trusting(&old);
    assert!(
        client(&server, old_roots.clone())
            .get("/")
            .send()
            .await
            .is_ok()
    );

    let fresh = tempfile::tempdir().unwrap();
    let new_roots = trusting(made(&fresh, &["127.0.0.1"]).certificate_path());
    for file in [CERTIFICATE_FILE, KEY_FILE] {
        std::fs::copy(fresh.path().join(file), folder.path().join(file)).unwrap();
    }
    tls.reload().unwrap();
    assert!(
        client(&server, new_roots.clone())
            .get("/")
            .send()
            .await
            .is_ok()
    );
    assert!(client(&server, old_roots).get("/").send().await.is_err());

    // A file with a fault changes nothing.
    std::fs::write(folder.path().join(CERTIFICATE_FILE), "nonsense").unwrap();
    assert!(tls.reload().is_err());
    assert!(client(&server, new_roots).get("/").send().await.is_ok());
}

#[test]
fn a_certificate_is_kept_until_it_lacks_a_name_or_ends() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_ms(SystemClock.now_ms());
    let make = |of: &[&str]| {
        load_or_create(folder.path(), &names(of), &clock).unwrap();
        std::fs::read_to_string(folder.path().join(CERTIFICATE_FILE)).unwrap()
    };
    let first = make(&["127.0.0.1", "localhost"]);
    assert_eq!(make(&["127.0.0.1", "localhost"]), first);
    assert_eq!(make(&["localhost"]), first);
    let second = make(&["localhost", "node.example"]);
    assert_ne!(second, first);
    const DAY_MS: u64 = 24 * 3600 * 1000;
    clock.advance_ms(790 * DAY_MS);
    assert_eq!(make(&["node.example"]), second);
    clock.advance_ms(10 * DAY_MS);
    assert_ne!(make(&["node.example"]), second);
}

#[cfg(unix)]
#[test]
fn a_key_is_for_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    made(&folder, &["localhost"]);
    let (certificate, key) = (
        folder.path().join(CERTIFICATE_FILE),
        folder.path().join(KEY_FILE),
    );
    let mode =
        |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for (bits, allowed) in [
        (0o400, true),
        (0o640, true),
        (0o644, false),
        (0o660, false),
        (0o602, false),
    ] {
        mode(bits);
        match ServerTls::load(&certificate, &key) {
            Ok(_) => assert!(allowed, "{bits:o}"),
            Err(error) => {
                assert!(
                    matches!(error, TlsError::KeyExposed { .. }) && !allowed,
                    "{bits:o}: {error}"
                );
                assert_eq!(error.code(), Code::PermissionDenied);
            }
        }
    }
}

#[test]
fn files_with_faults_are_told_apart() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    made(&one, &["localhost"]);
    made(&two, &["localhost"]);
    let certificate = |folder: &TempDir| folder.path().join(CERTIFICATE_FILE);
    let key = |folder: &TempDir| folder.path().join(KEY_FILE);
    let load = |certificate: &Path, key: &Path| ServerTls::load(certificate, key).unwrap_err();

    let error = load(&certificate(&one), &key(&two));
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");

    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    let chain = one.path().join("chain.pem");
    std::fs::write(&chain, text(&certificate(&two)) + &text(&certificate(&one))).unwrap();
    let error = load(&chain, &key(&one));
    assert!(
        matches!(error, TlsError::WrongOrder { position: 2, .. }),
        "{error}"
    );
    std::fs::write(&chain, text(&certificate(&one)) + &text(&certificate(&two))).unwrap();
    assert!(ServerTls::load(&chain, &key(&one)).is_ok());
    std::fs::write(&chain, text(&certificate(&one)).repeat(11)).unwrap();
    let error = load(&chain, &key(&one));
    assert!(
        matches!(error, TlsError::ChainTooLong { found: 11, .. }),
        "{error}"
    );

    // The two files exchanged.
    let error = load(&key(&one), &key(&one));
    assert!(matches!(error, TlsError::NoCertificate { .. }), "{error}");
    std::fs::set_permissions(
        certificate(&one),
        key(&one).metadata().unwrap().permissions(),
    )
    .unwrap();
    let error = load(&certificate(&one), &certificate(&one));
    assert!(matches!(error, TlsError::NoKey { .. }), "{error}");

    let error = load(&one.path().join("nothing"), &key(&one));
    assert!(matches!(error, TlsError::File { .. }), "{error}");
    std::fs::write(
        &chain,
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let error = load(&chain, &key(&one));
    assert!(matches!(error, TlsError::NotPem { .. }), "{error}");
    std::fs::write(
        &chain,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let error = load(&chain, &key(&one));
    assert!(matches!(error, TlsError::Unusable { .. }), "{error}");
    assert!(Roots::none().and_file(&chain).is_err());
    std::fs::write(&chain, vec![b'x'; 1024 * 1024 + 1]).unwrap();
    let error = load(&chain, &key(&one));
    assert!(matches!(error, TlsError::TooLong { .. }), "{error}");

    let bad_name = load_or_create(
        &two.path().join("none"),
        &names(&["localhost"]),
        &SystemClock,
    );
    assert!(matches!(bad_name, Err(TlsError::File { .. })));
    let other = tempfile::tempdir().unwrap();
    let bad_name = load_or_create(other.path(), &names(&["not a näme"]), &SystemClock);
    assert!(
        matches!(bad_name, Err(TlsError::Generate { .. })),
        "{bad_name:?}"
    );
}
