//! What goes in comes out, and nothing else does.

use heliograph_model::cipher::SecretKey;
use heliograph_model::tenant::TenantId;
use proptest::prelude::*;

use super::*;
use crate::layout::new_object_id;

fn tenant(name: &str) -> Arc<OpenTenant> {
    Arc::new(OpenTenant {
        name: TenantId::parse(name).unwrap(),
        uid: Uuid::new_v4(),
        key: SecretKey::generate().unwrap(),
    })
}

/// An object of two tenants' batches, with the tenants.
fn an_object() -> (ObjectId, Bytes, [Arc<OpenTenant>; 2]) {
    let tenants = [tenant("a"), tenant("b")];
    let texts = [(0, "the first of a"), (1, "of b"), (0, "the second of a")];
    let object = new_object_id();
    let batch = |(whose, text): (usize, &'static str)| WalBatch {
        tenant: Arc::clone(&tenants[whose]),
        payload: Bytes::from_static(text.as_bytes()),
    };
    let bytes = write(object, &texts.map(batch)).unwrap();
    (object, bytes, tenants)
}

fn open_all(object: ObjectId, bytes: Bytes, tenants: &[Arc<OpenTenant>]) -> Vec<Result<Bytes>> {
    let open = |batch: SealedBatch| {
        let tenant = tenants.iter().find(|t| t.uid == batch.tenant_uid).unwrap();
        batch.open(tenant)
    };
    read(object, bytes).unwrap().into_iter().map(open).collect()
}

fn changed(bytes: &Bytes, at: usize, bit: u8) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= bit;
    bytes.into()
}

#[test]
fn the_frame_is_as_drawn() {
    let one = tenant("a");
    let object = new_object_id();
    let bytes =
        write(object, &[WalBatch { tenant: Arc::clone(&one), payload: Bytes::from_static(b"hi") }]).unwrap();
    assert_eq!(bytes.len(), 8 + 20 + 2 + 16 + 8);
    assert_eq!(&bytes[..8], b"HGLOWAL\x01");
    assert_eq!(&bytes[8..24], one.uid.as_bytes());
    assert_eq!(bytes[24..28], [18, 0, 0, 0]);
    assert_eq!(bytes[46..50], [1, 0, 0, 0]);
    assert_eq!(write(object, &[]).unwrap().len(), 16);
    assert!(read(object, write(object, &[]).unwrap()).unwrap().is_empty());
}

#[test]
fn an_object_cut_off_anywhere_is_damaged() {
    let (object, bytes, _) = an_object();
    for length in 0..bytes.len() {
        let error = read(object, bytes.slice(..length)).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{length}: {error}");
    }
    let longer: Bytes = [&bytes[..], &[0]].concat().into();
    assert!(matches!(read(object, longer), Err(Error::Corrupt { .. })));
}

#[test]
fn a_changed_bit_costs_its_own_batch_only() {
    let (object, bytes, tenants) = an_object();
    let (mut frame, mut payload) = (0, 0);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let changed = changed(&bytes, at, 1 << bit);
            match read(object, changed.clone()) {
                Err(Error::Corrupt { .. }) => frame += 1,
                Err(error) => panic!("{error}"),
                Ok(_) => {
                    payload += 1;
                    let lost = open_all(object, changed, &tenants).iter().filter(|b| b.is_err()).count();
                    assert_eq!(lost, 1, "byte {at}, bit {bit}");
                }
            }
        }
    }
    let texts = "the first of a".len() + "of b".len() + "the second of a".len();
    assert_eq!(payload, 8 * (texts + 3 * TAG_BYTES));
    assert_eq!(frame, 8 * (HEAD_BYTES + 3 * BATCH_HEAD_BYTES + TRAILER_BYTES));
}

#[test]
fn a_batch_opens_for_its_tenant_in_its_place_only() {
    let (object, bytes, [a, b]) = an_object();
    let batches = read(object, bytes.clone()).unwrap();
    assert!(matches!(batches[0].clone().open(&b), Err(Error::Key { .. })));
    // As if b's row had a's uid: the key differs.
    let posing = OpenTenant { name: b.name.clone(), uid: a.uid, key: b.key.clone() };
    assert!(matches!(batches[0].clone().open(&posing), Err(Error::Corrupt { .. })));
    // Moved to another tenant, to another place, to another object.
    let moved = SealedBatch { tenant_uid: b.uid, ..batches[0].clone() };
    assert!(moved.open(&b).is_err());
    let moved = SealedBatch { number: 2, ..batches[0].clone() };
    assert!(moved.open(&a).is_err());
    assert!(read(new_object_id(), bytes).unwrap().remove(0).open(&a).is_err());
    assert_eq!(batches[2].clone().open(&a).unwrap(), "the second of a");
}

#[test]
fn a_later_version_is_told() {
    let (object, bytes, _) = an_object();
    let error = read(object, changed(&bytes, 7, 3)).unwrap_err().to_string();
    let expected = format!(
        "write-ahead object {} is damaged: its version is [2], this program knows 1",
        object.simple()
    );
    assert_eq!(error, expected);
}

proptest! {
    #[test]
    fn batches_come_back_in_order(
        payloads in proptest::collection::vec((0_usize..3, proptest::collection::vec(any::<u8>(), 0..300)), 0..9)
    ) {
        let tenants = ["a", "b", "c"].map(tenant);
        let object = new_object_id();
        let batches: Vec<_> = payloads
            .iter()
            .map(|(whose, p)| WalBatch { tenant: Arc::clone(&tenants[*whose]), payload: p.clone().into() })
            .collect();
        let bytes = write(object, &batches).unwrap();
        for (_, payload) in payloads.iter().filter(|(_, p)| p.len() >= 8) {
            prop_assert!(!bytes.windows(payload.len()).any(|w| w == payload.as_slice()), "in clear");
        }
        let found = open_all(object, bytes, &tenants);
        prop_assert_eq!(found.len(), payloads.len());
        for (found, (_, payload)) in found.into_iter().zip(payloads) {
            prop_assert_eq!(found.unwrap(), payload);
        }
    }

    #[test]
    fn any_bytes_are_taken_apart_or_refused(
        is_framed in any::<bool>(),
        tail in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let head: &[u8] = if is_framed { b"HGLOWAL\x01" } else { b"" };
        drop(read(new_object_id(), [head, &tail].concat().into()));
    }
}
