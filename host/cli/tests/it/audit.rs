//! `adit audit`, `adit bundle` and `adit receipt --from`, on logs with real runs in them.

// What the unit tests use besides is not used here.
#[allow(dead_code)]
#[path = "../../src/evidence/testing.rs"]
mod testing;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use adit_protocol::Hash;
use adit_protocol::Status;
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::ExecSpec;
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::task::Disclosure;
use serde_json::{Value, json};

use crate::support::{Home, ended};
use testing::{Files, Outcome, TestLog};

/// A real run of the guest `behave`: what to order, and how it ends.
struct Run {
    exec: ExecSpec,
    outcome: Outcome,
}

fn run(home: &Home, log: &mut TestLog, args: &[&str], status: Status) -> Run {
    let code = if status == Status::Ok { 0 } else { 1 };
    let id = home.behave(&["--receipt", "r"], args);
    assert_eq!(id.code, Some(code), "{}", id.stderr);
    let shown = home
        .adit(&["--json", "receipt", "show", "r"])
        .exits(0)
        .json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let component = text(&shown["receipt"]["body"]["component"]);
    log.blob(fs::read(home.blob(&component)).unwrap());
    let input = text(&shown["opening"]["input"]["hash"]);
    log.blob(fs::read(home.blob(&input)).unwrap());
    let exec = text(&shown["task"]["exec"]);
    let exec = ExecSpec::from_cbor(&fs::read(home.blob(&exec)).unwrap()).unwrap();
    let body = &shown["receipt"]["body"];
    Run {
        exec,
        outcome: Outcome {
            status,
            output: text(&shown["opening"]["output"]["hash"]).parse().unwrap(),
            fuel: body["fuel"].as_u64().unwrap(),
            peak_memory: body["peak_memory"].as_u64().unwrap(),
        },
    }
}

/// A log of some real runs, all as they should be; and the run that most of them are of.
fn honest(home: &Home) -> (TestLog, Run) {
    let mut log = TestLog::new(3);
    let good = run(home, &mut log, &["args", "a"], Status::Ok);
    let trap = run(home, &mut log, &["burn-then-trap", "1000"], Status::Trap);
    log.roster(|_| {});
    for n in 0..60 {
        let run = if n % 6 == 5 { &trap } else { &good };
        log.done(&run.exec, Disclosure::Public, &run.outcome);
        if n % 20 == 19 {
            log.roster(|_| {});
        }
    }
    log.done(&good.exec, Disclosure::Parties, &good.outcome);
    (log, good)
}

/// A second writer of bundles, so that the form is not only what the program makes of it.
fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        bytes.extend(header(name, content.len(), b'0', ""));
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn header(name: &str, len: usize, kind: u8, link: &str) -> [u8; 512] {
    let mut header = [0u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{len:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(157, link);
    put(257, "ustar\u{0}00");
    header[156] = kind;
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn members(files: &Files) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![
        ("adit-bundle".to_owned(), b"adit-bundle v1\n".to_vec()),
        ("network".to_owned(), files.network.clone()),
        ("checkpoint".to_owned(), files.checkpoint.clone()),
    ];
    let tiles: BTreeMap<_, _> = files.tiles.clone();
    all.extend(
        tiles
            .iter()
            .map(|(tile, bytes)| (tile.to_string(), bytes.clone())),
    );
    let openings = files.openings.iter();
    all.extend(
        openings.map(|(id, opening)| (format!("opening/{}", id.to_hex()), opening.to_cbor())),
    );
    let blobs = files.blobs.iter();
    all.extend(blobs.map(|(hash, bytes)| (format!("blob/{}", hash.to_hex()), bytes.clone())));
    all
}

fn bundle(home: &Home, name: &str, log: &TestLog) -> String {
    let path = home.file(name, archive(&members(&log.seal())));
    path.to_str().unwrap().to_owned()
}

fn results<'a>(report: &'a Value, id: &str) -> Vec<&'a str> {
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["id"] == id)
        .map(|check| check["result"].as_str().unwrap())
        .collect()
}

/// The command, in a network namespace of its own where the system permits that.
fn without_network(command: &Command) -> Command {
    let permitted = Command::new("unshare").args(["-rn", "true"]).output();
    let permitted = permitted.is_ok_and(|said| said.status.success());
    let mut alone = match permitted {
        true => {
            let mut unshare = Command::new("unshare");
            unshare.arg("-rn").arg(command.get_program());
            unshare
        }
        false => Command::new(command.get_program()),
    };
    alone.args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        alone.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        alone.env(name, value.unwrap());
    }
    alone
}

