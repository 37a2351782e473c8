//! Which files are found, and whose they are.

use std::fs;
use std::os::unix::fs::symlink;

use heliograph_model::source::Component;
use heliograph_model::tenant::TenantId;
use prometheus::Registry;

use super::*;
use crate::config::{Input, NamespaceFrom, Otherwise, TenantRules};

fn config(inputs: Vec<Input>) -> Config {
    let tenants = TenantRules {
        exact: [("airflow".to_owned(), TenantId::parse("main").unwrap())].into(),
        otherwise: Otherwise::StripPrefix("astro-".into()),
        ..TenantRules::default()
    };
    Config { inputs, tenants, ..Config::blank() }
}

fn discovery(inputs: Vec<Input>) -> Result<Discovery> {
    let (config, metrics) = (config(inputs), Metrics::new(&Registry::new()).unwrap());
    let tenancy = Arc::new(Tenancy::new(&config, metrics.clone())?);
    Discovery::new(&config, &tenancy, metrics, Arc::new(Wake::new().unwrap()))
}

fn make(root: &Path, files: &[&str]) {
    for file in files {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x\n").unwrap();
    }
}

/// What a scan finds below `root`, as `path tenant component`.
fn found(listings: &[Listing], root: &Path) -> Vec<String> {
    let files = listings.iter().flat_map(|l| &l.files);
    let mut out: Vec<_> = files
        .map(|f| {
            let path = f.path.strip_prefix(root).unwrap().display();
            let component = f.owner.source.component.as_ref().map_or("-", Component::as_str);
            format!("{path} {} {component}", f.owner.tenant)
        })
        .collect();
    out.sort();
    out.dedup();
    out
}

#[test]
fn containers() {
    let dir = tempfile::tempdir().unwrap();
    let uid = "0a1b2c3d-0000-0000-0000-000000000000";
    let pod = |ns: &str, rest: &str| format!("{ns}_pod-0_{uid}/{rest}");
    make(
        dir.path(),
        &[
            &pod("airflow", "scheduler/0.log"),
            &pod("airflow", "scheduler/0.log.20261123-101500"),
            &pod("airflow", "scheduler-log-groomer/3.log"),
            &pod("astro-b", "worker/1.log"),
            &pod("astro-b", "worker/notes.txt"),
            &pod("astro-b", "worker/deeper/1.log"),
            &pod("kube-system", "proxy/0.log"),
            "odd/worker/0.log",
        ],
    );
    symlink(dir.path().join("odd"), dir.path().join(pod("astro-b", "link"))).unwrap();
    let mut discovery = discovery(vec![Input::Containers { root: dir.path().into() }]).unwrap();
    let listings = discovery.scan(Instant::now(), false);
    let expected = [
        pod("airflow", "scheduler-log-groomer/3.log main scheduler-log-groomer"),
        pod("airflow", "scheduler/0.log main scheduler"),
        pod("astro-b", "worker/1.log b worker"),
    ];
    assert_eq!(found(&listings, dir.path()), expected);
    let source = &discovery.owner_of(&dir.path().join(pod("astro-b", "worker/1.log"))).unwrap().source;
    assert_eq!(
        (source.namespace.as_deref(), source.pod.as_deref(), source.container.as_deref()),
        (Some("astro-b"), Some("pod-0"), Some("worker"))
    );
    assert_eq!(source.node.as_deref(), Some("node-1"));
}

