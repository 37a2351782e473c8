//! The audit log: one chain whoever appends, read by tenant and time, and whatever somebody else does to it is found.

use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use heliograph_model::tenant::Workspace;
use heliograph_model::time::{Clock, TimeRange, Timestamp};
use heliograph_store::Error;
use heliograph_store::audit::{Action, Actor, Details, Event, Log, Of, Outcome, Page, Seen, Subject, Told};
use heliograph_store::catalog::NewTenantErasure;
use heliograph_store::keyring::KeyRing;
use heliograph_store::tenants::Tenants;
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Place;
use crate::words::{at, name, uid};

/// The ring of master keys of these bytes, in this order.
fn keys(bytes: &[u8]) -> KeyRing {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    put_keys(&path, bytes);
    KeyRing::open(&path).unwrap()
}

fn put_keys(path: &Path, bytes: &[u8]) {
    let lines: Vec<_> = bytes.iter().map(|byte| format!("{}\n", BASE64.encode(&[*byte; 32]))).collect();
    std::fs::write(path, lines.concat()).unwrap();
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        at(0)
    }
}

pub(crate) async fn log(place: &dyn Place) -> Log {
    Log::new(place.open().await, keys(&[1]))
}

fn of(tenant: &str) -> Subject {
    Subject::Tenant { name: name(tenant), uid: uid(tenant) }
}

fn event(nanos: i64, subject: Subject) -> Event {
    let serde_json::Value::Object(details) = json!({ "q": format!("event of {nanos} ä\u{0}") }) else {
        panic!()
    };
    Event {
        at: at(nanos),
        actor: Actor::User("ann".to_owned()),
        action: if nanos % 2 == 0 { Action::Search } else { Action::Tail },
        subject,
        from: Some("::ffff:10.1.2.3".parse().unwrap()),
        outcome: Outcome::Done,
        details: Details::new(details),
    }
}

async fn fill(log: &Log, rows: i64) {
    for nanos in 1..=rows {
        log.append(&[event(nanos, if nanos % 3 == 0 { Subject::Platform } else { of("a") })]).await.unwrap();
    }
}

async fn faults(log: &Log) -> Vec<String> {
    log.verify(None).await.unwrap().faults
}

pub(crate) async fn many_at_once_make_one_chain(place: &dyn Place) {
    const HANDLES: usize = 4;
    const APPENDS: usize = 12;
    let first = log(place).await;
    let empty = first.verify(None).await.unwrap();
    assert!(empty.is_whole() && empty.rows == 0, "{empty:?}");
    let mut appending = JoinSet::new();
    for handle in 0..HANDLES {
        let log = log(place).await;
        appending.spawn(async move {
            for n in 0..APPENDS {
                let nanos = i64::try_from(handle * APPENDS + n).unwrap();
                log.append(&[event(nanos, of("a")), event(nanos, Subject::Platform)]).await.unwrap();
            }
        });
    }
    appending.join_all().await;
    let whole = first.verify(None).await.unwrap();
    assert!(whole.is_whole(), "{:?}", whole.faults);
    assert_eq!((whole.rows, whole.last.seq), (2 * (HANDLES * APPENDS) as u64, whole.rows));
    let rows = first.rows(0, 1_000).await.unwrap();
    let rows: Vec<_> = rows.into_iter().map(|told| told.row).collect();
    // What was appended together stands together.
    assert!(rows.chunks(2).all(|pair| pair[0].at == pair[1].at && pair[1].tenant.is_none()));
    assert_eq!(rows[0].source, "10.1.2.3");
    assert_eq!(rows[0].actor, "user:ann");
    assert_eq!(rows[0].tenant_uid.as_deref(), Some(uid("a").as_bytes().as_slice()));
    // Many rows at once, more than one statement takes.
    let many: Vec<_> = (0..1_205).map(|n| event(n, of("b"))).collect();
    first.append(&many).await.unwrap();
    assert_eq!(first.verify(None).await.unwrap().last.seq, whole.rows + 1_205);
}

