//! Indexers that share a catalog: each is killed at a point of its lease or of a takeover, and the next one finds
//! what it left, and what those before it left.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliograph_store::catalog::{self, Catalog};
use heliograph_testbed::s3;
use rustix::process::Signal;
use tokio::process::Command;

use super::{TENANT, UNDER_LOAD, assert_ended_at};
use crate::command::{heliograph, run_with};
use crate::direct::{Direct, sent};
use crate::postgres_server;
use crate::seed::Random;
use crate::server::{PASSWORD, PATIENCE, Place, Server};
use crate::strace::Tracer;
use crate::writer::assert_same;

/// Passed while something of embedded mode is not taken over.
const ADOPTION: [&str; 2] = ["takeover.adopt.before", "takeover.adopt.after"];
/// Passed at a stop in order.
const STOP: [&str; 2] = ["lease.end.before", "lease.end.after"];
/// All that only indexers with a lease pass.
pub(super) const POINTS: [&str; 15] = [
    ADOPTION[0],
    ADOPTION[1],
    "lease.register.before",
    "lease.register.after",
    "lease.renew.before",
    "lease.renew.after",
    "takeover.claim.before",
    "takeover.claim.after",
    "takeover.answer.after",
    "takeover.seal.after",
    "takeover.retire.before",
    "takeover.retire.after",
    STOP[0],
    STOP[1],
    // One of the points of every commit, so that an heir finds an object that no commit names.
    "commit.put.after",
];

/// The parts of writing an object (a thread syncs the file first, then the folder), and the sync of the catalog.
const SYSTEM_CALLS: [(&str, u32, Option<&str>); 5] = [
    ("fsync", 1, None),
    ("linkat", 1, None),
    ("fsync", 2, None),
    ("unlink", 1, None),
    ("fsync", 1, Some("catalog.sqlite-wal")),
];

/// What opens the S3 server.
const CREDENTIALS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY)];

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn indexer_settings(port: u16, seal_after: &str) -> String {
    format!("[indexer]\nlisten = \"127.0.0.1:{port}\"\nseal_after = {seal_after:?}\n")
}

/// One place after the other for indexers, all at the same port.
struct Succession {
    place: Place,
    config: PathBuf,
    port: u16,
    catalog: Arc<dyn Catalog>,
    direct: Direct,
}

impl Succession {
    /// Over a file and a folder. Only heirs seal.
    async fn over_files(number: u32) -> Self {
        let place = Place::new();
        let port = free_port();
        let config = place.write_shared_config(&indexer_settings(port, "1h"));
        let url = format!("sqlite:{}", config.with_file_name("catalog.sqlite").display());
        Self::new(place, config, port, &url, number).await
    }

    /// Over PostgreSQL and S3, with seals.
    async fn over_servers(number: u32) -> (Self, s3::Server) {
        let place = Place::new();
        let port = free_port();
        let objects = s3::Server::start(&place.logs().with_file_name("s3")).await;
        let postgres = tokio::task::spawn_blocking(postgres_server::shared).await.unwrap();
        let url = postgres.new_database(None).await;
        let storage = format!(
            "url = \"s3://{}/crash\"\nendpoint = \"http://{}\"\nregion = \"here\"\npath_style = true\n",
            s3::BUCKET,
            objects.address()
        );
        let config = place.write_config_over(&url, &storage, &indexer_settings(port, "100ms"));
        (Self::new(place, config, port, &url, number).await, objects)
    }

