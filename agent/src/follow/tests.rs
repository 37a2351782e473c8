//! The reading thread against real directories: what events tell, what they do not tell, and a spool that is slow.

mod storm;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::thread::JoinHandle;

use heliograph_model::record::Record;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;
use prometheus::Registry;
use tokio::sync::mpsc;

use super::*;
use crate::config::{Config, Input, NamespaceSelection, Otherwise, TenantRules};
use crate::gather::Gathered;

/// No test waits longer.
const WAIT_MAX: Duration = Duration::from_secs(120);

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(1)
    }
}

/// A follower in a thread of its own, and what it has let go.
struct Bench {
    dir: tempfile::TempDir,
    thread: Option<JoinHandle<()>>,
    wake: Arc<Wake>,
    metrics: Metrics,
    gathered: mpsc::Receiver<Gathered>,
    records: Vec<Record>,
}

struct Setup {
    inputs: fn(&Path) -> Vec<Input>,
    events: bool,
    scan_every: Duration,
    flush_after: Duration,
    unlinked_max: UnlinkedMax,
}

fn plain(dir: &Path) -> Vec<Input> {
    let glob = dir.join("*.log").to_str().unwrap().to_owned();
    vec![Input::Files { glob, tenant: TenantId::parse("t").unwrap(), component: None }]
}

fn containers(dir: &Path) -> Vec<Input> {
    vec![Input::Containers { root: dir.to_owned() }]
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            inputs: plain,
            events: true,
            scan_every: Duration::from_millis(50),
            flush_after: Duration::from_millis(5),
            unlinked_max: UnlinkedMax { node: 1 << 30, container: 1 << 30 },
        }
    }
}

impl Setup {
    fn start(self) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let wake = Arc::new(Wake::new().unwrap());
        let inputs = (self.inputs)(dir.path());
        let (follower, gathered) = self.follower(inputs, BTreeMap::new(), &wake, &metrics);
        let (ready, mut is_ready) = signal::channel(false);
        let thread = std::thread::spawn(move || follower.run(&ready));
        let mut bench = Bench { dir, thread: Some(thread), wake, metrics, gathered, records: vec![] };
        bench.wait_until(|_| *is_ready.borrow_and_update());
        bench
    }

    fn follower(
        &self,
        inputs: Vec<Input>,
        saved: BTreeMap<SourceId, Saved>,
        wake: &Arc<Wake>,
        metrics: &Metrics,
    ) -> (Follower, mpsc::Receiver<Gathered>) {
        let config = Config {
            inputs,
            tenants: TenantRules { otherwise: Otherwise::SameName, ..TenantRules::default() },
            namespaces: NamespaceSelection::All,
            batch_bytes_max: 64 << 10,
            ..Config::blank()
        };
        let tenancy = Arc::new(Tenancy::new(&config, metrics.clone()).unwrap());
        let mut discovery = Discovery::new(&config, &tenancy, metrics.clone(), Arc::clone(wake)).unwrap();
        if !self.events {
            discovery.without_events(metrics.clone());
        }
        let (out, gathered) = mpsc::channel(4);
        let gather = Gather::new(out, config.batch_bytes_max);
        let context = Context {
            producer: ProducerId::parse("agent-test").unwrap(),
            clock: Arc::new(Fixed),
            wake: Arc::clone(wake),
            scan_every: self.scan_every,
            flush_after: self.flush_after,
            tenant_bytes_per_second: None,
            unlinked_max: self.unlinked_max,
            pods: Arc::new(Pods::new(false)),
            tenancy,
            metrics: metrics.clone(),
        };
        (Follower::new(discovery, saved, gather, context), gathered)
    }
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }

    /// Takes one batch, if there is one within a moment.
    fn take(&mut self) -> bool {
        match self.gathered.try_recv() {
            Ok(batch) => {
                self.records.extend(batch.records);
                self.wake.made_room();
                true
            }
            Err(_) => {
                pause(Duration::from_millis(2));
                false
            }
        }
    }

    #[track_caller]
    fn wait_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + WAIT_MAX;
        while !done(self) {
            assert!(Instant::now() < until, "only {} records came", self.records.len());
            self.take();
        }
    }

    #[track_caller]
    fn wait_for(&mut self, records: usize) {
        self.wait_until(|b| b.records.len() >= records);
    }

    /// The texts of a path's records, in file order.
    fn texts(&mut self, name: &str) -> Vec<String> {
        let path = self.path(name).to_str().unwrap().to_owned();
        self.records.sort_by_key(Record::key);
        let of_path = self.records.iter().filter(|r| r.source.path.as_deref() == Some(path.as_str()));
        of_path.map(|r| r.message.to_string()).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.wake.stop();
        self.gathered.close();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "a thread of a test waits for another")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[test]
