//! What only this engine suffers: a file that cannot grow, a transaction that SQLite takes back by itself.

use heliograph_model::time::Timestamp;

use heliograph_model::tenant::{TenantId, Workspace};
use uuid::Uuid;

use super::{Catalog, NewTenantErasure, Sqlite, Tenant, User};
use crate::error::Error;

async fn a_catalog(folder: &tempfile::TempDir) -> Sqlite {
    Sqlite::open(&format!("{}/c.db", folder.path().display())).await.unwrap()
}

fn user(name: &str, hash_bytes: usize) -> User {
    User {
        name: name.to_owned(),
        password_hash: "x".repeat(hash_bytes),
        admin: false,
        disabled: false,
        created: Timestamp::from_nanos(0),
    }
}

#[tokio::test]
async fn writing_goes_on_when_the_full_disk_has_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = a_catalog(&folder).await;
    catalog.create_user(&user("first", 10)).await.unwrap();
    // The bound is this connection's; the connection that takes its place has none, as if there were room again.
    sqlx::query("PRAGMA max_page_count = 100").execute(&catalog.writer).await.unwrap();
    let refused = catalog.create_user(&user("large", 1 << 20)).await;
    assert!(matches!(refused, Err(Error::Catalog(_))), "{refused:?}");
    assert_eq!(catalog.users().await.unwrap().len(), 1, "reading goes on");
    catalog.create_user(&user("large", 1 << 20)).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_sqlite_took_back_does_not_block_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = a_catalog(&folder).await;
    let mut write = catalog.write().await.unwrap();
    // As SQLite does on an input or output error.
    sqlx::query("ROLLBACK").execute(&mut *write).await.unwrap();
    drop(write);
    catalog.create_user(&user("next", 10)).await.unwrap();
}

#[tokio::test]
async fn a_write_left_half_way_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = a_catalog(&folder).await;
    let mut write = catalog.write().await.unwrap();
    sqlx::query("INSERT INTO users (name, password_hash, admin, created) VALUES ('half', '', 0, 0)")
        .execute(&mut *write)
        .await
        .unwrap();
    drop(write);
    catalog.create_user(&user("half", 10)).await.unwrap();
    assert_eq!(catalog.users().await.unwrap().len(), 1);
}

#[tokio::test]
async fn readers_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = a_catalog(&folder).await;
    let refused = sqlx::query("DELETE FROM users").execute(&catalog.readers).await;
    assert!(refused.unwrap_err().to_string().contains("readonly"));
}

#[tokio::test]
async fn the_key_of_an_erased_tenant_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = a_catalog(&folder).await;
    let key: Vec<u8> = (0..65).map(|n: u8| n.wrapping_mul(37) ^ 0xa5).collect();
    let name = TenantId::parse("a").unwrap();
    let tenant = Tenant {
        name: name.clone(),
        workspace: Workspace::parse("w").unwrap(),
        uid: Uuid::new_v4(),
        wrapped_key: key.clone(),
        created: Timestamp::from_nanos(0),
    };
    catalog.create_tenant(&tenant).await.unwrap();
    let is_in_a_file = || {
        std::fs::read_dir(folder.path()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(key.len()).any(|part| part == key)
        })
    };
    assert!(is_in_a_file());
    // It is in the file itself, and not only in the journal.
    catalog.wipe().await.unwrap();
    assert!(is_in_a_file());
    let new = NewTenantErasure {
        id: Uuid::new_v4(),
        tenant: name,
        by: "a test".to_owned(),
        at: Timestamp::from_nanos(1),
    };
    catalog.erase_tenant(&new).await.unwrap();
    assert!(!is_in_a_file(), "from the first moment on");
    catalog.finish_erasure(new.id, Timestamp::from_nanos(2)).await.unwrap();
    assert!(!is_in_a_file());
}
