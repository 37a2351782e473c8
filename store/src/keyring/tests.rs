//! The ring and its file: made once, read in any form, changed as a whole.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use data_encoding::{BASE64, BASE64URL_NOPAD};

use super::*;

const SETTING: &str = "keys.master_key_file";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_key_file_is_made_once_for_its_owner_alone() {
    let folder = folder();
    let path = folder.path().join("keys/deep/master.key");
    let tenant = Uuid::new_v4();
    let key = SecretKey::generate().unwrap();
    let ring = KeyRing::open(&path).unwrap();
    let wrapped = ring.wrap(ring.first().unwrap(), tenant, &key).unwrap();
    assert_eq!(wrapped.len(), 81);
    let again = KeyRing::open(&path).unwrap();
    assert_eq!(again.unwrap(tenant, &wrapped).unwrap().expose(), key.expose());

    let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.len() == 45 && text.ends_with("=\n"));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn racing_openers_end_with_one_key() {
    let folder = folder();
    let path = folder.path().join("master.key");
    let keys: Vec<_> = std::thread::scope(|s| {
        let opened: Vec<_> = (0..8).map(|_| s.spawn(|| KeyRing::open(&path).unwrap())).collect();
        opened.into_iter().map(|t| t.join().unwrap().first().unwrap()).collect()
    });
    assert!(keys.windows(2).all(|w: &[KeyId]| w[0] == w[1]));
}

#[track_caller]
fn check(content: &[u8], expected: Option<[u8; 32]>) {
    let folder = folder();
    let path = folder.path().join("k");
    fs::write(&path, content).unwrap();
    match (KeyRing::open(&path), expected) {
        (Ok(ring), Some(key)) => {
            let found = ring.keys.read().iter().map(|named| *named.key.expose()).collect::<Vec<_>>();
            assert_eq!(found, [key]);
        }
        (Err(Error::Config { setting: SETTING, reason }), None) => {
            assert!(reason.contains("/k does not hold a key"), "{reason}");
        }
        (found, _) => panic!("{found:?}"),
    }
    assert_eq!(fs::read(&path).unwrap(), content, "the file is as it was");
}

#[test]
fn keys_are_read_as_base64_hex_or_bytes() {
    let key = [0xfb; 32];
    check(&key, Some(key));
    check(BASE64.encode(&key).as_bytes(), Some(key));
    check(format!(" {}\r\n", BASE64.encode(&key)).as_bytes(), Some(key));
    check(BASE64URL_NOPAD.encode(&key).as_bytes(), Some(key));
    check("fB".repeat(32).as_bytes(), Some(key));
}

#[test]
fn anything_else_is_not_a_key() {
    check(b"", None);
    check(b"secret\n", None);
    check(&[7; 33], None);
    check(BASE64.encode(&[1; 16]).as_bytes(), None);
    check("zz".repeat(32).as_bytes(), None);
    check(&vec![b'A'; 100_000], None);
}

#[test]
fn a_folder_in_place_of_the_file_is_named() {
    let folder = folder();
    let error = KeyRing::open(folder.path()).unwrap_err();
    assert!(error.to_string().starts_with(folder.path().to_str().unwrap()), "{error}");
}

#[track_caller]
fn ring_of(lines: &[[u8; 32]]) -> (tempfile::TempDir, KeyRing) {
    let folder = folder();
    let path = folder.path().join("k");
    fs::write(&path, lines.iter().map(|key| BASE64.encode(key) + "\n").collect::<String>()).unwrap();
    let ring = KeyRing::open(&path).unwrap();
    (folder, ring)
}

/// As programs wrapped keys before master keys had names.
fn unnamed(master: [u8; 32], tenant: Uuid, key: &SecretKey) -> Vec<u8> {
    let wrap_id = [9; 16];
    let mut sealed = key.expose().to_vec();
    let derived = SecretKey::from_bytes(master).derive(WRAP_PURPOSE, &wrap_id).unwrap();
    derived.pages().unwrap().seal(0, tenant.as_bytes(), &mut sealed).unwrap();
    [&[UNNAMED_VERSION][..], &wrap_id, &sealed].concat()
}

