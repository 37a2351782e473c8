//! A running `heliograph up` on ports of the system's choice, over a folder that may outlive it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant};

use heliograph_testbed::watch::{Canaries, Watch};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::command::{heliograph, run};
use crate::direct::AGENT_TOKEN;

/// How long anything may take before a test gives up: far more than it ever takes on a machine of its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The administrator's password in tests.
pub(crate) const PASSWORD: &str = "correct-horse-battery-47";

/// A tenant of every server, whose lines nobody asks for.
pub(crate) const NEIGHBOUR: &str = "neighbour";
/// Settings of the ports that a watch stands before.
const WATCHED: [&str; 2] = ["query.listen", "indexer.listen"];
/// What is planted in tenants' records, and who may read it, in all tests of this program.
pub(crate) static CANARIES: LazyLock<Canaries> = LazyLock::new(Canaries::default);

/// A folder for one server's data and the logs that it follows.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix("heliograph-it-").unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        Self { folder }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    /// Writes the configuration of roles that share catalog, objects, key and credentials, with further sections;
    /// the file.
    pub(crate) fn write_shared_config(&self, sections: &str) -> PathBuf {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let catalog = format!("sqlite:{}", path("catalog.sqlite"));
        self.write_config_over(&catalog, &format!("url = \"file:{}\"\n", path("objects")), sections)
    }

    /// Likewise, with this catalog and these settings of the storage.
    pub(crate) fn write_config_over(&self, catalog: &str, storage: &str, sections: &str) -> PathBuf {
        let shared = format!(
            "[catalog]\nurl = {catalog:?}\n[storage]\n{storage}[keys]\nmaster_key_file = {:?}\n\
             [auth]\nagent_token = \"{AGENT_TOKEN}\"\ncluster_token = \"cluster-of-the-tests\"\n\
             [query]\nlisten = \"127.0.0.1:0\"\n[agent]\nstatus_listen = \"127.0.0.1:0\"\n{sections}",
            self.folder.path().join("master.key"),
        );
        let file = self.folder.path().join("heliograph.toml");
        std::fs::write(&file, shared).unwrap();
        file
    }

    /// Runs an admin command on the data folder; its output.
    pub(crate) async fn admin(&self, arguments: &[&str]) -> String {
        let data = self.data();
        let all = [&["admin"], arguments, &["--data-dir", data.to_str().unwrap()]].concat();
        run(&all).await.fine().trim().to_owned()
    }

    /// A new token.
    pub(crate) async fn token(&self, tenant: &str, role: &str) -> String {
        let token = self.admin(&["token", "create", "--tenant", tenant, "--role", role]).await;
        if role == "viewer" {
            CANARIES.allow(&token, tenant);
        }
        token
    }

    /// Starts a server that follows `*.log` of the logs as tenant `default`.
    pub(crate) async fn up(&self) -> Server {
        let glob = self.logs().join("*.log");
        self.up_with(&["--logs", glob.to_str().unwrap()], &[]).await
    }

    /// Starts a server with these arguments and this environment, and waits until it is ready. Beside the tenants of the
    /// test it has a neighbour, whose canary no answer to others may hold.
    pub(crate) async fn up_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        let server = self.up_alone(arguments, environment).await;
        server.plant(AGENT_TOKEN).await;
        server
    }

    /// Likewise, without a neighbour: for tests that count all that there is.
    pub(crate) async fn up_alone(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        let mut server = self.spawn_up(arguments, environment);
        server.wait_until_ready().await;
        server
    }

    /// Starts a server and does not wait.
    pub(crate) fn spawn_up(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        let mut command = heliograph();
        command
            .arg("up")
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data())
            .env("HELIOGRAPH_QUERY__LISTEN", "127.0.0.1:0")
            .env("HELIOGRAPH_INDEXER__LISTEN", "127.0.0.1:0")
            .env("HELIOGRAPH_AGENT__STATUS_LISTEN", "127.0.0.1:0")
            .env("HELIOGRAPH_BOOTSTRAP__ADMIN_PASSWORD", PASSWORD)
            .env("HELIOGRAPH_AUTH__AGENT_TOKEN", AGENT_TOKEN)
            .envs(environment.iter().copied());
        Server::spawn(command, "query.listen").watched()
    }
}

/// A running process, killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// The setting whose port the test talks to.
    main: &'static str,
    http: reqwest::Client,
    said: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<Vec<String>>>,
    /// Whether watches stand between us and it.
    is_watched: bool,
    watches: [OnceLock<Arc<Watch>>; WATCHED.len()],
}

impl Server {
    /// Starts a command that serves.
    pub(crate) fn spawn(command: Command, main: &'static str) -> Self {
        // Idle connections are left before the server ends them, which it does after 10 s.
        let http = reqwest::Client::builder().pool_idle_timeout(Duration::from_secs(4)).build().unwrap();
        Self::spawn_for(http, command, main)
    }

    /// Likewise, to be talked to with this client.
    pub(crate) fn spawn_for(http: reqwest::Client, mut command: Command, main: &'static str) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let told = listen_to(child.stdout.take().unwrap());
        let said = listen_to(child.stderr.take().unwrap());
        Self {
            child,
            main,
            http,
            said,
            told,
            is_watched: false,
            watches: [const { OnceLock::new() }; WATCHED.len()],
        }
    }

    /// With a watch before its ports: it reads along what is answered.
    pub(crate) fn watched(mut self) -> Self {
        self.is_watched = true;
        self
    }

