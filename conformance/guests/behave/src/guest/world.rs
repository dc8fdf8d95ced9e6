//! What of the world outside can be seen: it should be nothing but arguments and input.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};

use super::Args;
use super::wasi::cli::{stdin, stdout};
use super::wasi::io::streams::StreamError;

/// Print the arguments as they came, the program's name among them.
pub fn args(_: &Args) {
    println!("{:?}", std::env::args().collect::<Vec<_>>());
}

/// Copy the input to the output.
pub fn echo(_: &Args) {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).unwrap();
    std::io::stdout().write_all(&input).unwrap();
}

/// A little of everything.
pub fn world(_: &Args) {
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
        TcpStream::connect("127.0.0.1:80")
            .map(drop)
            .map_err(|e| e.kind())
    );
    println!(
        "bind {:?}",
        UdpSocket::bind("127.0.0.1:0")
            .map(drop)
            .map_err(|e| e.kind())
    );
}

fn tell<T>(what: &str, result: std::io::Result<T>) {
    println!("{what}: {:?}", result.map(drop).map_err(|e| e.kind()));
}

/// Every way to a file that the standard library has.
pub fn files(_: &Args) {
    for path in [
        "/",
        ".",
        "..",
        "",
        "/etc/passwd",
        "/proc/self/environ",
        "/dev/urandom",
    ] {
        tell(path, std::fs::File::open(path));
        tell(path, std::fs::metadata(path));
    }
    tell("list", std::fs::read_dir("."));
    tell("create", std::fs::File::create("x"));
    tell("folder", std::fs::create_dir_all("a/b"));
    tell("rename", std::fs::rename("a", "b"));
    tell("remove", std::fs::remove_file("x"));
    tell("hard link", std::fs::hard_link("a", "b"));
    tell("canonical", std::fs::canonicalize("."));
    tell("current folder", std::env::current_dir());
    tell("change folder", std::env::set_current_dir("/"));
    tell("own program", std::env::current_exe());
    println!("temporary folder: {:?}", std::env::var("TMPDIR"));
}

/// Every way to a network that the standard library has.
pub fn sockets(_: &Args) {
    tell("connect v4", TcpStream::connect("127.0.0.1:80"));
    tell("connect v6", TcpStream::connect("[::1]:80"));
    tell("connect to a name", TcpStream::connect("localhost:80"));
    tell("listen", TcpListener::bind("0.0.0.0:0"));
    tell("listen v6", TcpListener::bind("[::]:0"));
    tell("udp", UdpSocket::bind("0.0.0.0:0"));
    tell("udp v6", UdpSocket::bind("[::]:0"));
    tell("resolve", "example.com:443".to_socket_addrs());
}

/// Threads and processes, which there are none of.
pub fn threads(_: &Args) {
    tell("thread", std::thread::Builder::new().spawn(|| ()));
    tell("process", std::process::Command::new("sh").spawn());
    println!("cores: {:?}", std::thread::available_parallelism().ok());
    println!("process id: {}", std::process::id());
}

/// Read more than there is, nothing, and after the end; print the lengths.
pub fn read_ahead(_: &Args) {
    let input = stdin::get_stdin();
    let told = |read: Result<Vec<u8>, StreamError>| match read {
        Ok(bytes) => bytes.len().to_string(),
        Err(StreamError::Closed) => "closed".to_owned(),
        Err(StreamError::LastOperationFailed(_)) => "failed".to_owned(),
    };
    println!("{}", told(input.read(0)));
    println!("{}", told(input.blocking_read(u64::MAX)));
    println!("{}", told(input.read(1000)));
    println!("{:?}", input.skip(u64::MAX).ok());
    // Another handle, and the same place in the input.
    let other = stdin::get_stdin();
    println!("{}", told(other.read(u64::MAX)));
    println!("{}", told(other.read(u64::MAX)));
    println!("{}", told(input.read(1)));
    println!("{}", told(input.read(0)));
    println!("{:?}", input.skip(1).is_err());
}

/// Copy the input to the output without ever seeing it.
pub fn splice(_: &Args) {
    let (from, to) = (stdin::get_stdin(), stdout::get_stdout());
    while to.blocking_splice(&from, u64::MAX).is_ok() {}
}
