//! Witnesses and the logs that ask them, over HTTP.

use std::sync::Arc;

use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::log::key::NoteKey;
use adit_protocol::log::witness::AddCheckpoint;
use http::StatusCode;

use super::super::witness::{
    self, Standing, Witness, WitnessClient, WitnessError, WitnessOptions, ask_all, cosign_all,
};
use super::super::{COSIGNED, FolderSource, LogReader, Trust};
use super::reading::{block_on, client, serve, trust};
use super::*;
use crate::clock::ManualClock;
use crate::http::client::Client;
use crate::http::server::Server;

/// A witness that is served.
struct Watching {
    folder: tempfile::TempDir,
    seed: u8,
    witness: Arc<Witness>,
    server: Server,
}

fn name(seed: u8) -> String {
    format!("witness.example/{seed}")
}

fn open(folder: &Path, seed: u8, logs: Vec<NoteKey>) -> Arc<Witness> {
    let db = Db::open(&folder.join("witness.db"), &[witness::MIGRATION]).unwrap();
    let options = WitnessOptions {
        name: name(seed).parse().unwrap(),
        key: Keypair::from_seed([seed; 32]),
        logs,
        clock: Arc::new(ManualClock::at_ms(5000)),
    };
    Arc::new(Witness::new(db, options))
}

impl Watching {
    async fn new(seed: u8, place: &Place) -> Watching {
        let folder = tempfile::tempdir().unwrap();
        let witness = open(folder.path(), seed, vec![place.options().note_key()]);
        let server = serve(witness::router(witness.clone())).await;
        Watching {
            folder,
            seed,
            witness,
            server,
        }
    }

    /// The same after its process has ended.
    async fn again(self, place: &Place) -> Watching {
        let Watching {
            folder,
            seed,
            witness,
            server,
        } = self;
        server.shutdown(std::time::Duration::from_secs(5)).await;
        drop(witness);
        let witness = open(folder.path(), seed, vec![place.options().note_key()]);
        let server = serve(witness::router(witness.clone())).await;
        Watching {
            folder,
            seed,
            witness,
            server,
        }
    }

    fn http(&self) -> Client {
        client(&self.server, "")
    }

    fn client(&self) -> WitnessClient {
        WitnessClient::new(self.witness.note_key(), self.http())
    }

    fn known(&self, place: &Place) -> u64 {
        let origin = place.options().origin;
        self.witness.known(&origin).unwrap().map_or(0, |s| s.size)
    }
}

fn reader(place: &Place) -> LogReader<FolderSource> {
    LogReader::new(FolderSource(place.log_folder()), trust(place))
}

fn open_with(place: &Place, witnesses: &[&Watching]) -> (Db, Log) {
    let keys = witnesses.iter().map(|w| w.witness.note_key());
    let mut db = place.db();
    let options = LogOptions {
        witnesses: keys.collect(),
        ..place.options()
    };
    let log = Log::open(&mut db, options).unwrap();
    (db, log)
}