#[test]
fn a_bundle_is_audited_without_a_network() {
    let home = Home::new();
    let (log, _) = honest(&home);
    let bundle = bundle(&home, "log.tar", &log);
    let page = home.path("report.html");
    let args = [
        "--json",
        "audit",
        "--offline",
        &bundle,
        "--seed",
        "7",
        "--sample",
        "12",
        "--report",
        page.to_str().unwrap(),
    ];
    let report = ended(without_network(&home.command(&args))).exits(6).json();
    for id in [
        "network-signature",
        "checkpoint-signature",
        "tree",
        "tiles",
        "rosters",
        "membership",
        "leases",
        "signatures",
        "receipts",
        "verdicts",
        "complete",
        "execution",
    ] {
        assert_eq!(results(&report, id), ["passed"], "{id}");
    }
    // One task is disclosed to its parties alone, and so not everything was checked.
    assert_eq!(results(&report, "draws"), ["passed", "not-performed"]);
    assert_eq!(results(&report, "inference"), ["not-performed"]);
    let replayed = report["sample"]["replayed"].as_array().unwrap();
    assert_eq!(replayed.len(), 12);
    assert!(
        replayed.iter().all(|r| r["result"] == "passed"),
        "{replayed:?}"
    );
    assert_eq!(report["sample"]["eligible"], 60);
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains(&report["log"]["coordinator"].as_str().unwrap().to_owned()));
    // Nothing is left of the blobs that were taken out for it.
    let scratch = fs::read_dir(home.state().join("scratch")).unwrap();
    assert_eq!(scratch.count(), 0);
    // In words.
    let text = home
        .adit(&["audit", "--offline", &bundle, "--all"])
        .exits(6)
        .text();
    for words in [
        "passed         level 2",
        "not performed  level 1",
        "run again: 60 of 60",
        "NOT ALL CHECKED",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

#[test]
fn a_false_receipt_is_proven_and_can_be_checked_again() {
    let home = Home::new();
    let (mut log, good) = honest(&home);
    let lie = Outcome {
        output: Hash::of(b"another output"),
        ..good.outcome.clone()
    };
    let false_one = log.done(&good.exec, Disclosure::Public, &lie);
    let right = log.done(&good.exec, Disclosure::Public, &good.outcome);
    let bundle = bundle(&home, "log.tar", &log);
    let report = home
        .adit(&["--json", "audit", "--offline", &bundle, "--all"])
        .exits(5)
        .json();
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    let finding = &findings[0];
    assert_eq!(finding["kind"], "execution-diverged");
    assert_eq!(finding["leaf"], log.leaf() - 5);
    assert!(
        finding["what"]
            .as_str()
            .unwrap()
            .contains("output: the receipt has")
    );
    assert_eq!(
        finding["about"][0],
        json!(["receipt", false_one.to_string()])
    );

    // By its own words.
    home.adit(&["receipt", "replay", &false_one.to_string()])
        .exits(1)
        .explains(&["there is no receipt"]);
    let imported = home.adit(&["bundle", "import", &bundle]).exits(0).text();
    assert!(imported.starts_with("62 receipts and "), "{imported}");
    home.adit(&["receipt", "replay", &false_one.to_string()])
        .exits(5);
    home.adit(&["receipt", "replay", &right.to_hex()[..16]])
        .exits(0);
    home.adit(&["receipt", "show", &right.to_string()]).exits(0);
    // What is received from others is not in the way of what is one's own.
    home.behave(&[], &["args", "b"]).exits(0);
    home.adit(&["receipt", "replay", "last"]).exits(0);
}

#[test]
fn receipts_are_looked_up_in_the_log_of_a_bundle() {
    let home = Home::new();
    let (mut log, good) = honest(&home);
    let receipt = log.done(&good.exec, Disclosure::Public, &good.outcome);
    let files = log.seal();
    let path = home.file("log.tar", archive(&members(&files)));
    let path = path.to_str().unwrap();
    let id = receipt.to_string();
    let verified = home
        .adit(&["--json", "receipt", "verify", &id, "--from", path])
        .exits(0)
        .json();
    let result = |report: &Value, name: &str| {
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == name);
        check.map(|check| check["result"].as_str().unwrap().to_owned())
    };
    assert_eq!(
        result(&verified, "log inclusion").as_deref(),
        Some("passed")
    );
    assert_eq!(
        result(&verified, "coordinator countersignature").as_deref(),
        Some("passed")
    );
    // Nothing was fetched but for the check; a replay fetches, and keeps it.
    home.adit(&["receipt", "show", &id]).exits(1).explains(&[]);
    let replayed = home
        .adit(&["--json", "receipt", "replay", &id, "--from", path])
        .exits(0)
        .json();
    assert_eq!(
        result(&replayed, "log inclusion").as_deref(),
        Some("passed")
    );
    assert_eq!(result(&replayed, "output").as_deref(), Some("passed"));
    home.adit(&["receipt", "show", &id]).exits(0);
    // The network that the user means.
    let network = home.file("network", log.network().to_cbor());
    home.adit(&[
        "receipt",
        "verify",
        &id,
        "--from",
        path,
        "--network",
        network.to_str().unwrap(),
    ])
    .exits(0);
    home.adit(&[
        "receipt",
        "verify",
        &Hash::of(b"x").to_string(),
        "--from",
        path,
    ])
    .exits(6)
    .explains(&["is not there"]);
    // A hash that its proof needs is another.
    let mut bad = files.clone();
    let hashes = bad
        .tiles
        .iter_mut()
        .find(|(tile, _)| tile.to_string().starts_with("tile/0/"))
        .unwrap()
        .1;
    hashes[3] ^= 1;
    let path = home.file("bad.tar", archive(&members(&bad)));
    let said = home
        .adit(&[
            "--json",
            "receipt",
            "verify",
            &id,
            "--from",
            path.to_str().unwrap(),
        ])
        .exits(4)
        .json();
    assert_eq!(result(&said, "log inclusion").as_deref(), Some("failed"));
}