pub(crate) async fn rows_are_read_by_tenant_and_time_in_pages(place: &dyn Place) {
    let log = log(place).await;
    // Not in the order of their times, and two at one time.
    for nanos in [1, 5, 3, 3, 9] {
        log.append(&[event(nanos, of("a")), event(nanos, of("b")), event(nanos, Subject::Platform)])
            .await
            .unwrap();
    }
    // Another that once had this name.
    log.append(&[event(4, Subject::Tenant { name: name("a"), uid: Uuid::nil() })]).await.unwrap();
    let ask = async |page: Page| log.page(&page).await.unwrap();
    let all = Page {
        of: Of::Everything,
        range: TimeRange::ALL,
        action: None,
        actor: None,
        after: None,
        limit: 100,
    };
    let of_a = Page { of: Of::Tenant(uid("a")), ..all.clone() };
    assert_eq!(ask(all.clone()).await.len(), 16);
    let times = |rows: &[Told]| rows.iter().map(|told| told.row.at.as_nanos()).collect::<Vec<_>>();
    let found = ask(of_a.clone()).await;
    assert_eq!(times(&found), [9, 5, 3, 3, 1], "newest first, and nothing of others");
    assert!(found.iter().all(|told| told.row.tenant.as_deref() == Some("a")));
    let range = TimeRange { start: at(3), end: at(9) };
    assert_eq!(times(&ask(Page { range, ..of_a.clone() }).await), [5, 3, 3]);
    assert_eq!(ask(Page { action: Some(Action::Search), ..all.clone() }).await.len(), 1);
    let by = |name: &str| Page { actor: Some(name.to_owned()), ..all.clone() };
    assert_eq!(ask(by("user:ann")).await.len(), 16);
    assert_eq!(ask(by("user:an%")).await, []);
    assert_eq!(ask(Page { of: Of::Tenant(Uuid::from_u128(9)), ..all.clone() }).await, []);
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let rows = ask(Page { after, limit: 2, ..all.clone() }).await;
        let Some(last) = rows.last() else { break };
        after = Some((last.row.at, last.row.seq));
        paged.extend(rows);
    }
    assert_eq!(paged, ask(all).await);
}

pub(crate) async fn what_is_changed_is_found(place: &dyn Place) {
    let log = log(place).await;
    fill(&log, 10).await;
    assert_eq!(faults(&log).await, Vec::<String>::new());
    let check = async |change: &'static str, back: &'static str, expected: &[&str]| {
        place.tamper(change).await;
        assert_eq!(faults(&log).await, expected, "{change}");
        place.tamper(back).await;
        assert_eq!(faults(&log).await, Vec::<String>::new(), "{back}");
    };
    let changed = "row 4 is not what was written, or does not follow row 3";
    check(
        "UPDATE audit SET actor = 'user:bob' WHERE seq = 4",
        "UPDATE audit SET actor = 'user:ann' WHERE seq = 4",
        &[changed],
    )
    .await;
    check(
        "UPDATE audit SET tenant = NULL, tenant_uid = NULL, details = 'no json' WHERE seq = 4;
         UPDATE audit SET at = at + 1 WHERE seq = 10",
        "UPDATE audit SET tenant = (SELECT tenant FROM audit WHERE seq = 5),
             tenant_uid = (SELECT tenant_uid FROM audit WHERE seq = 5),
             details = (SELECT details FROM audit WHERE seq = 5) WHERE seq = 4;
         UPDATE audit SET at = at - 1 WHERE seq = 10",
        &[changed, "row 10 is not what was written, or does not follow row 9"],
    )
    .await;
    // Parts do not run into one another.
    check(
        "UPDATE audit SET actor = 'user:anns', action = 'earch' WHERE seq = 4",
        "UPDATE audit SET actor = 'user:ann', action = 'search' WHERE seq = 4",
        &[changed],
    )
    .await;
    // Two rows in each other's places.
    check(
        "UPDATE audit SET seq = 99 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 5;
         UPDATE audit SET seq = 5 WHERE seq = 99",
        "UPDATE audit SET seq = 99 WHERE seq = 4; UPDATE audit SET seq = 4 WHERE seq = 5;
         UPDATE audit SET seq = 5 WHERE seq = 99",
        &[
            changed,
            "row 5 is not what was written, or does not follow row 4",
            "row 6 is not what was written, or does not follow row 5",
        ],
    )
    .await;
    check(
        "CREATE TABLE kept AS SELECT * FROM audit WHERE seq IN (2, 3, 7); DELETE FROM audit WHERE seq IN (2, 3, 7)",
        "INSERT INTO audit SELECT * FROM kept; DROP TABLE kept",
        &["rows 2 to 3 are missing", "row 7 is missing"],
    )
    .await;
    check(
        "INSERT INTO audit SELECT seq + 1, at, actor, action, tenant, tenant_uid, source, outcome, details, hash
             FROM audit WHERE seq = 10",
        "DELETE FROM audit WHERE seq = 11",
        &[
            "row 11 is not what was written, or does not follow row 10",
            "rows above 10 are not of this log: its head does not know them",
        ],
    )
    .await;
}

