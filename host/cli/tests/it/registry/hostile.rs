//! Clients of a registry's process that mean no good: what they send is refused with its code, they
//! are held within bounds, nothing is lost by it, and honest transactions go on.
//! `cargo xtask hostile --times N` does N times as much.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit_ledger::{Action, Key, Transaction};
use adit_net::http::client::Client;
use adit_protocol::keys::Keypair;
use adit_protocol::{Amount, Hash};
use rand_core::OsRng;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::wallet::{Book, client, next_number, send};
use crate::hostile::world::{Seen, count, memory_kib, sent, times};
use crate::ledger::{Registry, init};
use crate::support::Home;

/// Requests of each kind.
const MANY: u64 = 200;
/// Connections that are held open.
const HELD: usize = 150;
/// What all of it may add to the registry's memory, in KiB.
const ADDED_KIB: u64 = 96 * 1024;

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(now.unwrap().as_millis()).unwrap()
}

/// A transfer of an account without tokens, or with something else about it.
struct Forged {
    genesis: Hash,
    number: u64,
    expires_ms: u64,
    fee: Amount,
    signer: &'static str,
}

impl Forged {
    fn of(genesis: Hash) -> Forged {
        Forged {
            genesis,
            number: 0,
            expires_ms: now_ms() + 60_000,
            fee: "0.01".parse().unwrap(),
            signer: "//Mallory",
        }
    }

    fn body(&self) -> Value {
        let key = |uri: &str| Keypair::from_uri(uri).unwrap();
        let signed = Transaction {
            genesis: self.genesis,
            account: Key::new(&key("//Mallory").public()),
            number: self.number,
            fee: self.fee,
            expires_ms: self.expires_ms,
            action: Action::Transfer {
                to: Key::new(&key("//Eve").public()),
                amount: Amount::tokens(1),
            },
        }
        .sign(&key(self.signer), &mut OsRng);
        let digits = signed.to_bytes()[..64]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        json!({ "text": signed.text(), "signature": format!("0x{digits}") })
    }
}

/// Transactions that do not hold, each with the code that it is refused with.
async fn transactions(client: &Client, genesis: Hash, many: u64) -> Seen {
    let mut seen = Seen::new();
    for number in 0..many {
        let forged = Forged::of(genesis);
        let (body, expected) = match number % 9 {
            0 => (forged.body(), "insufficient-funds"),
            1 => (
                Forged {
                    signer: "//Eve",
                    ..forged
                }
                .body(),
                "bad-signature",
            ),
            2 => (
                Forged {
                    expires_ms: 1,
                    ..forged
                }
                .body(),
                "transaction-expired",
            ),
            3 => (
                Forged {
                    number: 7,
                    ..forged
                }
                .body(),
                "transaction-number",
            ),
            4 => (
                Forged {
                    genesis: Hash::of(b"x"),
                    ..forged
                }
                .body(),
                "invalid-request",
            ),
            5 => (
                Forged {
                    fee: Amount::ZERO,
                    ..forged
                }
                .body(),
                "invalid-request",
            ),
            6 => {
                let mut body = forged.body();
                body["text"] = json!(format!("{}\n", body["text"].as_str().unwrap()));
                (body, "bad-encoding")
            }
            7 => {
                let mut body = forged.body();
                body["signature"] = json!("0x+f");
                (body, "invalid-request")
            }
            _ => {
                // One letter of the text is another.
                let mut body = forged.body();
                let text = body["text"]
                    .as_str()
                    .unwrap()
                    .replacen("amount: 1", "amount: 2", 1);
                body["text"] = json!(text);
                (body, "bad-signature")
            }
        };
        let found = sent(client.post("/v1/transactions").json(&body)).await;
        assert_eq!(found, expected, "{}", number % 9);
        count(&mut seen, found);
    }
    seen
}

/// Bodies that nobody can read, and paths that name nothing.
async fn garbage(client: &Client, many: u64) -> Seen {
    let mut seen = Seen::new();
    let bodies: [&[u8]; 6] = [
        b"",
        b"{",
        b"\xff\xff",
        b"null",
        b"{\"text\":1}",
        &[b'['; 60_000],
    ];
    for number in 0..many {
        let at = usize::try_from(number).unwrap();
        let call = client.post("/v1/transactions");
        let (call, expected) = match number % 5 {
            0 => (
                call.bytes("application/json", vec![b' '; 200_000]),
                "too-large",
            ),
            1 => (client.get("/v1/accounts/x"), "bad-key"),
            2 => (client.get("/v1/transactions/blake3:0"), "invalid-request"),
            3 => (
                client.get("/v1/events").query("from", u64::MAX),
                "invalid-request",
            ),
            _ => (
                call.bytes("application/json", bodies[at % 6].to_vec()),
                "invalid-request",
            ),
        };
        let found = sent(call).await;
        assert_eq!(found, expected, "{}", number % 5);
        count(&mut seen, found);
        let witness = client.post("/add-checkpoint");
        let found = sent(witness.bytes("text/plain", bodies[at % 6].to_vec())).await;
        count(&mut seen, format!("witness: {found}"));
    }
    seen
}

