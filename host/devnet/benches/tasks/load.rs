//! Load: as cheap as possible, because it runs on the same processors. HTTP/1.1 by hand over
//! connections that stay open.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use adit_protocol::Hash;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use serde_json::{Value, json};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::processes::Pair;

/// Connections of the open load; more tasks in flight than this wait, which counts as their time.
const CONNECTIONS: usize = 256;
/// Each how many-th output is fetched at the end.
const SAMPLED: u64 = 997;

/// The load on one pair.
pub struct Load<'a> {
    pair: &'a Pair,
    address: String,
    component: Hash,
    number: Rc<Cell<u64>>,
    /// Inputs and the outputs that they came to.
    samples: Rc<RefCell<Vec<(String, Hash)>>>,
}

/// Times of the tasks of one measurement.
pub struct Measured {
    sorted_us: Vec<u64>,
    took: Duration,
}

impl Measured {
    fn new(mut times_us: Vec<u64>, took: Duration) -> Measured {
        times_us.sort_unstable();
        Measured {
            sorted_us: times_us,
            took,
        }
    }

    /// Tasks.
    pub fn count(&self) -> usize {
        self.sorted_us.len()
    }

    /// How long it took.
    pub fn seconds(&self) -> f64 {
        self.took.as_secs_f64()
    }

    /// Tasks a second.
    pub fn rate(&self) -> f64 {
        self.count() as f64 / self.seconds()
    }

    /// The time within which such a share of the tasks was done, in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let at = (self.count() as f64 * share) as usize;
        let last = self.sorted_us.last();
        let us = self.sorted_us.get(at).or(last).copied().unwrap_or(0);
        us as f64 / 1000.0
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} tasks/s, p50 {:.2} ms, p99 {:.2} ms, slowest {:.2} ms ({} tasks)",
            self.rate(),
            self.quantile_ms(0.5),
            self.quantile_ms(0.99),
            self.quantile_ms(1.0),
            self.count(),
        )
    }
}

/// A connection.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: &str) -> Connection {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        Connection {
            stream,
            buffer: Vec::with_capacity(16 << 10),
        }
    }

    /// Sends a request and returns the answer's body, whose status must be 201.
    async fn send(&mut self, request: &[u8]) -> &[u8] {
        self.stream.write_all(request).await.expect("to write");
        self.buffer.clear();
        loop {
            let read = (self.stream.read_buf(&mut self.buffer).await).expect("to read");
            assert!(read > 0, "the coordinator closed the connection");
            let head = self.buffer.windows(4).position(|w| w == b"\r\n\r\n");
            let Some(head) = head else { continue };
            let text = std::str::from_utf8(&self.buffer[..head]).expect("ASCII");
            let length = text
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, value)| value.trim().parse::<usize>().ok())
                .expect("a length");
            if self.buffer.len() >= head + 4 + length {
                let created = text.starts_with("HTTP/1.1 201");
                let body = &self.buffer[head + 4..];
                assert!(created, "{text}\n{}", String::from_utf8_lossy(body));
                return body;
            }
        }
    }
}