#[test]
fn exporting_a_bundle_again_gives_the_same_bytes() {
    let home = Home::new();
    let (log, _) = honest(&home);
    let mut files = log.seal();
    // What the program puts in: nothing of tasks that are not disclosed, and no blob that nothing
    // names.
    let membership = log.membership.to_cbor();
    files.blobs.insert(Hash::of(&membership), membership);
    let one = home.file("one.tar", archive(&members(&files)));
    let export = |from: &Path, to: &str, more: &[&str]| -> PathBuf {
        let to = home.path(to);
        let mut args = vec![
            "bundle",
            "export",
            from.to_str().unwrap(),
            to.to_str().unwrap(),
        ];
        args.extend(more);
        home.adit(&args).exits(0);
        to
    };
    let two = export(&one, "two.tar", &[]);
    let three = export(&two, "three.tar", &[]);
    assert_eq!(fs::read(&two).unwrap(), fs::read(&three).unwrap());
    let report = |bundle: &Path, more: &[&str]| {
        let mut args = vec![
            "--json",
            "audit",
            "--offline",
            bundle.to_str().unwrap(),
            "--seed",
            "5",
        ];
        args.extend(more);
        home.adit(&args).exits(6).json()
    };
    let (a, b) = (report(&one, &[]), report(&two, &[]));
    assert_eq!(a["stats"], b["stats"]);
    assert_eq!(a["sample"]["replayed"], b["sample"]["replayed"]);
    // With the blobs of a sample only, which is the one that the audit chooses by the same seed.
    let small = export(&one, "small.tar", &["--sample", "3", "--seed", "5"]);
    assert!(fs::metadata(&small).unwrap().len() <= fs::metadata(&two).unwrap().len());
    let c = report(&small, &["--sample", "3"]);
    assert_eq!(results(&c, "execution"), ["passed"]);
    assert_eq!(c["sample"]["replayed"].as_array().unwrap().len(), 3);
    let listed = Command::new("tar").arg("-tf").arg(&two).output().unwrap();
    assert!(listed.status.success());
}