fn without_events_the_scan_finds_everything() {
    let mut bench = Setup { events: false, ..Setup::default() }.start();
    assert_eq!(bench.metrics.polling.get(), 1);
    bench.append("a.log", "one\n");
    bench.wait_for(1);
    bench.append("a.log", "two\n");
    bench.wait_for(2);
    fs::rename(bench.path("a.log"), bench.path("a.log.1")).unwrap();
    bench.append("a.log", "three\n");
    bench.append("b.log", "of another\n");
    bench.wait_for(4);
    assert_eq!(bench.texts("a.log"), ["one", "two", "three"]);
}

#[test]
fn a_file_whose_events_do_not_come_is_read_and_counted() {
    let mut bench = Setup { events: false, ..Setup::default() }.start();
    bench.append("deaf.log", "one\n");
    bench.wait_for(1);
    let before = bench.metrics.reconcile_repairs.get();
    bench.append("deaf.log", "two\n");
    bench.wait_for(2);
    assert_eq!(bench.metrics.reconcile_repairs.get(), before + 1);
}

#[test]
fn events_tell_at_once_without_a_scan() {
    let hour = Duration::from_secs(3600);
    let mut bench = Setup { scan_every: hour, ..Setup::default() }.start();
    bench.append("a.log", "one\n");
    bench.wait_for(1);
    bench.append("a.log", "two\n");
    bench.wait_for(2);
    fs::rename(bench.path("a.log"), bench.path("a.log.1")).unwrap();
    bench.append("a.log", "three\n");
    bench.wait_for(3);
    assert_eq!(bench.metrics.reconcile_repairs.get(), 0);
}

#[test]
fn what_is_written_shortly_after_one_another_is_one_batch() {
    // Long beside what a busy machine takes to write six lines.
    let (hour, while_written) = (Duration::from_secs(3600), Duration::from_secs(5));
    let mut bench = Setup { scan_every: hour, flush_after: while_written, ..Setup::default() }.start();
    for name in ["a.log", "b.log"] {
        bench.append(name, "there before\n");
    }
    bench.wait_for(2);
    for n in 0..3 {
        bench.append("a.log", &format!("line {n}\n"));
        bench.append("b.log", &format!("line {n}\n"));
    }
    let batch = bench.gathered.blocking_recv().unwrap();
    assert_eq!(batch.records.len(), 6);
}

#[test]
fn more_events_than_the_queue_takes_cost_no_line() {
    // No scan would find what the events did not tell.
    let hour = Duration::from_secs(3600);
    let mut bench = Setup { scan_every: hour, ..Setup::default() }.start();
    let names: Vec<_> = (0..20).map(|n| format!("{n}.log")).collect();
    names.iter().for_each(|name| bench.append(name, "first\n"));
    bench.wait_for(20);
    let mut lines = 20;
    {
        // Nobody takes events, so that the kernel's queue (16,384 by default) runs over.
        let wake = Arc::clone(&bench.wake);
        let deaf = wake.hold();
        let max = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let max: usize = max.trim().parse().unwrap();
        for n in 0..max / 20 * 2 {
            for name in &names {
                bench.append(name, &format!("line {n}\n"));
                lines += 1;
            }
        }
        bench.append("new.log", "of a new file\n");
        lines += 1;
        drop(deaf);
    }
    bench.wait_for(lines);
    assert_eq!(bench.records.len(), lines);
    assert_eq!(bench.texts("new.log"), ["of a new file"]);
    assert!(bench.metrics.rescans.get() > 0);
}

