//! Servers, clients and raw sockets.

use std::net::SocketAddr;
use std::time::Duration;

use adit_net::http::client::{Client, ClientConfig, Retry};
use adit_net::http::server::{Limits, Listen, Server};
use axum::Router;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;
use url::Url;

pub const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A server without TLS.
pub async fn serve(limits: Limits, router: Router) -> Server {
    serve_draining(limits, router, CancellationToken::new()).await
}

pub async fn serve_draining(limits: Limits, router: Router, draining: CancellationToken) -> Server {
    Server::start(Listen::plain(LOOPBACK), limits, router, draining)
        .await
        .expect("a free port of the loopback interface")
}

/// The settings of a client that tries once.
pub fn config(server: &Server) -> ClientConfig {
    ClientConfig {
        retry: Retry::NEVER,
        timeout_ms: 10_000,
        ..ClientConfig::new(Url::parse(&server.url()).unwrap())
    }
}

pub fn client(server: &Server) -> Client {
    Client::new(config(server)).unwrap()
}

/// A connection that says what a test wants, or one half of it.
pub struct Raw<S = TcpStream>(S);

impl Raw {
    pub async fn connect(server: &Server) -> Raw {
        Raw(TcpStream::connect(server.address()).await.unwrap())
    }

    /// To read and to write at once.
    pub fn split(self) -> (Raw<OwnedReadHalf>, Raw<OwnedWriteHalf>) {
        let (reader, writer) = self.0.into_split();
        (Raw(reader), Raw(writer))
    }
}

impl<S: AsyncWrite + Unpin> Raw<S> {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends if the other side still takes it.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.0.write_all(bytes.as_ref()).await
    }
}

impl<S: AsyncRead + Unpin> Raw<S> {
    /// What comes until the other side closes; an abrupt end counts as one.
    pub async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let reading = self.0.read_to_end(&mut bytes);
        let _ = tokio::time::timeout(Duration::from_secs(20), reading)
            .await
            .expect("the other side closes the connection");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What comes until `text` is in it.
    pub async fn until(&mut self, text: &str) -> String {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let so_far = String::from_utf8_lossy(&bytes).into_owned();
            if so_far.contains(text) {
                return so_far;
            }
            let read = tokio::time::timeout(Duration::from_secs(20), self.0.read(&mut chunk))
                .await
                .unwrap_or_else(|_| panic!("only this came: {so_far}"))
                .unwrap();
            assert!(read > 0, "only this came: {so_far}");
            bytes.extend_from_slice(&chunk[..read]);
        }
    }
}