#[test]
fn hostile_bundles_are_refused_and_write_nothing() {
    let home = Home::new();
    let mut log = TestLog::new(1);
    log.roster(|_| {});
    let good = members(&log.seal());
    let bytes = archive(&good);
    let refused = |name: &str, bytes: &[u8]| {
        let path = home.file(name, bytes);
        let path = path.to_str().unwrap();
        for args in [["audit", "--offline", path], ["bundle", "import", path]] {
            home.adit(&args)
                .exits(3)
                .explains(&["cannot be used as a bundle"]);
        }
    };
    for len in [0, 1, 511, 512, 600, bytes.len() - 1024, bytes.len() - 1] {
        refused(&format!("cut-{len}"), &bytes[..len]);
    }
    type Members = Vec<(String, Vec<u8>)>;
    let changed = |change: &dyn Fn(&mut Members)| {
        let mut members = good.clone();
        change(&mut members);
        archive(&members)
    };
    refused(
        "traversal",
        &changed(&|m| m.push(("../../escaped".into(), b"x".to_vec()))),
    );
    refused(
        "absolute",
        &changed(&|m| m.push(("/tmp/escaped".into(), b"x".to_vec()))),
    );
    refused(
        "blob-traversal",
        &changed(&|m| m.push((format!("blob/../{}", "0".repeat(61)), b"x".to_vec()))),
    );
    refused(
        "twice",
        &changed(&|m| {
            let last = m.last().unwrap().clone();
            m.push(last);
        }),
    );
    refused(
        "no-tile",
        &changed(&|m| {
            m.remove(3);
        }),
    );
    refused("other-order", &changed(&|m| m.swap(1, 2)));
    refused("long-network", &changed(&|m| m[2].1 = vec![b'x'; 70_000]));
    refused(
        "other-version",
        &changed(&|m| m[0].1 = b"adit-bundle v2\n".to_vec()),
    );
    let mut link = bytes[..bytes.len() - 1024].to_vec();
    link.extend(header(
        &format!("blob/{}", "f".repeat(64)),
        0,
        b'2',
        "/etc/passwd",
    ));
    link.extend([0; 1024]);
    refused("link", &link);
    let mut huge = bytes[..bytes.len() - 1024].to_vec();
    huge.extend(header(
        &format!("blob/{}", "f".repeat(64)),
        0o77777777777,
        b'0',
        "",
    ));
    huge.extend([0; 1024]);
    refused("huge", &huge);
    refused("trailing", &[&bytes[..], &[0; 512]].concat());

    // A blob with another content than its name.
    let path = home.file("blob", changed(&|m| m.last_mut().unwrap().1[0] ^= 1));
    home.adit(&["bundle", "import", path.to_str().unwrap()])
        .exits(3)
        .explains(&["another hash"]);
    home.adit(&["audit", "--offline", path.to_str().unwrap()])
        .exits(6);
    assert!(!home.path("escaped").exists());
    home.adit(&["audit", "--offline", "nowhere"])
        .exits(1)
        .explains(&[]);
    home.adit(&["audit"]).exits(1).explains(&[]);
}

/// A coordinator that serves files; HTTP/1.1, one request for each connection.
fn serve(files: Files, receipts: BTreeMap<Hash, (u64, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let served = Arc::new((files, receipts));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let served = Arc::clone(&served);
            std::thread::spawn(move || answer(stream, &served));
        }
    });
    address
}

fn answer(stream: TcpStream, (files, receipts): &(Files, BTreeMap<Hash, (u64, Vec<u8>)>)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut length) = (String::new(), 0usize);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let path = first.split(' ').nth(1).unwrap();
    let hash = |text: &str| text.parse::<Hash>().unwrap();
    let content = match path {
        "/v1/network" => Some(files.network.clone()),
        "/log/checkpoint" => Some(files.checkpoint.clone()),
        "/v1/blobs/batch" => {
            let asked: Value = serde_json::from_slice(&body).unwrap();
            let hashes = asked["hashes"].as_array().unwrap();
            let mut cbor = vec![0x98, hashes.len().min(20) as u8];
            // Twenty at most, as a coordinator may stop early.
            for name in hashes.iter().take(20) {
                let hash = hash(name.as_str().unwrap());
                cbor.extend([0x82, 0x58, 32]);
                cbor.extend(hash.as_bytes());
                match files.blobs.get(&hash) {
                    None => cbor.push(0xf6),
                    Some(bytes) => {
                        cbor.push(0x5a);
                        cbor.extend((bytes.len() as u32).to_be_bytes());
                        cbor.extend(bytes);
                    }
                }
            }
            Some(cbor)
        }
        _ => match path.split_once("/v1/blobs/").or_else(|| path.split_once("/v1/receipts/")) {
            Some((_, id)) if path.starts_with("/v1/blobs/") => files.blobs.get(&hash(id)).cloned(),
            Some((_, id)) => receipts.get(&hash(id)).map(|(leaf, bytes)| {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let opening = files.openings.get(&hash(id));
                json!({"receipt": id, "leaf": leaf, "bytes": format!("0x{digits}"), "opening": opening, "more": 1})
                    .to_string()
                    .into_bytes()
            }),
            None => {
                let tile = path.strip_prefix("/log/").and_then(|tile| tile.parse().ok());
                tile.and_then(|tile| files.tiles.get(&tile).cloned())
            }
        },
    };
    let mut stream = stream;
    let (status, content) = match content {
        Some(content) => ("200 OK", content),
        None => ("404 Not Found", b"{}".to_vec()),
    };
    let kind = match path.starts_with("/v1/receipts") {
        true => "application/json",
        false => "application/cbor",
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        content.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&content);
}

