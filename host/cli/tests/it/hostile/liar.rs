//! A coordinator that lies, behind a real server: it signs what it says with its own key, gives out
//! work, and is wrong in one way after the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use adit_net::http::extract::{Cbor, parse_cbor};
use adit_net::http::server::{Limits, Listen, Server};
use adit_net::{Clock as _, Problem, SystemClock};
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::{ExecSpec, Limits as ExecLimits, World};
use adit_protocol::keys::Keypair;
use adit_protocol::network::assignment::{ActiveUntil, Assignment};
use adit_protocol::network::exchange::{
    HandIn, HandInAnswer, HandInItem, HandInResult, Hello, Poll, PollAnswer, Welcome, Work,
};
use adit_protocol::receipt::Receipt;
use adit_protocol::signed::{Signable as _, Signed};
use adit_protocol::task::TaskSpec;
use adit_protocol::{Code, Hash};
use adit_runtime::engine_document::engine_document;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::StreamExt as _;
use rand_core::OsRng;

use super::world::genesis;

/// How a blob is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blob {
    /// Other bytes than those that were asked for.
    Wrong,
    /// Half of what was announced.
    Truncated,
    /// As many as anyone takes.
    Endless,
    /// Not one of them, ever.
    Never,
}

/// How a hand-in is answered, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// With a countersignature of nobody.
    Forged,
    /// With that of another key.
    OtherKey,
    /// Taken and refused at once.
    Both,
    /// For no receipt at all.
    Nothing,
    /// With bytes that are no document.
    Garbage,
    /// As it should be.
    Honest,
}

/// What it has seen and done.
#[derive(Default)]
pub struct Known {
    pub queue: VecDeque<Work>,
    pub blobs: BTreeMap<String, Blob>,
    pub words: VecDeque<Word>,
    /// Each receipt by its number, as it came first.
    pub receipts: BTreeMap<u64, Receipt>,
    /// What the miner said of them.
    pub details: Vec<String>,
    /// Numbers that were used for two receipts.
    pub doubles: u64,
    /// Requests by their kind.
    pub asked: BTreeMap<String, u64>,
}

pub struct Liar {
    pub key: Keypair,
    pub miner: [u8; 32],
    known: Mutex<Known>,
}

impl Liar {
    pub fn new(key: Keypair, miner: [u8; 32]) -> Arc<Liar> {
        Arc::new(Liar {
            key,
            miner,
            known: Mutex::default(),
        })
    }

    pub fn node(&self) -> [u8; 32] {
        self.key.public().to_bytes()
    }

    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    fn asked(&self, what: &str) {
        *self.known().asked.entry(what.to_owned()).or_default() += 1;
    }

    /// A task of these blobs in a network, whose assignment `signer` has signed.
    pub fn work(
        &self,
        number: u64,
        component: Hash,
        input: Hash,
        network: Hash,
        signer: &Keypair,
        lease_ms: u64,
    ) -> Work {
        let exec = ExecSpec {
            engine: engine_document().hash(),
            world: World::Command,
            component,
            input,
            args: Vec::new(),
            clock_start_ns: 0,
            models: std::iter::empty::<(String, Hash)>().collect(),
            seed: [0; 32],
            limits: ExecLimits::default(),
        };
        let mut salt = [0; 32];
        salt[..8].copy_from_slice(&number.to_le_bytes());
        let task = TaskSpec {
            genesis: network,
            coordinator: self.node(),
            salt,
            ..TaskSpec::local(exec.hash(), 3_000)
        };
        let issued_ms = SystemClock.now_ms();
        let assignment = Assignment {
            genesis: network,
            coordinator: self.node(),
            miner: self.miner,
            task: task.hash(),
            attempt: 0,
            replica: 0,
            roster: 0,
            epoch: 0,
            local: false,
            issued_ms,
            deadline_ms: issued_ms + lease_ms,
            escrow: 1,
            terms: None,
        };
        Work {
            assignment: assignment.sign(signer, &mut OsRng),
            task: task.to_cbor(),
            exec: exec.to_cbor(),
            blobs: Vec::new(),
            traceparent: None,
        }
    }

    fn active(&self) -> Signed<ActiveUntil> {
        let at_ms = SystemClock.now_ms();
        let active = ActiveUntil {
            genesis: genesis().hash(),
            coordinator: self.node(),
            miner: self.miner,
            at_ms,
            until_ms: at_ms + 30_000,
        };
        active.sign(&self.key, &mut OsRng)
    }

