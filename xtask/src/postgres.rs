//! A PostgreSQL server of one's own, from installed binaries, in a temporary folder, on loopback.
//!
//! *Invariant:* the server never outlives whoever started it. It runs under a small shell that waits on a pipe; when
//! the pipe closes, for whatever reason, SIGKILL included, the shell stops the server and removes its folder.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Longest wait for a server to answer. Raise it for machines whose disks take minutes to recover a crash.
const START_WAIT_MAX: Duration = Duration::from_secs(90);

/// `$1` binaries, `$2` folder, `$3` port. Reads one word: how to stop. The end of input means that the owner is gone.
const KEEPER: &str = r#"
"$1/postgres" -D "$2/data" -k "$2" -p "$3" >>"$2/log" 2>&1 </dev/null &
server=$!
read -r how || how=gone
case "$how" in fast) kill -INT "$server" ;; *) kill -QUIT "$server" ;; esac
wait "$server"
if [ "$how" = gone ]; then rm -rf "$2"; fi
"#;

/// How to stop a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Rolls back what is open and ends in order.
    Fast,
    /// As a power cut of the process: the next start recovers from the write-ahead log.
    Immediate,
}

/// A running server; stopped and removed when dropped.
pub struct Server {
    binaries: PathBuf,
    folder: PathBuf,
    port: u16,
    run_as: Option<(u32, u32)>,
    keeper: Option<Child>,
}

impl Server {
    /// Makes a new database cluster and starts it. Superuser `postgres`, no password, database `postgres`.
    ///
    /// # Errors
    /// When no server binaries are installed, or the server does not come up; the server's own log is in the message.
    pub fn start() -> Result<Self> {
        let binaries = binaries().context(
            "no PostgreSQL server binaries (initdb, postgres) were found in /usr/lib/postgresql/*/bin or on the path; \
             install PostgreSQL 15 or later, or set LAMPHOUSE_POSTGRES_BIN to their folder",
        )?;
        let folder = temporary_folder()?;
        let run_as = unprivileged()?;
        if let Some((user, group)) = run_as {
            chown(&folder, Some(user), Some(group)).context("cannot give the server's folder to its user")?;
        }
        let mut server = Self {
            binaries,
            folder,
            port: free_port()?,
            run_as,
            keeper: None,
        };
        server.make_cluster()?;
        server.start_again()?;
        Ok(server)
    }

    /// An administrator's URL.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes a database; gives its URL.
    ///
    /// # Errors
    /// When the server refuses, for example because there is one of this name.
    pub fn new_database(&self, name: &str) -> Result<String> {
        let mut ask = Command::new(self.binaries.join("createdb"));
        ask.args([
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-p",
            &self.port.to_string(),
            name,
        ]);
        let made = ask.stdin(Stdio::null()).output().context("cannot run createdb")?;
        ensure!(
            made.status.success(),
            "no database {name}: {}",
            String::from_utf8_lossy(&made.stderr).trim()
        );
        Ok(format!("postgres://postgres@127.0.0.1:{}/{name}", self.port))
    }

    /// Drops a database, whoever is connected to it.
    ///
    /// # Errors
    /// When the server refuses, for example because there is none of this name.
    pub fn drop_database(&self, name: &str) -> Result<()> {
        let mut ask = Command::new(self.binaries.join("dropdb"));
        ask.args(["--force", "-h", "127.0.0.1", "-U", "postgres", "-p"]);
        ask.args([&self.port.to_string(), name]);
        let dropped = ask.stdin(Stdio::null()).output().context("cannot run dropdb")?;
        ensure!(
            dropped.status.success(),
            "database {name} stays: {}",
            String::from_utf8_lossy(&dropped.stderr).trim()
        );
        Ok(())
    }

    /// Stops the server; [`Self::start_again`] brings it back with the same data on the same port.
    ///
    /// # Errors
    /// When the server is not running, or does not end.
    pub fn stop(&mut self, how: Stop) -> Result<()> {
        let mut keeper = self.keeper.take().context("the server is not running")?;
        let word = match how {
            Stop::Fast => "fast\n",
            Stop::Immediate => "immediate\n",
        };
        let mut pipe = keeper.stdin.take().context("the server's keeper has no pipe")?;
        pipe.write_all(word.as_bytes())
            .context("the server's keeper is gone")?;
        keeper
            .wait()
            .context("the server's keeper cannot be waited for")?;
        Ok(())
    }

