//! Starts the built server with a database of its own and speaks HTTP with it.

use std::{
    io::{BufRead, BufReader},
    ops::Deref,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

pub const BIN: &str = env!("CARGO_BIN_EXE_octopoid-server");

/// How long a server may take to start or to stop, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// A text that no other call gives: letters, digits and `-`.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    format!("{prefix}-{n}-{nanos:x}")
}

/// The path with the query of a scope.
pub fn of(path: &str, scope: &str) -> String {
    format!("{path}?scope={scope}")
}

/// `base` with the fields of `extra` laid over it.
pub fn with(base: Value, extra: Value) -> Value {
    let (Value::Object(mut base), Value::Object(extra)) = (base, extra) else {
        panic!("two objects are needed");
    };
    base.extend(extra);
    Value::Object(base)
}

/// Whether the value is `YYYY-MM-DDTHH:MM:SS.mmmZ`.
pub fn is_wire_time(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let form = b"dddd-dd-ddTdd:dd:dd.dddZ";
    text.len() == form.len()
        && text.bytes().zip(form).all(|(c, f)| match f {
            b'd' => c.is_ascii_digit(),
            other => c == *other,
        })
}

/// The ids of the objects in a list.
pub fn ids(list: &Value) -> Vec<String> {
    let Some(items) = list.as_array() else {
        panic!("not a list: {list}")
    };
    items
        .iter()
        .map(|item| item["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// The text of a value that must be one.
#[track_caller]
pub fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => panic!("not a text: {value}"),
    }
}

/// The whole number of a value that must be one.
#[track_caller]
pub fn number(value: &Value) -> i64 {
    match value.as_i64() {
        Some(number) => number,
        None => panic!("not a whole number: {value}"),
    }
}

/// What the server answered.
#[derive(Debug, Clone)]
pub struct Reply {
    pub asked: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// Null where the body is not JSON.
    pub json: Value,
}

impl Reply {
    /// The body, if the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        self.json
    }

    /// The body of an error with this status, checked to be one that a client can read.
    #[track_caller]
    pub fn error(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        let sentence = self.json["error"].as_str().unwrap_or_default();
        assert!(!sentence.is_empty(), "no sentence under `error`: {self}");
        self.json
    }

    /// The body of an error with this status and code.
    #[track_caller]
    pub fn code(self, status: u16, code: &str) -> Value {
        assert_eq!(self.json["code"], code, "{self}");
        self.error(status)
    }

    /// A header's text, empty when there is none.
    pub fn header(&self, name: &str) -> String {
        self.headers
            .get(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default()
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: String = self.text.chars().take(4000).collect();
        write!(
            f,
            "{}\nanswered {}\n{:?}\n{shown}",
            self.asked, self.status, self.headers
        )
    }
}

/// Requests to one server, with a key or without.
#[derive(Debug, Clone)]
pub struct Api {
    pub base: String,
    http: reqwest::Client,
    key: Option<String>,
}

impl Api {
    fn new(base: String) -> Self {
        let http = builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Self { base, http, key: None }
    }

    /// The same server, with this key in each request.
    pub fn keyed(&self, key: &str) -> Api {
        Api {
            key: Some(key.to_owned()),
            ..self.clone()
        }
    }

    /// A request that is not sent yet.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
    }

    /// Sends anything, and tells when the connection broke instead of an answer.
    pub async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Reply, reqwest::Error> {
        let sent: String = String::from_utf8_lossy(&body).chars().take(1000).collect();
        let asked = format!("{method} {path} {headers:?}\n{sent}");
        let mut request = self.request(method, path, headers);
        if !body.is_empty() {
            request = request.body(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response.bytes().await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Reply {
            asked,
            status,
            headers,
            text,
            json,
        })
    }

    /// Sends anything.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        match self.try_send(method, path, headers, body).await {
            Ok(reply) => reply,
            Err(error) => panic!("{method} {path}: no answer: {error:?}"),
        }
    }

    async fn send_json(&self, method: &str, path: &str, body: Value) -> Reply {
        let body = body.to_string().into_bytes();
        self.send(method, path, &[("content-type", "application/json")], body)
            .await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], Vec::new()).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], Vec::new()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send_json("POST", path, body).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send_json("PATCH", path, body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.send_json("PUT", path, body).await
    }

    /// Registers an orchestrator in the scope and gives its id.
    pub async fn orchestrator(&self, scope: &str) -> String {
        let body = json!({
            "cluster": "test", "machine_id": unique("m"), "repo_url": "https://example.org/r.git", "scope": scope,
        });
        let answer = self.post("/api/v1/orchestrators/register", body).await.expect(201);
        text(&answer["orchestrator_id"])
    }

    /// Creates a task with these fields besides the required ones, and gives its id.
    pub async fn task(&self, scope: &str, extra: Value) -> String {
        let id = unique("t");
        let base = json!({ "id": id, "file_path": format!("tasks/{id}.md"), "branch": "main", "scope": scope });
        let answer = self.post("/api/v1/tasks", with(base, extra)).await.expect(201);
        text(&answer["id"])
    }

    /// Tries a claim with these fields besides the required ones.
    pub async fn try_claim(&self, scope: &str, orchestrator: &str, extra: Value) -> Reply {
        let base = json!({ "orchestrator_id": orchestrator, "agent_name": "agent-1", "scope": scope });
        self.post("/api/v1/tasks/claim", with(base, extra)).await
    }

    /// Claims a task, which must be there.
    pub async fn claim(&self, scope: &str, orchestrator: &str, extra: Value) -> Value {
        self.try_claim(scope, orchestrator, extra).await.expect(200)
    }

    /// A task as it is now.
    pub async fn read(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/tasks/{id}")).await.expect(200)
    }

    /// Posts to an action of a task, such as `submit`.
    pub async fn act(&self, id: &str, action: &str, body: Value) -> Reply {
        self.post(&format!("/api/v1/tasks/{id}/{action}"), body).await
    }

    /// Hands in a claimed task as earlier clients do.
    pub async fn submit(&self, id: &str) -> Value {
        let body = json!({ "commits_count": 1, "turns_used": 2 });
        self.act(id, "submit", body).await.expect(200)
    }

    /// Brings a new task as far as `provisional` and gives its id.
    pub async fn submitted(&self, scope: &str, orchestrator: &str, extra: Value) -> String {
        let id = self.task(scope, extra).await;
        let claimed = self.claim(scope, orchestrator, json!({})).await;
        assert_eq!(claimed["id"], id.as_str(), "another task was in the way");
        self.submit(&id).await;
        id
    }

    /// The rows of a task's history.
    pub async fn history(&self, id: &str) -> Vec<Value> {
        let answer = self
            .get(&format!("/api/v1/tasks/{id}/history?limit=500"))
            .await
            .expect(200);
        let Some(rows) = answer["history"].as_array() else {
            panic!("no history: {answer}")
        };
        rows.clone()
    }

    /// The first row of a task's history with this event.
    pub async fn history_row(&self, id: &str, event: &str) -> Value {
        let rows = self.history(id).await;
        match rows.iter().find(|row| row["event"] == event) {
            Some(row) => row.clone(),
            None => panic!("no event {event} in the history of {id}: {rows:?}"),
        }
    }
}

