//! `heliograph admin tls …`: what it makes, what it leaves alone, what it takes back, and what it refuses.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::command::run;
use crate::server::files_below;

/// Every file, by its path in the folder, with its mode and content.
fn all(dir: &Path) -> BTreeMap<String, (u32, String)> {
    let of = |path: std::path::PathBuf| {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let name = path.strip_prefix(dir).unwrap().display().to_string();
        (name, (mode, std::fs::read_to_string(path).unwrap()))
    };
    files_below(dir).into_iter().map(of).collect()
}

#[tokio::test]
async fn keys_are_their_owners_alone_and_the_next_run_renews() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("tls");
    let init = async |more: &[&str]| {
        run(&[&["admin", "tls", "init", "--dir", dir.to_str().unwrap()], more].concat()).await
    };
    let said = init(&["--name", "logs.example.com", "--name", "agent=*.nodes.example.com"]).await.fine();
    assert!(said.starts_with("new authority, until "), "{said}");
    let line = |role: &str| said.lines().find(|line| line.starts_with(role)).unwrap().to_owned();
    assert!(
        line("query").ends_with("for heliograph-query, localhost, 127.0.0.1, ::1, logs.example.com"),
        "{said}"
    );
    assert!(line("indexer").ends_with("127.0.0.1, ::1, logs.example.com"), "{said}");
    assert!(line("agent").ends_with("for heliograph-agent, *.nodes.example.com"), "{said}");

    let first = all(&dir);
    let modes: Vec<_> = first.iter().map(|(name, (mode, _))| (name.as_str(), *mode)).collect();
    let of_role = |role: &str| {
        [("ca.crt", 0o644), ("ca.crl", 0o644), ("tls.crt", 0o644), ("tls.key", 0o600)]
            .map(|(file, mode)| (format!("{role}/{file}"), mode))
    };
    let mut expected = [("ca.crt", 0o644), ("ca.crl", 0o644), ("ca.key", 0o600)]
        .map(|(file, mode)| (file.to_owned(), mode))
        .to_vec();
    expected.extend(["indexer", "query", "agent"].into_iter().flat_map(of_role));
    expected.sort();
    assert_eq!(modes, expected.iter().map(|(name, mode)| (name.as_str(), *mode)).collect::<Vec<_>>());
    for (name, (_, text)) in &first {
        assert!(!said.contains(text.lines().nth(1).unwrap()), "{name} is shown");
        assert_eq!(text.contains("PRIVATE KEY"), name.ends_with(".key"), "{name}");
    }

    let again = init(&["--days", "30"]).await.fine();
    assert!(again.starts_with("authority, as before, until "), "{again}");
    let second = all(&dir);
    assert!(first.keys().eq(second.keys()), "{second:?}");
    for (name, content) in &first {
        assert_eq!(second[name] == *content, name.contains("ca."), "{name}");
    }

    init(&["--days", "1825"]).await.fine();
    let forced = init(&["--force"]).await.fine();
    assert!(forced.starts_with("new authority"), "{forced}");
    let third = all(&dir);
    assert!(first.iter().all(|(name, content)| third[name] != *content));
}

#[tokio::test]
async fn what_is_not_its_own_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let refuses = async |why: &[&str]| {
        let before = all(dir);
        run(&["admin", "tls", "init", "--dir", dir.to_str().unwrap()]).await.failed(1, why);
        assert_eq!(all(dir), before);
    };
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    std::fs::create_dir(dir.join("query")).unwrap();
    write("query/tls.key", "of somebody else");
    refuses(&["query/tls.key is there, but no authority", "--force"]).await;
    std::fs::remove_file(dir.join("query/tls.key")).unwrap();
    write("ca.key", "of somebody else");
    refuses(&["only one is there"]).await;
    write("ca.crt", "of somebody else");
    refuses(&["ca.key is not a key in PEM"]).await;

    run(&["admin", "tls", "init", "--dir", dir.to_str().unwrap(), "--force"]).await.fine();
    let other = tempfile::tempdir().unwrap();
    run(&["admin", "tls", "init", "--dir", other.path().to_str().unwrap()]).await.fine();
    std::fs::copy(other.path().join("ca.key"), dir.join("ca.key")).unwrap();
    refuses(&["ca.key is not the key of ca.crt"]).await;
}

