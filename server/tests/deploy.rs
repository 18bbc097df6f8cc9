//! The deployment files: systemd accepts the units, and image, compose file and settings speak of what is really there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const SERVER: &str = env!("CARGO_BIN_EXE_octopoid-server");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn deploy() -> PathBuf {
    root().join("server/deploy")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// systemd's own checker; Debian's package is installed where it is missing.
fn need_systemd_analyze() {
    let has = || {
        Command::new("systemd-analyze")
            .arg("--version")
            .output()
            .is_ok_and(|o| o.status.success())
    };
    if has() {
        return;
    }
    let id = Command::new("id").arg("-u").output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&id.stdout).trim(),
        "0",
        "systemd-analyze is missing, and only root can install Debian's package systemd"
    );
    for args in [
        &["update", "--quiet"][..],
        &["install", "--quiet", "--yes", "--no-install-recommends", "systemd"],
    ] {
        let status = Command::new("apt-get")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "apt-get {args:?}: {status}");
    }
    assert!(has(), "systemd-analyze is missing after its package was installed");
}

/// The shell lines below a heading of the deployment README.
fn recipe(heading: &str) -> String {
    let text = read(&deploy().join("README.md"));
    let section = text.split_once(&format!("\n## {heading}\n")).expect(heading).1;
    let section = section.split("\n## ").next().unwrap();
    let block = section.split_once("```sh\n").unwrap().1;
    block.split_once("\n```").unwrap().0.to_owned()
}

/// Checks the units of a folder, word for word as the README says.
fn verify(folder: &Path) -> Output {
    let scratch = tempfile::tempdir().unwrap();
    Command::new("sh")
        .arg("-euc")
        .arg(recipe("Checking the units"))
        .current_dir(folder)
        .env("TMPDIR", scratch.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn systemd_accepts_the_units_and_would_see_mistakes() {
    need_systemd_analyze();
    let checked = verify(&deploy());
    assert!(checked.status.success(), "{checked:#?}");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(said.trim(), "", "systemd has something to say");
    // The recipe speaks of every unit that there is.
    let lines = recipe("Checking the units");
    let units: Vec<String> = fs::read_dir(deploy())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".service") || name.ends_with(".timer"))
        .collect();
    assert_eq!(units.len(), 4, "{units:?}");
    for unit in units {
        let named = unit.replace("@.", "@app.");
        assert!(lines.contains(&named), "{named} is not checked");
    }
    mistakes_are_seen();
}

/// Each of these must be seen by the same check, or it proves nothing.
fn mistakes_are_seen() {
    let mistakes = [
        ("octopoid-server.service", "Restart=on-failure", "Restart=sometimes"),
        (
            "octopoid-server.service",
            "/usr/local/bin/octopoid-server",
            "/usr/local/bin/elsewhere",
        ),
        ("octopoid-worker@.service", "NoNewPrivileges=", "NoNewPrivilege="),
        (
            "octopoid-backup.service",
            "SystemCallFilter=@system-service",
            "SystemCallFilter=@no-such",
        ),
        (
            "octopoid-backup.timer",
            "OnCalendar=*-*-* 02:30:00",
            "OnCalendar=at night",
        ),
    ];
    for (unit, right, wrong) in mistakes {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(deploy()).unwrap().flatten() {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let path = copy.path().join(unit);
        let text = read(&path);
        assert!(text.contains(right), "{unit} has no {right:?}");
        fs::write(&path, text.replace(right, wrong)).unwrap();
        let checked = verify(copy.path());
        assert!(!checked.status.success(), "{wrong} in {unit} is not seen: {checked:?}");
    }
}

#[test]
fn the_units_run_programs_and_read_files_that_the_readme_installs() {
    let readme = read(&deploy().join("README.md"));
    for (unit, program, file) in [
        (
            "octopoid-server.service",
            "/usr/local/bin/octopoid-server",
            "/etc/octopoid/server.env",
        ),
        (
            "octopoid-worker@.service",
            "/usr/local/bin/octopoid ",
            "/etc/octopoid/worker-%i.env",
        ),
        (
            "octopoid-backup.service",
            "/usr/local/bin/octopoid export",
            "/etc/octopoid/server.env",
        ),
    ] {
        let text = read(&deploy().join(unit));
        let starts = text.lines().find(|l| l.starts_with("ExecStart=")).unwrap();
        assert!(starts.contains(program), "{unit}: {starts}");
        assert!(text.lines().any(|l| l == format!("EnvironmentFile={file}")), "{unit}");
        assert!(
            readme.contains(&file.replace("%i", "app")),
            "{file} is not in the README"
        );
        let user = text.lines().find_map(|l| l.strip_prefix("User=")).expect("a user");
        assert_ne!(user, "root", "{unit}");
        let made = readme
            .lines()
            .any(|l| l.starts_with("useradd ") && l.ends_with(&format!(" {user}")));
        assert!(made, "{unit}: the README does not make the user {user}");
    }
    // Stopping the orchestrator must leave its agents at work.
    let worker = read(&deploy().join("octopoid-worker@.service"));
    assert!(worker.lines().any(|l| l == "KillMode=process"));
}

/// Names at the beginning of lines such as `NAME=value` and `#NAME=value`.
fn settings() -> BTreeSet<String> {
    let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    read(&deploy().join("octopoid-server.env.example"))
        .lines()
        .filter_map(|l| Some(l.trim_start_matches('#').split_once('=')?.0))
        .filter(is_name)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_example_settings_are_the_servers_settings() {
    let help = Command::new(SERVER).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let known: BTreeSet<String> = help
        .split("[env: ")
        .skip(1)
        .map(|rest| rest.split(['=', ']']).next().unwrap().to_owned())
        .collect();
    assert!(known.len() > 10, "{known:?}");
    let mut wanted = known;
    // For the backup unit and for compose.
    wanted.extend(["OCTOPOID_BACKUP_DAYS".to_owned(), "POSTGRES_PASSWORD".to_owned()]);
    assert_eq!(settings(), wanted);
}

/// The lines below `key:` of a YAML text, without their common indentation; nothing where there is no such key.
fn below(text: &str, key: &str) -> Option<String> {
    let mut lines = text.lines().skip_while(|l| *l != format!("{key}:"));
    lines.next()?;
    let body: Vec<&str> = lines
        .take_while(|l| l.trim().is_empty() || l.starts_with("  "))
        .map(|l| l.get(2..).unwrap_or_default())
        .collect();
    Some(body.join("\n"))
}

/// The value of `key: value` at the beginning of a line.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|l| l.strip_prefix(key)?.strip_prefix(": "))
        .map(str::trim)
}

/// Keys that are not indented.
fn keys(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|l| !l.starts_with([' ', '#', '-']))
        .filter_map(|l| Some(l.split_once(':')?.0))
        .collect()
}

