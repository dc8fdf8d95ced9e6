//! More and more blobs, half of them in the database and half as files.

use std::path::Path;
use std::time::{Duration, Instant};

use adit_net::http::client::{Client, ClientConfig};
use adit_protocol::Hash;
use url::Url;

use crate::served::{Served, of};
use crate::{own, row};

const SMALL: usize = 4 << 10;
const LARGE: usize = 96 << 10;
/// Blobs of each kind that are measured at a time.
const WINDOW: u64 = 200;
/// Uploads and downloads at one time.
const AT_ONCE: u64 = 16;

/// Blobs up to `blobs`, ten times as many each time.
pub fn run(runtime: &tokio::runtime::Runtime, folder: &Path, blobs: u64) {
    let (folder, network) = (folder.join("blobs"), of(1));
    let served = Served::start(&folder, &network);
    row(&[
        "blobs",
        "put small us",
        "put file us",
        "get small us",
        "get file us",
        "RSS MiB",
        "disk MiB",
    ]);
    let mut config =
        ClientConfig::new(Url::parse(&format!("http://{}", served.address)).expect("a URL"));
    config.token = Some(served.token.clone());
    let client = Client::new(config).expect("a client");
    let (mut kept, mut next) = (0, 100.min(blobs));
    loop {
        let window = WINDOW.min(next / 4).max(1);
        runtime.block_on(async {
            let from = kept / 2;
            let to = (next / 2).saturating_sub(window).max(from);
            put(&client, from..to, SMALL).await;
            put(&client, from..to, LARGE).await;
            let cost = |busy: u64, n: u64| {
                format!(
                    "{:.0}",
                    (own::process_us(served.pid()) - busy) as f64 / n as f64
                )
            };
            let now = || own::process_us(served.pid());
            let range = to..to + window;
            let mut cells = vec![next.to_string()];
            for len in [SMALL, LARGE] {
                let busy = now();
                put(&client, range.clone(), len).await;
                cells.push(cost(busy, window));
            }
            for len in [SMALL, LARGE] {
                let busy = now();
                for _ in 0..4 {
                    // Those that were there first.
                    get(&client, 0..window, len).await;
                }
                cells.push(cost(busy, 4 * window));
            }
            cells.push(format!("{:.0}", own::resident_mib(served.pid())));
            cells.push(format!(
                "{:.0}",
                own::size(&folder) as f64 / f64::from(1 << 20)
            ));
            row(&cells.iter().map(String::as_str).collect::<Vec<_>>());
        });
        kept = next;
        if next >= blobs {
            break;
        }
        next = (next * 10).min(blobs);
    }
    served.end();
    let served = Served::start(&folder, &network);
    println!(
        "start with {kept} blobs: {:.2} s",
        served.took.as_secs_f64()
    );
    // Files are looked through for old ones, a part each second.
    let busy = own::process_us(served.pid());
    std::thread::sleep(Duration::from_secs(10));
    let busy = (own::process_us(served.pid()) - busy) as f64;
    println!("idle with {kept} blobs: {:.1} % of a processor", busy / 1e5);
    let begun = Instant::now();
    served.end();
    println!("end: {:.2} s", begun.elapsed().as_secs_f64());
}

fn bytes(number: u64, len: usize) -> Vec<u8> {
    number
        .to_le_bytes()
        .iter()
        .copied()
        .cycle()
        .take(len)
        .collect()
}

fn path(bytes: &[u8]) -> String {
    format!("/v1/blobs/{}", Hash::of(bytes))
}

async fn put(client: &Client, range: std::ops::Range<u64>, len: usize) {
    let put = |number| {
        let (client, bytes) = (client.clone(), bytes(number, len));
        async move {
            let call = client.put(&path(&bytes));
            let call = call.bytes("application/octet-stream", bytes);
            call.send().await.expect("it is taken");
        }
    };
    each(range, put).await;
}

async fn get(client: &Client, range: std::ops::Range<u64>, len: usize) {
    let get = |number| {
        let (client, path) = (client.clone(), path(&bytes(number, len)));
        async move {
            let found = client.get(&path).send().await.expect("it is there");
            assert_eq!(found.bytes.len(), len);
        }
    };
    each(range, get).await;
}

/// Does something with each number, some at one time.
async fn each<F: Future<Output = ()> + Send + 'static>(
    range: std::ops::Range<u64>,
    work: impl Fn(u64) -> F,
) {
    let mut all = tokio::task::JoinSet::new();
    for number in range {
        if all.len() as u64 >= AT_ONCE {
            all.join_next().await;
        }
        all.spawn(work(number));
    }
    for done in all.join_all().await {
        let () = done;
    }
}
