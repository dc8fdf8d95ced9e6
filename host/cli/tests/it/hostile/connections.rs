//! Connections that are held: headers and bodies that trickle, streams nobody reads, waits that are
//! given up, answers that are not fetched.

use std::net::SocketAddr;
use std::time::Duration;

use adit_protocol::Hash;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::world::{Seen, World, client, count, put, told};

/// The address of those who attack with many bytes: another one than that of the honest.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];

async fn connect(world: &World) -> TcpStream {
    let address: SocketAddr = world.url.strip_prefix("http://").unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((ELSEWHERE, 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

/// What a raw answer was: its code, if it is a problem.
fn code(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let after = text.split("\"code\":\"").nth(1);
    match after.and_then(|rest| rest.split('"').next()) {
        Some(code) => code.to_owned(),
        None if text.is_empty() => "closed".to_owned(),
        None => text.lines().next().unwrap_or_default().to_owned(),
    }
}

/// Reads until the other side ends it.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = stream.read_to_end(&mut all);
    let ended = tokio::time::timeout(Duration::from_secs(60), read).await;
    ended.expect("the server ends it").ok();
    all
}

/// Connections whose headers trickle, and such whose bodies do. The server ends each.
pub async fn slow(world: &World, many: usize) -> Seen {
    let host = world.url.strip_prefix("http://").unwrap();
    let one = async |number: usize| {
        let mut stream = connect(world).await;
        let begin = match number % 2 {
            0 => format!("GET /v1/info HTTP/1.1\r\nhost: {host}\r\n"),
            _ => format!(
                "POST /v1/blobs/missing HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
                 authorization: Bearer {}\r\ncontent-type: application/json\r\n\
                 content-length: 60000\r\n\r\n{{",
                world.token
            ),
        };
        stream.write_all(begin.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let trickle = tokio::spawn(async move {
            let bytes: &[u8] = if number.is_multiple_of(2) {
                b"x: y\r\n"
            } else {
                b" "
            };
            while writer.write_all(bytes).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        let mut all = Vec::new();
        let read = reader.read_to_end(&mut all);
        let ended = tokio::time::timeout(Duration::from_secs(60), read).await;
        ended.expect("the server ends it").ok();
        trickle.abort();
        (number % 2, code(&all))
    };
    let mut seen = Seen::new();
    for (kind, found) in join_all((0..many).map(one)).await {
        match kind {
            0 => assert_eq!(found, "closed"),
            _ => assert_eq!(found, "timeout"),
        }
        count(
            &mut seen,
            ["slow headers: ", "slow body: "][kind].to_owned() + &found,
        );
    }
    seen
}

/// Blobs that are announced and end early: nothing is kept of them.
pub async fn truncated(world: &World, many: usize) -> Seen {
    let host = world.url.strip_prefix("http://").unwrap();
    let client = world.client(Some(&world.token), None);
    let mut seen = Seen::new();
    for number in 0..many {
        // On either side of what goes into the database.
        let len = if number.is_multiple_of(2) {
            5000
        } else {
            500_000
        };
        let bytes = vec![u8::try_from(number % 251).unwrap(); len];
        let hash = Hash::of(&bytes);
        let mut stream = connect(world).await;
        let head = format!(
            "PUT /v1/blobs/{hash} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
             content-length: {len}\r\n\r\n",
            world.token
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&bytes[..len / 2]).await.unwrap();
        stream.shutdown().await.unwrap();
        let found = code(&rest(&mut stream).await);
        assert!(
            ["closed", "invalid-request"].contains(&found.as_str()),
            "{found}"
        );
        count(&mut seen, format!("truncated: {found}"));
        let missing = client
            .post("/v1/blobs/missing")
            .json(&json!({ "hashes": [hash] }));
        let answer: Value = missing.send().await.unwrap().json().unwrap();
        assert_eq!(answer["missing"], json!([hash]));
        // Announced as more than any blob may have, it is refused before it comes.
        let mut stream = connect(world).await;
        let head = format!(
            "PUT /v1/blobs/{hash} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            world.token,
            1u64 << 50
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.unwrap();
        let found = code(&answer[..read]);
        assert_eq!(found, "blob-too-large");
        count(&mut seen, found);
    }
    seen
}

/// A client that fills its queue with tasks that nobody will run, watches them all, waits for them
/// all, and goes away. The queue is emptied at the end.
pub async fn greedy(world: &World, environment: Hash, many: usize) -> Seen {
    let client = world.client(Some(&world.greedy), None);
    let mut task = world.task(&client, "x").await;
    task["requirements"] = json!({ "environments": [environment] });
    let mut seen = Seen::new();
    let mut tasks = Vec::new();
    for _ in 0..many {
        let answer = client.post("/v1/tasks").json(&task).send().await;
        if let Ok(answer) = &answer {
            let view: Value = answer.json().unwrap();
            tasks.push(view["task"].as_str().unwrap().to_owned());
        }
        count(&mut seen, format!("submitted: {}", told(answer)));
    }
    let refused = seen.get("submitted: quota-exceeded").copied();
    assert_eq!(
        refused.unwrap_or(0),
        many.saturating_sub(500) as u64,
        "{seen:?}"
    );
    let host = world.url.strip_prefix("http://").unwrap();
    let ask = async |path: String| {
        let mut stream = connect(world).await;
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\r\n",
            world.greedy
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    // Streams that are open and not read.
    let watched = tasks.iter().take(200);
    let paths = watched.map(|task| format!("/v1/tasks/{task}/events"));
    let streams = join_all(paths.map(ask)).await;
    count(&mut seen, "streams left open");
    // Waits that are given up at once, again and again for the same task.
    for _ in 0..4 {
        let paths = tasks
            .iter()
            .take(200)
            .map(|task| format!("/v1/tasks/{task}?wait=60"));
        drop(join_all(paths.map(ask)).await);
        count(&mut seen, "200 waits given up");
    }
    for task in &tasks {
        let call = client.post(&format!("/v1/tasks/{task}/cancel"));
        let answer = told(call.send().await);
        // One may have been taken and have run out of attempts by now.
        assert!(["ok", "task-ended"].contains(&answer.as_str()), "{answer}");
        count(&mut seen, format!("cancelled: {answer}"));
    }
    drop(streams);
    seen
}

/// Long answers that nobody fetches, and long bodies that stop before their end: the server holds as
/// many as it may hold for one address, and refuses the others at once.
pub async fn heavy(world: &World, many: usize) -> Seen {
    let host = world.url.strip_prefix("http://").unwrap();
    let blob = put(
        &client(&world.url, Some(&world.token), None),
        vec![7; 64 * 1024],
    )
    .await;
    let body = json!({ "hashes": vec![blob; 500] }).to_string();
    let one = async |number: usize| {
        let mut stream = connect(world).await;
        match number % 2 {
            // 31 MiB are asked for.
            0 => {
                let head = format!(
                    "POST /v1/blobs/batch HTTP/1.1\r\nhost: {host}\r\n\
                     content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(head.as_bytes()).await.unwrap();
            }
            _ => {
                let head = format!(
                    "POST /v1/tasks HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
                     content-type: application/json\r\ncontent-length: 4000000\r\n\r\n",
                    world.token
                );
                stream.write_all(head.as_bytes()).await.unwrap();
                // All but the end. It may be refused on the way.
                let _ = stream.write_all(&vec![b' '; 3_900_000]).await;
            }
        }
        let mut answer = vec![0; 16 * 1024];
        let begun = tokio::time::timeout(Duration::from_secs(4), stream.read(&mut answer)).await;
        let found = match begun {
            Err(_) => "held".to_owned(),
            Ok(Ok(read)) => code(&answer[..read]),
            Ok(Err(error)) => error.kind().to_string(),
        };
        (stream, number % 2, found)
    };
    let held = join_all((0..many).map(one)).await;
    let mut seen = Seen::new();
    for (_, kind, found) in &held {
        count(
            &mut seen,
            ["long answer: ", "long body: "][*kind].to_owned() + found,
        );
    }
    seen
}