impl<'a> Load<'a> {
    /// Uploads the component.
    pub async fn prepare(pair: &'a Pair) -> Load<'a> {
        let wasm = wat::parse_str(include_str!("upper-case.wat")).expect("a component");
        let component = Hash::of(&wasm);
        pair.client
            .put(&format!("/v1/blobs/{component}"))
            .bytes("application/octet-stream", wasm)
            .send()
            .await
            .expect("an upload");
        Load {
            address: pair.url.trim_start_matches("http://").to_owned(),
            pair,
            component,
            number: Rc::default(),
            samples: Rc::default(),
        }
    }

    /// The next task: its input and the request.
    fn next(&self) -> (u64, String, Vec<u8>) {
        request(
            &self.number,
            &self.component,
            &self.address,
            &self.pair.token,
        )
    }

    /// As many tasks in flight as that, for a while.
    pub async fn closed(&self, in_flight: usize, time: Duration) -> Measured {
        let local = LocalSet::new();
        let begun = Instant::now();
        let times = local.run_until(async {
            let mut workers = Vec::new();
            for _ in 0..in_flight {
                let worker = self.worker();
                workers.push(tokio::task::spawn_local(async move {
                    worker.closed(begun + time).await
                }));
            }
            let mut times = Vec::new();
            for worker in workers {
                times.extend(worker.await.expect("a worker"));
            }
            times
        });
        let times = times.await;
        Measured::new(times, begun.elapsed())
    }

    /// Tasks at a steady rate, for a while.
    pub async fn open(&self, rate: f64, time: Duration) -> Measured {
        let local = LocalSet::new();
        let begun = Instant::now();
        let times = local.run_until(async {
            let (sender, receiver) = mpsc::unbounded_channel::<Instant>();
            let receiver = Rc::new(tokio::sync::Mutex::new(receiver));
            let mut workers = Vec::new();
            for _ in 0..CONNECTIONS {
                let (worker, receiver) = (self.worker(), Rc::clone(&receiver));
                workers.push(tokio::task::spawn_local(async move {
                    worker.open(receiver).await
                }));
            }
            let timer = Timer::new();
            for due in 0u64.. {
                let at = begun + Duration::from_secs_f64(due as f64 / rate);
                if at >= begun + time {
                    break;
                }
                timer.until(at).await;
                sender.send(at).expect("workers");
            }
            drop(sender);
            let mut times = Vec::new();
            for worker in workers {
                times.extend(worker.await.expect("a worker"));
            }
            times
        });
        let times = times.await;
        Measured::new(times, begun.elapsed())
    }

    fn worker(&self) -> Worker {
        Worker {
            address: self.address.clone(),
            token: self.pair.token.clone(),
            component: self.component,
            number: Rc::clone(&self.number),
            samples: Rc::clone(&self.samples),
        }
    }

    /// Fetches the outputs of some tasks and compares them. How many.
    pub async fn check_outputs(&self) -> usize {
        let (_, input, one) = self.next();
        let mut connection = Connection::open(&self.address).await;
        let view: Value = serde_json::from_slice(connection.send(&one).await).expect("JSON");
        let output = view["result"]["output"].as_str().expect("a hash");
        self.samples
            .borrow_mut()
            .push((input, output.parse().expect("a hash")));
        let samples = self.samples.borrow().clone();
        for (input, output) in &samples {
            assert_eq!(
                *output,
                Hash::of(input.to_uppercase().as_bytes()),
                "{input}"
            );
            let answer = self.pair.client.get(&format!("/v1/blobs/{output}"));
            let bytes = answer.send().await.expect("the output").bytes;
            assert_eq!(bytes, input.to_uppercase().as_bytes());
        }
        samples.len()
    }
}

/// A timer finer than that of the runtime, which counts milliseconds: what that is late would count as
/// time of the tasks.
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    fn new() -> Timer {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).expect("a timer");
        // SAFETY: the descriptor is open, and owned here until the end.
        Timer(unsafe { AsyncFd::register(timer) }.expect("a timer"))
    }

    async fn until(&self, at: Instant) {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let timespec = |seconds: u64, nanoseconds: u32| Timespec {
            tv_sec: seconds as i64,
            tv_nsec: i64::from(nanoseconds),
        };
        let once = Itimerspec {
            it_interval: timespec(0, 0),
            it_value: timespec(left.as_secs(), left.subsec_nanos()),
        };
        let flags = TimerfdTimerFlags::empty();
        timerfd_settime(self.0.get_ref(), flags, &once).expect("a time");
        let mut over = self.0.readable().await.expect("a timer");
        let _ = rustix::io::read(self.0.get_ref(), &mut [0; 8]);
        over.clear_ready();
    }
}

/// Sends tasks over one connection.
struct Worker {
    address: String,
    token: String,
    component: Hash,
    number: Rc<Cell<u64>>,
    samples: Rc<RefCell<Vec<(String, Hash)>>>,
}

impl Worker {
    async fn closed(self, until: Instant) -> Vec<u64> {
        let mut connection = Connection::open(&self.address).await;
        let mut times = Vec::new();
        while Instant::now() < until {
            let begun = Instant::now();
            self.one(&mut connection).await;
            times.push(begun.elapsed().as_micros() as u64);
        }
        times
    }

    async fn open(self, due: Rc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Instant>>>) -> Vec<u64> {
        let mut connection = Connection::open(&self.address).await;
        let mut times = Vec::new();
        loop {
            let next = due.lock().await.recv().await;
            let Some(begun) = next else { return times };
            self.one(&mut connection).await;
            times.push(begun.elapsed().as_micros() as u64);
        }
    }

    async fn one(&self, connection: &mut Connection) {
        let (number, input, request) =
            request(&self.number, &self.component, &self.address, &self.token);
        let body = connection.send(&request).await;
        // Reading each answer as JSON would take more time than some of the tasks do.
        let has = |text: &[u8]| body.windows(text.len()).any(|w| w == text);
        assert!(
            has(br#""state":"completed""#) && has(br#""status":"ok""#),
            "{}",
            String::from_utf8_lossy(body)
        );
        if number % SAMPLED == 0 {
            let view: Value = serde_json::from_slice(body).expect("JSON");
            let output = view["result"]["output"].as_str().expect("a hash");
            let output = output.parse().expect("a hash");
            self.samples.borrow_mut().push((input, output));
        }
    }
}

fn request(
    counter: &Cell<u64>,
    component: &Hash,
    address: &str,
    token: &str,
) -> (u64, String, Vec<u8>) {
    let number = counter.get();
    counter.set(number + 1);
    let input = format!("the task with the number {number}");
    let body = json!({
        "component": component,
        "input": { "text": input },
        "verification": { "replicas": 1, "quorum": 1, "adaptive": false },
    })
    .to_string();
    let request = format!(
        "POST /v1/tasks?wait=30 HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    (number, input, request.into_bytes())
}
