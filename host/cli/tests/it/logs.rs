//! `adit log`: what is told of logs that are sound, damaged or forked, and witnesses.

use std::path::{Path, PathBuf};

use adit_net::db::Db;
use adit_net::http::client::{Client, ClientConfig};
use adit_net::http::server::{Limits, Listen, Server};
use adit_net::log::witness::WitnessClient;
use adit_net::log::{Check, FolderSource, Log, LogOptions, LogReader, Trust, WalkOptions};
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::keys::Keypair;
use adit_protocol::log::key::{KeyKind, KeyName, NoteKey};
use adit_protocol::log::origin::Origin;
use adit_protocol::network::entry::{Cancel, CancelledBy, Entry, Expiry};
use adit_protocol::network::membership::NetworkFile;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::network_support::Node;
use crate::support::{Home, Said};

/// A log that the test writes.
struct TestLog {
    folder: PathBuf,
    db: Db,
    log: Log,
}

impl TestLog {
    fn open(home: &Home, name: &str) -> TestLog {
        let origin = "log.example/test".parse().unwrap();
        TestLog::with(home, name, origin, Keypair::from_seed([1; 32]))
    }

    fn with(home: &Home, name: &str, origin: KeyName, key: Keypair) -> TestLog {
        let folder = home.path(name);
        let mut db = Db::open(&home.path(&format!("{name}.db")), &[Log::MIGRATION]).unwrap();
        let options = LogOptions {
            folder: folder.clone(),
            origin,
            key,
            witnesses: vec![],
            check: Check::All,
        };
        let log = Log::open(&mut db, options).unwrap();
        TestLog { folder, db, log }
    }

    fn append(&mut self, entries: impl IntoIterator<Item = Vec<u8>>) {
        let transaction = self.db.connection().transaction().unwrap();
        for entry in entries {
            self.log.append(&transaction, &entry).unwrap();
        }
        transaction.commit().unwrap();
        self.log.committed();
        while self.log.integrate(&mut self.db, 1).unwrap().is_some() {}
    }

    /// The entries of these numbers, of kinds that take turns.
    fn grow(&mut self, numbers: std::ops::Range<u64>, history: &str) {
        self.append(numbers.map(|number| {
            let hash = Hash::of(format!("{history}{number}").as_bytes());
            let entry = match number % 3 {
                0 => Entry::Cancel(Cancel {
                    task: hash,
                    by: CancelledBy::Client,
                    at_ms: number,
                    assignments: vec![],
                }),
                _ => Entry::Expiry(Expiry {
                    assignment: hash,
                    at_ms: number,
                    acceptance: None,
                }),
            };
            entry.encode()
        }));
    }

    fn vkey(&self) -> String {
        self.log.key().to_string()
    }
}

/// Everything in a folder, as another one.
fn copy(from: &Path, to: &Path) {
    let mut cp = std::process::Command::new("cp");
    assert!(cp.arg("-r").arg(from).arg(to).status().unwrap().success());
}

/// Serves a log as a coordinator does, until it is dropped.
struct Served {
    url: String,
    _server: Server,
    _runtime: Runtime,
}

fn serve(folder: &Path) -> Served {
    let runtime = Runtime::new().unwrap();
    let routes = axum::Router::new().nest("/log", adit_net::log::router(folder.to_owned()));
    let listen = Listen::plain("127.0.0.1:0".parse().unwrap());
    let token = CancellationToken::new();
    let server = runtime.block_on(Server::start(listen, Limits::default(), routes, token));
    let server = server.unwrap();
    Served {
        url: server.url(),
        _server: server,
        _runtime: runtime,
    }
}

fn log(home: &Home, args: &[&str]) -> Said {
    home.adit(&[&["log"][..], args].concat())
}

#[test]
fn a_sound_log_is_read_from_a_folder() {
    let home = Home::new();
    let mut test = TestLog::open(&home, "log");
    test.grow(0..600, "");
    let vkey = test.vkey();
    let kept = log(&home, &["checkpoint", "log", "--vkey", &vkey]).exits(0);
    assert_eq!(
        kept.stdout,
        std::fs::read(test.folder.join("checkpoint")).unwrap()
    );
    home.file("kept", &kept.stdout);
    test.grow(600..1000, "");
    let said = log(
        &home,
        &["check", "log", "--vkey", &vkey, "--from", "kept", "--json"],
    );
    let said = said.exits(0).json();
    assert_eq!(said["size"], 1000);
    assert_eq!(said["entries"]["cancels"], 334);
    assert_eq!(said["entries"]["expiries"], 666);
    assert_eq!(said["from"]["size"], 600);
    assert_eq!(said["key_known_by"], "vkey");
    let text = log(&home, &["check", "log", "--vkey", &vkey])
        .exits(0)
        .text();
    assert!(text.contains("size       1,000\n"), "{text}");
    // The other way round it has lost entries.
    let newest = log(&home, &["checkpoint", "log", "--vkey", &vkey]).exits(0);
    home.file("newest", &newest.stdout);
    copy(&test.folder, &home.path("old"));
    std::fs::write(home.path("old/checkpoint"), &kept.stdout).unwrap();
    log(
        &home,
        &["check", "old", "--vkey", &vkey, "--from", "newest"],
    )
    .exits(4)
    .explains(&["two histories", "1000 entries and shows 600"]);
}