    /// Starts the server on its data and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer in time; the end of the server's log is in the message.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.keeper.is_none(), "the server is running already");
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "lamphouse-postgres"]);
        keeper
            .arg(&self.binaries)
            .arg(&self.folder)
            .arg(self.port.to_string());
        // A group of its own, so that Ctrl-C reaches the server only through its owner's end.
        keeper
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        self.as_user(&mut keeper);
        self.keeper = Some(keeper.spawn().context("cannot run sh")?);
        let began = Instant::now();
        while !self.answers()? {
            if began.elapsed() > START_WAIT_MAX {
                bail!(
                    "PostgreSQL did not answer on port {} within {START_WAIT_MAX:?}:\n{}",
                    self.port,
                    self.log_end()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn make_cluster(&self) -> Result<()> {
        let mut initdb = Command::new(self.binaries.join("initdb"));
        initdb.args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        initdb
            .arg("-D")
            .arg(self.folder.join("data"))
            .stdin(Stdio::null());
        self.as_user(&mut initdb);
        let made = initdb.output().context("cannot run initdb")?;
        ensure!(
            made.status.success(),
            "initdb failed:\n{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let settings = "listen_addresses = '127.0.0.1'\nmax_connections = 300\nmax_prepared_transactions = 10\n\
                        shared_buffers = '256MB'\nmax_wal_size = '4GB'\ndeadlock_timeout = '500ms'\n";
        let file = self.folder.join("data/postgresql.conf");
        let mut text = fs::read_to_string(&file).context("cannot read postgresql.conf")?;
        text.push_str(settings);
        fs::write(&file, text).context("cannot write postgresql.conf")
    }

    fn answers(&self) -> Result<bool> {
        let mut ask = Command::new(self.binaries.join("pg_isready"));
        ask.args([
            "-q",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-p",
            &self.port.to_string(),
        ]);
        Ok(ask
            .stdin(Stdio::null())
            .status()
            .context("cannot run pg_isready")?
            .success())
    }

    fn log_end(&self) -> String {
        let text = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn as_user(&self, command: &mut Command) {
        command.current_dir("/");
        if let Some((user, group)) = self.run_as {
            command.uid(user).gid(group);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            // The keeper also removes the folder; nothing is left to do if it cannot be waited for.
            let _ = keeper.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder of `initdb` and `postgres`: LAMPHOUSE_POSTGRES_BIN, the newest under /usr/lib/postgresql, or the path.
pub fn binaries() -> Option<PathBuf> {
    let complete = |folder: &Path| {
        ["initdb", "postgres", "pg_isready"]
            .iter()
            .all(|name| folder.join(name).exists())
    };
    if let Some(folder) = std::env::var_os("LAMPHOUSE_POSTGRES_BIN").map(PathBuf::from) {
        return complete(&folder).then_some(folder);
    }
    let mut packaged: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, folder)| complete(folder))
        .collect();
    packaged.sort();
    packaged
        .pop()
        .map(|(_, folder)| folder)
        .or_else(|| std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| complete(folder)))
}

/// Installs the server with apt, where we are root and apt is there.
///
/// # Errors
/// When it cannot be installed; says what to do by hand.
pub fn install() -> Result<()> {
    let root = fs::metadata("/proc/self").is_ok_and(|us| us.uid() == 0);
    ensure!(
        root && Path::new("/usr/bin/apt-get").exists(),
        "PostgreSQL's server binaries are not installed, and only root can install them: install the package \
         `postgresql` (15 or later), or set LAMPHOUSE_POSTGRES_BIN to the folder that holds `initdb` and `postgres`"
    );
    for arguments in [
        &["update", "-q"][..],
        &["install", "-q", "-y", "--no-install-recommends", "postgresql"],
    ] {
        let status = Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .status()
            .context("cannot run apt-get")?;
        ensure!(
            status.success(),
            "`apt-get {}` failed; its messages are above",
            arguments.join(" ")
        );
    }
    ensure!(
        binaries().is_some(),
        "apt installed `postgresql`, but its binaries are not where we look for them"
    );
    Ok(())
}

/// PostgreSQL refuses to run as root: then the user `postgres`, else `nobody`. None when we are not root.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    if fs::metadata("/proc/self").map_or(true, |us| us.uid() != 0) {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    for wanted in ["postgres", "nobody"] {
        for line in users.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            if fields.len() > 3 && fields[0] == wanted {
                return Ok(Some((fields[2].parse()?, fields[3].parse()?)));
            }
        }
    }
    bail!("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")
}

fn temporary_folder() -> Result<PathBuf> {
    let unique = format!("lamphouse-postgres-{}-{}", std::process::id(), free_port()?);
    let folder = std::env::temp_dir().join(unique);
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
        .context("cannot protect the server's folder")?;
    Ok(folder)
}

/// A port that nobody listens on at this moment.
///
/// # Errors
/// When loopback has none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")
        .context("cannot listen on loopback")?
        .local_addr()?
        .port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_starts_stops_starts_again_and_leaves_nothing() {
        if binaries().is_none() {
            assert!(
                std::env::var_os("LAMPHOUSE_TEST_STRICT").is_none(),
                "PostgreSQL is not installed"
            );
            eprintln!("SKIPPED (PostgreSQL is not installed): the server of one's own");
            return;
        }
        let mut server = Server::start().unwrap();
        assert!(server.answers().unwrap());
        server.stop(Stop::Immediate).unwrap();
        assert!(!server.answers().unwrap());
        server.start_again().unwrap();
        assert!(server.answers().unwrap());
        let folder = server.folder.clone();
        drop(server);
        assert!(!folder.exists());
    }
}