/// A running server, which ends with the value.
#[derive(Debug)]
pub struct Server {
    api: Api,
    child: Child,
    args: Vec<String>,
    dir: Arc<tempfile::TempDir>,
    said: Arc<Mutex<String>>,
}

impl Deref for Server {
    type Target = Api;
    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Server {
    /// Starts a server on a fresh database, on a loopback port that the system chooses unless `args` say otherwise.
    pub fn start(args: &[&str]) -> Server {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let (child, base, said) = spawn(&args, dir.path());
        Server {
            api: Api::new(base),
            child,
            args,
            dir,
            said,
        }
    }

    /// Another server on the same database.
    pub fn beside(&self) -> Server {
        let (child, base, said) = spawn(&self.args, self.dir.path());
        Server {
            api: Api::new(base),
            child,
            args: self.args.clone(),
            dir: Arc::clone(&self.dir),
            said,
        }
    }

    /// The requests that this server takes, to be moved into a task.
    pub fn api(&self) -> Api {
        self.api.clone()
    }

    /// The folder with its database.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// What it has printed on stderr so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Ends it without a warning.
    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// How it ended, if it does within `patience`. Does not block the test's other work.
    pub async fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts it again on the same database, after ending it in good order if it still runs.
    pub async fn restart(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.terminate();
            let status = self.ended(PATIENCE).await;
            assert!(status.is_some(), "it did not end on SIGTERM; it said:\n{}", self.said());
        }
        let (child, base, said) = spawn(&self.args, self.dir.path());
        self.child = child;
        self.said = said;
        self.api = Api::new(base);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; there is nobody left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(args: &[String], dir: &Path) -> (Child, String, Arc<Mutex<String>>) {
    let database = database(dir);
    let mut command = Command::new(BIN);
    if !args.iter().any(|arg| arg == "--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    let mut child = command
        .args(["--database", &database])
        .args(args)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", dir)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let said = Arc::new(Mutex::new(String::new()));
    let (tell, heard) = mpsc::channel();
    let kept = Arc::clone(&said);
    thread::spawn(move || {
        for line in BufReader::new(stderr).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some((_, rest)) = line.split_once("listening on http://") {
                let end = rest
                    .find(|c: char| !(c.is_ascii_alphanumeric() || ".:[]".contains(c)))
                    .unwrap_or(rest.len());
                // Only the first such line has a listener.
                let _ = tell.send(format!("http://{}", &rest[..end]));
            }
            let mut kept = kept.lock().unwrap();
            kept.push_str(&line);
            kept.push('\n');
        }
    });
    match heard.recv_timeout(PATIENCE) {
        Ok(base) => (child, base, said),
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            panic!("it did not say where it listens; it said:\n{}", said.lock().unwrap());
        }
    }
}

/// What makes clients; the process needs one source of cryptography, whoever installs it first.
pub fn builder() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

/// Where the server's rows are: a file, or with `OCTOPOID_CONTRACT_POSTGRES=postgres://USER@HOST:PORT` a database of
/// its own there, named after the test's folder so that a restart finds it.
fn database(dir: &Path) -> String {
    let Some(server) = std::env::var("OCTOPOID_CONTRACT_POSTGRES")
        .ok()
        .filter(|u| !u.is_empty())
    else {
        return format!("sqlite:{}", dir.join("octopoid.db").display());
    };
    let folder = dir.file_name().unwrap().to_string_lossy().into_owned();
    let name: String = folder.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = format!("t{}", name.to_lowercase());
    let marker = dir.join("postgres");
    if !marker.exists() {
        let made = std::process::Command::new("psql")
            .args(["--quiet", "--dbname", &format!("{server}/postgres")])
            .args(["--command", &format!("CREATE DATABASE {name}")])
            .status()
            .unwrap();
        assert!(made.success(), "psql cannot make a database at {server}");
        std::fs::write(marker, "").unwrap();
    }
    format!("{server}/{name}")
}