#[test]
fn damage_has_its_exit_codes() {
    let home = Home::new();
    let mut test = TestLog::open(&home, "log");
    test.grow(0..600, "");
    let vkey = test.vkey();
    let check = |words: &[&str], code: i32| {
        log(&home, &["check", "log", "--vkey", &vkey])
            .exits(code)
            .explains(words);
    };
    for (file, code, word) in [
        ("tile/entries/000", 4, "tile/entries/000"),
        ("tile/entries/002.p/88", 4, "tile/entries/002.p/88"),
        ("tile/0/001", 4, "tile/0/001"),
        ("tile/1/000.p/2", 4, "root"),
        ("checkpoint", 3, "checkpoint"),
    ] {
        let path = test.folder.join(file);
        let good = std::fs::read(&path).unwrap();
        let mut bytes = good.clone();
        bytes[40] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        check(&[word], code);
        std::fs::remove_file(&path).unwrap();
        check(&[file], 6);
        std::fs::write(&path, &good).unwrap();
    }
    // Another key, a key of another kind, none at all.
    let other = "log.example/test".parse().unwrap();
    let other = NoteKey::new(
        other,
        KeyKind::Checkpoint,
        Keypair::from_seed([2; 32]).public(),
    );
    log(&home, &["check", "log", "--vkey", &other.to_string()])
        .exits(3)
        .explains(&["has not signed"]);
    log(&home, &["check", "log", "--vkey", "nonsense"]).exits(1);
    log(&home, &["check", "log"]).exits(1).explains(&["--vkey"]);
    log(&home, &["check", "nowhere", "--vkey", &vkey]).exits(1);
    let nobody = "http://127.0.0.1:1/log";
    log(&home, &["check", nobody, "--vkey", &vkey])
        .exits(6)
        .explains(&["cannot be reached"]);
    let quorum = ["check", "log", "--vkey", &vkey, "--quorum", "1"];
    log(&home, &quorum).exits(1).explains(&["0 are known"]);
    // What is in the tree, and no entry of a coordinator.
    test.append([b"nonsense".to_vec()]);
    check(&["entry 600"], 3);
}

#[test]
fn a_log_is_read_and_mirrored_over_http() {
    let home = Home::new();
    let mut test = TestLog::open(&home, "log");
    test.grow(0..70_000, "");
    let vkey = test.vkey();
    let served = serve(&test.folder);
    let url = served.url.as_str();
    let said = log(&home, &["check", url, "--vkey", &vkey, "--json"]);
    assert_eq!(said.exits(0).json()["size"], 70_000);
    let mirror = |json: bool| {
        let args = ["mirror", url, "copy", "--vkey", &vkey, "--json"];
        let args = if json { &args[..] } else { &args[..5] };
        log(&home, args)
    };
    let said = mirror(true).exits(0).json();
    assert_eq!(
        (&said["size"], &said["size_before"]),
        (&Value::from(70_000), &Value::from(0))
    );
    test.grow(70_000..70_300, "");
    let text = mirror(false).exits(0).text();
    assert_eq!(text, "70,300 entries, 300 of them new\n");
    let fsck = || log(&home, &["fsck", "copy", "--vkey", &vkey, "--json"]);
    let said = fsck().exits(0).json();
    assert_eq!(
        (&said["size"], &said["ok"]),
        (&Value::from(70_300), &Value::from(true))
    );
    let path = home.path("copy/tile/entries/100");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[300] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let said = fsck().exits(4);
    assert!(said.stderr.contains("tile/entries/100"), "{}", said.stderr);
    log(&home, &["fsck", "copy"]).exits(1).explains(&["--vkey"]);
}