#[test]
fn tasks() {
    let dir = tempfile::tempdir().unwrap();
    let task = "airflow/dag_id=team.etl/run_id=manual__2026-11-23T22:03:13+00:00/task_id=a.b";
    make(
        dir.path(),
        &[
            &format!("{task}/attempt=1.log"),
            &format!("{task}/attempt=1.log.trigger.2.log"),
            &format!("{task}/map_index=2/attempt=1.log"),
            "airflow/dag_processor/2026-11-23/dags-folder/t.py.log",
            "airflow/dag_processor_manager/other.log",
            "astro-b/dag_id=d/run_id=r/task_id=t/attempt=1.log",
            "kube-system/dag_id=d/run_id=r/task_id=t/attempt=1.log",
        ],
    );
    symlink("2026-11-23", dir.path().join("airflow/dag_processor/latest")).unwrap();
    let input = Input::Tasks { root: dir.path().into(), namespace: NamespaceFrom::FirstPathElement };
    let mut discovery = discovery(vec![input]).unwrap();
    let mut expected = [
        "airflow/dag_processor/2026-11-23/dags-folder/t.py.log main dag-processor".to_owned(),
        format!("{task}/attempt=1.log main worker"),
        format!("{task}/attempt=1.log.trigger.2.log main triggerer"),
        format!("{task}/map_index=2/attempt=1.log main worker"),
        "astro-b/dag_id=d/run_id=r/task_id=t/attempt=1.log b worker".to_owned(),
    ];
    expected.sort();
    assert_eq!(found(&discovery.scan(Instant::now(), false), dir.path()), expected);
    let owner = discovery.owner_of(&dir.path().join(format!("{task}/map_index=2/attempt=1.log"))).unwrap();
    assert_eq!((owner.identity.dag_id.as_deref(), owner.identity.map_index), (Some("team.etl"), Some(2)));
    assert!(owner.path_wins);
}

#[test]
fn task_files_in_volumes_of_pods() {
    let dir = tempfile::tempdir().unwrap();
    let (root, pods) = (dir.path().join("kubelet"), dir.path().join("logs"));
    let volume = |uid: &str, rest: &str| format!("{uid}/volumes/kubernetes.io~empty-dir/{rest}");
    let task = "dag_id=team.etl/run_id=manual__2026-11-23T22:03:13+00:00/task_id=a.b";
    make(
        &root,
        &[
            &volume("u-1", &format!("logs/{task}/attempt=1.log")),
            &volume("u-1", &format!("logs/{task}/map_index=2/attempt=1.log")),
            &volume("u-1", &format!("scratch/airflow/logs/{task}/attempt=2.log")),
            &volume("u-1", "logs/dag_processor/2026-11-23/dags-folder/t.py.log"),
            &volume("u-1", "logs/deep/er/st/dag_id=d/run_id=r/task_id=t/attempt=1.log"),
            &volume("u-1", "logs/notes.log"),
            "u-1/volumes/kubernetes.io~secret/logs/dag_id=d/run_id=r/task_id=t/attempt=1.log",
            "u-1/etc-hosts",
            &volume("u-2", "logs/dag_id=d/run_id=r/task_id=t/attempt=1.log"),
            &volume("u-3", "logs/dag_id=d/run_id=r/task_id=t/attempt=1.log"),
        ],
    );
    symlink("2026-11-23", root.join(volume("u-1", "logs/dag_processor/latest"))).unwrap();
    make(&pods, &["airflow_worker-0_u-1/worker/0.log", "kube-system_proxy_u-3/proxy/0.log"]);
    let input = Input::PodVolumes { root: root.clone(), pods: pods.clone() };
    let mut discovery = discovery(vec![input]).unwrap();
    let now = Instant::now();
    let mut expected = vec![
        volume("u-1", &format!("logs/{task}/attempt=1.log main worker")),
        volume("u-1", &format!("logs/{task}/map_index=2/attempt=1.log main worker")),
        volume("u-1", &format!("scratch/airflow/logs/{task}/attempt=2.log main worker")),
        volume("u-1", "logs/dag_processor/2026-11-23/dags-folder/t.py.log main dag-processor"),
    ];
    expected.sort();
    assert_eq!(found(&discovery.scan(now, false), &root), expected);
    let path = root.join(volume("u-1", &format!("logs/{task}/map_index=2/attempt=1.log")));
    let source = &discovery.owner_of(&path).unwrap().source;
    assert_eq!((source.namespace.as_deref(), source.pod.as_deref()), (Some("airflow"), Some("worker-0")));

    assert_eq!(discovery.owner_of(&path).unwrap().pod_uid.as_deref(), Some("u-1"));

    // A pod becomes known, long after its directory was listed.
    let later = now + Duration::from_secs(60);
    assert_eq!(found(&discovery.scan(later, false), &root).len(), 0);
    make(&pods, &["astro-b_late-0_u-2/worker/0.log"]);
    let late = [volume("u-2", "logs/dag_id=d/run_id=r/task_id=t/attempt=1.log b worker")];
    assert_eq!(found(&discovery.scan(later, false), &root), late);

    // Its logs are gone before its volume: it is still known.
    fs::remove_dir_all(pods.join("astro-b_late-0_u-2")).unwrap();
    discovery.scan(later + Duration::from_secs(60), false);
    let path = root.join(volume("u-2", "logs/dag_id=d/run_id=r/task_id=t/attempt=1.log"));
    assert!(discovery.owner_of(&path).is_some());
}

