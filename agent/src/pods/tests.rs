//! What is kept of pods, for how long, and which ends are offered.

use serde_json::{Value, json};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

fn pod(uid: &str, status: Value) -> k8s_openapi::api::core::v1::Pod {
    let meta = json!({"name": format!("pod-{uid}"), "namespace": "ns", "uid": uid});
    serde_json::from_value(json!({"metadata": meta, "status": status})).unwrap()
}

/// The status of a container `c`.
fn status(restarts: u32, state: Value, last: Value) -> Value {
    json!({"phase": "Running", "containerStatuses": [{
        "name": "c", "image": "", "imageID": "", "ready": true, "restartCount": restarts,
        "state": state, "lastState": last,
    }]})
}

fn terminated(reason: &str, code: i32) -> Value {
    json!({"terminated": {"reason": reason, "exitCode": code, "finishedAt": "1970-01-01T00:00:07Z"}})
}

/// Untaken ends as `container number reason exit code`.
fn offered(pods: &Pods) -> Vec<String> {
    let text = |end: &ContainerEnd| {
        let code = end.exit_code.map_or("-".to_owned(), |code| code.to_string());
        format!("{} {} {} {code}", end.container, end.number, end.reason)
    };
    let mut ends: Vec<_> = pods.untaken_ends().iter().map(|(_, end)| text(end)).collect();
    ends.sort();
    ends
}

#[track_caller]
fn check(status: Value, expected: &[&str]) {
    let pods = Pods::new(true);
    pods.apply(&pod("u", status));
    assert_eq!(offered(&pods), expected);
}

#[test]
fn the_number_of_an_end_is_that_of_its_log() {
    let (running, none) = (json!({"running": {}}), json!({}));
    check(status(0, running.clone(), none.clone()), &[]);
    check(status(0, terminated("Completed", 0), none.clone()), &["c 0 Completed 0"]);
    check(status(3, running, terminated("Error", 2)), &["c 2 Error 2"]);
    check(
        status(3, terminated("Error", 1), terminated("OOMKilled", 137)),
        &["c 2 OOMKilled 137", "c 3 Error 1"],
    );
    let backing_off = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    check(status(3, backing_off, terminated("Error", 2)), &["c 3 Error 2"]);
    check(status(0, terminated("", 0), none.clone()), &["c 0 Completed 0"]);
    check(status(0, terminated("ContainerStatusUnknown", 137), none), &["c 0 ContainerStatusUnknown -"]);
}

#[test]
fn an_evicted_pod_is_the_reason_of_its_containers_ends() {
    let evicted = |mut status: Value| {
        status["phase"] = "Failed".into();
        status["reason"] = "Evicted".into();
        status["message"] = " The node was low on memory. ".into();
        status
    };
    check(evicted(status(0, terminated("Error", 137), json!({}))), &["c 0 Evicted 137"]);
    check(evicted(status(0, terminated("OOMKilled", 137), json!({}))), &["c 0 OOMKilled 137"]);
    // The kubelet may not say any more what had run.
    let pods = Pods::new(true);
    pods.apply(&pod("u", status(4, json!({"running": {}}), terminated("Error", 1))));
    pods.apply(&pod("u", evicted(json!({}))));
    assert_eq!(offered(&pods), ["c 3 Error 1", "c 4 Evicted -"]);
    let ends = pods.untaken_ends();
    assert_eq!(ends.last().unwrap().1.cause.as_deref(), Some("The node was low on memory."));
}

#[test]
fn ends_are_offered_until_taken_and_not_lost_between_two_looks() {
    let pods = Pods::new(true);
    for n in 0..100 {
        pods.apply(&pod("u", status(n, terminated("Error", 1), json!({}))));
        if n < 50 {
            pods.untaken_ends().iter().for_each(|(pod, end)| pods.take_end(&pod.uid, end));
            assert_eq!(offered(&pods).len(), 0);
        }
    }
    assert_eq!(offered(&pods).len(), 50);
    let (known, end) = pods.untaken_ends().remove(0);
    pods.take_end(&known.uid, &end);
    assert_eq!(offered(&pods).len(), 49);
    pods.give_back_end(&known.uid, &end);
    assert_eq!(offered(&pods).len(), 50);
    // Without a list of this run, any may still be offered; then only those that are kept.
    assert!(pods.may_offer("u", &("c".into(), 3)));
    pods.listed();
    assert!(!pods.may_offer("u", &("c".into(), 3)) && pods.may_offer("u", &("c".into(), 99)));
}

#[test]
fn deleted_pods_are_kept_for_a_while_and_not_without_bound() {
    let pods = Pods::new(true);
    for n in 0..GONE_MAX + 3 {
        pods.apply(&pod(&format!("u{n}"), json!({})));
    }
    pods.apply(&pod("alive", json!({})));
    for n in 0..GONE_MAX + 2 {
        pods.gone(&format!("u{n}"), at(i64::try_from(n).unwrap()));
    }
    // A list without the last one says that it is gone, too; of another namespace it says nothing.
    pods.present(Some("other"), &BTreeSet::new(), at(5_000));
    pods.present(Some("ns"), &["alive".into()].into(), at(5_000));
    pods.listed();
    let saved = pods.to_save(at(3_600), false).unwrap();
    assert_eq!(saved.len(), GONE_MAX + 1);
    // Until the file without them is written, they may come back with it.
    assert!(pods.by_uid("u2").is_some());
    pods.saved(false);
    assert!(pods.by_uid("u2").is_some());
    pods.to_save(at(3_600), false).unwrap();
    pods.saved(true);
    let known = |uid: &str| pods.by_uid(uid).is_some();
    assert_eq!((known("u2"), known("u3"), known(&format!("u{}", GONE_MAX + 2))), (false, true, true));
    assert!(pods.to_save(at(3_600), false).is_none());
    pods.to_save(at(9_999_999), false).unwrap();
    pods.saved(true);
    assert_eq!(pods.count(), 1);
}

#[test]
fn a_static_pod_is_known_by_the_uid_of_its_files() {
    let mut mirror = pod("shown", json!({}));
    mirror.metadata.annotations =
        Some([("kubernetes.io/config.hash".to_owned(), "in-path".to_owned())].into());
    let pods = Pods::new(true);
    assert!(pods.apply(&mirror) && !pods.apply(&mirror));
    assert_eq!(pods.by_uid("in-path").unwrap().name.as_ref(), "pod-shown");
    assert!(pods.by_uid("shown").is_none());
}

#[tokio::test]
async fn a_client_for_tls_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    let cluster = json!({"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": true});
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "geheim"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    });
    std::fs::write(&path, config.to_string()).unwrap();
    let access = crate::config::ApiAccess::Kubeconfig(path);
    client::client(&access, Arc::new(Pods::new(true))).await.map(|_| ()).unwrap();
}
