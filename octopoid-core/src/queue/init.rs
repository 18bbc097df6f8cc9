//! Sets a repository up: writes `.octopoid/`, with what can be found out about the project.

use std::{fs, path::Path};

use crate::{
    config::{IGNORE_ALL, Paths},
    error::{Error, Result},
    git::Repo,
    id::Scope,
};

/// What the set-up is asked for.
#[derive(Debug, Clone, Default)]
pub struct InitRequest {
    /// Tenant; the folder's name when not given.
    pub scope: Option<Scope>,
    /// First half of the orchestrator's id.
    pub cluster: Option<String>,
    /// Second half of the orchestrator's id; goes to `local.yaml`.
    pub machine_id: Option<String>,
    /// Where the server is; null keeps the tasks in the repository.
    pub server: Option<String>,
    /// The scope's key; goes to `credentials`.
    pub api_key: Option<String>,
    /// Which program the agents are: `claude` or `command`.
    pub agent: Option<String>,
    /// Whether files that are there are written anew.
    pub force: bool,
}

/// What was set up.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Initialised {
    /// Top of the main checkout.
    pub root: std::path::PathBuf,
    /// Where work is merged.
    pub base_branch: String,
    /// The test command that was found.
    pub test: Option<String>,
    /// Where the server is; null when the tasks are kept in the repository.
    pub server: Option<String>,
    /// Which program the agents are.
    pub agent: String,
    /// Files that were written.
    pub written: Vec<String>,
    /// Files that were there and stay as they are.
    pub kept: Vec<String>,
}

const IGNORED: &str = "# What Octopoid writes at run time. Commit the rest of this folder.\nstate.db*\nruntime/\nlogs/\ncredentials\nlocal.yaml\n";

const IMPLEMENTER: &str = "You change code in a git worktree that was made for this one task.\n\n\
- Look before you change: check that what the task says about the code is true.\n\
- Prefer the smallest change that does the task fully, tests included.\n\
- Run the project's tests before you finish.\n";

const GATEKEEPER: &str = "You are the gatekeeper: you decide whether a finished change may be merged.\n\n\
Read the change and what it touches. Reject what is wrong, unsafe, untested or not what was asked for; say exactly what has to\n\
change. What could merely be nicer is advice, not a reason to reject.\n";