#[test]
fn a_volume_of_a_pod_without_logs_is_whose_the_api_server_says() {
    let dir = tempfile::tempdir().unwrap();
    let (root, logs) = (dir.path().join("kubelet"), dir.path().join("logs"));
    fs::create_dir(&logs).unwrap();
    let file = |uid: &str| {
        format!("{uid}/volumes/kubernetes.io~empty-dir/logs/dag_id=d/run_id=r/task_id=t/attempt=1.log")
    };
    make(&root, &[&file("u-1"), &file("u-2"), &file("u-3")]);
    let pods = Arc::new(Pods::new(true));
    let input = Input::PodVolumes { root: root.clone(), pods: logs.clone() };
    let mut discovery = discovery(vec![input]).unwrap().with_pods(&pods);
    let now = Instant::now();
    let mut check = |later: u64, expected: &[String]| {
        assert_eq!(found(&discovery.scan(now + Duration::from_secs(later), false), &root), expected);
    };
    let told = |namespace: &str, uid: &str| {
        let pod = serde_json::json!({"metadata": {"namespace": namespace, "name": "p", "uid": uid}});
        assert!(pods.apply(&serde_json::from_value(pod).unwrap()));
    };
    check(0, &[]);
    check(60, &[]);
    told("astro-b", "u-1");
    check(120, &[file("u-1") + " b worker"]);
    told("kube-system", "u-2");
    check(180, &[]);
    told("airflow", "u-3");
    check(240, &[file("u-3") + " main worker"]);
    // Told before the kubelet has made its directory.
    told("airflow", "u-4");
    check(300, &[]);
    make(&root, &[&file("u-4")]);
    check(360, &[file("u-4") + " main worker"]);
    // What the kubelet's own names say, is so.
    told("astro-b", "u-5");
    make(&logs, &["astro-c_q_u-5/worker/0.log"]);
    make(&root, &[&file("u-5")]);
    check(420, &[file("u-5") + " c worker"]);
    let owner = discovery.owner_of(&root.join(file("u-4"))).unwrap();
    let source = &owner.source;
    assert_eq!((source.namespace.as_deref(), source.pod.as_deref()), (Some("airflow"), Some("p")));
    assert_eq!(owner.pod_uid.as_deref(), Some("u-4"));
}

#[test]
fn links_to_container_logs_are_not_read_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let (links, pods) = (dir.path().join("containers"), dir.path().join("pods"));
    make(&pods, &["airflow_p-0_1/worker/0.log"]);
    fs::create_dir(&links).unwrap();
    symlink(pods.join("airflow_p-0_1/worker/0.log"), links.join("p-0_airflow_worker-1.log")).unwrap();
    for roots in [vec![&links], vec![&pods], vec![&links, &pods], vec![&pods, &links]] {
        let inputs = roots.into_iter().map(|root| Input::Containers { root: root.clone() }).collect();
        let mut discovery = discovery(inputs).unwrap();
        assert_eq!(discovery.scopes.len(), 1);
        assert_eq!(
            found(&discovery.scan(Instant::now(), false), &pods),
            ["airflow_p-0_1/worker/0.log main worker"]
        );
    }
}