#[test]
fn while_the_spool_takes_nothing_new_files_are_opened_all_the_same() {
    let mut bench = Setup::default().start();
    let line = "x".repeat(1000) + "\n";
    // More than all batches on the way hold.
    bench.append("a.log", &line.repeat(2000));
    let metrics = bench.metrics.clone();
    let mut lines = 2000;
    for n in 0..20 {
        let name = format!("short-{n}.log");
        bench.append(&name, "alive for a moment\n");
        lines += 1;
        let before = Instant::now();
        while metrics.followed_files.get() < 2 + n {
            assert!(before.elapsed() < WAIT_MAX, "{name} was not opened");
            pause(Duration::from_millis(5));
        }
        fs::remove_file(bench.path(&name)).unwrap();
    }
    bench.wait_for(lines);
    assert_eq!(bench.records.len(), lines);
}

#[test]
fn positions_of_a_path_that_is_nobodys_for_now_are_kept() {
    // A task's file in a volume, of a pod that is not known when the agent starts.
    let dir = tempfile::tempdir().unwrap();
    let (root, pods) = (dir.path().join("kubelet"), dir.path().join("pods"));
    let file =
        root.join("u-1/volumes/kubernetes.io~empty-dir/logs/dag_id=d/run_id=r/task_id=t/attempt=1.log");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::create_dir_all(pods.join("team-a_worker-0_u-1")).unwrap();
    append(&file, "one\n");
    let (wake, metrics) = (Arc::new(Wake::new().unwrap()), Metrics::new(&Registry::new()).unwrap());
    let inputs = || vec![Input::PodVolumes { root: root.clone(), pods: pods.clone() }];
    let follower = |saved| Setup::default().follower(inputs(), saved, &wake, &metrics);
    let read = |follower: &mut Follower, gathered: &mut mpsc::Receiver<Gathered>| {
        follower.scan(Instant::now(), false);
        while follower.turns.len() > 0 {
            follower.turns().unwrap();
        }
        follower.gather.flush_all().unwrap();
        std::iter::from_fn(|| gathered.try_recv().ok()).collect::<Vec<_>>()
    };
    let (mut first, mut gathered) = follower(BTreeMap::new());
    let batches = read(&mut first, &mut gathered);
    let mut positions = crate::spool::positions::Positions::default();
    batches.iter().flat_map(|b| &b.moves).for_each(|change| positions.apply(change));
    assert_eq!(batches.iter().map(|b| b.records.len()).sum::<usize>(), 1);

    fs::rename(pods.join("team-a_worker-0_u-1"), dir.path().join("aside")).unwrap();
    append(&file, "two\n");
    let (mut second, mut gathered) = follower(positions.0);
    second.adopt_saved(Instant::now());
    assert_eq!(read(&mut second, &mut gathered).len(), 0);
    fs::rename(dir.path().join("aside"), pods.join("team-a_worker-0_u-1")).unwrap();
    let batches = read(&mut second, &mut gathered);
    let texts: Vec<_> = batches.iter().flat_map(|b| &b.records).map(|r| r.message.to_string()).collect();
    assert_eq!(texts, ["two"]);
}

#[test]
fn a_quiet_file_whose_events_are_lost_has_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let (wake, metrics) = (Arc::new(Wake::new().unwrap()), Metrics::new(&Registry::new()).unwrap());
    let path = dir.path().join("a.log");
    append(&path, "one\n");
    let inputs = plain(dir.path());
    let (mut follower, mut gathered) = Setup::default().follower(inputs, BTreeMap::new(), &wake, &metrics);
    let read = |follower: &mut Follower| {
        while follower.turns.len() > 0 {
            follower.turns().unwrap();
        }
        follower.gather.flush_all().unwrap();
    };
    follower.scan(Instant::now(), false);
    read(&mut follower);
    assert_eq!(gathered.try_recv().unwrap().records.len(), 1);
    // Nobody takes events here: they are as good as lost.
    append(&path, "two\n");
    let later = Instant::now() + Duration::from_secs(60);
    let found: Vec<usize> = (0..QUIET_TURNS)
        .map(|_| {
            follower.scan(later, false);
            follower.turns.len()
        })
        .collect();
    assert!(found.starts_with(&[0]) && found.ends_with(&[1]), "{found:?}");
    read(&mut follower);
    assert_eq!(&*gathered.try_recv().unwrap().records[0].message, "two");
    assert_eq!(metrics.reconcile_repairs.get(), 1);
}
