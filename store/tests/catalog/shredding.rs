//! Tenants that are erased, with their keys.

use std::sync::Arc;

use heliograph_model::scan::CommitId;
use heliograph_store::Error;
use heliograph_store::catalog::{
    Catalog, CommittedBatch, ErasedAs, Erasure, ErasureKind, Extent, Grant, NewTenantErasure, Reason, Role,
    Tenant, TenantLimits, Token,
};
use heliograph_store::retention::{Own, OwnKeep};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Place;
use crate::erasures::asked;
use crate::upkeep::{ids, published, searched};
use crate::words::{
    LEASE, a_commit, add_tenants, at, batch, name, needed, segment, tenant, uid, unnumbered, user,
};

fn all_of(tenant: &str) -> NewTenantErasure {
    NewTenantErasure { id: Uuid::new_v4(), tenant: name(tenant), by: "user:root".to_owned(), at: at(9) }
}

/// Another tenant of that name.
fn anew(of: &str) -> Tenant {
    Tenant { uid: Uuid::new_v4(), ..tenant(of) }
}

fn is_erased<T: std::fmt::Debug>(outcome: Result<T, Error>, tenant: &str) {
    assert!(matches!(&outcome, Err(Error::Erased { tenant: t }) if *t == name(tenant)), "{outcome:?}");
}

/// What hangs on a tenant but its records.
async fn with_belongings(catalog: &dyn Catalog, tenant: &str) {
    catalog.create_user(&user(tenant)).await.unwrap();
    let grant = Grant { user: tenant.to_owned(), extent: Extent::Tenant(name(tenant)), role: Role::Viewer };
    catalog.grant(&grant).await.unwrap();
    let token = Token {
        id: format!("k{tenant}"),
        secret_hash: [7; 32],
        tenant: name(tenant),
        roles: vec![Role::Writer],
        created: at(1),
        expires: None,
        revoked: None,
    };
    catalog.create_token(&token).await.unwrap();
    catalog.set_limits(&name(tenant), &TenantLimits::default()).await.unwrap();
    let keep = OwnKeep { bytes: Own::Limit(1 << 30), ..OwnKeep::default() };
    catalog.set_retention(&name(tenant), &keep).await.unwrap();
}

async fn knows_nothing_of_a(catalog: &dyn Catalog) {
    assert!(catalog.tenant(&name("a")).await.unwrap().is_none());
    let names = |all: Vec<Tenant>| all.into_iter().map(|tenant| tenant.name).collect::<Vec<_>>();
    assert_eq!(names(catalog.tenants().await.unwrap()), [name("b")]);
    let usage = catalog.usage().await.unwrap();
    assert_eq!(usage.iter().map(|usage| &usage.tenant).collect::<Vec<_>>(), [&name("b")]);
    assert!(catalog.usage_of(&name("a")).await.unwrap().is_none());
    assert_eq!(catalog.tokens(None).await.unwrap().len(), 1);
    assert!(catalog.token("ka").await.unwrap().is_none());
    assert_eq!(catalog.grants("a").await.unwrap(), []);
    assert_eq!(catalog.grants("b").await.unwrap().len(), 1);
    assert_eq!(catalog.retentions().await.unwrap().len(), 1);
    assert!(searched(catalog, "a").await.is_empty());
    let refused = catalog.set_limits(&name("a"), &TenantLimits::default()).await;
    assert!(matches!(refused, Err(Error::Missing { .. })), "{refused:?}");
    let refused = catalog.request_erasure(&asked("a")).await;
    assert!(matches!(refused, Err(Error::Missing { .. })), "{refused:?}");
}