/// Two logs of one key: a watcher and a mirror that follow the one tell that the other is not it.
#[test]
fn forks_are_found_and_kept() {
    let home = Home::new();
    let mut test = TestLog::open(&home, "log");
    test.grow(0..300, "");
    drop(test);
    copy(&home.path("log"), &home.path("fork"));
    copy(&home.path("log.db"), &home.path("fork.db"));
    let mut test = TestLog::open(&home, "log");
    let vkey = test.vkey();
    let watch = |name: &str| log(&home, &["watch", name, "--once", "--vkey", &vkey]);
    let first = watch("log").exits(0).text();
    assert!(first.contains("300 entries"), "{first}");
    // Nothing new, nothing to say.
    assert_eq!(watch("log").exits(0).text(), "");
    test.grow(300..400, "");
    assert!(watch("log").exits(0).text().contains("400 entries"));
    let mut fork = TestLog::open(&home, "fork");
    fork.grow(300..500, "another history");
    let said = watch("fork").exits(4).explains(&["two histories"]);
    assert!(said.stderr.contains("ALARM: "), "{}", said.stderr);
    let kept: Vec<_> = crate::support::files(&home.state().join("logs"))
        .into_iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "forks"))
        .collect();
    let read = |name: &str| {
        let path = kept.iter().find(|path| path.ends_with(name)).unwrap();
        let bytes = std::fs::read(path).unwrap();
        let signed = adit_protocol::log::checkpoint::SignedCheckpoint::parse(&bytes).unwrap();
        signed.verify(test.log.key()).unwrap().size
    };
    assert_eq!((read("old"), read("new")), (400, 500));
    // It goes on with the history that it knows.
    test.grow(400..600, "");
    assert!(watch("log").exits(0).text().contains("600 entries"));
    let mirror = |name: &str| log(&home, &["mirror", name, "copy", "--vkey", &vkey]);
    mirror("log").exits(0);
    mirror("fork").exits(4).explains(&["another history"]);
    log(&home, &["fsck", "copy", "--vkey", &vkey]).exits(0);
}

#[test]
fn a_watcher_waits_for_a_log_that_is_away() {
    let home = Home::new();
    let mut test = TestLog::open(&home, "log");
    test.grow(0..10, "");
    let vkey = test.vkey();
    let served = serve(&test.folder);
    let url = served.url.clone();
    let args = ["log", "watch", &url, "--vkey", &vkey, "--interval", "50ms"];
    let mut node = Node::start(home.command(&args));
    assert!(node.line().contains("10 entries"));
    drop(served);
    let said = node.stderr();
    node.until("the log is away", || {
        said().contains("not seen: ").then_some(())
    });
    // Ended by the signal, as it was asked to.
    assert_eq!(node.end(), Some(143));
}

#[test]
fn a_witness_cosigns_and_remembers() {
    let home = Home::new();
    let mut test = TestLog::open(&home, "log");
    test.grow(0..300, "");
    let name = "witness.example/w";
    let vkey = log(&home, &["witness", "key", "--name", name])
        .exits(0)
        .text();
    let key: NoteKey = vkey.trim().parse().unwrap();
    let watched = test.vkey();
    let args = [
        "log",
        "witness",
        "run",
        "--name",
        name,
        "--vkey",
        &watched,
        "--listen",
        "127.0.0.1:0",
    ];
    let runtime = Runtime::new().unwrap();
    let reader = LogReader::new(
        FolderSource(test.folder.clone()),
        Trust::log_alone(test.log.key().clone()),
    );
    let client = |url: &str| {
        let config = ClientConfig::new(url.parse().unwrap());
        WitnessClient::new(key.clone(), Client::new(config).unwrap())
    };
    let mut node = Node::start(home.command(&args));
    let url = node.line();
    let signed = test.log.signed().clone();
    runtime
        .block_on(client(&url).cosign(&reader, &signed))
        .unwrap();
    // A second one with the same state would cosign a second history.
    let said = home.adit(&args).exits(1);
    assert!(said.stderr.contains("in use"), "{}", said.stderr);
    node.kill();
    let mut node = Node::start(home.command(&args));
    let url = node.line();
    let knows = client(&url);
    let standing = runtime.block_on(knows.standing(&signed)).unwrap();
    assert_eq!(standing, adit_net::log::witness::Standing::Same);
    test.grow(300..301, "");
    let line = runtime.block_on(knows.cosign(&reader, test.log.signed()));
    let mut note = test.log.signed().clone();
    note.add(line.unwrap()).unwrap();
    std::fs::write(test.folder.join("checkpoint"), note.to_string()).unwrap();
    let args = [
        "checkpoint",
        "log",
        "--vkey",
        &watched,
        "--witness",
        vkey.trim(),
        "--quorum",
        "1",
        "--json",
    ];
    let said = log(&home, &args).exits(0).json();
    assert_eq!(said["cosigned"][0]["name"], name);
    assert_eq!(node.end(), Some(0));
}

