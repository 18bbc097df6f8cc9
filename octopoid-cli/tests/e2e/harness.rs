//! A project of its own for each test: a git repository, agents, and the built program with a bare environment.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

pub const BIN: &str = env!("CARGO_BIN_EXE_octopoid");

/// What a finished command left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("not JSON ({e}):\n{}\nstderr:\n{}", self.out, self.err))
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "{text:?} is not in\n{}\n{}",
            self.out,
            self.err
        );
        self
    }
}

/// A repository with Octopoid set up in it.
pub struct Project {
    pub root: PathBuf,
    pub env: BTreeMap<String, String>,
    _home: tempfile::TempDir,
}

/// The base branch of test projects; `main` exists too, as a trap.
pub const BASE: &str = "trunk";

impl Project {
    /// A repository with one commit on `trunk`, a trap on `main`, and nothing of Octopoid.
    pub fn bare_bones() -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap().join("repo");
        fs::create_dir(&root).unwrap();
        let env = BTreeMap::from([
            ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("HOME".to_owned(), home.path().display().to_string()),
            ("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned()),
        ]);
        let project = Self { root, env, _home: home };
        fs::write(
            project.path("../.gitconfig"),
            "[user]\n\tname = Test\n\temail = test@example.org\n[init]\n\tdefaultBranch = trunk\n",
        )
        .unwrap();
        project.git(&["init", "--quiet", "--initial-branch", BASE]);
        project.write("README.md", "# project\n");
        project.git(&["add", "--all"]);
        project.git(&["commit", "--quiet", "--message", "first"]);
        project.git(&["checkout", "--quiet", "-b", "main"]);
        project.write("WRONG", "never start here\n");
        project.git(&["add", "--all"]);
        project.git(&["commit", "--quiet", "--message", "trap"]);
        project.git(&["checkout", "--quiet", BASE]);
        project
    }

    /// Set up with a scripted implementer and gatekeeper, and `sh test.sh` as the test.
    pub fn new(script: &str) -> Self {
        let project = Self::bare_bones();
        project.write("test.sh", "test ! -e RED\n");
        project.git(&["add", "--all"]);
        project.git(&["commit", "--quiet", "--message", "a test"]);
        project.run(&["init", "--local", "--agent", "command"]).ok();
        project.config("");
        project.scripted("implementer", "implement", "");
        project.scripted("gatekeeper", "gatekeeper", "");
        project.script(script);
        project
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// `config.yaml` with more lines.
    pub fn config(&self, more: &str) {
        self.write(
            ".octopoid/config.yaml",
            &format!("mode: local\nrepo: {{base_branch: {BASE}, test: \"sh test.sh\"}}\n{more}"),
        );
    }

    /// A blueprint with the scripted agent.
    pub fn scripted(&self, name: &str, role: &str, more: &str) {
        self.write(
            &format!(".octopoid/agents/{name}.yaml"),
            &format!("role: {role}\nagent: scripted\nscript: .octopoid/script.txt\n{more}"),
        );
    }

    /// The script that all agents play.
    pub fn script(&self, script: &str) {
        self.write(".octopoid/script.txt", script);
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BIN);
        command
            .args(args)
            .current_dir(&self.root)
            .env_clear()
            .envs(&self.env)
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    pub fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Ran {
        Ran::from(self.command(args).envs(env.iter().copied()).output().unwrap())
    }

    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        self.run(&all).ok().json()
    }

