//! A connection that breaks between a request and its answer: the server did it, and the client does not know.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// Stands between a client and a server.
pub struct Proxy {
    url: String,
    cuts: Arc<AtomicUsize>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Proxy {
    /// A proxy for the server at this address.
    pub fn before(server: &str) -> Proxy {
        let server: SocketAddr = server.trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let cuts = Arc::new(AtomicUsize::new(0));
        let trouble: Arc<Mutex<Option<String>>> = Arc::default();
        let (left, what) = (Arc::clone(&cuts), Arc::clone(&trouble));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (left, what) = (Arc::clone(&left), Arc::clone(&what));
                thread::spawn(move || relay(client, server, &left, &what));
            }
        });
        Proxy { url, cuts, trouble }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next answers do not arrive.
    pub fn cut(&self, answers: usize) {
        self.cuts.store(answers, Ordering::SeqCst);
    }

    /// Requests that hold this text in their head or body are answered with 500 from now on, and do not reach the server.
    pub fn fail(&self, what: Option<&str>) {
        *self.trouble.lock().unwrap() = what.map(str::to_owned);
    }

    /// How many answers are still to be lost.
    pub fn left(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

/// Somebody else in the server's place, who answers every request with a page for people: a network that wants a password, a
/// gateway without the server behind it.
pub struct Stranger {
    address: String,
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Takes the place of the server that was at `url`, until it is dropped.
pub fn stranger(url: &str, status: &'static str) -> Stranger {
    let address = url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind(&address).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let thread = thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            if over.load(Ordering::SeqCst) {
                return;
            }
            let Ok(copy) = client.try_clone() else { continue };
            if message(&mut BufReader::new(copy)).is_none() {
                continue;
            }
            let page = "<html><body>Welcome to our network!</body></html>";
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{page}",
                page.len()
            );
            // Who does not listen any more is not told.
            let _ = client.write_all(answer.as_bytes());
        }
    });
    Stranger {
        address,
        is_over,
        thread: Some(thread),
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(&self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The answer of a server that has a problem of its own.
fn problem() -> String {
    let body = "{\"error\":\"Internal Server Error\",\"code\":\"internal\"}";
    format!(
        "HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Hands requests and answers on until one side ends, or an answer is to be lost.
fn relay(client: TcpStream, server: SocketAddr, left: &AtomicUsize, trouble: &Mutex<Option<String>>) {
    let Ok(server) = TcpStream::connect(server) else { return };
    let (Ok(mut to_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let (mut from_client, mut from_server) = (BufReader::new(client), BufReader::new(server));
    while let Some(request) = message(&mut from_client) {
        let whole = String::from_utf8_lossy(&request).into_owned();
        if trouble
            .lock()
            .unwrap()
            .as_ref()
            .is_some_and(|what| whole.contains(what.as_str()))
        {
            if to_client.write_all(problem().as_bytes()).is_err() {
                return;
            }
            continue;
        }
        if to_server.write_all(&request).is_err() {
            return;
        }
        // The whole answer is there, so the server has done what was asked.
        let Some(answer) = message(&mut from_server) else {
            return;
        };
        let lost = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if lost.is_ok() || to_client.write_all(&answer).is_err() {
            return;
        }
    }
}

/// One request or answer: its head, and as many bytes as the head says.
fn message(from: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut length = 0_usize;
    loop {
        let begin = bytes.len();
        if from.read_until(b'\n', &mut bytes).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&bytes[begin..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let begin = bytes.len();
    bytes.resize(begin + length, 0);
    from.read_exact(&mut bytes[begin..]).ok()?;
    Some(bytes)
}