/// A network with a coordinator and a witness, from nothing: each checkpoint is cosigned, and a
/// coordinator whose state is from before what the witness knows does not start.
#[test]
fn a_coordinators_log_is_cosigned() {
    let home = Home::new();
    let name = "witness.example/w";
    let vkey = log(&home, &["witness", "key", "--name", name])
        .exits(0)
        .text();
    let network = |args: &[&str]| {
        let authority = ["--authority", "//Alice"];
        home.adit(&[&["network"][..], args, &authority].concat())
            .exits(0)
    };
    network(&["new", "net", "--name", "test", "--development"]);
    let init = ["--json", "coordinator", "init", "--name", "c"];
    let made = home.adit(&init).exits(0).json();
    network(&[
        "add-coordinator",
        "net",
        "--node",
        made["node"].as_str().unwrap(),
        "--log",
        made["log"].as_str().unwrap(),
        "--stake",
        "2000000",
        "--url",
        "http://127.0.0.1:7470",
    ]);
    let run = [
        "log",
        "witness",
        "run",
        "--name",
        name,
        "--network",
        "net",
        "--listen",
        "127.0.0.1:0",
    ];
    let mut witness = Node::start(home.command(&run));
    let url = witness.line();
    let add = ["add-witness", "net", "--vkey", vkey.trim(), "--url", &url];
    network(&add);

    let run = [
        "coordinator",
        "run",
        "--network",
        "net",
        "--listen",
        "127.0.0.1:0",
    ];
    let mut coordinator = Node::start(home.command(&run));
    let url = coordinator.line();
    // The keys are those of the network file, or what the coordinator says itself.
    for known_by in [&["--network", "net"][..], &[]] {
        let args = [
            &["--json", "log", "checkpoint", &url, "--quorum", "1"][..],
            known_by,
        ]
        .concat();
        let said = coordinator.until("the checkpoint is cosigned", || {
            let said = home.adit(&args);
            (said.code == Some(0)).then_some(said)
        });
        let said = said.json();
        assert_eq!(said["cosigned"][0]["name"], name);
        let word = if known_by.is_empty() {
            "coordinator"
        } else {
            "network-file"
        };
        assert_eq!(said["key_known_by"], word);
    }
    log(&home, &["check", &url, "--network", "net"]).exits(0);
    // While it runs, its files are its own.
    log(&home, &["fsck", "--network", "net"])
        .exits(6)
        .explains(&["in use"]);
    assert_eq!(coordinator.end(), Some(0));
    let said = log(&home, &["fsck", "--network", "net", "--json"]).exits(0);
    assert_eq!(said.json()["ok"], true);

    // The witness has seen more of this log than its state knows: as after a restored backup.
    let file = std::fs::read(home.path("net")).unwrap();
    let file = NetworkFile::from_cbor(&file).unwrap().genesis.hash();
    let keys = home.state().join("coordinator/keys");
    let secret = |name: &str| {
        let text = std::fs::read_to_string(keys.join(name)).unwrap();
        let digits = text
            .lines()
            .next()
            .unwrap()
            .trim_start_matches("0x")
            .to_owned();
        let bytes: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        Keypair::from_seed(bytes.try_into().unwrap())
    };
    let origin = Origin::new(&file, &secret("node").public());
    let mut ahead = TestLog::with(&home, "ahead", origin.name(), secret("log"));
    let runtime = Runtime::new().unwrap();
    let trust = Trust::log_alone(ahead.log.key().clone());
    let own = FolderSource(home.state().join("coordinator/data/log"));
    let known = runtime.block_on(entries(&LogReader::new(own, trust.clone())));
    let size = known.len() + 50;
    ahead.append(known);
    ahead.grow(0..50, "");
    let reader = LogReader::new(FolderSource(ahead.folder.clone()), trust);
    let witness_url = add[5];
    let config = ClientConfig::new(witness_url.parse().unwrap());
    let client = WitnessClient::new(vkey.trim().parse().unwrap(), Client::new(config).unwrap());
    let signed = ahead.log.signed().clone();
    runtime.block_on(client.cosign(&reader, &signed)).unwrap();
    home.adit(&run)
        .exits(1)
        .explains(&[&format!("has cosigned {size} entries")]);
    assert_eq!(witness.end(), Some(0));
}

/// All entries of a log.
async fn entries(reader: &LogReader<FolderSource>) -> Vec<Vec<u8>> {
    let checkpoint = reader.checkpoint().await.unwrap().checkpoint;
    let options = WalkOptions::default();
    let walk = reader.walk(&checkpoint, 0..checkpoint.size, options).await;
    let (mut walk, mut all) = (walk.unwrap(), Vec::new());
    while let Some(bundle) = walk.next().await.unwrap() {
        all.extend(bundle.entries().map(|(_, bytes)| bytes.to_vec()));
    }
    all
}
