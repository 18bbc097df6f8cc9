//! Three orchestrators and their server are killed, stopped and started again at random; every task is done exactly once.
//!
//! `OCTOPOID_CHAOS_TASKS`, `OCTOPOID_CHAOS_KILLS` (a number, or `all` for as long as there is work) and
//! `OCTOPOID_CHAOS_SEED` choose how large it is, and which.
#![allow(
    clippy::print_stderr,
    reason = "the seed and the logs are for whoever looks at a failure"
)]

use std::{
    env, fs,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    harness::{BASE, Project, Running, WORKS},
    machines::{Fleet, count, done_once},
};

/// Each file in work/ must hold its own name; the agent below writes something else at times.
const CHECK: &str = r#"for file in work/*; do
  [ -e "$file" ] || continue
  [ "$(cat "$file")" = "${file#work/}" ] || { echo "$file is wrong"; exit 1; }
done
"#;

/// Takes 50 to 300 ms, and makes one commit with a file of the task's name. A fifth of the tasks are wrong at first.
const AGENT: &str = r#"number=$(printf %s "$OCTOPOID_TASK_ID" | cksum | cut -d' ' -f1)
sleep "0.$(printf %03d $((50 + number % 251)))"
mkdir -p work
word=$OCTOPOID_TASK_ID
if [ $((number % 5)) = 0 ] && [ "$OCTOPOID_ATTEMPT" = 1 ]; then word=wrong; fi
echo "$word" > "work/$OCTOPOID_TASK_ID"
git add work
git commit --quiet --allow-empty --message "work on $OCTOPOID_TASK_ID"
"#;

const REVIEWS: &str = "plays:\n  - role: gatekeeper\n    steps: [{verdict: {verdict: approve, summary: fine}}]\n";

const SETTINGS: &str = "orchestrator: {lease_seconds: 3, heartbeat_seconds: 1, tick_seconds: 5, max_agents: 3}\nlimits: {attempts: 20, rejections: 20}\n";

/// Longer than a lease, and long enough for the server to see it.
const LONGER_THAN_A_LEASE: Duration = Duration::from_millis(4500);

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % n as u64).unwrap()
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.roll() % (to - from))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// An orchestrator is killed and started again.
    Kill,
    /// An orchestrator sleeps for longer than its leases.
    Sleep,
    /// The server is killed and started again.
    Outage,
    /// The same, and an orchestrator is killed and started while it is away.
    Both,
}

struct Machine {
    // First: what still runs must end before the project is put away.
    daemon: Running,
    project: Project,
}

struct World {
    fleet: Fleet,
    machines: Vec<Machine>,
    dice: Dice,
    tasks: usize,
    ids: Vec<String>,
    /// Orchestrators that ended although nobody ended them.
    fallen: Vec<String>,
    begun: Instant,
}

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