#[test]
fn compose_has_a_server_a_database_and_everything_that_it_names() {
    let text = read(&deploy().join("compose.yaml"));
    assert!(!text.contains('\t'), "tabs are no indentation in YAML");
    assert_eq!(keys(&text), ["name", "services", "volumes"]);
    let services = below(&text, "services").unwrap();
    assert_eq!(keys(&services), ["server", "postgres"]);
    let server = below(&services, "server").unwrap();
    let postgres = below(&services, "postgres").unwrap();

    let build = below(&server, "build").unwrap();
    let context = deploy().join(value(&build, "context").unwrap());
    assert_eq!(context.canonicalize().unwrap(), root().canonicalize().unwrap());
    assert!(context.join(value(&build, "dockerfile").unwrap()).is_file());

    // The settings' file is made from the example, with the names that compose asks for.
    let file = value(&server, "env_file").unwrap();
    let readme = read(&deploy().join("README.md"));
    assert!(
        readme.contains(&format!("cp octopoid-server.env.example {file} ")),
        "{file}"
    );
    let asked: BTreeSet<&str> = text
        .split("${")
        .skip(1)
        .map(|rest| rest.split([':', '}']).next().unwrap())
        .collect();
    assert_eq!(asked, BTreeSet::from(["POSTGRES_PASSWORD"]));
    assert!(settings().contains("POSTGRES_PASSWORD"));
    let environment = below(&server, "environment").unwrap();
    let known = settings();
    for name in keys(&environment) {
        assert!(known.contains(name), "{name} is no setting of the server");
    }

    // The server waits until the database is healthy, and is the database that it is told of.
    let depends = below(&server, "depends_on").unwrap();
    let on_postgres = below(&depends, "postgres").unwrap();
    assert_eq!(value(&on_postgres, "condition"), Some("service_healthy"));
    let health = below(&postgres, "healthcheck").unwrap();
    assert!(value(&health, "test").unwrap().contains("pg_isready"));
    let url = value(&environment, "OCTOPOID_DATABASE_URL").unwrap();
    let database = below(&postgres, "environment").unwrap();
    let (user, name) = (
        value(&database, "POSTGRES_USER").unwrap(),
        value(&database, "POSTGRES_DB").unwrap(),
    );
    assert!(url.starts_with(&format!("postgres://{user}:")), "{url}");
    assert!(url.ends_with(&format!("@postgres:5432/{name}")), "{url}");
    // Nobody outside of this machine reaches it, and the data outlives the container.
    let ports = below(&server, "ports").unwrap();
    assert_eq!(ports.trim(), "- 127.0.0.1:8787:8787");
    let volume = below(&postgres, "volumes").unwrap();
    let volume = volume.trim().trim_start_matches("- ").split(':').next().unwrap();
    assert!(keys(&below(&text, "volumes").unwrap()).contains(&volume));
    assert!(
        below(&server, "security_opt")
            .unwrap()
            .contains("no-new-privileges:true")
    );
}

