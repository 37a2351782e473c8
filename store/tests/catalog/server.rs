//! What only a catalog on a server lives through: one that comes late, crashes, falls silent, or will not do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use heliograph_store::Error;
use heliograph_store::catalog::{self, Catalog, NewTenantErasure, Tenant};
use sqlx::{Connection, Executor, PgConnection};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::postgres_server::{Server, shared};
use crate::words::{INDEXER, a_commit, add_tenants, at, batch, name, needed, producer, tenant};

async fn open(url: &str) -> Result<Arc<dyn Catalog>, Error> {
    catalog::open(&url.into(), None).await
}

async fn refused(url: &str) -> String {
    let text = open(url).await.map(drop).unwrap_err().to_string();
    assert!(text.starts_with("catalog.url: postgres://"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    text
}

async fn change(url: &str, statements: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(statements)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_comes_late_is_waited_for() {
    let server = Arc::new(Server::prepare("-c fsync=off"));
    let url = server.url("postgres");
    let starting = async {
        // Time to find nobody; if that should not be enough, it only waits less.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || server.start_again()).await.unwrap();
    };
    let (opened, ()) = tokio::join!(open(&url), starting);
    opened.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_comes_is_given_up() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = refused(&format!("postgres://me:hunter2@127.0.0.1:{port}/logs")).await;
    assert!(text.starts_with(&format!("catalog.url: postgres://me@127.0.0.1:{port}/logs: ")), "{text}");
    assert!(text.ends_with("(waited for 60 s)"), "{text}");
}

#[tokio::test]
async fn what_does_not_pass_by_itself_is_told_at_once() {
    let url = shared().url("nowhere");
    let text = refused(&url).await;
    assert!(text.contains("database \"nowhere\" does not exist: make it first: CREATE DATABASE"), "{text}");

    let postgres = shared().url("postgres");
    change(&postgres, "CREATE DATABASE bytes TEMPLATE template0 ENCODING SQL_ASCII").await;
    let text = refused(&shared().url("bytes")).await;
    assert!(text.contains("its encoding is SQL_ASCII: make one with CREATE DATABASE"), "{text}");

    change(&postgres, "CREATE ROLE nobody NOLOGIN; CREATE ROLE reader LOGIN").await;
    let as_user = |user: &str, url: &str| url.replace("user=postgres", &format!("user={user}"));
    let text = refused(&as_user("nobody", &postgres)).await;
    assert!(text.contains("not permitted to log in: check its user, and catalog.password"), "{text}");

    let url = shared().new_database(None).await;
    let text = refused(&as_user("reader", &url)).await;
    assert!(text.contains("permission denied for schema public: give its user the right"), "{text}");
}

#[tokio::test]
async fn a_server_shows_who_it_is() {
    let server = Server::start("-c fsync=off -c ssl=on");
    let url =
        |host: &str, rest: &str| format!("postgres://postgres@{host}:{}/postgres?{rest}", server.port());
    let trusted = format!("sslmode=verify-full&sslrootcert={}", server.certificate().display());
    open(&url("localhost", &trusted)).await.unwrap();
    open(&url("localhost", "sslmode=require")).await.unwrap();
    // Told at once, and not after the time that is given to a server that is away.
    for (host, rest) in [("localhost", "sslmode=verify-full"), ("127.0.0.1", &*trusted)] {
        let text = refused(&url(host, rest)).await;
        assert!(text.contains("add sslrootcert=FILE to trust its authority"), "{text}");
        assert!(!text.contains("waited"), "{text}");
    }
    let plain = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=require", shared().port());
    let text = refused(&plain).await;
    assert!(text.contains("server does not support TLS"), "{text}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let url = shared().new_database(None).await;
    open(&url).await.unwrap();
    change(
        &url,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', TRUE, '\\x00', 1)",
    )
    .await;
    let text = refused(&url).await;
    assert!(text.contains("has schema version 9999, this program knows versions up to "), "{text}");
}

#[tokio::test]
async fn many_openers_of_nothing_make_one_of_each() {
    let url = shared().new_database(None).await;
    let opened = futures::future::join_all((0..6).map(|_| open(&url))).await;
    let mut indexers = Vec::new();
    for catalog in opened {
        indexers.push(catalog.unwrap().embedded_indexer().await.unwrap());
    }
    indexers.dedup();
    assert_eq!(indexers.len(), 1);
}

#[tokio::test]
async fn names_that_it_has_no_room_for_are_nobodys() {
    let catalog = open(&shared().new_database(None).await).await.unwrap();
    assert!(catalog.user("a\0b").await.unwrap().is_none());
    assert!(catalog.token("a\0b").await.unwrap().is_none());
    assert_eq!(catalog.grants("a\0b").await.unwrap(), []);
    let refused = catalog.create_user(&crate::words::user("a\0b")).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
}

/// Commits the sequences of one producer, each until it is recorded.
async fn commit_all(catalog: &dyn Catalog, by: &str, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        let mine = a_commit(vec![batch(("a", by, 1, sequence))]);
        loop {
            match catalog.commit(&mine).await {
                Ok(_) => break,
                Err(Error::Catalog(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

/// The server's disk is real here: what was acknowledged must outlive its crash.
#[tokio::test(flavor = "multi_thread")]
async fn crashes_lose_nothing_and_double_nothing() {
    const EACH: u64 = 150;
    let server = Arc::new(Server::start(""));
    let catalog = open(&server.url("postgres")).await.unwrap();
    add_tenants(&*catalog, &["a"]).await;
    let mut writing = JoinSet::new();
    for by in ["p", "q", "r"] {
        let catalog = Arc::clone(&catalog);
        writing.spawn(async move { commit_all(&*catalog, by, 1..=EACH).await });
    }
    for crash in 1..=2 {
        // Into the middle of the work, however fast it goes.
        while catalog
            .producer(&name("a"), &producer("p"))
            .await
            .ok()
            .flatten()
            .is_none_or(|p| p.1 < 40 * crash)
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || {
            server.crash();
            server.start_again();
        })
        .await
        .unwrap();
    }
    writing.join_all().await;
    for by in ["p", "q", "r"] {
        assert_eq!(catalog.producer(&name("a"), &producer(by)).await.unwrap(), Some((1, EACH)));
    }
    assert_eq!(needed(&*catalog).await.len() as u64, 3 * EACH, "one commit for each sequence");
}

/// A way to a server on which nothing arrives while it is held; it ends with its task.
async fn way_to(port: u16) -> (u16, watch::Sender<bool>, JoinSet<()>) {
    let (hold, held) = watch::channel(false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = listener.local_addr().unwrap().port();
    let mut way = JoinSet::new();
    way.spawn(async move {
        let mut passing = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (client, server) = (client.into_split(), server.into_split());
            passing.spawn(pass(client.0, server.1, held.clone()));
            passing.spawn(pass(server.0, client.1, held.clone()));
        }
    });
    (front, hold, way)
}

async fn pass(
    from: tokio::net::tcp::OwnedReadHalf,
    to: tokio::net::tcp::OwnedWriteHalf,
    mut held: watch::Receiver<bool>,
) {
    let mut buffer = [0; 8192];
    loop {
        from.readable().await.unwrap();
        let read = match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        if held.wait_for(|held| !held).await.is_err() {
            return;
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            to.writable().await.unwrap();
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}

#[tokio::test]
async fn a_silent_server_keeps_nobody_for_ever() {
    let url = shared().new_database(None).await;
    let database = url.split(['/', '?']).nth(3).unwrap();
    let (port, hold, _way) = way_to(shared().port()).await;
    let catalog = open(&format!("postgres://postgres@127.0.0.1:{port}/{database}")).await.unwrap();
    add_tenants(&*catalog, &["a"]).await;
    let mine = a_commit(vec![batch(("a", "p", 1, 1))]);
    let silence = async |catalog: &dyn Catalog| {
        hold.send_replace(true);
        // Its bounds are long, so their time is made short.
        tokio::time::pause();
        for _ in 0..20 {
            assert!(matches!(catalog.commit(&mine).await, Err(Error::Catalog(_))));
            assert!(matches!(catalog.tenants().await, Err(Error::Catalog(_))));
        }
        tokio::time::resume();
        hold.send_replace(false);
    };
    silence(&*catalog).await;
    assert_eq!(catalog.tenants().await.unwrap().len(), 1, "more silent calls than connections");
    let id = catalog.commit(&mine).await.unwrap();
    silence(&*catalog).await;
    assert_eq!(catalog.commit(&mine).await.unwrap(), id);
    assert_eq!(catalog.wal_objects(INDEXER).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_key_of_an_erased_tenant_is_in_no_table() {
    let server = Server::start("-c fsync=off");
    let url = server.url("postgres");
    let catalog = open(&url).await.unwrap();
    let key: Vec<u8> = (0..65).map(|n: u8| n.wrapping_mul(37) ^ 0xa5).collect();
    let a = Tenant { wrapped_key: key.clone(), ..tenant("a") };
    catalog.create_tenant(&a).await.unwrap();
    add_tenants(&*catalog, &["b"]).await;
    let folder = server.tables();
    let files = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_in_a_table = || {
        let databases = files(&folder).filter(|path| path.is_dir());
        databases.flat_map(|database| files(&database)).any(|file| {
            let bytes = std::fs::read(file).unwrap();
            bytes.windows(key.len()).any(|part| part == key)
        })
    };
    change(&url, "CHECKPOINT").await;
    assert!(is_in_a_table());
    let new = NewTenantErasure { id: Uuid::new_v4(), tenant: name("a"), by: "a test".to_owned(), at: at(1) };
    catalog.erase_tenant(&new).await.unwrap();
    catalog.finish_erasure(new.id, at(2)).await.unwrap();
    change(&url, "CHECKPOINT").await;
    assert!(!is_in_a_table());
    assert_eq!(catalog.tenants().await.unwrap().len(), 1);
}