    /// Creates a task and gives its id.
    #[track_caller]
    pub fn enqueue(&self, args: &[&str]) -> String {
        let mut all = vec!["enqueue"];
        all.extend(args);
        self.json(&all)["id"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn show(&self, id: &str) -> Value {
        self.json(&["show", id])
    }

    #[track_caller]
    pub fn queue(&self, id: &str) -> String {
        self.show(id)["queue"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn expect_queue(&self, id: &str, queue: &str) -> Value {
        let task = self.show(id);
        assert_eq!(task["queue"], queue, "{task:#}\n{}", self.run(&["why", id]).out);
        task
    }

    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        self.git_in(&self.root, args)
    }

    #[track_caller]
    pub fn git_in(&self, dir: &Path, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(args)
            .current_dir(dir)
            .env_clear()
            .envs(&self.env)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Content of a file on the base branch.
    #[track_caller]
    pub fn on_base(&self, file: &str) -> String {
        self.git(&["show", &format!("{BASE}:{file}")])
    }

    /// Whether the base branch has a file.
    pub fn base_has(&self, file: &str) -> bool {
        self.git(&["ls-tree", "--name-only", "-r", BASE])
            .lines()
            .any(|l| l == file)
    }

    /// Number of commits on the base branch whose message names the task.
    pub fn merges_of(&self, id: &str) -> usize {
        self.git(&["log", "--format=%B", BASE])
            .lines()
            .filter(|l| *l == format!("Octopoid-Task: {id}"))
            .count()
    }

    /// Number of attempts of a kind.
    pub fn attempts(&self, id: &str, kind: &str) -> usize {
        self.show(id)["attempts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|a| a["kind"] == kind)
            .count()
    }

    pub fn prompt(&self, id: &str, attempt: u32) -> String {
        self.read(&format!(".octopoid/runtime/attempts/{id}/{attempt}/prompt.md"))
    }

    /// Starts the orchestrator in the foreground, as a child.
    pub fn start(&self, args: &[&str], env: &[(&str, &str)]) -> Running {
        let mut all = vec!["-v", "start"];
        all.extend(args);
        let log = fs::File::create(self.path("../start.log")).unwrap();
        let mut command = self.command(&all);
        command.envs(env.iter().copied()).stdout(Stdio::null()).stderr(log);
        Running(command.spawn().unwrap())
    }

    /// What must hold at the end of every story.
    #[track_caller]
    pub fn closing_checks(&self) {
        let lost = self.git(&["fsck", "--unreachable", "--no-reflogs"]);
        let lost: Vec<&str> = lost.lines().filter(|l| l.contains(" commit ")).collect();
        assert!(lost.is_empty(), "unreachable commits: {lost:?}");
        assert_eq!(
            self.git(&["log", "-1", "--format=%s", "main"]),
            "trap",
            "main was touched"
        );
        assert!(!self.base_has("WRONG"), "work began on the wrong branch");
        assert_eq!(self.processes(), Vec::<String>::new(), "processes are left");
    }

    /// Command lines of processes whose environment names this project.
    pub fn processes(&self) -> Vec<String> {
        let marker = format!("OCTOPOID_ATTEMPT_DIR={}", self.root.display());
        let begun = Instant::now();
        loop {
            let mut found = Vec::new();
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
                if environ.split(|b| *b == 0).any(|e| e.starts_with(marker.as_bytes())) {
                    let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    found.push(String::from_utf8_lossy(&line).replace('\0', " "));
                }
            }
            if found.is_empty() || begun.elapsed() > Duration::from_secs(2) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // A test that failed half-way must not leave a daemon or an agent behind.
        let _ = self
            .command(&["stop", "--now", "--quiet"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// A running orchestrator.
pub struct Running(pub Child);

impl Running {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &self.pid().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for its end and gives its exit code.
    pub fn wait(&mut self) -> i32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "the orchestrator does not end"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until something holds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(40), "in vain: {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Plays for an implementer that writes one file named after the task, and a gatekeeper that approves.
pub const WORKS: &str = r#"
plays:
  - role: gatekeeper
    steps: [{verdict: {verdict: approve, summary: fine}}]
  - steps:
      - run: "echo \"$OCTOPOID_TASK_TITLE\" > \"$OCTOPOID_TASK_ID.txt\""
      - commit: work
"#;

impl Project {
    /// A machine's own clone of the repository at `remote`, with nothing of Octopoid in it. Its home folder is its own too.
    pub fn clone_of(remote: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        let base = home.path().canonicalize().unwrap();
        let env = BTreeMap::from([
            ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("HOME".to_owned(), base.display().to_string()),
            ("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned()),
        ]);
        let root = base.join("repo");
        let project = Self { root, env, _home: home };
        fs::write(
            base.join(".gitconfig"),
            "[user]\n\tname = Test\n\temail = test@example.org\n[init]\n\tdefaultBranch = trunk\n",
        )
        .unwrap();
        project.git_in(&base, &["clone", "--quiet", &remote.display().to_string(), "repo"]);
        project.git(&["branch", "--quiet", "main", "origin/main"]);
        project
    }
}