fn launch(project: &Project) -> Running {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(project.path("../daemon.log"))
        .unwrap();
    let mut command = project.command(&["-v", "start"]);
    Running(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
}

impl World {
    fn new(tasks: usize, seed: u64) -> Self {
        let fleet = Fleet::new(&[], CHECK);
        let agent = fleet.folder().join("agent.sh");
        fs::write(&agent, AGENT).unwrap();
        let machines = ["a", "b", "c"]
            .map(|name| {
                let project = fleet.machine(name, REVIEWS, SETTINGS);
                project.write(
                    ".octopoid/agents/implementer.yaml",
                    &format!(
                        "role: implement\nagent: command\ncommand: [sh, \"{}\"]\nmax_instances: 2\n",
                        agent.display()
                    ),
                );
                Machine {
                    daemon: launch(&project),
                    project,
                }
            })
            .into_iter()
            .collect();
        Self {
            fleet,
            machines,
            dice: Dice(seed),
            tasks,
            ids: Vec::new(),
            fallen: Vec::new(),
            begun: Instant::now(),
        }
    }

    fn say(&self, what: &str) {
        eprintln!("{:7.2} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    fn pause(&mut self, from: u64, to: u64) {
        thread::sleep(self.dice.millis(from, to));
    }

    /// Writes down more tasks, each on some machine, until there are as many as wanted.
    fn enqueue(&mut self, more: usize) {
        for _ in 0..more.min(self.tasks - self.ids.len()) {
            let id = format!("task-{:03}", self.ids.len());
            let at = self.dice.below(self.machines.len());
            let title = format!("Make {id}");
            self.machines[at].project.run(&["enqueue", &title, "--id", &id]).ok();
            self.ids.push(id);
        }
    }

    /// An orchestrator that ended by itself is noted, and started again so that the rest can be seen.
    fn look_after(&mut self) {
        for machine in &mut self.machines {
            if let Some(status) = machine.daemon.0.try_wait().unwrap() {
                self.fallen
                    .push(format!("{} ended by itself: {status}", machine.project.root.display()));
                machine.daemon = launch(&machine.project);
            }
        }
    }

    fn kill_one(&mut self) {
        let at = self.dice.below(self.machines.len());
        self.say(&format!("orchestrator {at} is killed"));
        self.machines[at].daemon.kill();
        self.pause(1, 800);
        let machine = &mut self.machines[at];
        machine.daemon = launch(&machine.project);
    }

    /// One that has a claim now, if there is any.
    fn busy(&mut self) -> usize {
        let (_, page) = self
            .fleet
            .server
            .ask("GET", "/api/v1/tasks?queue=claimed&limit=1", None);
        match page["tasks"][0]["orchestrator_id"].as_str() {
            Some("c-a") => 0,
            Some("c-b") => 1,
            Some("c-c") => 2,
            _ => self.dice.below(self.machines.len()),
        }
    }

    fn strike(&mut self, blow: Blow) {
        self.look_after();
        match blow {
            Blow::Kill => self.kill_one(),
            Blow::Sleep => {
                let at = self.busy();
                self.say(&format!("orchestrator {at} sleeps"));
                self.machines[at].daemon.signal("STOP");
                thread::sleep(LONGER_THAN_A_LEASE);
                self.machines[at].daemon.signal("CONT");
            }
            Blow::Outage | Blow::Both => {
                self.say("the server is killed");
                self.fleet.server.kill();
                self.enqueue(1);
                if blow == Blow::Both {
                    self.kill_one();
                }
                self.pause(300, 1500);
                self.fleet.server.restart();
                self.say("the server is back");
            }
        }
    }

    fn total(&self, queue: &str) -> usize {
        let path = format!("/api/v1/tasks?queue={queue}&limit=1");
        let (status, page) = self.fleet.server.ask("GET", &path, None);
        assert_eq!(status, 200, "{page}");
        usize::try_from(page["total"].as_u64().unwrap()).unwrap()
    }

    fn all_done(&self) -> bool {
        self.total("done") == self.tasks
    }

    /// Waits until everything is done; a task that needs a person will never be.
    fn settle(&mut self, patience: Duration) {
        let begun = Instant::now();
        while !self.all_done() {
            self.look_after();
            if self.total("needs_attention,failed,cancelled") > 0 {
                let (_, page) =
                    self.fleet
                        .server
                        .ask("GET", "/api/v1/tasks?queue=needs_attention,failed,cancelled", None);
                let id = page["tasks"][0]["id"].as_str().unwrap_or_default().to_owned();
                let why = self.machines[0].project.run(&["why", &id]).out;
                panic!("{id} will not be done:\n{why}\n{:#?}", self.fleet.server.story(&id));
            }
            assert!(
                begun.elapsed() < patience,
                "only {} of {} tasks are done",
                self.total("done"),
                self.tasks
            );
            thread::sleep(Duration::from_millis(200));
        }
        self.say("everything is done");
    }

    /// Ends the orchestrators in order, and looks at what they leave.
    fn close(&mut self) {
        // One that was started this very moment does not listen for signals yet.
        thread::sleep(Duration::from_secs(1));
        for machine in &self.machines {
            machine.daemon.signal("TERM");
        }
        for machine in &mut self.machines {
            assert_eq!(machine.daemon.wait(), 0, "{}", machine.project.read("../daemon.log"));
            let project = &machine.project;
            assert_eq!(project.processes(), Vec::<String>::new(), "agents are left");
            let synced = project.json(&["sync"]);
            assert_eq!(synced["waiting"], 0, "{synced}");
            for dropped in synced["dropped"].as_array().unwrap() {
                assert_ne!(dropped["reason"], "", "{synced}");
            }
            let cleaned = project.json(&["worktrees", "--clean"]);
            for worktree in cleaned["worktrees"].as_array().unwrap() {
                let explained = worktree["kept"].is_string() && worktree["kept"] != "in_use";
                assert!(worktree["removed"] == true || explained, "{worktree}");
            }
            let left: Vec<_> = fs::read_dir(project.path(".octopoid/runtime/worktrees"))
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path())
                .filter(|path| {
                    let told = cleaned["worktrees"].as_array().unwrap();
                    !told
                        .iter()
                        .any(|w| w["path"].as_str().map(Path::new) == Some(path.as_path()))
                })
                .collect();
            assert!(left.is_empty(), "nobody tells of these: {left:?}");
        }
    }

    /// What the server wrote down: each task done once, and nothing accepted from a stale owner.
    fn check_history(&self) {
        let events = self.fleet.server.events();
        for id in &self.ids {
            let story: Vec<_> = events.iter().filter(|e| e["task_id"] == id.as_str()).cloned().collect();
            done_once(&story);
            assert_eq!(count(&story, "created"), 1, "{id}");
        }
        let mut made: Vec<&str> = events.iter().map(|e| e["task_id"].as_str().unwrap()).collect();
        made.sort_unstable();
        made.dedup();
        assert_eq!(made, self.ids, "tasks that nobody wrote down");
    }

    /// What came into the base branch: each task's file once, and not one commit that does not pass.
    fn check_branch(&self, before: usize) {
        let copy = self.fleet.folder().join("copy");
        let remote = self.fleet.remote.display().to_string();
        let git = |args: &[&str]| self.fleet.git_in(&copy, args);
        self.fleet
            .git_in(&self.fleet.folder(), &["clone", "--quiet", &remote, "copy"]);
        let line = git(&["rev-list", "--first-parent", "--reverse", BASE]);
        let commits: Vec<&str> = line.lines().collect();
        assert_eq!(commits.len(), before + self.ids.len(), "one commit for each task");
        // What was there before the tasks is the repository's own matter.
        for commit in commits.iter().skip(before) {
            git(&["checkout", "--quiet", "--detach", commit]);
            let check = std::process::Command::new("sh")
                .arg("test.sh")
                .current_dir(&copy)
                .output()
                .unwrap();
            assert!(check.status.success(), "{commit} is red: {check:?}");
        }
        let mut files: Vec<String> = fs::read_dir(copy.join("work"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, self.ids);
        for id in &self.ids {
            assert_eq!(self.fleet.merges_of(id), 1, "{id}");
            let file = format!("work/{id}");
            let touched = git(&["log", "--format=%H", "--first-parent", BASE, "--", &file]);
            assert_eq!(touched.lines().count(), 1, "{id} came in once:\n{touched}");
        }
        self.fleet.git(&["fsck", "--no-dangling"]);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("==== server\n{}", self.fleet.server.log());
            for machine in &self.machines {
                let log = machine.project.read("../daemon.log");
                eprintln!("==== {}\n{log}", machine.project.root.display());
            }
        }
    }
}

#[test]
fn whatever_is_killed_every_task_is_done_exactly_once() {
    let tasks = usize::try_from(setting("OCTOPOID_CHAOS_TASKS").unwrap_or(12)).unwrap();
    let until_done = env::var("OCTOPOID_CHAOS_KILLS").is_ok_and(|kills| kills == "all");
    let kills = usize::try_from(setting("OCTOPOID_CHAOS_KILLS").unwrap_or(4)).unwrap();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = setting("OCTOPOID_CHAOS_SEED").unwrap_or(u64::from(clock.subsec_nanos()));
    eprintln!("OCTOPOID_CHAOS_SEED={seed} OCTOPOID_CHAOS_TASKS={tasks}");

    let mut world = World::new(tasks, seed);
    let before = world.fleet.git(&["rev-list", "--count", BASE]).parse().unwrap();
    let mut blows = vec![Blow::Kill; kills];
    blows.extend([Blow::Sleep, Blow::Outage, Blow::Both]);
    for n in (1..blows.len()).rev() {
        let other = world.dice.below(n + 1);
        blows.swap(n, other);
    }
    let share = tasks.div_ceil(blows.len());
    for blow in blows {
        world.enqueue(share);
        world.pause(500, 1200);
        world.strike(blow);
    }
    world.enqueue(tasks);
    while until_done && !world.all_done() {
        world.pause(600, 1400);
        world.strike(Blow::Kill);
    }
    world.settle(Duration::from_secs(if tasks <= 50 { 240 } else { 3600 }));
    world.close();
    world.check_history();
    world.check_branch(before);
    assert!(world.fallen.is_empty(), "{:#?}", world.fallen);
}

/// Many short tasks at the same time in one repository.
fn many_at_once(project: &Project) {
    project.config("orchestrator: {max_agents: 8}\n");
    for (name, role) in [("implementer", "implement"), ("gatekeeper", "gatekeeper")] {
        project.scripted(name, role, "max_instances: 4\n");
    }
    let ids: Vec<String> = (0..30).map(|n| project.enqueue(&[&format!("task {n}")])).collect();
    let ran = project.run(&["start", "--once"]).ok();
    for id in &ids {
        let task = project.expect_queue(id, "done");
        assert_eq!(
            (&task["failure_count"], &task["attempt_count"]),
            (&0.into(), &2.into()),
            "{}",
            ran.err
        );
        assert_eq!(project.merges_of(id), 1);
    }
    for trouble in ["repository: ", "remote: "] {
        assert!(!ran.err.contains(trouble), "{}", ran.err);
    }
    project.closing_checks();
}

#[test]
fn many_agents_in_one_repository_do_not_get_in_each_others_way() {
    many_at_once(&Project::new(WORKS));
}

#[test]
fn many_agents_and_a_remote_do_not_get_in_each_others_way() {
    let project = Project::new(WORKS);
    let remote = project.path("../remote.git").display().to_string();
    project.git(&["clone", "--quiet", "--bare", ".", &remote]);
    project.git(&["remote", "add", "origin", &remote]);
    project.git(&["fetch", "--quiet", "origin"]);
    many_at_once(&project);
}
