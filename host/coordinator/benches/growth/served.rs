//! A coordinator as it is run, in a process of its own, so that its memory and processor time are
//! nobody else's; and miners that ask it over HTTP.

use std::io::{BufRead as _, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adit_coordinator::options::{Bounds, Options};
use adit_coordinator::running::Coordinator;
use adit_coordinator::tokens::{Quota, TokenFile};
use adit_net::http::server::{Limits, Listen};
use adit_net::signed::{self, Target};
use adit_net::{Clock as _, SystemClock};
use adit_protocol::cbor::Document as _;
use adit_protocol::keys::Keypair;
use adit_protocol::network::exchange::Poll;
use adit_protocol::rand_core::OsRng;
use adit_runtime::engine_document::engine_document;
use http::{HeaderMap, Method};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::network::{Network, miner, network};
use crate::{own, row};

/// How long a poll waits.
const WAIT_MS: u32 = 10_000;
/// How long polls are measured: each miner asks about twice.
const MEASURED: Duration = Duration::from_secs(20);
/// Miners behind one address of this machine, since a coordinator bounds them.
const PER_ADDRESS: u32 = 500;
/// Connections that are made at one time.
const AT_ONCE: usize = 64;

/// A coordinator's process.
pub struct Served {
    child: Child,
    pub address: SocketAddr,
    pub token: String,
    /// How long it took to start.
    pub took: Duration,
}

/// The network that a served coordinator is of.
pub fn of(miners: u32) -> Network {
    network(miners, 2, engine_document().hash())
}

impl Served {
    /// Starts one in a folder, which is new or has one of the same network.
    pub fn start(folder: &Path, network: &Network) -> Served {
        std::fs::create_dir_all(folder).expect("a folder");
        let (file, tokens) = (folder.join("network"), folder.join("tokens.toml"));
        if !file.exists() {
            std::fs::write(&file, network.file().to_cbor()).expect("a file");
            let mut all = TokenFile::default();
            let token = all.add("bench", 0, &mut OsRng).expect("a token").0;
            all.save(&tokens).expect("a file");
            std::fs::write(folder.join("token"), token).expect("a file");
        }
        let begun = Instant::now();
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("--role=coordinator")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout");
        (std::io::BufReader::new(stdout).read_line(&mut line)).expect("a line");
        Served {
            address: line.trim().parse().expect("an address"),
            token: std::fs::read_to_string(folder.join("token")).expect("a token"),
            took: begun.elapsed(),
            child,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in order.
    pub fn end(mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Becomes a coordinator until the end of stdin.
pub fn run(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    // The keys do not depend on who takes part.
    let network = of(0);
    let options = Options {
        clock: std::sync::Arc::new(adit_net::SystemClock),
        rng: adit_net::SharedRng::system(),
        state: folder.join("state"),
        network: folder.join("network"),
        tokens: folder.join("tokens.toml"),
        node: network.coordinator,
        log: network.log,
        listen: Listen::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        urls: Vec::new(),
        region: String::new(),
        quota: Quota::default(),
        bounds: Bounds::default(),
        limits: Limits::default(),
        worker: None,
    };
    runtime.block_on(async {
        let running = Coordinator::start(options).await.expect("it starts");
        println!("{}", running.addr());
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _ = ended.await;
        running.stop().await;
    });
}

/// Miners up to `miners`, ten times as many each time.
pub fn polls(runtime: &tokio::runtime::Runtime, folder: &Path, miners: u32) {
    row(&[
        "miners over HTTP",
        "polls/s",
        "us/poll",
        "KiB/miner",
        "RSS MiB",
        "hello us",
    ]);
    let mut count = 100.min(miners);
    loop {
        let network = Arc::new(of(count));
        let served = Served::start(&folder.join(format!("polls-{count}")), &network);
        runtime.block_on(stage(&served, &network, count));
        served.end();
        if count >= miners {
            return;
        }
        count = (count * 10).min(miners);
    }
}

async fn stage(served: &Served, network: &Arc<Network>, miners: u32) {
    let (pid, address) = (served.pid(), served.address);
    let (empty, busy) = (own::resident_mib(pid), own::process_us(pid));
    let hello = Arc::new(network.hello().to_cbor());
    let answered = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let at_once = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let greeted = Arc::new(AtomicU64::new(0));
    let mut all = tokio::task::JoinSet::new();
    for number in 0..miners {
        let (hello, answered) = (Arc::clone(&hello), Arc::clone(&answered));
        let (stop, at_once) = (Arc::clone(&stop), Arc::clone(&at_once));
        let greeted = Arc::clone(&greeted);
        all.spawn(async move {
            let mut connection = {
                let _permit = at_once.acquire().await;
                let mut connection = Connection::open(address, number).await;
                connection.send("/v1/miner/hello", &hello).await;
                connection
            };
            greeted.fetch_add(1, Ordering::Relaxed);
            let poll = Poll {
                want: 1,
                wait_ms: WAIT_MS,
                accepted: Vec::new(),
                working: Vec::new(),
            };
            let poll = poll.to_cbor();
            while !stop.load(Ordering::Relaxed) {
                connection.send("/v1/miner/poll", &poll).await;
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    while greeted.load(Ordering::Relaxed) < u64::from(miners) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let hello_us = own::process_us(pid) - busy;
    let (busy, polls, begun) = (
        own::process_us(pid),
        answered.load(Ordering::Relaxed),
        Instant::now(),
    );
    tokio::time::sleep(MEASURED).await;
    let polls = answered.load(Ordering::Relaxed) - polls;
    let (busy, took) = (own::process_us(pid) - busy, begun.elapsed());
    let resident = own::resident_mib(pid);
    row(&[
        &miners.to_string(),
        &format!("{:.0}", polls as f64 / took.as_secs_f64()),
        &format!("{:.0}", busy as f64 / polls.max(1) as f64),
        &format!("{:.1}", (resident - empty) * 1024.0 / f64::from(miners)),
        &format!("{resident:.0}"),
        &format!("{:.0}", hello_us as f64 / f64::from(miners)),
    ]);
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = all.join_next().await {
        ended.expect("no miner fails");
    }
}

/// A miner's connection: HTTP/1.1 by hand, as cheap as possible.
struct Connection {
    stream: TcpStream,
    key: Keypair,
    authority: String,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr, number: u32) -> Connection {
        let from = u8::try_from(2 + number / PER_ADDRESS % 250).expect("a part of an address");
        let socket = TcpSocket::new_v4().expect("a socket");
        let from = SocketAddr::from((IpAddr::from([127, 0, 0, from]), 0));
        socket.bind(from).expect("an address of this machine");
        let stream = socket.connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        Connection {
            stream,
            key: miner(number),
            authority: address.to_string(),
            buffer: Vec::new(),
        }
    }

    /// Sends a signed request, whose answer must be 200.
    async fn send(&mut self, path: &str, body: &[u8]) {
        let mut headers = HeaderMap::new();
        let target = Target {
            method: &Method::POST,
            authority: &self.authority,
            path,
            query: None,
        };
        let (digest, now_s) = (signed::sha256(body), SystemClock.now_ms() / 1000);
        let nonce = signed::nonce(&mut OsRng);
        signed::sign(
            &mut headers,
            &target,
            Some(digest),
            now_s,
            &nonce,
            &self.key,
            &mut OsRng,
        );
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/cbor\r\ncontent-length: {}\r\n",
            self.authority,
            body.len()
        );
        for (name, value) in &headers {
            request.push_str(&format!("{name}: {}\r\n", value.to_str().expect("ASCII")));
        }
        request.push_str("\r\n");
        let request = [request.as_bytes(), body].concat();
        self.stream.write_all(&request).await.expect("to write");
        self.buffer.clear();
        loop {
            let read = self
                .stream
                .read_buf(&mut self.buffer)
                .await
                .expect("to read");
            assert!(read > 0, "the coordinator closed the connection");
            let Some(head) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") else {
                continue;
            };
            let text = std::str::from_utf8(&self.buffer[..head]).expect("ASCII");
            let length = (text.lines().filter_map(|line| line.split_once(':')))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, value)| value.trim().parse::<usize>().ok())
                .expect("a length");
            if self.buffer.len() >= head + 4 + length {
                let body = String::from_utf8_lossy(&self.buffer[head..]);
                assert!(text.starts_with("HTTP/1.1 200"), "{text}{body}");
                return;
            }
        }
    }
}