    /// With this watch before its query role, which others of the same address had before and will have.
    pub(crate) fn behind(self, watch: &Arc<Watch>) -> Self {
        let watches = [OnceLock::from(Arc::clone(watch)), OnceLock::new()];
        Self { watches, ..self }.watched()
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // What it said last may still be on its way to us.
                tokio::time::sleep(Duration::from_millis(200)).await;
                panic!("it ended with {status}:\n{}", self.said());
            }
            if let Some(base) = self.try_base(self.main) {
                let answer = self.http.get(format!("{base}/readyz")).send().await;
                if answer.is_ok_and(|a| a.status().is_success()) {
                    return;
                }
            }
            assert!(Instant::now() < deadline, "not ready in time:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// All that it said on standard error so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    /// All that it told on standard output so far.
    pub(crate) fn told(&self) -> String {
        self.told.lock().unwrap().join("\n")
    }

    /// From the first thing that it said to when its indexer had replayed what an earlier one left.
    pub(crate) fn recovery(&self) -> Option<Duration> {
        let said = self.said();
        let entries = said.lines().filter_map(|line| serde_json::from_str(line).ok());
        let entries: Vec<Value> = entries.collect();
        let at = |entry: &Value| entry["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let ready = entries.iter().find(|entry| entry["message"] == "the indexer is ready")?;
        Some(at(ready).duration_since(at(&entries[0])).unsigned_abs())
    }

    /// The address that the setting's port got.
    pub(crate) fn base(&self, setting: &str) -> String {
        self.try_base(setting).unwrap_or_else(|| panic!("{setting} is not served:\n{}", self.said()))
    }

    /// Where to reach the setting's port, if it is served yet.
    pub(crate) fn try_base(&self, setting: &str) -> Option<String> {
        let base = self.served(setting)?;
        let which = WATCHED.iter().position(|watched| *watched == setting).filter(|_| self.is_watched);
        let (Some(which), Some(address)) = (which, base.strip_prefix("http://")) else { return Some(base) };
        let watch = || Arc::new(Watch::over(address.parse().unwrap(), CANARIES.clone()));
        let watch = self.watches[which].get_or_init(watch);
        Some(format!("http://{}", watch.address()))
    }

    /// Sends a record of the neighbour.
    pub(crate) async fn plant(&self, agent_token: &str) {
        let canary = CANARIES.of(NEIGHBOUR);
        let record = json!({
            "body": { "stringValue": format!("a line of {canary}") },
            "attributes": [{ "key": canary, "value": { "stringValue": canary } }],
        });
        let sent = self
            .ingest(Method::POST, "/v1/logs")
            .bearer_auth(agent_token)
            .header("x-heliograph-tenant", NEIGHBOUR)
            .json(&json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] }));
        let answer = sent.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
    }

    /// The address that the setting's port got, if it is served yet.
    fn served(&self, setting: &str) -> Option<String> {
        self.said.lock().unwrap().iter().find_map(|line| {
            let entry: Value = serde_json::from_str(line).ok()?;
            let found = entry["message"] == "listening" && entry["setting"] == setting;
            let scheme = if entry["tls"] == true { "https" } else { "http" };
            found.then(|| format!("{scheme}://{}", entry["address"].as_str().unwrap()))
        })
    }

    /// A request to the query API.
    pub(crate) fn api(&self, method: Method, route: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{route}", self.base("query.listen")))
    }

    /// A request to the indexer.
    pub(crate) fn ingest(&self, method: Method, route: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{route}", self.base("indexer.listen")))
    }

    /// Asks the query API; the answer must be 200 and JSON.
    pub(crate) async fn get(&self, token: &str, route: &str) -> Value {
        let answer = self.api(Method::GET, route).bearer_auth(token).send().await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{route}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{route}: {e}: {body}"))
    }

    /// All records that a token may read, oldest first.
    pub(crate) async fn export(&self, token: &str) -> Vec<Value> {
        let route = "/api/v1/export?format=ndjson&order=asc";
        let answer = self.api(Method::GET, route).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let text = answer.text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The messages of all records that a token may read, by what stands before their first blank, in order.
    pub(crate) async fn messages(&self, token: &str) -> BTreeMap<String, Vec<String>> {
        let mut by_file: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for record in self.export(token).await {
            let message = record["message"].as_str().unwrap();
            let (file, line) = message.split_once(' ').unwrap_or((message, ""));
            by_file.entry(file.to_owned()).or_default().push(line.to_owned());
        }
        by_file
    }

    /// Waits until a query finds so many records, or more.
    pub(crate) async fn wait_for(&self, token: &str, query: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let route = format!("/api/v1/search?limit=10000&q={}", percent(query));
            let found = self.get(token, &route).await["records"].as_array().unwrap().len();
            if found >= count {
                return;
            }
            assert!(Instant::now() < deadline, "{query:?} finds {found} of {count}:\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("it did not end:\n{}", self.said()),
        }
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it is killed; what it said until then.
    pub(crate) async fn killed(&mut self) -> String {
        let status = self.ended().await;
        // What it said last may still be on its way to us.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let said = self.said();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}:\n{said}");
        said
    }

    /// Stops it in order.
    pub(crate) async fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.ended().await;
        assert!(status.success(), "{status}:\n{}", self.said());
    }

    /// Kills it, as a power cut would.
    pub(crate) async fn kill(mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.ended().await;
    }
}

/// Takes the lines of an output as they come; ends with it, or with the test's runtime.
fn listen_to(output: impl AsyncRead + Unpin + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let mut lines = BufReader::new(output).lines();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let said = Arc::clone(&heard);
    spawn_listener(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            said.lock().unwrap().push(line);
        }
    });
    heard
}

#[expect(clippy::disallowed_methods, reason = "a test's runtime ends all its tasks")]
fn spawn_listener(listening: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(listening));
}

/// A text as part of a URL's query.
pub(crate) fn percent(text: &str) -> String {
    let kept = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if kept(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Every file below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                out.push(entry.path());
            }
        }
    }
    out
}
