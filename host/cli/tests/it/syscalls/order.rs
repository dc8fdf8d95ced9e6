//! What is acknowledged was put on disk before: by the order of the system calls of real processes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::strace::{Call, Tracer, is_here, parse};
use super::{MINER, Traced, capitals};
use crate::cluster::{Cluster, Role};

/// So long each flush takes. Whoever does not wait for it is found out.
const DELAY_MS: u64 = 120;
/// How the body of a receipt begins.
const BODY: &str = "aditrcpt";
pub const CALLS: &str = "pwrite64,fsync,fdatasync,read,recvfrom,write,writev,sendto,sendmsg";

/// An answer and the request that it is for, by their places in a trace.
pub struct Exchange {
    pub asked: usize,
    pub answered: usize,
}

/// Requests with this beginning, each with its answer on the same socket.
pub fn exchanges(calls: &[Call], request: &str) -> Vec<Exchange> {
    let is_of = |names: &[&str], call: &Call, text: &str| {
        names.contains(&call.name.as_str()) && call.args.contains(text)
    };
    let mut found = Vec::new();
    for call in calls {
        if !is_of(&["recvfrom", "read"], call, &format!("\"{request}")) {
            continue;
        }
        let socket = socket(call).unwrap();
        let answer = calls.iter().find(|later| {
            later.begun > call.ended
                && is_of(
                    &["writev", "write", "sendto", "sendmsg"],
                    later,
                    "HTTP/1.1 ",
                )
                && socket_is(later, &socket)
        });
        found.push(Exchange {
            asked: call.ended,
            answered: answer
                .unwrap_or_else(|| panic!("no answer to {call:?}"))
                .begun,
        });
    }
    found
}

/// The connection that a call is on.
fn socket(call: &Call) -> Option<String> {
    let (_, rest) = call.args.split_once("<TCP:[")?;
    Some(rest.split_once("]>")?.0.to_owned())
}

fn socket_is(call: &Call, expected: &str) -> bool {
    socket(call).as_deref() == Some(expected)
}

/// Whether between two places something with a text in it was written to a file, and flushed
/// afterwards with success.
pub fn was_flushed(calls: &[Call], (file, text): (&str, &str), from: usize, to: usize) -> bool {
    let mut written = (calls.iter()).filter(|call| call.name == "pwrite64" && call.is_on(file));
    let written =
        written.find(|call| call.begun > from && call.worked() && call.args.contains(text));
    let Some(written) = written else {
        return false;
    };
    calls.iter().any(|call| {
        ["fsync", "fdatasync"].contains(&call.name.as_str())
            && call.is_on(file)
            && call.worked()
            && call.begun > written.ended
            && call.ended < to
    })
}

pub fn delayed(tracer: Tracer) -> Tracer {
    tracer.inject(&format!("fsync,fdatasync:delay_enter={DELAY_MS}ms"))
}

/// A request over a connection of one's own, and its answer.
pub fn ask(stream: &mut TcpStream, request: &str, token: &str, body: &str) -> Value {
    // In one piece, so that one call reads its beginning.
    let request = format!(
        "{request} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        stream.peer_addr().unwrap(),
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = Vec::new();
    let mut part = [0; 4096];
    loop {
        let count = stream.read(&mut part).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&part[..count]);
        let all = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = all.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
        if body.len() >= length {
            assert!(head.starts_with("http/1.1 20"), "{all}");
            return serde_json::from_str(body).unwrap();
        }
    }
}

/// Submits a task, and waits for its end, over one connection.
fn submit(cluster: &Cluster, traced: &mut Traced) {
    let component = traced.runtime.block_on(capitals(&cluster.client()));
    let mut stream = TcpStream::connect(cluster.url.trim_start_matches("http://")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(90)))
        .unwrap();
    let body = json!({
        "component": component,
        "input": { "text": "on disk before it is told" },
        "verification": { "replicas": 1, "quorum": 1, "adaptive": false },
    });
    let view = ask(
        &mut stream,
        "POST /v1/tasks",
        &cluster.token,
        &body.to_string(),
    );
    let task = view["task"].as_str().unwrap();
    let get = format!("GET /v1/tasks/{task}?wait=60");
    let view = ask(&mut stream, &get, &cluster.token, "");
    assert_eq!(view["state"], "completed", "{view:#}");
}