pub(crate) async fn an_erased_tenant_is_no_more(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a", "b"]).await;
    with_belongings(catalog, "a").await;
    with_belongings(catalog, "b").await;
    let first = a_commit(vec![batch(("a", "p", 1, 1)), batch(("b", "p", 1, 1))]);
    let last = catalog.commit(&first).await.unwrap();
    let all = published(catalog, "a", 3).await;
    let of_b = published(catalog, "b", 1).await;
    catalog.retire(&name("a"), &[all[0].id], Reason::Age, at(8)).await.unwrap();
    catalog.request_erasure(&asked("a")).await.unwrap();

    let new = all_of("a");
    let steps = catalog.erasure_steps().await.unwrap();
    let unknown = catalog.erase_tenant(&all_of("no")).await;
    assert!(matches!(unknown, Err(Error::Missing { what: "tenant", .. })), "{unknown:?}");
    for _ in 0..2 {
        let made: Erasure = catalog.erase_tenant(&new).await.unwrap();
        assert_eq!((made.kind, made.through, made.waiting), (ErasureKind::Tenant, last, 1));
        assert_eq!((made.id, made.query, made.done), (new.id, None, None));
        assert_eq!((made.by.as_str(), made.at), ("user:root", at(9)));
    }
    assert_eq!(catalog.erasure_steps().await.unwrap(), steps + 1);
    let twice = catalog.erase_tenant(&all_of("a")).await;
    assert!(matches!(twice, Err(Error::Missing { .. })), "{twice:?}");

    knows_nothing_of_a(catalog).await;
    assert_eq!(searched(catalog, "b").await, ids(&of_b));

    // Its segments are noted, and are told with the id under which they lie.
    let mut noted: Vec<_> = catalog.erased(new.id).await.unwrap();
    noted.sort_by_key(|erased| all.iter().position(|segment| segment.id == erased.object));
    let told: Vec<_> = noted.iter().map(|of| (of.object, of.what, of.removed, of.bytes)).collect();
    let shredded = |n: usize| (all[n].id, ErasedAs::Shredded, 3, 1 << 40);
    assert_eq!(told, [(all[0].id, ErasedAs::Retired, 0, 1 << 40), shredded(1), shredded(2)]);
    let retired = catalog.retired(100).await.unwrap();
    assert!(retired.iter().all(|of| (&of.tenant, of.uid) == (&name("a"), uid("a"))), "{retired:?}");
    assert_eq!(retired.len(), 3);

    // Nothing more is taken for it, and of others in the same commit nothing either.
    is_erased(catalog.commit(&a_commit(vec![batch(("b", "p", 1, 2)), batch(("a", "p", 1, 2))])).await, "a");
    is_erased(catalog.commit(&a_commit(vec![unnumbered("a")])).await, "a");
    assert_eq!(catalog.producer(&name("b"), &crate::words::producer("p")).await.unwrap(), Some((1, 1)));
    assert_eq!(catalog.commit(&first).await.unwrap(), last, "what is recorded is known");
    is_erased(catalog.publish(&LEASE, &segment("a", (3, 4), (1, 2)), &[]).await, "a");
    is_erased(catalog.replace(&ids(&all[1..]), &crate::upkeep::union(&all[1..]), at(9)).await, "a");

    // Its name is nobody else's before all is done.
    let taken = catalog.create_tenant(&anew("a")).await;
    assert!(matches!(&taken, Err(Error::BeingErased { tenant }) if *tenant == name("a")), "{taken:?}");
    let pending = catalog.erased_tenants().await.unwrap();
    let of_a = &pending[0];
    assert_eq!((pending.len(), of_a.erasure, &of_a.name, of_a.uid), (1, new.id, &name("a"), uid("a")));
    assert_eq!((of_a.through, of_a.waiting, of_a.done), (last, 1, None));
    catalog.set_erasure_trouble(new.id, Some("no store")).await.unwrap();
    assert_eq!(catalog.erased_tenants().await.unwrap()[0].trouble.as_deref(), Some("no store"));
    catalog.release(&LEASE, &[first.object]).await.unwrap();
    assert_eq!(catalog.erased_tenants().await.unwrap()[0].waiting, 0);
    for moment in [30, 31] {
        catalog.finish_erasure(new.id, at(moment)).await.unwrap();
    }
    let erased = catalog.erased_tenants().await.unwrap();
    assert_eq!((erased[0].done, &erased[0].trouble), (Some(at(30)), &None));
    let open: Vec<_> = catalog.erasures().await.unwrap().into_iter().filter(|of| of.done.is_none()).collect();
    assert_eq!(open, [], "what else was to be erased of it is done, too");
    assert!(catalog.retired(100).await.unwrap().is_empty());
}