/// Sets up the repository that `dir` lies in. Twice is safe: files that are there stay, unless `force` is given.
pub fn init(dir: &Path, request: &InitRequest) -> Result<Initialised> {
    let repo = Repo::discover(dir)?;
    let base_branch = repo.default_branch()?;
    if repo.branch_tip(&base_branch)?.is_none() && repo.remote_tip("origin", &base_branch)?.is_none() {
        return Err(Error::new(
            crate::error::ErrorCode::NotARepository,
            format!("{} has no commits yet", repo.root().display()),
        )
        .with_hint("make a first commit, for example `git commit --allow-empty -m start`"));
    }
    let agent = request.agent.clone().unwrap_or_else(|| "claude".to_owned());
    let blueprint = |role: &str| -> Result<String> {
        let program = match agent.as_str() {
            "claude" => "agent: claude".to_owned(),
            "command" => {
                "agent: command\n# The command line; the prompt comes on its standard input.\ncommand: [my-agent]"
                    .to_owned()
            }
            other => {
                return Err(Error::invalid(format!(
                    "no adapter for {other:?} is in this version; allowed: claude, command"
                ))
                .with_hint("`--agent command` runs any command line as an agent"));
            }
        };
        let claims = if role == "gatekeeper" {
            "claims_from: provisional\n"
        } else {
            ""
        };
        Ok(format!(
            "role: {role}\n{program}\n{claims}max_instances: 1\nmax_turns: 200\n"
        ))
    };
    let test = find_test(repo.root());
    let setup = find_setup(repo.root());
    let mode = if request.server.is_some() { "remote" } else { "local" };
    let mut config = format!(
        "# Octopoid's settings for this project; `octopoid config show --origin` shows all of them.\nmode: {mode}\n"
    );
    // Other machines' folders may have other names; the scope is one.
    let named = request.server.as_ref().and_then(|_| {
        let name = repo.root().file_name()?.to_string_lossy().into_owned();
        Scope::parse(&name).ok()
    });
    if let Some(scope) = request.scope.as_ref().or(named.as_ref()) {
        config.push_str(&format!("scope: {scope}\n"));
    }
    if let Some(url) = &request.server
        && !url.starts_with("http://")
        && !url.starts_with("https://")
    {
        return Err(Error::invalid(format!("{url:?} is no server address"))
            .with_hint("write it as https://octopoid.example.org"));
    }
    if request.server.is_some() || request.cluster.is_some() {
        config.push_str("server:\n");
    }
    if let Some(url) = &request.server {
        config.push_str(&format!("  url: {}\n", quoted(url)));
    }
    if let Some(cluster) = &request.cluster {
        config.push_str(&format!("  cluster: {}\n", quoted(cluster)));
    }
    config.push_str(&format!("repo:\n  base_branch: {}\n", quoted(&base_branch)));
    match &test {
        Some(test) => config.push_str(&format!("  test: {}\n", quoted(test))),
        None => config
            .push_str("  # The command that must pass on every commit before it is merged:\n  # test: make test\n"),
    }
    if let Some(setup) = &setup {
        config.push_str(&format!("  setup: {}\n", quoted(setup)));
    }

    let paths = Paths::new(repo.root());
    let mut files = vec![
        (paths.dir().join(".gitignore"), IGNORED.to_owned()),
        (paths.agents().join("implementer.yaml"), blueprint("implement")?),
        (paths.agents().join("implementer.md"), IMPLEMENTER.to_owned()),
        (paths.agents().join("gatekeeper.yaml"), blueprint("gatekeeper")?),
        (paths.agents().join("gatekeeper.md"), GATEKEEPER.to_owned()),
    ];
    if let Some(machine) = &request.machine_id {
        crate::id::OrchestratorId::parse(machine)?;
        files.push((
            paths.local(),
            format!(
                "# Values of this machine, over config.yaml.\nserver:\n  machine_id: {}\n",
                quoted(machine)
            ),
        ));
    }
    if let Some(key) = &request.api_key {
        files.push((paths.credentials(), format!("{key}\n")));
    }
    // Last: a project is set up when this file is there.
    files.push((paths.config(), config));
    let fresh = !paths.config().exists();
    let (mut written, mut kept) = (Vec::new(), Vec::new());
    for (path, text) in files {
        let shown = paths.shown(&path);
        let is_agent = path.parent() == Some(paths.agents().as_path());
        // Agents that a person removed or renamed do not come back by running it twice.
        let is_placeholder = fs::read_to_string(&path).is_ok_and(|text| text == IGNORE_ALL);
        if !request.force && !is_placeholder && (path.exists() || (is_agent && !fresh)) {
            if path.exists() {
                kept.push(shown);
            }
            continue;
        }
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| write(&path, &text, path == paths.credentials()))
            .map_err(|e| Error::io("write", &path, e))?;
        written.push(shown);
    }
    Ok(Initialised {
        root: repo.root().to_path_buf(),
        base_branch,
        test,
        server: request.server.clone(),
        agent,
        written,
        kept,
    })
}

/// Writes a file; a secret one is for its owner only, from its first moment.
fn write(path: &Path, text: &str, secret: bool) -> std::io::Result<()> {
    use std::{
        io::Write as _,
        os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    };
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(if secret { 0o600 } else { 0o666 })
        .open(path)?;
    if secret {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    file.write_all(text.as_bytes())
}

/// A YAML string that needs no thought about its characters.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

fn find_test(root: &Path) -> Option<String> {
    let text = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
    if root.join("Cargo.toml").is_file() {
        return Some("cargo test".into());
    }
    let package: serde_json::Value = serde_json::from_str(&text("package.json")).unwrap_or_default();
    let script = package.pointer("/scripts/test").and_then(|s| s.as_str());
    if script.is_some_and(|s| !s.contains("no test specified")) {
        return Some("npm test".into());
    }
    if root.join("go.mod").is_file() {
        return Some("go test ./...".into());
    }
    if root.join("pytest.ini").is_file()
        || root.join("conftest.py").is_file()
        || text("pyproject.toml").contains("pytest")
    {
        return Some("python3 -m pytest".into());
    }
    let has_target = |name: &str| text(name).lines().any(|l| l.starts_with("test:"));
    ["Makefile", "makefile", "GNUmakefile"]
        .iter()
        .any(|name| has_target(name))
        .then(|| "make test".into())
}

fn find_setup(root: &Path) -> Option<String> {
    root.join("package-lock.json").is_file().then(|| "npm ci".into())
}