#[test]
fn checkpoints_are_cosigned_and_published() {
    block_on(async {
        let place = Place::new();
        let (one, two) = (
            Watching::new(11, &place).await,
            Watching::new(12, &place).await,
        );
        let (mut db, mut log) = open_with(&place, &[&one, &two]);
        let clients = [one.client(), two.client()];
        let keys: Vec<_> = clients.iter().map(|client| client.key().clone()).collect();
        let trust = Trust {
            witnesses: keys.clone(),
            quorum: 2,
            ..trust(&place)
        };
        let strict = LogReader::new(FolderSource(place.log_folder()), trust);
        for add in [0, 5, 300, 1] {
            append(&mut db, &mut log, add);
            integrate_all(&mut db, &mut log);
            let signed = log.signed().clone();
            let lines: Vec<_> = cosign_all(&clients, &reader(&place), &signed)
                .await
                .into_iter()
                .map(|(_, line)| line.unwrap())
                .collect();
            // One after the other, as their answers come.
            let mut counts = Vec::new();
            for line in lines {
                counts.push(log.add_cosignatures(&mut db, &signed, &[line]).unwrap());
            }
            assert_eq!(counts, [1, 2]);
            let trusted = strict.checkpoint().await.unwrap();
            assert_eq!(trusted.checkpoint.size, log.size());
            assert_eq!(trusted.cosigned.len(), 2);
            assert_eq!(trusted.cosigned[0].1.time_s, 5);
            assert_eq!(one.known(&place), log.size());
        }
        // The next checkpoint has no cosignatures yet; the one before has.
        append(&mut db, &mut log, 1);
        integrate_all(&mut db, &mut log);
        assert_eq!(strict.checkpoint().await.unwrap().checkpoint.size, 306);
        assert_eq!(place.note().unverified().size, 307);
        // Late ones count for the checkpoint that they are of; older ones are of no use.
        let old =
            SignedCheckpoint::parse(&std::fs::read(place.log_folder().join(COSIGNED)).unwrap())
                .unwrap();
        let line = clients[0]
            .cosign(&reader(&place), log.signed())
            .await
            .unwrap();
        let signed = log.signed().clone();
        append(&mut db, &mut log, 1);
        integrate_all(&mut db, &mut log);
        assert_eq!(log.add_cosignatures(&mut db, &signed, &[line]).unwrap(), 1);
        assert_eq!(log.add_cosignatures(&mut db, &old, &[]).unwrap(), 0);
        drop((db, log));
        // They survive, and the log is in order with them.
        let (db, log) = open_with(&place, &[&one, &two]);
        assert_eq!(log.size(), 308);
        drop((db, log));
        verify(&place, 308, &mut Roots::new());
    });
}

#[test]
fn cosignatures_of_others_are_not_published() {
    block_on(async {
        let place = Place::new();
        let (one, two) = (
            Watching::new(11, &place).await,
            Watching::new(12, &place).await,
        );
        let (mut db, mut log) = open_with(&place, &[&one]);
        append(&mut db, &mut log, 3);
        integrate_all(&mut db, &mut log);
        let signed = log.signed().clone();
        let good = one.client().cosign(&reader(&place), &signed).await.unwrap();
        let stranger = two.client().cosign(&reader(&place), &signed).await.unwrap();
        let mut altered = good.clone();
        altered.signature[20] ^= 1;
        for line in [stranger, altered] {
            let lines = [good.clone(), line];
            assert!(matches!(
                log.add_cosignatures(&mut db, &signed, &lines),
                Err(LogError::Cosignature { .. })
            ));
        }
        assert!(!place.log_folder().join(COSIGNED).exists());
        // And the log goes on.
        append(&mut db, &mut log, 3);
        integrate_all(&mut db, &mut log);
    });
}