#[test]
fn a_coordinator_is_audited_over_http_and_exported() {
    let home = Home::new();
    let (mut log, good) = honest(&home);
    let receipt = log.done(&good.exec, Disclosure::Public, &good.outcome);
    let receipts = log
        .entries
        .iter()
        .zip(0..)
        .filter_map(|(entry, leaf)| match Entry::decode(entry) {
            Ok(Entry::Receipt(receipt)) => {
                Some((receipt.id(), (leaf, receipt.to_bytes().to_vec())))
            }
            _ => None,
        })
        .collect();
    let url = serve(log.seal(), receipts);
    let online = home
        .adit(&["--json", "audit", &url, "--seed", "9"])
        .exits(6)
        .json();
    assert_eq!(online["source"], url.as_str());
    assert_eq!(results(&online, "execution"), ["passed"]);
    let file = home.path("bundle.tar");
    home.adit(&["bundle", "export", &url, file.to_str().unwrap()])
        .exits(0);
    let offline = home
        .adit(&[
            "--json",
            "audit",
            "--offline",
            file.to_str().unwrap(),
            "--seed",
            "9",
        ])
        .exits(6)
        .json();
    assert_eq!(online["checks"], offline["checks"]);
    assert_eq!(online["stats"], offline["stats"]);
    assert_eq!(online["sample"], offline["sample"]);

    let other = Home::new();
    let id = receipt.to_string();
    let replayed = other
        .adit(&["receipt", "replay", &id, "--from", &url])
        .exits(0)
        .text();
    assert!(replayed.contains("log inclusion (leaf "), "{replayed}");
    let shown = other.adit(&["receipt", "show", &id]).exits(0).text();
    assert!(shown.contains("(at hand)"), "{shown}");
    other.adit(&["audit", "http://127.0.0.1:9/"]).exits(6);
    other
        .adit(&["audit", "not an address"])
        .exits(1)
        .explains(&["https://host:port"]);
}

#[test]
fn each_kind_of_fault_ends_with_its_code() {
    let home = Home::new();
    let (log, good) = honest(&home);
    drop(log);
    let code = |name: &str, code: i32, fault: &dyn Fn(&mut TestLog)| {
        let (mut log, _) = honest(&home);
        fault(&mut log);
        let bundle = bundle(&home, name, &log);
        let said = home
            .adit(&["audit", "--offline", &bundle, "--sample", "0"])
            .exits(code);
        assert!(said.text().contains("fault"), "{}", said.text());
    };
    code("draw", 4, &|log| {
        let task = log.task(&good.exec, Disclosure::Public);
        let all: Vec<_> = log
            .miners
            .iter()
            .map(|key| key.public().to_bytes())
            .collect();
        log.assign(task, 0, |a| {
            a.miner = *all.iter().find(|m| **m != a.miner).unwrap()
        });
    });
    code("signature", 3, &|log| {
        let leaf = log.entries.iter().rposition(|entry| entry[0] == 1).unwrap();
        log.entries[leaf][400] ^= 1;
    });
    code("verdict", 4, &|log| {
        let leaf = log.entries.iter().rposition(|entry| entry[0] == 2).unwrap();
        let again = log.entries[leaf].clone();
        log.entries.push(again);
    });
    code("late", 4, &|log| {
        let task = log.task(&good.exec, Disclosure::Public);
        let assignment = log.assign(task, 0, |_| {});
        let one = log.receipt(&assignment, &good.outcome, |_| {});
        let two = log.receipt(&assignment, &good.outcome, |body| body.fuel += 1);
        log.verdict(
            task,
            &[(one, Decision::Accepted), (two, Decision::Accepted)],
        );
    });
}
