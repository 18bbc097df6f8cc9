//! The server under measurement: a process of its own, on a database of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use crate::client::Client;

/// A running server, which ends with the value.
pub(crate) struct Server {
    pub(crate) at: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts a server that serves one scope without keys.
    pub(crate) fn start(database: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_octopoid-server"))
            .args(["--listen", "127.0.0.1:0", "--default-scope", "bench"])
            .args(["--database", database])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut before = Vec::new();
        let at = said.by_ref().find_map(|line| {
            let line = line.unwrap();
            let at = line.strip_prefix("listening on http://").and_then(|at| at.parse().ok());
            before.push(line);
            at
        });
        let Some(at) = at else {
            panic!("the server does not start on {database}:\n{}", before.join("\n"));
        };
        thread::spawn(move || {
            for line in said.map_while(Result::ok) {
                eprintln!("server: {line}");
            }
        });
        Self { at, child }
    }

    /// The same with the orchestrator that claims, and so many waiting tasks.
    pub(crate) async fn with_tasks(database: &str, count: usize) -> Self {
        let server = Self::start(database);
        let mut client = Client::connect(server.at).await;
        let machine = r#"{"cluster":"c","machine_id":"m","repo_url":"r"}"#;
        client.post("/api/v1/orchestrators/register", machine).await.expect(201);
        for _ in 0..count / 1000 {
            let tasks = vec![r#"{"title":"task"}"#; 1000].join(",");
            let batch = format!(r#"{{"tasks":[{tasks}]}}"#);
            client.post("/api/v1/tasks/batch", &batch).await.expect(201);
        }
        server
    }

    /// Megabytes of memory that it occupies.
    pub(crate) fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes / 1024.0
    }

    /// Ends it in good order.
    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; there is nobody left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address of a database file in this folder.
pub(crate) fn sqlite(dir: &Path) -> String {
    format!("sqlite:{}", dir.join("bench.db").display())
}

/// A server with so many waiting tasks, all but one copied in its file from one that it made itself.
pub(crate) async fn filled(dir: &Path, count: u64) -> Server {
    let database = sqlite(dir);
    let server = Server::with_tasks(&database, 0).await;
    let mut client = Client::connect(server.at).await;
    client.post("/api/v1/tasks", r#"{"title":"task"}"#).await.expect(201);
    drop(client);
    server.stop();
    let db = rusqlite::Connection::open(dir.join("bench.db")).unwrap();
    let columns: Vec<String> = db
        .prepare("SELECT name FROM pragma_table_info('tasks') WHERE name <> 'seq'")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let values: Vec<String> = columns
        .iter()
        .map(|c| match c.as_str() {
            "id" => "printf('copy-%08x', value)".to_owned(),
            "created_at" | "updated_at" => format!("{c} + value"),
            "priority" => "'P' || (value % 4)".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    // The server turns both back on when it opens the file.
    db.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        .unwrap();
    db.execute(
        &format!(
            "WITH RECURSIVE n(value) AS (VALUES (1) UNION ALL SELECT value + 1 FROM n WHERE value < {count}) \
             INSERT INTO tasks ({}) SELECT {} FROM n, (SELECT * FROM tasks LIMIT 1)",
            columns.join(", "),
            values.join(", ")
        ),
        [],
    )
    .unwrap();
    drop(db);
    Server::start(&database)
}