/// A database that was restored from a backup: the witness has seen more.
#[test]
fn a_witness_that_is_ahead_raises_the_alarm() {
    block_on(async {
        let place = Place::new();
        let one = Watching::new(11, &place).await;
        let clients = [one.client()];
        let (mut db, mut log) = open_with(&place, &[&one]);
        let standing = ask_all(&clients, log.signed()).await;
        assert_eq!(standing[0].1.as_ref().unwrap(), &Standing::Same);
        append(&mut db, &mut log, 10);
        integrate_all(&mut db, &mut log);
        let standing = ask_all(&clients, log.signed()).await;
        assert_eq!(
            standing[0].1.as_ref().unwrap(),
            &Standing::Behind { known: 0 }
        );
        clients[0]
            .cosign(&reader(&place), log.signed())
            .await
            .unwrap();
        drop((db, log));
        let backup = place.copy();
        let (mut db, mut log) = open_with(&place, &[&one]);
        append(&mut db, &mut log, 10);
        integrate_all(&mut db, &mut log);
        let twenty = log.signed().clone();
        clients[0].cosign(&reader(&place), &twenty).await.unwrap();

        let (mut db, mut log) = open_with(&backup, &[&one]);
        let standing = ask_all(&[one.client()], log.signed()).await;
        let error = standing.into_iter().next().unwrap().1.unwrap_err();
        assert!(error.is_alarm(), "{error}");
        assert!(matches!(
            error,
            WitnessError::Ahead {
                known: 20,
                size: 10,
                ..
            }
        ));
        // Had it gone on from there: of the same size, then of a larger one.
        for (add, size) in [(10, 20), (5, 25)] {
            let transaction = db.connection().transaction().unwrap();
            for _ in 0..add {
                log.append(&transaction, b"another history").unwrap();
            }
            transaction.commit().unwrap();
            log.committed();
            integrate_all(&mut db, &mut log);
            let fresh = one.client();
            let error = fresh
                .cosign(&reader(&backup), log.signed())
                .await
                .unwrap_err();
            match size {
                20 => assert!(error.is_alarm(), "{error}"),
                // The proof does not hold: it refuses by 422.
                _ => assert!(matches!(error, WitnessError::Client(_)), "{error}"),
            }
        }
        let mut db = rusqlite::Connection::open(one.folder.path().join("witness.db")).unwrap();
        let forks = "SELECT note, other FROM witness_fork";
        let (a, b): (String, String) = db
            .transaction()
            .unwrap()
            .query_row(forks, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        let parse = |note: String| SignedCheckpoint::parse(note.as_bytes()).unwrap();
        let (a, b) = (parse(a), parse(b));
        let key = place.options().note_key();
        assert_eq!(a.verify(&key).unwrap().size, b.verify(&key).unwrap().size);
        assert_ne!(a.unverified().root, b.unverified().root);
        assert_eq!(one.known(&place), 20);
    });
}

#[test]
fn a_witness_remembers() {
    block_on(async {
        let place = Place::new();
        let mut one = Watching::new(11, &place).await;
        let (mut db, mut log) = place.open().unwrap();
        let reader = reader(&place);
        let mut client = one.client();
        for add in [10, 300, 1] {
            append(&mut db, &mut log, add);
            integrate_all(&mut db, &mut log);
            client.cosign(&reader, log.signed()).await.unwrap();
            one = one.again(&place).await;
            client = one.client();
            assert_eq!(one.known(&place), log.size());
        }
        // Both know it, so nothing needs to be proven; a client that knows nothing is told.
        client.cosign(&reader, log.signed()).await.unwrap();
        one.client().cosign(&reader, log.signed()).await.unwrap();
        assert_eq!(client.standing(log.signed()).await.unwrap(), Standing::Same);
    });
}

/// The statuses and bodies of the protocol.
#[test]
fn answers_are_those_of_the_protocol() {
    block_on(async {
        let place = Place::new();
        let one = Watching::new(11, &place).await;
        let (mut db, mut log) = place.open().unwrap();
        append(&mut db, &mut log, 10);
        integrate_all(&mut db, &mut log);
        let at = |size, root, seed: u8, origin: &str| {
            let origin = origin.parse().unwrap();
            Checkpoint { origin, size, root }
                .sign(&Keypair::from_seed([seed; 32]), &mut rand_core::OsRng)
        };
        let root = log.signed().unverified().root;
        let origin = "log.example/test";
        let post = async |old, proof: Vec<Hash>, checkpoint| {
            let request = AddCheckpoint {
                old,
                proof,
                checkpoint,
            };
            send(&one, request.to_string().into_bytes()).await
        };
        let good = || at(10, root, 1, origin);
        let (status, kind, body) = post(0, vec![], good()).await;
        assert_eq!((status, kind.as_str()), (200, "text/plain; charset=utf-8"));
        assert!(body.starts_with("\u{2014} witness.example/11 "), "{body}");
        let (status, kind, body) = post(0, vec![], good()).await;
        assert_eq!(
            (status, kind.as_str(), body.as_str()),
            (409, "text/x.tlog.size", "10\n")
        );
        let other = at(10, Hash::of(b"other"), 1, origin);
        assert_eq!(post(10, vec![], other).await.0, 409);
        assert_eq!(post(11, vec![], good()).await.0, 400);
        assert_eq!(post(10, vec![], at(10, root, 2, origin)).await.0, 403);
        assert_eq!(post(0, vec![], at(10, root, 1, "unknown")).await.0, 404);
        let grown = at(12, Hash::of(b"other"), 1, origin);
        assert_eq!(post(10, vec![Hash::ZERO; 3], grown).await.0, 422);
        assert_eq!(send(&one, b"old 1\n".to_vec()).await.0, 400);
        assert_eq!(send(&one, vec![b'x'; 100_000]).await.0, 413);
        assert_eq!(one.known(&place), 10);
        let vkey = one.http().get("/").send().await.unwrap();
        let key: NoteKey = str::from_utf8(&vkey.bytes).unwrap().trim().parse().unwrap();
        assert_eq!(key, one.witness.note_key());
    });
}

async fn send(watching: &Watching, body: Vec<u8>) -> (u16, String, String) {
    let url = format!("{}/add-checkpoint", watching.server.url());
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(crate::tls::Roots::none().client_config().unwrap())
        .no_proxy()
        .build()
        .unwrap();
    let answer = http.post(url).body(body).send().await.unwrap();
    let kind = answer.headers().get("content-type");
    let kind = kind.map_or(String::new(), |kind| kind.to_str().unwrap().to_owned());
    let status: StatusCode = answer.status();
    (status.as_u16(), kind, answer.text().await.unwrap())
}

/// Many requests at once, of two histories: one of them is cosigned, never both.
#[test]
fn one_history_wins() {
    block_on(async {
        let place = Place::new();
        let one = Watching::new(11, &place).await;
        let mut requests = Vec::new();
        for history in 0..40u8 {
            let mut tree = Frontier::new();
            tree.append(leaf_hash(&[history % 4])).unwrap();
            let checkpoint = Checkpoint {
                origin: place.options().origin,
                size: 1,
                root: tree.root(),
            };
            let checkpoint = checkpoint.sign(&place.options().key, &mut rand_core::OsRng);
            requests.push(AddCheckpoint {
                old: 0,
                proof: vec![],
                checkpoint,
            });
        }
        let answers = futures_util::future::join_all(requests.iter().map(async |request| {
            let (status, _, _) = send(&one, request.to_string().into_bytes()).await;
            (status, request.checkpoint.unverified().root)
        }))
        .await;
        let roots: Vec<_> = answers
            .iter()
            .filter(|(status, _)| *status == 200)
            .map(|(_, root)| *root)
            .collect();
        assert_eq!(roots.len(), 1, "{answers:?}");
    });
}

/// A witness that is something else, or lies.
#[test]
fn answers_that_are_none() {
    block_on(async {
        let place = Place::new();
        let one = Watching::new(11, &place).await;
        let (mut db, mut log) = place.open().unwrap();
        append(&mut db, &mut log, 10);
        integrate_all(&mut db, &mut log);
        let genuine = one.client().cosign(&reader(&place), log.signed()).await;
        let genuine = genuine.unwrap();
        let mut altered = genuine.clone();
        altered.signature[30] ^= 1;
        let mut renamed = genuine.clone();
        renamed.name = "witness.example/12".parse().unwrap();
        for (status, body) in [
            (200, String::new()),
            (200, "ok\n".to_owned()),
            (200, altered.to_string()),
            (200, renamed.to_string()),
            (409, "many\n".to_owned()),
            (409, "-1\n".to_owned()),
            (409, "0\n".to_owned()),
            (200, "x".repeat(20_000)),
        ] {
            let text = body.clone();
            let answer = move || {
                let text = text.clone();
                async move { (StatusCode::from_u16(status).unwrap(), text) }
            };
            let server = serve(axum::Router::new().fallback(answer)).await;
            let client = WitnessClient::new(one.witness.note_key(), client(&server, ""));
            let error = client
                .cosign(&reader(&place), log.signed())
                .await
                .unwrap_err();
            assert!(!error.is_alarm(), "{error}");
            assert!(error.to_string().contains("hint: "), "{error}");
        }
    });
}