    /// The answer to one receipt, by the word that is next.
    fn answer(&self, item: &HandInItem, word: Word) -> HandInResult {
        let mut receipt = Receipt::from_bytes(&item.receipt).unwrap();
        receipt.verify_miner().unwrap();
        let mut known = self.known();
        known.details.extend(item.detail.clone());
        let seq = receipt.body.seq;
        let first = known.receipts.entry(seq).or_insert_with(|| receipt.clone());
        if first.id() != receipt.id() {
            known.doubles += 1;
        }
        drop(known);
        let signer = match word {
            Word::OtherKey => Keypair::from_seed([99; 32]),
            _ => self.key.clone(),
        };
        receipt.countersign(&signer, &mut OsRng);
        let countersignature = match word {
            Word::Forged => vec![1; 64],
            _ => receipt.coordinator_signature.to_vec(),
        };
        HandInResult {
            leaf: Some(seq - 1),
            countersignature: Some(countersignature.into()),
            refused: (word == Word::Both).then(|| Code::QuotaExceeded.to_string()),
            detail: None,
            missing: Vec::new(),
        }
    }
}

async fn hello(State(liar): State<Arc<Liar>>, body: Bytes) -> Result<Cbor<Welcome>, Problem> {
    liar.asked("hello");
    let _: Hello = parse_cbor(&body)?;
    let known = liar.known();
    let last = known.receipts.last_key_value();
    Ok(Cbor(Welcome {
        active: liar.active(),
        last_seq: last.map_or(0, |(seq, _)| *seq),
        last_receipt: last.map_or(Hash::ZERO, |(_, receipt)| receipt.id()),
        open: Vec::new(),
        echo: [0; 32],
    }))
}

async fn poll(State(liar): State<Arc<Liar>>, body: Bytes) -> Result<Cbor<PollAnswer>, Problem> {
    liar.asked("poll");
    let poll: Poll = parse_cbor(&body)?;
    let mut work = Vec::new();
    for _ in 0..20 {
        {
            let mut known = liar.known();
            let many = known.queue.len().min(poll.want as usize);
            work.extend(known.queue.drain(..many));
        }
        if !work.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(Cbor(PollAnswer {
        active: liar.active(),
        work,
        ended: Vec::new(),
        idle: None,
        echo: None,
    }))
}

async fn receipts(State(liar): State<Arc<Liar>>, body: Bytes) -> Result<Response, Problem> {
    let hand_in: HandIn = parse_cbor(&body)?;
    let word = liar.known().words.pop_front().unwrap_or(Word::Honest);
    liar.asked(&format!("{word:?}"));
    let items = hand_in.items.iter();
    let results = match word {
        Word::Nothing => Vec::new(),
        _ => items.map(|item| liar.answer(item, word)).collect(),
    };
    let body = match word {
        Word::Garbage => vec![0xff; 1000],
        _ => HandInAnswer { results }.to_cbor(),
    };
    let answer = Response::builder().header("content-type", "application/cbor");
    Ok(answer.body(Body::from(body)).unwrap())
}

async fn blob(
    State(liar): State<Arc<Liar>>,
    Path(hash): Path<String>,
) -> Result<Response, Problem> {
    let how = liar.known().blobs.get(&hash).copied();
    let Some(how) = how else {
        return Err(Problem::new(Code::UnknownBlob, "no such blob"));
    };
    liar.asked(&format!("blob {how:?}"));
    let answer = Response::builder().header("content-type", "application/octet-stream");
    let part = Bytes::from_static(&[7; 64 * 1024]);
    let endless = futures_util::stream::repeat(part.clone());
    let endless = endless.map(Ok::<_, std::io::Error>);
    let (answer, body) = match how {
        Blob::Wrong => (answer, Body::from(part)),
        Blob::Truncated => {
            let some = endless.take(2).chain(futures_util::stream::once(async {
                Err(std::io::Error::other("it broke off"))
            }));
            (
                answer.header("content-length", 262_144),
                Body::from_stream(some),
            )
        }
        Blob::Endless => (answer, Body::from_stream(endless)),
        Blob::Never => {
            let never = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
            (answer, Body::from_stream(never))
        }
    };
    Ok(answer.body(body).unwrap())
}

/// Serves it, on a port of its own.
pub async fn serve(liar: &Arc<Liar>) -> Server {
    let router = Router::new()
        .route("/v1/miner/hello", post(hello))
        .route("/v1/miner/echo", post(async || ()))
        .route("/v1/miner/poll", post(poll))
        .route("/v1/miner/progress", post(async || ()))
        .route("/v1/miner/receipts", post(receipts))
        .route("/v1/blobs/{hash}", get(blob).put(async || ()))
        .with_state(Arc::clone(liar));
    let listen = Listen::plain(([127, 0, 0, 1], 0).into());
    Server::start(listen, Limits::default(), router, Default::default())
        .await
        .unwrap()
}
