//! A real PostgreSQL server for tests: on a free loopback port, in a folder of its own, gone when the test
//! program is gone, however it ends.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};

use sqlx::{Connection, PgConnection};

/// Keeps the server: takes a command a line, and answers each with a line. The end of its input is the end of
/// the test program, and so of the server and its folder. `$1` is where the server's programs lie, `$2` its port.
const KEEPER: &str = r#"
set -eu
folder=$(mktemp -d /tmp/heliograph-postgres.XXXXXX)
end() {
  trap - EXIT
  "$1/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$folder"
}
trap 'end "$1"' EXIT
trap 'exit 1' INT TERM HUP
echo "$folder"
"$1/initdb" -D "$folder/data" -A trust -U postgres -E UTF8 --locale=C --no-sync >"$folder/initdb.log" 2>&1
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=heliograph-test \
  -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
  -keyout "$folder/data/server.key" -out "$folder/data/server.crt" 2>"$folder/openssl.log"
while read -r command settings; do
  case $command in
    start) "$1/pg_ctl" -D "$folder/data" -l "$folder/log" -w -s start \
      -o "-p $2 -k $folder -c listen_addresses=127.0.0.1 -c max_connections=300 $settings" >/dev/null ;;
    crash) "$1/pg_ctl" -D "$folder/data" -m immediate -s stop >/dev/null ;;
    stop) "$1/pg_ctl" -D "$folder/data" -m fast -s stop >/dev/null ;;
  esac
  echo "done $command"
done
"#;

/// A server of this test program's own.
pub(crate) struct Server {
    keeper: Mutex<Keeper>,
    folder: PathBuf,
    port: u16,
    settings: &'static str,
    databases: AtomicU32,
}

struct Keeper {
    _process: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// One server for all tests that do not hurt it. Its data need not outlive its machine.
pub(crate) fn shared() -> &'static Server {
    static SHARED: LazyLock<Server> = LazyLock::new(|| Server::start("-c fsync=off"));
    &SHARED
}

impl Server {
    /// Starts a server with further settings, as on its command line.
    pub(crate) fn start(settings: &'static str) -> Self {
        let server = Self::prepare(settings);
        server.start_again();
        server
    }

    /// A server that is not started yet.
    pub(crate) fn prepare(settings: &'static str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // It refuses to run as root.
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        let mut process = command
            .args(["-c", KEEPER, "keeper"])
            .arg(programs())
            .arg(port.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = process.stdin.take().unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let mut folder = String::new();
        answers.read_line(&mut folder).unwrap();
        let keeper = Mutex::new(Keeper { _process: process, commands, answers });
        Self { keeper, folder: folder.trim().into(), port, settings, databases: AtomicU32::new(0) }
    }

    /// Starts it, on the same port as before.
    pub(crate) fn start_again(&self) {
        self.tell(&format!("start {}", self.settings));
    }

    /// Stops it as a crash does.
    pub(crate) fn crash(&self) {
        self.tell("crash");
    }

    /// Stops it in order: connections are closed first.
    pub(crate) fn stop(&self) {
        self.tell("stop");
    }

    fn tell(&self, command: &str) {
        let mut keeper = self.keeper.lock().unwrap();
        writeln!(keeper.commands, "{command}").unwrap();
        let mut answer = String::new();
        keeper.answers.read_line(&mut answer).unwrap();
        assert!(answer.starts_with("done "), "the server did not {command}: see above");
    }

    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its tables lie.
    pub(crate) fn tables(&self) -> PathBuf {
        self.folder.join("data/base")
    }

    /// The certificate that it shows for `localhost`, if its settings switch TLS on.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("data/server.crt")
    }

    /// The URL of a database, by way of its socket.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&port={}&user=postgres", self.folder.display(), self.port)
    }

    /// The URL of a new database: empty, or a copy.
    pub(crate) async fn new_database(&self, copied_from: Option<&str>) -> String {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.make_database(&name, copied_from.unwrap_or("template0")).await
    }

    /// The URL of a new, empty database of this name.
    pub(crate) async fn named_database(&self, name: &str) -> String {
        self.make_database(name, "template0").await
    }

    async fn make_database(&self, name: &str, template: &str) -> String {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        let make = format!("CREATE DATABASE {name} TEMPLATE {template}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut connection).await.unwrap();
        self.url(name)
    }
}

/// Where the programs of the newest version lie.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
    installed
        .map(|entry| entry.path())
        .filter(|folder| folder.join("bin/initdb").is_file())
        .max_by_key(|folder| version(folder))
        .map(|folder| folder.join("bin"))
        .expect("these tests need PostgreSQL's programs: run scripts/install-postgres")
}