#[test]
fn compressed_files_beside_a_log_are_its_own() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["airflow_p-0_1/worker/0.log", "airflow_p-0_1/worker/0.log.20261123-101500.gz"]);
    let mut discovery = discovery(vec![Input::Containers { root: dir.path().into() }]).unwrap();
    let listings = discovery.scan(Instant::now(), false);
    let files: Vec<_> = listings.iter().flat_map(|l| &l.files).collect();
    assert_eq!(files.len(), 1);
    assert!(files.iter().all(|f| f.rotated && f.path.ends_with("0.log")));
}

#[track_caller]
fn check_glob(glob: &str, expected: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    make(
        dir.path(),
        &["a.log", "a.log.1", "a.log.2.gz", "b.txt", "sub/c.log", "sub/deep/d.log", "other/e.log", "z.log.1"],
    );
    symlink("sub", dir.path().join("link")).unwrap();
    let input = Input::Files {
        glob: format!("{}/{glob}", dir.path().display()),
        tenant: TenantId::parse("t").unwrap(),
        component: None,
    };
    let mut discovery = discovery(vec![input]).unwrap();
    let expected: Vec<_> = expected.iter().map(|path| format!("{path} t -")).collect();
    assert_eq!(found(&discovery.scan(Instant::now(), false), dir.path()), expected, "{glob}");
}

#[test]
fn globs() {
    check_glob("*.log", &["a.log"]);
    check_glob("a.log", &["a.log"]);
    check_glob("*.log*", &["a.log", "z.log.1"]);
    check_glob("sub/*.log", &["sub/c.log"]);
    check_glob("*/*.log", &["link/c.log", "other/e.log", "sub/c.log"]);
    check_glob("**/*.log", &["a.log", "other/e.log", "sub/c.log", "sub/deep/d.log"]);
    check_glob("{sub,other}/*.log", &["other/e.log", "sub/c.log"]);
    check_glob("missing/*.log", &[]);
}

#[test]
fn a_bad_glob_is_named() {
    let tenant = TenantId::parse("t").unwrap();
    let input = Input::Files { glob: "/var/log/[a.log".into(), tenant, component: None };
    let error = discovery(vec![input]).map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("invalid glob \"/var/log/[a.log\": "), "{error}");
}

#[test]
fn a_scan_lists_only_what_has_changed_and_what_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["sub/a.log", "quiet/b.log"]);
    let input = Input::Files {
        glob: format!("{}/*/*.log", dir.path().display()),
        tenant: TenantId::parse("t").unwrap(),
        component: None,
    };
    let mut discovery = discovery(vec![input]).unwrap();
    let now = Instant::now();
    assert_eq!(found(&discovery.scan(now, false), dir.path()), ["quiet/b.log t -", "sub/a.log t -"]);
    let later = now + Duration::from_secs(10);
    assert_eq!(discovery.scan(later, true).len(), 0);
    make(dir.path(), &["sub/new.log"]);
    assert_eq!(found(&discovery.scan(later, true), dir.path()), ["sub/a.log t -", "sub/new.log t -"]);
    fs::remove_dir_all(dir.path().join("sub")).unwrap();
    let gone = discovery.scan(later, true);
    assert!(gone.iter().any(|l| l.dir == dir.path().join("sub") && l.files.is_empty()));
}

#[test]
fn a_watched_directory_whose_events_are_lost_has_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), &["sub/a.log"]);
    let input = Input::Files {
        glob: format!("{}/*/*.log", dir.path().display()),
        tenant: TenantId::parse("t").unwrap(),
        component: None,
    };
    let mut discovery = discovery(vec![input]).unwrap();
    let now = Instant::now();
    discovery.scan(now, false);
    let later = now + Duration::from_secs(10);
    // It is new, so it is looked at once more.
    assert_eq!(discovery.scan(later, false).len(), 0);
    // Nobody asks for events here: they are as good as lost.
    make(dir.path(), &["sub/new.log"]);
    let scans: Vec<usize> = (0..TURNS).map(|_| discovery.scan(later, false).len()).collect();
    // In the eighth scan of all; from then on it is not settled.
    assert_eq!(scans, [0, 0, 0, 0, 0, 1, 1, 1]);
}