pub(crate) async fn what_is_cut_off_is_found(place: &dyn Place) {
    let log = log(place).await;
    fill(&log, 10).await;
    let seen = log.verify(None).await.unwrap().last;
    place
        .tamper("CREATE TABLE kept AS SELECT * FROM audit; CREATE TABLE was AS SELECT * FROM audit_head")
        .await;
    place.tamper("DELETE FROM audit WHERE seq > 8").await;
    assert_eq!(faults(&log).await, ["rows 9 to 10 are missing at the end"]);
    // The head is moved back, too: only the master key makes its code.
    place.tamper("UPDATE audit_head SET seq = 8, hash = (SELECT hash FROM audit WHERE seq = 8)").await;
    assert_eq!(faults(&log).await, ["the head was not written with this master key"]);
    place.tamper("DELETE FROM audit").await;
    assert_eq!(faults(&log).await.len(), 2);
    // A whole older log is as good as it was then: what was seen since tells.
    place.tamper("INSERT INTO audit SELECT * FROM kept; DELETE FROM audit_head; INSERT INTO audit_head SELECT * FROM was").await;
    fill(&log, 3).await;
    let newer = log.verify(None).await.unwrap().last;
    assert!(
        log.verify(Some(&seen)).await.unwrap().is_whole()
            && log.verify(Some(&newer)).await.unwrap().is_whole()
    );
    place.tamper(
        "DELETE FROM audit WHERE seq > 10; DELETE FROM audit_head; INSERT INTO audit_head SELECT * FROM was",
    )
    .await;
    assert!(log.verify(Some(&seen)).await.unwrap().is_whole());
    let told = log.verify(Some(&newer)).await.unwrap().faults;
    assert_eq!(told, ["row 13 is not the one that was seen: another log was put in its place"]);
    let other = Seen { seq: 10, hash: vec![0; 32] };
    assert_eq!(log.verify(Some(&other)).await.unwrap().faults.len(), 1);
    place.tamper("DELETE FROM audit_head").await;
    assert!(
        matches!(log.append(&[event(1, of("a"))]).await, Err(Error::Corrupt { .. })),
        "nothing is written"
    );
    assert!(matches!(log.verify(None).await, Err(Error::Corrupt { .. })));
}

pub(crate) async fn a_head_without_the_key_is_found_for_ever(place: &dyn Place) {
    let log = log(place).await;
    fill(&log, 6).await;
    place
        .tamper(
            "DELETE FROM audit WHERE seq > 4;
         UPDATE audit_head SET seq = 4, hash = (SELECT hash FROM audit WHERE seq = 4)",
        )
        .await;
    // The log goes on, and a new code does not hide what was done.
    fill(&log, 2).await;
    log.trim(at(2)).await.unwrap();
    let told = faults(&log).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("before row 5 the head was changed by somebody"), "{told:?}");
    place.tamper("UPDATE audit_head SET broken = 0").await;
    assert_eq!(faults(&log).await, ["the head was not written with this master key"]);
}

pub(crate) async fn old_rows_are_dropped_and_the_rest_stays_whole(place: &dyn Place) {
    let log = log(place).await;
    fill(&log, 10).await;
    assert_eq!(log.trim(at(1)).await.unwrap(), 0);
    // A late row keeps those behind it: the log has no holes.
    log.append(&[event(3, of("a")), event(11, of("a"))]).await.unwrap();
    assert_eq!(log.trim(at(5)).await.unwrap(), 4);
    assert_eq!(log.trim(at(5)).await.unwrap(), 0);
    let whole = log.verify(None).await.unwrap();
    assert!(whole.is_whole(), "{whole:?}");
    assert_eq!((whole.anchor, whole.rows, whole.last.seq), (4, 8, 12));
    let old = log.verify(Some(&Seen { seq: 3, hash: vec![0; 32] })).await.unwrap().faults;
    assert_eq!(old, ["row 3 was dropped for its age: give one that is newer"]);
    let dropped =
        "INSERT INTO audit SELECT 4, at, actor, action, tenant, tenant_uid, source, outcome, details, hash
        FROM audit WHERE seq = 5";
    place.tamper(dropped).await;
    assert_eq!(faults(&log).await, ["row 4 is there, and was dropped for its age"]);
    place.tamper("DELETE FROM audit WHERE seq = 4; UPDATE audit_head SET anchor = 3").await;
    assert!(faults(&log).await.contains(&"the head was not written with this master key".to_owned()));
    place.tamper("UPDATE audit_head SET anchor = 4").await;
    // All of them, and on.
    assert_eq!(log.trim(at(100)).await.unwrap(), 8);
    fill(&log, 2).await;
    let whole = log.verify(None).await.unwrap();
    assert!(whole.is_whole() && whole.anchor == 12 && whole.last.seq == 14, "{whole:?}");
}

