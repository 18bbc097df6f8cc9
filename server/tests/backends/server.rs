//! The built server as a process, and requests to it in the form that scripts send.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const BIN: &str = env!("CARGO_BIN_EXE_octopoid-server");
/// The scope of everything here.
pub const SCOPE: &str = "suite";
/// How long a server may take to start, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server, which ends with the value.
pub struct Server {
    child: Child,
    url: String,
    database: String,
    args: Vec<String>,
    said: Arc<Mutex<String>>,
}

impl Server {
    /// Starts a server on this database, on a port that the system chooses.
    pub fn start(database: &str, args: &[&str]) -> Server {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        match launch(database.to_owned(), args, "127.0.0.1:0") {
            Ok(server) => server,
            Err(why) => panic!("{why}"),
        }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same server with a path.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Ends it without a warning.
    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it is started with from now on.
    pub fn set_args(&mut self, args: &[&str]) {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    }

    /// Starts it again after it was ended: the same port, the same database.
    pub fn come_back(&mut self) {
        let listen = self.url.trim_start_matches("http://").to_owned();
        let until = Instant::now() + PATIENCE;
        loop {
            match launch(self.database.clone(), self.args.clone(), &listen) {
                Ok(server) => {
                    *self = server;
                    return;
                }
                // Somebody may have borrowed the port for a moment.
                Err(why) => assert!(Instant::now() < until, "it does not come back: {why}"),
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Makes it stand still.
    pub fn stop(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }

    /// What it has printed on stderr so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; there is nobody left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(database: String, args: Vec<String>, listen: &str) -> Result<Server, String> {
    let mut child = Command::new(BIN)
        .args(["--listen", listen, "--database", &database])
        .args(&args)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", std::env::temp_dir())
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{BIN} does not start: {error}"))?;
    let stderr = child.stderr.take().unwrap();
    let said = Arc::new(Mutex::new(String::new()));
    let (tell, heard) = mpsc::channel();
    let kept = Arc::clone(&said);
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let Ok(line) = line else { return };
            if let Some((_, rest)) = line.split_once("listening on http://") {
                // Only the first such line has a listener.
                let _ = tell.send(format!("http://{}", rest.trim()));
            }
            let mut kept = kept.lock().unwrap();
            kept.push_str(&line);
            kept.push('\n');
        }
    });
    match heard.recv_timeout(PATIENCE) {
        Ok(url) => Ok(Server {
            child,
            url,
            database,
            args,
            said,
        }),
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            let said = said.lock().unwrap().clone();
            Err(format!("the server did not say where it listens; it said:\n{said}"))
        }
    }
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// Null where the body is no JSON.
    pub body: Value,
}

/// Requests as scripts send them.
#[derive(Clone)]
pub struct Raw(reqwest::Client);

impl Raw {
    pub fn fresh() -> Raw {
        // The process needs one source of cryptography, whoever installs it first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60));
        Raw(client.build().unwrap())
    }

    /// Sends a request, and tells when the connection broke instead of an answer.
    pub async fn ask(
        &self,
        method: &str,
        url: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, reqwest::Error> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.0.request(method, url);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Answer { status, body })
    }

    /// The body of a page that must be there.
    pub async fn get(&self, url: &str) -> Value {
        let answer = self.ask("GET", url, None, None).await.unwrap();
        assert_eq!(answer.status, 200, "{url}: {}", answer.body);
        answer.body
    }

    /// The body of an answer with this status.
    pub async fn post(&self, url: &str, body: &Value, status: u16) -> Value {
        let answer = self.ask("POST", url, None, Some(body)).await.unwrap();
        assert_eq!(answer.status, status, "{url} {body}: {}", answer.body);
        answer.body
    }

    /// Every event of the scope, read in pages.
    pub async fn events(&self, server: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().map_or(0, |event| event["cursor"].as_i64().unwrap());
            let url = format!("{server}/api/v1/events?scope={SCOPE}&limit=500&after={after}");
            let page = self.get(&url).await;
            let events = page["events"].as_array().unwrap();
            if events.is_empty() {
                return all;
            }
            all.extend(events.iter().cloned());
        }
    }
}

/// A client that knows several servers, and sends a request again under the same key until one of them answers.
pub struct Caller {
    raw: Raw,
    servers: Vec<String>,
    at: usize,
    until: Instant,
}

impl Caller {
    /// Begins at the `first` of the servers.
    pub fn new(servers: &[String], first: usize, patience: Duration) -> Caller {
        Caller {
            raw: Raw::fresh(),
            servers: servers.to_vec(),
            at: first,
            until: Instant::now() + patience,
        }
    }

    /// Goes on with the next server.
    pub fn turn(&mut self) {
        self.at += 1;
    }

    /// Fails when `what` takes longer than it may.
    pub fn check(&self, what: &str) {
        assert!(Instant::now() < self.until, "it takes too long: {what}");
    }

    /// The answer, whichever server gives it. An outage is told by a status that means one.
    pub async fn post(&mut self, path: &str, key: &str, body: &Value) -> Answer {
        let mut tried = 0_u64;
        loop {
            let url = format!("{}{path}", self.servers[self.at % self.servers.len()]);
            let told = match self.raw.ask("POST", &url, Some(key), Some(body)).await {
                Ok(answer) if answer.status < 500 => return answer,
                Ok(answer) => {
                    assert_ne!(answer.status, 500, "{url} {body}: {}", answer.body);
                    format!("{url}: {} {}", answer.status, answer.body)
                }
                Err(error) => format!("{url}: {error}"),
            };
            self.check(&told);
            // The first repetition comes at once: the first sending may still be on its way.
            tokio::time::sleep(Duration::from_millis(tried.min(10) * 10)).await;
            tried += 1;
            self.turn();
        }
    }
}

/// A text that must be one.
#[track_caller]
pub fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => panic!("not a text: {value}"),
    }
}

/// Makes the orchestrator `c-m` known.
pub async fn register(raw: &Raw, server: &str) {
    let body = serde_json::json!({
        "cluster": "c", "machine_id": "m", "repo_url": "https://example.org/r.git", "scope": SCOPE,
    });
    raw.post(&format!("{server}/api/v1/orchestrators/register"), &body, 201)
        .await;
}