pub(crate) async fn a_new_tenant_of_that_name_is_another(place: &dyn Place) {
    let catalog = &*place.open().await;
    add_tenants(catalog, &["a"]).await;
    catalog.commit(&a_commit(vec![batch(("a", "p", 5, 1))])).await.unwrap();
    published(catalog, "a", 2).await;
    let late = a_commit(vec![batch(("a", "p", 5, 2))]);
    let new = all_of("a");
    catalog.erase_tenant(&new).await.unwrap();
    catalog.finish_erasure(new.id, at(30)).await.unwrap();
    let other = anew("a");
    catalog.create_tenant(&other).await.unwrap();
    // A slow indexer with the old key: were it taken, nobody could read it.
    is_erased(catalog.commit(&late).await, "a");
    let with_uid = |of: &CommittedBatch| CommittedBatch { uid: other.uid, ..of.clone() };
    let of_other = a_commit(vec![with_uid(&batch(("a", "p", 1, 1))), with_uid(&unnumbered("a"))]);
    catalog.commit(&of_other).await.unwrap();
    assert!(searched(catalog, "a").await.is_empty());
    assert_eq!(catalog.sealed_through(LEASE.indexer).await.unwrap(), []);
    // The same erasure again is no other's; another one is.
    catalog.erase_tenant(&new).await.unwrap();
    catalog.finish_erasure(new.id, at(31)).await.unwrap();
    assert_eq!(catalog.tenant(&name("a")).await.unwrap().unwrap().uid, other.uid);
    let again = NewTenantErasure { at: at(10), ..all_of("a") };
    catalog.erase_tenant(&again).await.unwrap();
    catalog.finish_erasure(again.id, at(40)).await.unwrap();
    let erased = catalog.erased_tenants().await.unwrap();
    let told: Vec<_> = erased.iter().map(|of| (of.erasure, of.uid, of.done)).collect();
    assert_eq!(told, [(new.id, uid("a"), Some(at(30))), (again.id, other.uid, Some(at(40)))]);
    assert_eq!(needed(catalog).await.len(), 2);
}

pub(crate) async fn no_commit_comes_after_the_key_has_gone(place: &dyn Place) {
    let seed = place.open().await;
    for round in 0..8 {
        let tenant = format!("t{round}");
        add_tenants(&*seed, &[&tenant]).await;
        let mut all = JoinSet::new();
        for by in 0..6 {
            let (catalog, tenant): (Arc<dyn Catalog>, _) = (place.open().await, tenant.clone());
            all.spawn(async move {
                let mut taken = Vec::new();
                for sequence in 1.. {
                    let numbered = batch((&tenant, &format!("p{by}"), 1, sequence));
                    let mut commit = a_commit(vec![if by % 2 == 0 { numbered } else { unnumbered(&tenant) }]);
                    commit.lease.indexer = Uuid::from_u128(by + 1);
                    match catalog.commit(&commit).await {
                        Ok(id) => taken.push(id),
                        refused => {
                            is_erased(refused, &tenant);
                            break;
                        }
                    }
                }
                taken
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let made = seed.erase_tenant(&all_of(&tenant)).await.unwrap();
        let taken: Vec<CommitId> = all.join_all().await.into_iter().flatten().collect();
        assert!(taken.iter().all(|id| *id <= made.through), "{:?} of {taken:?}", made.through);
        assert!(taken.len() as u64 <= made.waiting);
    }
}

pub(crate) async fn segments_are_published_before_or_not_at_all(place: &dyn Place) {
    let seed = place.open().await;
    for round in 0..8 {
        let tenant = format!("t{round}");
        add_tenants(&*seed, &[&tenant]).await;
        let (catalog, of) = (place.open().await, tenant.clone());
        let mut publishing = JoinSet::new();
        publishing.spawn(async move {
            let mut there = Vec::new();
            for n in 0.. {
                let one = segment(&of, (n, n + 1), (1, 2));
                match catalog.publish(&LEASE, &one, &[]).await {
                    Ok(()) => there.push(one.id),
                    refused => {
                        is_erased(refused, &of);
                        break;
                    }
                }
            }
            there
        });
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let new = all_of(&tenant);
        seed.erase_tenant(&new).await.unwrap();
        let mut there = publishing.join_all().await.concat();
        let erased = seed.erased(new.id).await.unwrap();
        let mut noted: Vec<_> = erased.into_iter().map(|of| of.object).collect();
        there.sort_unstable();
        noted.sort_unstable();
        assert_eq!(there, noted, "each that was published is in the receipt");
    }
}