#[tokio::test]
async fn names_and_days_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("tls");
    for (argument, why) in [
        ("--name=web=logs.example.com", "there is no role \"web\""),
        ("--name=logs..example.com", "is not a name like"),
        ("--name=https://logs.example.com", "is not a name like"),
        ("--name=a.*.example.com", "is not a name like"),
        ("--name=", "is not a name like"),
        ("--days=0", "0 is not in 1..=1825"),
    ] {
        run(&["admin", "tls", "init", "--dir", dir.to_str().unwrap(), argument]).await.failed(2, &[why]);
    }
    assert!(!dir.try_exists().unwrap());
}

/// Serial numbers on the list of a folder, as the list has them.
fn revoked(list: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(list).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
    let (_, list) = CertificateRevocationList::from_der(&pem.contents).unwrap();
    list.iter_revoked_certificates().map(|entry| entry.raw_serial_as_string()).collect()
}

#[tokio::test]
async fn a_node_has_a_certificate_of_its_own_and_what_is_revoked_stays_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("tls");
    let path = |name: &str| dir.join(name).display().to_string();
    let tls = async |words: &[&str]| {
        run(&[&["admin", "tls"], words, &["--dir", dir.to_str().unwrap()]].concat()).await
    };
    tls(&["node", "n1"]).await.failed(1, &["there is no authority in"]);
    tls(&["init"]).await.fine();
    let list = dir.join("indexer/ca.crl");
    assert_eq!(revoked(&list), [""; 0]);
    let of_roles = all(&dir);
    let said = tls(&["node", "n1", "n2.example"]).await.fine();
    assert!(said.contains("n1 until ") && said.contains("certificate = \"n2.example\""), "{said}");
    let made = all(&dir);
    assert!(of_roles.iter().all(|(name, content)| made[name] == *content), "roles keep theirs");
    assert_eq!(made["agent-n1/tls.key"].0, 0o600);
    let certificate = std::fs::read(dir.join("agent-n1/tls.crt")).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&certificate).unwrap();
    let parsed = pem.parse_x509().unwrap();
    assert_eq!(parsed.subject().to_string(), "CN=n1");
    let first = parsed.raw_serial_as_string();

    let said = tls(&["revoke", &path("agent-n1/tls.crt")]).await.fine();
    assert!(said.starts_with("is revoked: CN=n1, until ") && said.contains("1 in all"), "{said}");
    assert_eq!(revoked(&list), std::slice::from_ref(&first));
    assert_eq!(std::fs::read(&list).unwrap(), std::fs::read(dir.join("ca.crl")).unwrap());
    // The next one is another, and the one before it is still at hand.
    tls(&["node", "n1"]).await.fine();
    let both = [path("agent-n1/tls.crt"), path("agent-n1/former.crt")];
    let said = tls(&["revoke", &both[0], &both[1]]).await.fine();
    assert!(said.contains("is revoked: CN=n1") && said.contains("is revoked already: CN=n1"), "{said}");
    assert_eq!((revoked(&list).len(), &revoked(&list)[0]), (2, &first));
    tls(&["init"]).await.fine();
    assert_eq!(revoked(&list).len(), 2, "kept");

    let before = all(&dir);
    let other = tempfile::tempdir().unwrap();
    let others = other.path().join("query/tls.crt").display().to_string();
    run(&["admin", "tls", "init", "--dir", other.path().to_str().unwrap()]).await.fine();
    tls(&["revoke", &path("query/tls.crt"), &others]).await.failed(1, &["is not of the authority here"]);
    tls(&["revoke", &path("ca.crt")]).await.failed(1, &["it is the authority itself"]);
    tls(&["revoke", &path("query/tls.key")]).await.failed(1, &["it is no certificate"]);
    tls(&["revoke", &path("nothing")]).await.failed(1, &["cannot read"]);
    std::fs::copy(other.path().join("ca.crl"), dir.join("ca.crl")).unwrap();
    tls(&["revoke", &path("query/tls.crt")]).await.failed(1, &["ca.crl", "not signed by the authority here"]);
    std::fs::write(dir.join("ca.crl"), &before["ca.crl"].1).unwrap();
    assert_eq!(all(&dir), before);
    for name in ["heliograph-indexer", "Localhost", "10.0.0.1", "a b", "../n", "*.n", ""] {
        tls(&["node", name]).await.failed(2, &["node"]);
    }
    assert_eq!(all(&dir), before);

    tls(&["init", "--force"]).await.fine();
    assert_eq!(revoked(&list), [""; 0], "a new authority has taken nothing back");
}