    async fn new(place: Place, config: PathBuf, port: u16, catalog: &str, number: u32) -> Self {
        let catalog = catalog::open(&catalog.into(), None).await.unwrap();
        Self { place, config, port, catalog, direct: Direct::new(&format!("direct{number}")) }
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn command(&self, role: &str) -> Command {
        let mut command = heliograph();
        command.arg(role).arg("--config").arg(&self.config);
        command.env("HELIOGRAPH_BOOTSTRAP__ADMIN_PASSWORD", PASSWORD).envs(CREDENTIALS);
        command
    }

    /// What embedded mode leaves when it is killed.
    async fn leave_embedded(&mut self) {
        let mut command = self.command("up");
        command.arg("--data-dir").arg(self.place.data()).env("HELIOGRAPH_INDEXER__SEAL_AFTER", "1h");
        let server = Server::spawn(command, "query.listen");
        for _ in 0..3 {
            self.direct.send(&self.base()).await;
        }
        server.kill().await;
    }

    /// An indexer that takes batches until it is killed at a point.
    async fn kill_at(&mut self, point: &str) {
        self.end_leases().await;
        let mut command = self.command("indexer");
        command.env("HELIOGRAPH_CRASH_AT", point);
        let mut server = Server::spawn(command, "indexer.listen");
        let base = self.base();
        if STOP.contains(&point) {
            self.direct.send(&base).await;
            server.signal(Signal::TERM);
        }
        let said = tokio::select! {
            said = server.killed() => said,
            () = self.direct.send_on(&base) => unreachable!("it sends on"),
        };
        assert_ended_at(point, &said);
    }

    /// An indexer that takes batches until it is killed in a thread's n-th system call of a kind, as seen by a
    /// tracer: within the writing of a file, between its parts.
    async fn kill_in(&mut self, call: &str, nth: u32, file: Option<&str>) {
        self.end_leases().await;
        let mut server = Server::spawn(self.command("indexer"), "indexer.listen");
        let base = self.base();
        self.direct.send(&base).await;
        let file = file.map(|name| self.config.with_file_name(name));
        let fault = format!("signal=KILL:when={nth}");
        let tracer = Tracer::attach(&server, call, &fault, file.as_deref()).await;
        tokio::select! {
            _ = server.killed() => {}
            () = self.direct.send_on(&base) => unreachable!("it sends on"),
        }
        let calls = tracer.ended().await;
        let is_last = |line: &String| line.contains(call) && line.contains("= ?");
        assert!(calls.iter().any(is_last), "not killed in {call}: {calls:?}");
    }

    /// Instead of waiting until they run out.
    async fn end_leases(&self) {
        for indexer in self.catalog.indexers().await.unwrap() {
            self.catalog.renew_lease(&indexer.lease, Duration::ZERO).await.unwrap();
        }
    }
}

/// Points in an order of their own, but those of adoption first: they are not passed later.
fn shuffled(points: impl Iterator<Item = &'static str>, random: &mut Random) -> Vec<&'static str> {
    let mut order: Vec<_> = points.filter(|point| !ADOPTION.contains(point)).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, usize::try_from(random.below(at as u64 + 1)).unwrap());
    }
    order.splice(0..0, ADOPTION);
    order
}

/// Kills one indexer after the other and looks for what they have acknowledged.
async fn killed_one_after_the_other(
    mut succession: Succession,
    order: Vec<&'static str>,
    calls: &[(&str, u32, Option<&str>)],
) {
    succession.leave_embedded().await;
    for point in &order {
        succession.kill_at(point).await;
    }
    for (call, nth, file) in calls {
        succession.kill_in(call, *nth, *file).await;
    }
    succession.end_leases().await;
    let last = Server::spawn(succession.command("indexer"), "indexer.listen");
    succession.direct.send(&succession.base()).await;
    let deadline = Instant::now() + PATIENCE;
    while succession.catalog.indexers().await.unwrap().len() > 1 {
        assert!(Instant::now() < deadline, "something is not taken over:\n{}", last.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut query = Server::spawn(succession.command("query"), "query.listen");
    query.wait_until_ready().await;
    let config = succession.config.display().to_string();
    let arguments = ["admin", "token", "create", "--tenant", TENANT, "--role", "viewer", "--config", &config];
    let token = run_with(&arguments, &CREDENTIALS).await.fine();
    let found = query.messages(token.trim()).await;
    let name = succession.direct.name();
    assert_same(name, &found[name], &sent(succession.direct.lines()));
    let kills = order.len() + calls.len();
    eprintln!("crash_points: {} lines of {name} over {kills} kills", succession.direct.lines());
    query.stop().await;
    last.stop().await;
}

/// How often each point is hit: once, or as often as the environment says.
#[expect(clippy::disallowed_methods, reason = "a longer form of the test, on demand")]
fn hits() -> u32 {
    std::env::var("HELIOGRAPH_TEST_HITS").map_or(1, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_point_of_a_takeover_nothing_is_lost_or_doubled() {
    let mut random = Random::new("crash_points::shared");
    let chain = |number: u32| {
        let order = shuffled(POINTS.into_iter(), &mut random);
        async move {
            let succession = Succession::over_files(number).await;
            killed_one_after_the_other(succession, order, &SYSTEM_CALLS).await;
        }
    };
    futures::future::join_all((0..hits()).map(chain)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_over_postgres_and_s3_and_in_seals() {
    let mut random = Random::new("crash_points::servers");
    let chain = |number: u32| {
        let order = shuffled(POINTS.into_iter().chain(UNDER_LOAD), &mut random);
        async move {
            let (succession, objects) = Succession::over_servers(number).await;
            killed_one_after_the_other(succession, order, &[]).await;
            objects.stop().await;
        }
    };
    futures::future::join_all((0..hits()).map(chain)).await;
}