#[test]
fn a_coordinator_answers_once_what_it_says_is_on_disk() {
    if !is_here() {
        return;
    }
    let cluster = Cluster::new(1, false);
    let tracer = delayed(Tracer::new(&cluster.folder().join("trace"), CALLS));
    let mut traced = Traced::start(&cluster, Role::Coordinator, &tracer);
    let miner = cluster.start(MINER);
    submit(&cluster, &mut traced);
    assert_eq!(miner.end(), Some(0));
    assert_eq!(traced.end(), Some(0));

    let text = tracer.text();
    assert!(text.contains("(DELAYED)"), "no flush was delayed");
    let calls = parse(&text);
    let wal = cluster.data().join("journal.wal");
    let wal = wal.to_str().unwrap();
    // A submission, the result that a client waited for, and a receipt that was handed in.
    for request in [
        "POST /v1/tasks HTTP",
        "GET /v1/tasks/",
        "POST /v1/miner/receipts ",
    ] {
        let found = exchanges(&calls, request);
        assert!(!found.is_empty(), "no {request} in the trace");
        for exchange in found {
            let flushed = was_flushed(&calls, (wal, ""), exchange.asked, exchange.answered);
            assert!(
                flushed,
                "{request} was answered before it was on disk:\n{}",
                excerpt(&text, exchange.asked, exchange.answered)
            );
        }
    }
}

#[test]
fn a_miner_hands_in_what_is_in_its_journal() {
    if !is_here() {
        return;
    }
    let cluster = Cluster::new(1, false);
    let mut coordinator = cluster.start(Role::Coordinator);
    coordinator.line();
    let tracer = delayed(Tracer::new(&cluster.folder().join("trace"), CALLS));
    let mut traced = Traced::start(&cluster, MINER, &tracer);
    // What it writes at its start is none of this.
    let client = cluster.client();
    coordinator.until("the miner can be drawn", || {
        let miners = traced
            .runtime
            .block_on(client.get("/v1/miners").send())
            .ok()?;
        let miners: Value = miners.json().unwrap();
        (miners["items"][0]["weight"].as_u64()? > 0).then_some(())
    });
    let begun = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let begun_us = begun.unwrap().as_micros() as u64;
    submit(&cluster, &mut traced);
    assert_eq!(traced.end(), Some(0));
    assert_eq!(coordinator.end(), Some(0));

    let text = tracer.text();
    assert!(text.contains("(DELAYED)"), "no flush was delayed");
    let calls = parse(&text);
    let journal = cluster.journal(0).with_extension("wal");
    let journal = journal.to_str().unwrap();
    let from = calls
        .iter()
        .find(|call| call.at_us >= begun_us)
        .unwrap()
        .begun;
    let sent: Vec<_> = (calls.iter())
        .filter(|call| call.args.contains("POST /v1/miner/receipts "))
        .filter(|call| call.name != "recvfrom" && call.name != "read")
        .collect();
    assert!(!sent.is_empty(), "nothing was handed in");
    for call in sent {
        let flushed = was_flushed(&calls, (journal, BODY), from, call.begun);
        assert!(
            flushed,
            "a receipt was handed in before its body was on disk:\n{}",
            excerpt(&text, from, call.begun)
        );
    }
}

/// The lines of a trace between two places, of calls that matter here.
pub fn excerpt(text: &str, from: usize, to: usize) -> String {
    let lines = text.lines().enumerate().skip(from).take(to + 5 - from);
    let matters = |line: &str| line.contains("wal>") || line.contains("HTTP/1.1");
    let lines = lines.filter(|(at, line)| *at == from || *at == to || matters(line));
    let short = |line: &str| line.chars().take(200).collect::<String>();
    lines.map(|(_, line)| short(line) + "\n").collect()
}

#[test]
fn an_answer_before_the_flush_is_found_out() {
    let trace = |lines: [&str; 4]| {
        let line = |(at, line): (usize, &&str)| format!("1 100.{at:06} {line}\n");
        parse(&lines.iter().enumerate().map(line).collect::<String>())
    };
    let asked = "recvfrom(5<TCP:[a->b]>, \"POST /v1/tasks HTTP/1.1\", 99, 0) = 99";
    let written = "pwrite64(6</d/db-wal>, \"x\", 24, 0) = 24";
    let flushed = "fsync(6</d/db-wal>) = 0 (DELAYED)";
    let answered = "writev(5<TCP:[a->b]>, [{iov_base=\"HTTP/1.1 201 Created\"}], 1) = 80";
    let holds = |lines: [&str; 4]| {
        let calls = trace(lines);
        let found = exchanges(&calls, "POST /v1/tasks");
        assert_eq!(found.len(), 1);
        was_flushed(
            &calls,
            ("/d/db-wal", "x"),
            found[0].asked,
            found[0].answered,
        )
    };
    assert!(holds([asked, written, flushed, answered]));
    assert!(!holds([asked, written, answered, flushed]));
    assert!(!holds([asked, answered, written, flushed]));
    assert!(!holds([asked, flushed, written, answered]));
    let failed = "fsync(6</d/db-wal>) = -1 EIO (Input/output error) (INJECTED)";
    assert!(!holds([asked, written, failed, answered]));
}
