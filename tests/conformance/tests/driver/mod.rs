//! One player: the Rust handle in one world, called by the names that the scenarios use.

mod args;
mod tasks;

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use octopoid_core::{Octopoid, Result, queue::Listing};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use args::Args;

/// Where the queue is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum World {
    Server,
    Embedded,
}

/// A server process that ends with its value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A handle on a queue of its own.
pub(crate) struct Player {
    octopoid: Octopoid,
    /// Secrets of its claims, as a program keeps those of the claims that it holds.
    tokens: HashMap<String, String>,
    _server: Option<Server>,
    _folder: TempDir,
}

fn start(folder: &TempDir) -> (Server, String) {
    let database = format!("sqlite:{}", folder.path().join("queue.db").display());
    let mut child = Command::new(env!("CARGO_BIN_EXE_octopoid-conformance"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--default-scope",
            "conformance",
            "--database",
            &database,
        ])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let server = Server(child);
    let mut lines = BufReader::new(stderr).lines();
    let mut told = String::new();
    while let Some(Ok(line)) = lines.next() {
        if let Some(url) = line.strip_prefix("listening on ") {
            let url = url.to_owned();
            // What it says later is of no interest, but it must be able to say it.
            std::thread::spawn(move || lines.for_each(drop));
            return (server, url);
        }
        told.push_str(&line);
    }
    panic!("the server did not start: {told}");
}

impl Player {
    pub(crate) fn enter(world: World) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (octopoid, server) = match world {
            World::Embedded => (Octopoid::local(folder.path()).unwrap(), None),
            World::Server => {
                let (server, url) = start(&folder);
                let octopoid = Octopoid::connect(url).scope("conformance").build().unwrap();
                (octopoid, Some(server))
            }
        };
        Self {
            octopoid,
            tokens: HashMap::new(),
            _server: server,
            _folder: folder,
        }
    }

    /// Makes a call and gives its result in the form that all languages have in common.
    pub(crate) async fn call(&mut self, call: &str, with: Map<String, Value>) -> Result<Value> {
        let mut args = Args::new(call, with);
        let Some((namespace, method)) = call.split_once('.') else {
            panic!("{call} is no call");
        };
        match namespace {
            "tasks" => self.tasks(method, args).await,
            "events" => {
                let after = args.int("after").unwrap_or(0);
                let limit = args.int("limit").unwrap_or(100);
                let task = args.id("task_id")?;
                args.end();
                let limit = u32::try_from(limit).unwrap();
                let found = self.octopoid.events().list(task.as_ref(), after, limit).await?;
                Ok(json!({ "rows": plain(&found) }))
            }
            "projects" => self.projects(method, args).await,
            "drafts" => self.drafts(method, args).await,
            "orchestrators" => self.orchestrators(method, args).await,
            "flows" => self.flows(method, args).await,
            "messages" => match method {
                "create" => self.octopoid.messages().create(args.rest()).await,
                "list" => Ok(rows(self.octopoid.messages().list(&args.filters().borrowed()).await?)),
                _ => unknown(call),
            },
            "actions" => self.actions(method, args).await,
            _ => unknown(call),
        }
    }

    async fn projects(&self, method: &str, mut args: Args) -> Result<Value> {
        let projects = self.octopoid.projects();
        match method {
            "create" => projects.create(args.rest()).await,
            "list" => Ok(rows(projects.list(&args.filters().borrowed()).await?)),
            "get" => maybe(projects.get(&args.only("project_id")).await),
            "update" => {
                let id = args.text("project_id");
                projects.update(&id, args.rest()).await
            }
            "delete" => nothing(projects.delete(&args.only("project_id")).await),
            _ => unknown(method),
        }
    }

    async fn drafts(&self, method: &str, mut args: Args) -> Result<Value> {
        let drafts = self.octopoid.drafts();
        match method {
            "create" => return drafts.create(args.rest()).await,
            "list" => return Ok(rows(drafts.list(&args.filters().borrowed()).await?)),
            _ => {}
        }
        let id = args.int("draft_id").unwrap();
        match method {
            "get" => maybe(drafts.get(id).await),
            "update" => drafts.update(id, args.rest()).await,
            "delete" => nothing(drafts.delete(id).await),
            _ => unknown(method),
        }
    }

    async fn orchestrators(&self, method: &str, args: Args) -> Result<Value> {
        let orchestrators = self.octopoid.orchestrators();
        match method {
            "register" => orchestrators.register(args.rest()).await,
            "list" => Ok(rows(orchestrators.list(&args.filters().borrowed()).await?)),
            "get" => maybe(orchestrators.get(&args.only("orchestrator_id")).await),
            "heartbeat" => orchestrators.heartbeat(&args.only("orchestrator_id")).await,
            _ => unknown(method),
        }
    }

    async fn flows(&self, method: &str, mut args: Args) -> Result<Value> {
        let flows = self.octopoid.flows();
        match method {
            "register" => {
                let name = args.text("name");
                flows.register(&name, args.rest()).await
            }
            "list" => {
                args.end();
                Ok(rows(flows.list().await?))
            }
            "get" => maybe(flows.get(&args.only("name")).await),
            "delete" => nothing(flows.delete(&args.only("name")).await),
            _ => unknown(method),
        }
    }

    async fn actions(&self, method: &str, mut args: Args) -> Result<Value> {
        let actions = self.octopoid.actions();
        match method {
            "create" => return actions.create(args.rest()).await,
            "list" => return Ok(rows(actions.list(&args.filters().borrowed()).await?)),
            _ => {}
        }
        let id = args.text("action_id");
        let result = args.value("result");
        args.end();
        match method {
            "execute" => actions.execute(&id).await,
            "complete" => actions.complete(&id, result.unwrap_or_default()).await,
            "fail" => actions.fail(&id, result.unwrap_or_default()).await,
            _ => unknown(method),
        }
    }
}

fn unknown(call: &str) -> ! {
    panic!("Rust has no {call}; give the step `languages: [python, node]`");
}

/// A value as JSON.
fn plain(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// A list as all languages give it.
fn rows(listing: Listing) -> Value {
    json!({ "rows": listing.rows, "total": listing.total })
}

/// Null for what does not exist, as the other languages have it.
fn maybe(found: Result<Value>) -> Result<Value> {
    match found {
        Err(error) if error.code() == octopoid_core::ErrorCode::NotFound => Ok(Value::Null),
        other => other,
    }
}

fn nothing(done: Result<()>) -> Result<Value> {
    done.map(|()| Value::Null)
}
