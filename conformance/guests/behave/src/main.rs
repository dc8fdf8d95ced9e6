//! A command that does what its first argument says, for the tests of the runtime.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize| -> u64 { args.get(at).and_then(|a| a.parse().ok()).unwrap_or(0) };
    match args.get(1).map_or("", String::as_str) {
        "echo" => {
            let mut input = Vec::new();
            std::io::stdin().read_to_end(&mut input).unwrap();
            std::io::stdout().write_all(&input).unwrap();
        }
        "args" => println!("{args:?}"),
        "world" => world(),
        "clock" => clock(),
        "sleep" => {
            let start = Instant::now();
            std::thread::sleep(Duration::from_secs(number(2)));
            println!("{}", start.elapsed().as_secs());
        }
        "random" => random(),
        "loop" => loop {
            std::hint::black_box(0);
        },
        "count" => {
            let mut sum = 0u64;
            for i in 0..number(2) {
                sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(i));
            }
            std::hint::black_box(sum);
        }
        "panic" => panic!("as asked"),
        "divide" => println!("{}", 1 / std::hint::black_box(number(2) as u32)),
        "exit" => std::process::exit(number(2) as i32),
        "recurse" => println!("{}", recurse(number(2))),
        "memory" => {
            let bytes = vec![1u8; number(2) as usize];
            println!("{}", std::hint::black_box(bytes).len());
        }
        "stdout" => flood(&mut std::io::stdout(), number(2)),
        "stderr" => flood(&mut std::io::stderr(), number(2)),
        "float" => float(),
        other => {
            eprintln!("unknown behaviour {other:?}");
            std::process::exit(2);
        }
    }
}

/// What of the world outside can be seen: it should be nothing.
fn world() {
    println!("vars {}", std::env::vars().count());
    println!(
        "dir {:?}",
        std::fs::read_dir("/")
            .map(|d| d.count())
            .map_err(|e| e.kind())
    );
    println!(
        "read {:?}",
        std::fs::read("/etc/passwd").map_err(|e| e.kind())
    );
    println!(
        "write {:?}",
        std::fs::write("/tmp/x", "x").map_err(|e| e.kind())
    );
    println!(
        "connect {:?}",
        std::net::TcpStream::connect("127.0.0.1:80")
            .map(drop)
            .map_err(|e| e.kind())
    );
    println!(
        "bind {:?}",
        std::net::UdpSocket::bind("127.0.0.1:0")
            .map(drop)
            .map_err(|e| e.kind())
    );
}

fn clock() {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let start = Instant::now();
    let step = start.elapsed();
    std::thread::sleep(Duration::from_millis(250));
    println!(
        "{} {} {}",
        wall.as_nanos(),
        step.as_nanos(),
        start.elapsed().as_nanos()
    );
}

fn random() {
    let mut map = HashMap::new();
    for i in 0..20 {
        map.insert(i, ());
    }
    println!("{:?}", map.keys().collect::<Vec<_>>());
}

fn recurse(depth: u64) -> u64 {
    if depth == 0 {
        0
    } else {
        std::hint::black_box(recurse(depth - 1)) + 1
    }
}

fn flood(to: &mut dyn std::io::Write, bytes: u64) {
    let chunk = [b'x'; 1024];
    let mut left = bytes;
    while left > 0 {
        let n = left.min(1024);
        if to.write_all(&chunk[..n as usize]).is_err() {
            return;
        }
        left -= n;
    }
}

/// Bit patterns that differ where the floating-point unit is in another state, or where NaNs are
/// not canonical.
fn float() {
    let tiny = std::hint::black_box(f64::MIN_POSITIVE);
    let nan = std::hint::black_box(0.0f64) / std::hint::black_box(0.0);
    let signalling = std::hint::black_box(f64::from_bits(0x7ff0_0000_0000_0001)) + 1.0;
    println!(
        "{:x} {:x} {:x}",
        (tiny / 4.0).to_bits(),
        nan.to_bits(),
        signalling.to_bits()
    );
    println!(
        "{:x}",
        (std::hint::black_box(f32::MIN_POSITIVE) / 3.0).to_bits()
    );
}
