//! A private PostgreSQL: the machine's binaries, a cluster of its own in a temporary folder, gone with the value.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::Write,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

const PLACE: &str = "/usr/lib/postgresql";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The user that the cluster runs as, where this process is root: PostgreSQL refuses to be.
#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

/// A running cluster. Its superuser is `postgres`, and nobody is asked for a password.
pub struct Postgres {
    bin: PathBuf,
    owner: Option<Owner>,
    port: u16,
    dir: TempDir,
}

/// The binaries of the highest version that is installed.
fn installed() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(PLACE)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_string_lossy().parse::<u32>().ok()?;
            let bin = entry.path().join("bin");
            bin.join("initdb").exists().then_some((version, bin))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

/// The same, after installing it where it is missing.
fn binaries() -> PathBuf {
    if let Some(bin) = installed() {
        return bin;
    }
    // Each test may be a process of its own; one of them installs.
    let lock = File::create(std::env::temp_dir().join("octopoid-tests-postgresql.lock")).unwrap();
    lock.lock().unwrap();
    if let Some(bin) = installed() {
        return bin;
    }
    let mut said = String::new();
    for args in [
        &["update", "--quiet"][..],
        &["install", "--yes", "--quiet", "postgresql"][..],
    ] {
        match Command::new("apt-get")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
        {
            Ok(output) => said.push_str(&told(&output)),
            Err(error) => said.push_str(&format!("apt-get does not start: {error}\n")),
        }
    }
    match installed() {
        Some(bin) => bin,
        None => panic!("these tests need PostgreSQL under {PLACE}, and it could not be installed:\n{said}"),
    }
}

fn told(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn owner() -> Option<Owner> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            if fields.len() < 4 || fields[0] != name {
                return None;
            }
            Some(Owner {
                uid: fields[2].parse().ok()?,
                gid: fields[3].parse().ok()?,
            })
        })
    };
    match find("postgres").or_else(|| find("nobody")) {
        Some(owner) => Some(owner),
        None => panic!("PostgreSQL does not run as root, and there is no user postgres or nobody"),
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Postgres {
    /// Makes and starts a cluster.
    pub fn start() -> Postgres {
        let (bin, owner) = (binaries(), owner());
        // The path of a socket is short, so the folder is in /tmp whatever TMPDIR says.
        let dir = tempfile::Builder::new()
            .prefix("octopoid-pg-")
            .tempdir_in("/tmp")
            .unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        for (name, mode) in [("data", 0o700), ("run", 0o755)] {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
            if let Some(owner) = owner {
                chown(&folder, Some(owner.uid), Some(owner.gid)).unwrap();
            }
        }
        let mut postgres = Postgres {
            bin,
            owner,
            port: 0,
            dir,
        };
        let data = postgres.text("data");
        postgres.must(
            "initdb",
            &[
                "-N",
                "--no-locale",
                "-E",
                "UTF8",
                "-A",
                "trust",
                "-U",
                "postgres",
                "-D",
                &data,
            ],
        );
        postgres.configure("listen_addresses = '127.0.0.1'");
        postgres.configure(&format!("unix_socket_directories = '{}'", postgres.text("run")));
        postgres.configure("shared_buffers = '16MB'");
        postgres.configure("fsync = on");
        postgres.configure("synchronous_commit = on");
        let mut said = String::new();
        for _ in 0..5 {
            // Somebody else may take the port before PostgreSQL does.
            postgres.port = free_port();
            postgres.configure(&format!("port = {}", postgres.port));
            let output = postgres.control(&["start"]);
            if output.status.success() {
                return postgres;
            }
            said = told(&output);
        }
        panic!("PostgreSQL does not start: {said}\n{}", postgres.log());
    }

    /// Makes an empty database and gives its address.
    pub fn url(&self, database: &str) -> String {
        self.create(database, &[])
    }

    /// The same, in an order of letters that people like: small and capital ones beside each other.
    pub fn url_for_people(&self, database: &str) -> String {
        let order = ["--template=template0", "--locale-provider=icu", "--icu-locale=en-US"];
        self.create(database, &order)
    }

    fn create(&self, database: &str, more: &[&str]) -> String {
        let (run, port) = (self.text("run"), self.port.to_string());
        let mut args = vec!["-h", run.as_str(), "-p", port.as_str(), "-U", "postgres"];
        args.extend(more);
        args.push(database);
        self.must("createdb", &args);
        format!("postgres://postgres@127.0.0.1:{port}/{database}")
    }

    /// Breaks every connection, and starts again as after a crash. Waits until connections are taken again.
    pub fn restart(&self) {
        let output = self.control(&["-m", "immediate", "restart"]);
        assert!(output.status.success(), "{}\n{}", told(&output), self.log());
    }

    fn text(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("run/log")).unwrap_or_default()
    }

    fn configure(&self, line: &str) {
        let path = self.dir.path().join("data/postgresql.conf");
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    fn control(&self, order: &[&str]) -> Output {
        let (data, log) = (self.text("data"), self.text("run/log"));
        let mut args = vec!["-D", data.as_str(), "-l", log.as_str(), "-w", "-t", "90"];
        args.extend(order);
        self.command("pg_ctl").args(args).output().unwrap()
    }

    fn must(&self, program: &str, args: &[&str]) {
        let output = self.command(program).args(args).output().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {}", told(&output));
    }

    fn command(&self, program: &str) -> Command {
        let path: &Path = &self.bin.join(program);
        let mut command = match self.owner {
            Some(Owner { uid, gid }) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={uid}"))
                    .arg(format!("--regid={gid}"))
                    .arg("--clear-groups")
                    .arg(path);
                command
            }
            None => Command::new(path),
        };
        command
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may not have started; there is nobody left to tell.
        let _ = self
            .command("pg_ctl")
            .args(["-D", &self.text("data"), "-m", "immediate", "-w", "-t", "30", "stop"])
            .output();
    }
}