/// Connections whose requests never come to an end, streams that nobody reads, and answers that nobody
/// takes. They are held until this is dropped.
async fn held(address: &str, many: usize) -> (Vec<TcpStream>, Seen) {
    let mut seen = Seen::new();
    let mut streams = Vec::new();
    for number in 0..many {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = match number % 4 {
            0 => "GET /v1/ledger HT".to_owned(),
            1 => format!(
                "POST /v1/transactions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
                 content-length: 60000\r\n\r\n{{"
            ),
            2 => format!("GET /v1/events?from=0 HTTP/1.1\r\nhost: {address}\r\n\r\n"),
            _ => format!("GET /v1/openapi.json HTTP/1.1\r\nhost: {address}\r\n\r\n").repeat(50),
        };
        stream.write_all(head.as_bytes()).await.unwrap();
        if number % 4 == 2 {
            let mut answer = vec![0; 64];
            let read = stream.read(&mut answer).await.unwrap();
            let status = String::from_utf8_lossy(&answer[..read]);
            count(&mut seen, format!("stream: {}", &status[9..12]));
        }
        streams.push(stream);
    }
    (streams, seen)
}

/// Honest transfers, one after the other, until they are to stop. How long each took.
async fn honest(
    client: Client,
    genesis: Hash,
    book: Arc<Book>,
    stop: Arc<AtomicBool>,
) -> Vec<Duration> {
    let mut took = Vec::new();
    let mut number = next_number(&client).await.unwrap();
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let view = send(&client, genesis, number).await.unwrap();
        took.push(begun.elapsed());
        book.told(number, &view);
        number += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took
}

#[test]
fn a_registry_under_fire_serves_the_honest() {
    let home = Home::new();
    let made = init(&home, &["--development", "--allocate", "//Alice=100000"]);
    let genesis: Hash = made["network"].as_str().unwrap().parse().unwrap();
    // With a checker, whose witness is there to be asked; it is not registered.
    let options = [
        "--listen",
        "127.0.0.1:0",
        "--checker",
        "checker.example/1",
        "--checker-node",
        "//Checker",
        "--checker-cosign",
        "//Checker//cosign",
        "--checker-account",
        "//Fees",
    ];
    let mut registry = Registry::run_with(home, &options);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (idle_kib, _) = memory_kib(registry.node.id());
    let (book, stop) = (Arc::new(Book::default()), Arc::new(AtomicBool::new(false)));
    let there = client(&registry.url);
    let beside = runtime.spawn(honest(there.clone(), genesis, book.clone(), stop.clone()));
    let many = MANY * times();
    let address = registry.url.strip_prefix("http://").unwrap();
    let (streams, open) = runtime.block_on(held(address, HELD));
    let (refused, garbled) = runtime.block_on(async {
        tokio::join!(transactions(&there, genesis, many), garbage(&there, many))
    });
    let (full_kib, peak_kib) = memory_kib(registry.node.id());
    drop(streams);
    stop.store(true, Ordering::Relaxed);
    let mut took = runtime.block_on(beside).unwrap();
    took.sort_unstable();
    eprintln!(
        "{open:?}\n{refused:?}\n{garbled:?}\nhonest: {} transfers, median {:.1?}, longest {:.1?}\n\
         memory in KiB: idle {idle_kib}, under fire {full_kib}, peak {peak_kib}",
        took.len(),
        took[took.len() / 2],
        took[took.len() - 1],
    );
    // Some are served, and those above the bound refused.
    assert!(open.contains_key("stream: 200"), "{open:?}");
    assert!(took.len() > 20 && took[took.len() / 2] < Duration::from_secs(1));
    assert!(peak_kib < idle_kib + ADDED_KIB, "{idle_kib} {peak_kib}");
    // Nothing was lost, and nothing else came in.
    let number = runtime.block_on(next_number(&there)).unwrap();
    assert_eq!(number, book.all().len() as u64);
    assert!(book.wrong().is_empty(), "{:?}", book.wrong());
    // Answered once it is durable; the checkpoint that covers it follows.
    let replay = ["--json", "registry", "replay", "--registry", &registry.url];
    registry.node.until("the log has all of it", || {
        let replayed = registry.home.adit(&replay).exits(0).json();
        (replayed["transactions"] == number).then_some(())
    });
    let said = registry.node.said();
    assert!(!said.contains("panicked"), "{said}");
    let Registry { home, node, .. } = registry;
    assert_eq!(node.end(), Some(0));
    home.adit(&["registry", "fsck"]).exits(0);
}