pub(crate) async fn another_master_key_takes_over(place: &dyn Place) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    put_keys(&path, &[1]);
    let catalog = place.open().await;
    let ours = Log::new(catalog.clone(), KeyRing::open(&path).unwrap());
    fill(&ours, 3).await;
    let strange = Log::new(catalog.clone(), keys(&[2]));
    assert_eq!(faults(&strange).await, ["the head was not written with this master key"]);
    // One with another key alone cannot go on, and marks nothing.
    assert!(matches!(strange.append(&[event(1, of("a"))]).await, Err(Error::OtherKey { .. })));
    assert!(matches!(strange.trim(at(2)).await, Err(Error::OtherKey { .. })));
    assert_eq!(faults(&ours).await, Vec::<String>::new());
    // A new key first is not signed with before it is set: others do not know it yet.
    let ahead = Log::new(catalog.clone(), keys(&[2, 1]));
    fill(&ahead, 2).await;
    fill(&ours, 2).await;
    // It is set: who has it goes over, and who has not reads its file again.
    catalog.set_master_key(keys(&[2]).first().unwrap()).await.unwrap();
    fill(&ahead, 2).await;
    assert!(matches!(ours.append(&[event(1, of("a"))]).await, Err(Error::OtherKey { .. })));
    put_keys(&path, &[2, 1]);
    fill(&ours, 2).await;
    assert!(strange.verify(None).await.unwrap().is_whole());
    assert_eq!(ours.verify(None).await.unwrap().rows, 11);
    // Without the old one it goes on.
    put_keys(&path, &[2]);
    fill(&ours, 1).await;
    assert_eq!(faults(&ours).await, Vec::<String>::new());
}

pub(crate) async fn questions_are_sealed_and_go_with_the_tenants_key(place: &dyn Place) {
    let catalog = place.open().await;
    let ring = keys(&[1]);
    let log = Log::new(catalog.clone(), ring.clone());
    let tenants = Tenants::new(catalog.clone(), ring, Arc::new(Noon));
    let a = tenants.create(&name("a"), &Workspace::parse("main").unwrap()).await.unwrap();
    let of_a = Subject::Tenant { name: name("a"), uid: a.uid };
    log.append(&[event(1, of_a.clone()), event(2, Subject::Platform), event(3, of("none"))]).await.unwrap();
    let asked = |n: i64| json!({ "q": format!("event of {n} ä\u{0}") });
    let told = log.rows(0, 10).await.unwrap();
    assert_eq!(told[0].details(), asked(1));
    // Nobody's key, no text.
    assert_eq!(told[1].details(), json!({ "left_out": true }));
    assert_eq!(told[2].details(), told[1].details());
    for told in &told {
        assert!(!told.row.details.contains("event of"), "{}", told.row.details);
    }
    // Another's row with that text does not open.
    place.tamper("UPDATE audit SET details = (SELECT details FROM audit WHERE seq = 1) WHERE seq = 3").await;
    assert_eq!(log.rows(2, 1).await.unwrap()[0].details(), json!({ "left_out": true }));
    place.tamper("UPDATE audit SET details = '{\"left_out\":true}' WHERE seq = 3").await;
    // An export can be checked: what is hashed is in it.
    let exported = serde_json::to_value(&log.rows(0, 1).await.unwrap()[0]).unwrap();
    assert_eq!(exported["details"], asked(1));
    assert_eq!(exported["stored"], told[0].row.details);

    let erasure =
        NewTenantErasure { id: Uuid::new_v4(), tenant: name("a"), by: "uid:0".to_owned(), at: at(5) };
    catalog.erase_tenant(&erasure).await.unwrap();
    assert_eq!(log.rows(0, 1).await.unwrap()[0].details(), json!({ "left_out": true }));
    // Nor the next of that name.
    catalog.finish_erasure(erasure.id, at(6)).await.unwrap();
    tenants.forget_named(&name("a"));
    let next = tenants.create(&name("a"), &Workspace::parse("main").unwrap()).await.unwrap();
    assert_ne!(next.uid, a.uid);
    assert_eq!(log.rows(0, 1).await.unwrap()[0].details(), json!({ "left_out": true }));
    log.append(&[event(4, of_a)]).await.unwrap();
    assert_eq!(log.rows(3, 1).await.unwrap()[0].details(), json!({ "left_out": true }));
    assert_eq!(faults(&log).await, Vec::<String>::new());
}

pub(crate) async fn rows_of_a_backup_go_into_an_empty_log(place: &dyn Place) {
    let log = log(place).await;
    fill(&log, 5).await;
    log.trim(at(3)).await.unwrap();
    let (head, rows) = (log.head().await.unwrap(), place.open().await.audit_rows(0, 100).await.unwrap());
    let catalog = place.open().await;
    assert!(matches!(catalog.load_audit(&rows, Some(&head)).await, Err(Error::Exists { .. })));
    place.tamper("DELETE FROM audit; UPDATE audit_head SET seq = 0").await;
    catalog.load_audit(&rows[..1], None).await.unwrap();
    catalog.load_audit(&rows[1..], Some(&head)).await.unwrap();
    assert_eq!(catalog.audit_rows(0, 100).await.unwrap(), rows);
    fill(&log, 1).await;
    assert!(log.verify(None).await.unwrap().is_whole());
}
