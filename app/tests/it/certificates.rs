//! `heliograph admin tls init`: what it makes, what it leaves alone, and what it refuses.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
        [("ca.crt", 0o644), ("tls.crt", 0o644), ("tls.key", 0o600)]
            .map(|(file, mode)| (format!("{role}/{file}"), mode))
    };
    let mut expected = vec![("ca.crt".to_owned(), 0o644), ("ca.key".to_owned(), 0o600)];
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