#[test]
fn several_keys_are_read_in_their_order_each_once() {
    let (folder, ring) = ring_of(&[[1; 32], [2; 32], [1; 32]]);
    assert_eq!(ring.ids().len(), 2);
    assert_eq!(ring.first().unwrap(), KeyId::of(&SecretKey::from_bytes([1; 32])).unwrap());
    let path = folder.path().join("k");
    let wrong = |text: String, said: &str| {
        fs::write(&path, text).unwrap();
        let error = KeyRing::open(&path).unwrap_err().to_string();
        assert!(error.starts_with(SETTING) && error.contains(said), "{error}");
    };
    wrong(format!("{}\nnonsense\n", BASE64.encode(&[1; 32])), "does not hold a key in line 2");
    wrong(format!("{}\n\n{0}\n", BASE64.encode(&[1; 32])), "in line 2");
    wrong((0..9).map(|n| BASE64.encode(&[n; 32]) + "\n").collect(), "more than 8");
}

#[test]
fn a_wrapped_key_opens_with_its_master_for_its_tenant_only() {
    let (_folder, ring) = ring_of(&[[1; 32], [2; 32]]);
    let [first, second] = ring.ids().try_into().unwrap();
    let (tenant, key) = (Uuid::new_v4(), SecretKey::generate().unwrap());
    for by in [first, second] {
        let wrapped = ring.wrap(by, tenant, &key).unwrap();
        assert_eq!((wrapped_by(&wrapped), ring.opener(tenant, &wrapped).unwrap()), (Some(by), by));
        assert_ne!(wrapped, ring.wrap(by, tenant, &key).unwrap(), "each wrapping has an id of its own");
        assert!(!wrapped.windows(8).any(|w| w == &key.expose()[..8]));
        assert_eq!(ring.unwrap(tenant, &wrapped).unwrap().expose(), key.expose());
        let refused = |found: Result<SecretKey>| matches!(found, Err(Error::Key { .. }));
        assert!(refused(ring.unwrap(Uuid::new_v4(), &wrapped)));
        let (_other_folder, other) = ring_of(&[[3; 32]]);
        assert!(refused(other.unwrap(tenant, &wrapped)));
        assert!(matches!(other.wrap(by, tenant, &key), Err(Error::OtherKey { current }) if current == by));
        for at in 1..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert!(refused(ring.unwrap(tenant, &changed)), "byte {at}");
        }
        for cut in 0..wrapped.len() {
            assert!(matches!(ring.unwrap(tenant, &wrapped[..cut]), Err(Error::Corrupt { .. })));
        }
    }
    let shown = format!("{ring:?}");
    assert!(shown.contains("KeyId") && !shown.contains(&BASE64.encode(&[1; 32])), "{shown}");
}

#[test]
fn a_key_without_the_name_of_its_master_opens_with_any_of_the_file() {
    let (_folder, ring) = ring_of(&[[1; 32], [2; 32]]);
    let (tenant, key) = (Uuid::new_v4(), SecretKey::generate().unwrap());
    for (number, master) in [[1; 32], [2; 32]].into_iter().enumerate() {
        let wrapped = unnamed(master, tenant, &key);
        assert_eq!(ring.unwrap(tenant, &wrapped).unwrap().expose(), key.expose());
        assert_eq!(ring.opener(tenant, &wrapped).unwrap(), ring.ids()[number]);
        assert_eq!(wrapped_by(&wrapped), None);
    }
    let foreign = unnamed([3; 32], tenant, &key);
    assert!(matches!(ring.unwrap(tenant, &foreign), Err(Error::Key { .. })));
    assert!(matches!(ring.opener(tenant, &foreign), Err(Error::Key { .. })));
}

#[tokio::test]
async fn a_key_is_added_first_and_the_others_are_taken_out() {
    let (folder, ring) = ring_of(&[[1; 32]]);
    let path = folder.path().join("k");
    let elsewhere = KeyRing::open(&path).unwrap();
    let old = ring.first().unwrap();
    let new = ring.add().await.unwrap();
    assert_eq!(ring.ids(), [new, old]);
    assert_eq!(elsewhere.ids(), [old]);
    elsewhere.reload().await.unwrap();
    assert_eq!(elsewhere.ids(), [new, old]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(ring.keep_first().await.unwrap(), 1);
    assert_eq!((ring.ids(), KeyRing::open(&path).unwrap().ids()), (vec![new], vec![new]));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    // What cannot be read leaves what was known.
    fs::write(&path, "nonsense").unwrap();
    assert!(ring.reload().await.is_err() && ring.add().await.is_err());
    assert_eq!((ring.ids(), fs::read_to_string(&path).unwrap().as_str()), (vec![new], "nonsense"));
}