/// The instructions of the Dockerfile, each on one line, by stages.
fn stages() -> Vec<Vec<String>> {
    let text = read(&deploy().join("Dockerfile"));
    let plain: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    let joined = plain.join("\n").replace("\\\n", " ");
    let mut stages: Vec<Vec<String>> = Vec::new();
    for line in joined.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if line.starts_with("FROM ") {
            stages.push(Vec::new());
        }
        stages.last_mut().expect("FROM comes first").push(line.to_owned());
    }
    stages
}

/// What follows the last instruction of a kind.
fn last<'a>(stage: &'a [String], instruction: &str) -> Option<&'a str> {
    let mut found = stage.iter().rev();
    found.find_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '))
}

/// Names of the programs that a crate of the workspace makes.
fn programs(manifest: &str) -> Vec<String> {
    let text = read(&root().join(manifest));
    text.split("[[bin]]")
        .skip(1)
        .map(|rest| {
            let line = rest.lines().find_map(|l| l.strip_prefix("name = \"")).unwrap();
            line.trim_end_matches('"').to_owned()
        })
        .collect()
}

#[test]
fn the_image_runs_the_workspaces_programs_and_not_as_root() {
    let stages = stages();
    assert_eq!(stages.len(), 2, "{stages:#?}");
    let (build, image) = (&stages[0], &stages[1]);
    let mut wanted = programs("server/Cargo.toml");
    wanted.extend(programs("octopoid-cli/Cargo.toml"));
    assert_eq!(wanted, ["octopoid-server", "octopoid"]);
    let run = last(build, "RUN").unwrap();
    let built: Vec<&str> = run
        .split("--bin ")
        .skip(1)
        .map(|r| r.split(' ').next().unwrap())
        .collect();
    assert_eq!(built, wanted);
    for program in &wanted {
        assert!(
            run.contains(&format!("/release/{program}")),
            "{program} is not installed"
        );
    }
    assert!(run.contains("--locked"), "the versions are those of the lock file");

    let name = last(build, "FROM").unwrap().split_once(" AS ").unwrap().1;
    assert_eq!(
        last(image, "COPY"),
        Some(format!("--from={name} /out/ /usr/local/bin/").as_str())
    );
    assert_eq!(last(image, "ENTRYPOINT"), Some("[\"octopoid-server\"]"));
    let user = last(image, "USER").expect("a user");
    let (uid, gid) = user.split_once(':').unwrap();
    for id in [uid, gid] {
        assert!(id.parse::<u32>().unwrap() > 0, "{user} is root");
    }
    let install = last(image, "RUN").unwrap();
    assert!(install.contains(&format!("useradd --uid {uid} ")), "{install}");

    // The database is where the volume is, and the port is the one that is told.
    let env = last(image, "ENV").unwrap();
    let folder = last(image, "VOLUME").unwrap();
    assert_eq!(last(image, "WORKDIR"), Some(folder));
    assert!(
        env.contains(&format!("OCTOPOID_DATABASE_URL=sqlite:{folder}/")),
        "{env}"
    );
    let port = last(image, "EXPOSE").unwrap();
    assert!(env.contains(&format!("OCTOPOID_LISTEN=0.0.0.0:{port}")), "{env}");
    let known = settings();
    for pair in env.split_whitespace() {
        let name = pair.split_once('=').unwrap().0;
        assert!(known.contains(name), "{name} is no setting of the server");
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_images_health_check_tells_a_live_server_from_a_dead_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut server = Server(
        Command::new(SERVER)
            .args(["--listen", "127.0.0.1:0"])
            .arg("--database")
            .arg(format!("sqlite:{}", folder.path().join("octopoid.db").display()))
            .env_remove("OCTOPOID_TLS_CERT")
            .env_remove("OCTOPOID_TLS_KEY")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap(),
    );
    let begun = Instant::now();
    let port = loop {
        let said = read(&log);
        let told = said.split_once("listening on http://127.0.0.1:");
        if let Some((port, _)) = told.and_then(|(_, rest)| rest.split_once('\n')) {
            break port.to_owned();
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{said}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let stages = stages();
    let check = last(&stages[1], "HEALTHCHECK").unwrap();
    let argv: Vec<String> = serde_json::from_str(check.split_once("CMD ").unwrap().1).unwrap();
    let healthy = || {
        let args: Vec<String> = argv[1..].iter().map(|a| a.replace("8787", &port)).collect();
        let output = Command::new(&argv[0]).args(args).output().unwrap();
        output.status.success()
    };
    assert!(
        argv.iter()
            .any(|a| a.contains("127.0.0.1/8787") && a.contains("/healthz")),
        "{argv:?}"
    );
    assert!(healthy(), "a live server");
    let _ = server.0.kill();
    let _ = server.0.wait();
    assert!(!healthy(), "a dead one");
}
