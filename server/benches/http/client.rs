//! A client that costs as little as it can: one keep-alive connection, requests written by hand.

use std::{fmt::Write as _, net::SocketAddr, ops::Range};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// One connection to the server.
pub(crate) struct Client {
    stream: TcpStream,
    sent: String,
    got: Vec<u8>,
}

/// What the server answered; the body is in the connection's buffer.
pub(crate) struct Answer<'a> {
    status: u16,
    body: &'a str,
}

impl<'a> Answer<'a> {
    /// The body, if the status is this one.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> &'a str {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

impl Client {
    pub(crate) async fn connect(at: SocketAddr) -> Self {
        let stream = TcpStream::connect(at).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            sent: String::new(),
            got: Vec::with_capacity(16 * 1024),
        }
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn send(&mut self, method: &str, path: &str, body: &str) -> Answer<'_> {
        self.sent.clear();
        // Writing to a text cannot fail.
        let _ = write!(self.sent, "{method} {path} HTTP/1.1\r\nhost: bench\r\n");
        if !body.is_empty() {
            let length = body.len();
            let _ = write!(
                self.sent,
                "content-type: application/json\r\ncontent-length: {length}\r\n"
            );
        }
        self.sent.push_str("\r\n");
        self.sent.push_str(body);
        self.stream.write_all(self.sent.as_bytes()).await.unwrap();
        self.got.clear();
        let (status, body) = loop {
            let read = self.stream.read_buf(&mut self.got).await.unwrap();
            assert!(read > 0, "the server closed the connection after {method} {path}");
            if let Some(whole) = whole(&self.got) {
                break whole;
            }
        };
        let body = std::str::from_utf8(&self.got[body]).unwrap();
        Answer { status, body }
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Answer<'_> {
        self.send("POST", path, body).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer<'_> {
        self.send("GET", path, "").await
    }
}

/// Status and place of the body, once all of the answer is there. Its length is in a header, or it has no body.
fn whole(got: &[u8]) -> Option<(u16, Range<usize>)> {
    let end = got.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&got[..end]).unwrap();
    let header = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    assert!(
        header("transfer-encoding").is_none(),
        "an answer without a length: {head}"
    );
    let status = head.get(9..12).unwrap_or_default().parse().unwrap();
    let length: usize = header("content-length").map_or(0, |n| n.parse().unwrap());
    let body = end + 4..end + 4 + length;
    (got.len() >= body.end).then_some((status, body))
}

/// The text of the first field of this name.
#[track_caller]
pub(crate) fn field<'a>(body: &'a str, name: &str) -> &'a str {
    let key = format!("\"{name}\":\"");
    let found = body.split_once(&key).and_then(|(_, rest)| rest.split_once('"'));
    match found {
        Some((value, _)) => value,
        None => panic!("no {name} in {body}"),
    }
}
