//! A server, a bare repository, and machines that share both.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::{BASE, BIN, Project};

/// The scope of every machine here.
pub const SCOPE: &str = "fleet";
/// Opens the admin routes of every server here.
pub const ADMIN: &str = "an-admin-token-for-tests";
/// A check that a commit passes unless it holds the file RED.
pub const CHECK: &str = "test ! -e RED\n";

/// How long a server may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server with a database of its own.
pub struct Server {
    pub url: String,
    folder: PathBuf,
    args: Vec<String>,
    port: u16,
    child: Child,
}

/// A port that nobody listens on and that the system gives to nobody by itself, so that a server can come back to it.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = (std::process::id().wrapping_mul(37).wrapping_add(n.wrapping_mul(101))) % 10_000;
        let port = 20_000 + u16::try_from(offset).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Starts a server and waits until it listens; none when it ended instead.
fn spawn(folder: &Path, port: u16, args: &[String]) -> Option<Child> {
    let path = folder.join("server.log");
    let log = fs::File::options().create(true).append(true).open(&path).unwrap();
    let before = fs::read(&path).unwrap().len();
    let listen = format!("127.0.0.1:{port}");
    let database = format!("sqlite:{}", folder.join("server.db").display());
    let mut child = Command::new(BIN)
        .args(["serve", "--listen", listen.as_str(), "--database", database.as_str()])
        .args(["--default-scope", SCOPE, "--lease-sweep-seconds", "0.5"])
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", folder)
        .env("OCTOPOID_ADMIN_TOKEN", ADMIN)
        .env("OCTOPOID_LOG", "info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    loop {
        let said = fs::read(&path).unwrap();
        if String::from_utf8_lossy(&said[before..]).contains(&format!("listening on http://{listen}")) {
            return Some(child);
        }
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the server does not listen: {}", String::from_utf8_lossy(&said));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Server {
    /// Serves the database in `folder`, with more arguments.
    fn start(folder: &Path, args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        for _ in 0..20 {
            let port = free_port();
            if let Some(child) = spawn(folder, port, &args) {
                return Self {
                    url: format!("http://127.0.0.1:{port}"),
                    folder: folder.to_path_buf(),
                    args,
                    port,
                    child,
                };
            }
        }
        panic!("no server starts in {}", folder.display());
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts again after its death, on the same port and with the same database.
    pub fn restart(&mut self) {
        let begun = Instant::now();
        loop {
            if let Some(child) = spawn(&self.folder, self.port, &self.args) {
                self.child = child;
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the server does not come back:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What it wrote so far, in all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("server.log")).unwrap_or_default()).into_owned()
    }

    /// Its database, as it is named on command lines.
    pub fn database(&self) -> String {
        format!("sqlite:{}", self.folder.join("server.db").display())
    }

    /// Removes the database of a server that is dead.
    pub fn lose_database(&self) {
        for part in ["", "-wal", "-shm"] {
            let path = self.folder.join(format!("server.db{part}"));
            if path.exists() {
                fs::remove_file(path).unwrap();
            }
        }
        assert!(!self.folder.join("server.db").exists());
    }

    /// Sends a request with the admin token; gives the status and the JSON that came back.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map_or_else(String::new, Value::to_string);
        // In this old form the end of the connection is the end of the answer.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nhost: localhost\r\nauthorization: Bearer {ADMIN}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// Every event, oldest first.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let after = all.last().map_or(0, |e| e["cursor"].as_i64().unwrap());
            let (status, page) = self.ask("GET", &format!("/api/v1/events?limit=500&after={after}"), None);
            assert_eq!(status, 200, "{page}");
            let events = page["events"].as_array().unwrap();
            if events.is_empty() {
                return all;
            }
            all.extend(events.iter().cloned());
        }
    }

    /// The events of one task, oldest first.
    #[track_caller]
    pub fn story(&self, id: &str) -> Vec<Value> {
        let mut events = self.events();
        events.retain(|e| e["task_id"] == id);
        events
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server and a bare repository, for machines to share.
pub struct Fleet {
    pub server: Server,
    pub remote: PathBuf,
    seed: Project,
}

impl Fleet {
    /// A server with more arguments, and a repository whose commits must pass `sh test.sh`, which is `check`.
    pub fn new(args: &[&str], check: &str) -> Self {
        let seed = Project::bare_bones();
        seed.write("test.sh", check);
        seed.git(&["add", "--all"]);
        seed.git(&["commit", "--quiet", "--message", "a test"]);
        let folder = seed.root.parent().unwrap().to_path_buf();
        let remote = folder.join("remote.git");
        seed.git(&["clone", "--quiet", "--bare", ".", &remote.display().to_string()]);
        Self {
            server: Server::start(&folder, args),
            remote,
            seed,
        }
    }

    /// A machine of the fleet, set up with a scripted implementer and gatekeeper; `more` is added to its configuration.
    #[track_caller]
    pub fn machine(&self, name: &str, script: &str, more: &str) -> Project {
        let machine = Project::clone_of(&self.remote);
        machine
            .run(&[
                "init",
                "--server",
                &self.server.url,
                "--cluster",
                "c",
                "--machine-id",
                name,
                "--scope",
                SCOPE,
                "--agent",
                "command",
            ])
            .ok();
        machine.write(
            ".octopoid/config.yaml",
            &format!(
                "mode: remote\nscope: {SCOPE}\nserver: {{url: \"{}\", cluster: c}}\nrepo: {{base_branch: {BASE}, test: \"sh test.sh\"}}\n{more}",
                self.server.url
            ),
        );
        machine.scripted("implementer", "implement", "");
        machine.scripted("gatekeeper", "gatekeeper", "");
        machine.script(script);
        machine
    }

    /// A folder that every machine can see.
    pub fn folder(&self) -> PathBuf {
        self.seed.root.parent().unwrap().to_path_buf()
    }

    /// Git in the bare repository.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        self.seed.git_in(&self.remote, args)
    }

    /// Git in any other folder.
    #[track_caller]
    pub fn git_in(&self, dir: &Path, args: &[&str]) -> String {
        self.seed.git_in(dir, args)
    }

    /// Content of a file on the base branch that all machines share.
    #[track_caller]
    pub fn on_base(&self, file: &str) -> String {
        self.git(&["show", &format!("{BASE}:{file}")])
    }

    /// Number of commits on that branch whose message names the task.
    pub fn merges_of(&self, id: &str) -> usize {
        let line = format!("Octopoid-Task: {id}");
        self.git(&["log", "--format=%B", BASE])
            .lines()
            .filter(|l| *l == line)
            .count()
    }
}

/// How many events of a kind a story has.
pub fn count(story: &[Value], kind: &str) -> usize {
    story.iter().filter(|e| e["type"] == kind).count()
}

/// Which orchestrator made each claim of a story.
pub fn claimers(story: &[Value]) -> Vec<String> {
    story
        .iter()
        .filter(|e| e["details"]["epoch"].is_i64())
        .map(|e| e["details"]["orchestrator_id"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The history of one task, which nobody but the holder of its latest claim may have written: each claim is newer than
/// the one before, and whatever a worker does belongs to the claim that is open at that moment.
#[track_caller]
pub fn sound(story: &[Value]) {
    let (mut epoch, mut version): (i64, i64) = (0, 0);
    // What the open claim is for, and its attempt; a landing has none.
    let mut open: Option<(&str, &Value)> = None;
    for event in story {
        let kind = event["type"].as_str().unwrap();
        let attempt = &event["details"]["attempt"];
        assert_eq!(event["version"], version + 1, "a version is missing before {event}");
        version += 1;
        match kind {
            "claimed" | "review_claimed" | "landing" => {
                assert_eq!(open, None, "claimed while it was claimed: {event}");
                let new = event["details"]["epoch"].as_i64().unwrap();
                assert!(new > epoch, "epoch {new} after {epoch}: {event}");
                epoch = new;
                open = Some((kind, attempt));
            }
            "started" | "renewed" | "progress" => {
                let same = open.is_some_and(|(_, of)| of == attempt);
                assert!(same, "written by a stale owner, the claim is {open:?}: {event}");
            }
            "submitted" => assert_eq!(open.take(), Some(("claimed", attempt)), "{event}"),
            "approved" | "rejected" if attempt.is_i64() => {
                assert_eq!(open.take(), Some(("review_claimed", attempt)), "{event}");
            }
            "failed_attempt" | "released" | "requeued" => {
                let same = open.take().is_some_and(|(_, of)| of == attempt);
                assert!(same, "written by a stale owner: {event}");
            }
            "done" => assert_eq!(open.take().map(|(kind, _)| kind), Some("landing"), "{event}"),
            _ => {}
        }
    }
}

/// The same, for a task that is done: once, and nothing is left open.
#[track_caller]
pub fn done_once(story: &[Value]) {
    sound(story);
    assert_eq!(count(story, "done"), 1, "{story:#?}");
    assert_eq!(story.last().unwrap()["type"], "done", "{story:#?}");
}
