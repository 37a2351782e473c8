//! Damaged, moved and foreign bytes: the right answer or an error that names the place.

use heliograph_model::cipher::SecretKey;

use super::*;

/// What all scans of a segment's bytes answer.
async fn answers(tenant: &Arc<OpenTenant>, meta: &SegmentMeta, bytes: Bytes) -> Result<Vec<Answer>> {
    let segment = open(tenant, meta.clone(), bytes.clone()).await?;
    let word = Filter::Is(
        heliograph_model::filter::Field::Message,
        heliograph_model::filter::Test::Text("failed".into()),
    );
    let mut out = Vec::new();
    for asked in [
        everything(),
        Scan { filter: word, ..everything() },
        all(Want::Fields),
        all(Want::Values { field: heliograph_model::filter::Field::DagId }),
    ] {
        out.push(scan(&segment, &asked).await?.0);
    }
    let index = &segment.opened.index;
    for (list, page) in (0..).map_while(|list| Some((list, index.row_list(list)?))) {
        let (start, end) = (page.range().start.try_into().unwrap(), page.range().end.try_into().unwrap());
        assert!(!index.open_row_list(list, bytes.get(start..end).unwrap_or_default())?.is_empty());
    }
    Ok(out)
}

#[tokio::test]
async fn a_changed_byte_is_named_or_does_not_matter() {
    let mut random = sample::Random(5);
    let records = sample::records(&mut random, 40, 3);
    let (tenant, id) = (tenant(), new_object_id());
    let built = built(&tenant, id, &records, 2 << 10);
    let meta = meta(&tenant, id, &built, CommitId(99));
    let expected = answers(&tenant, &meta, built.bytes.clone()).await.unwrap();
    let (mut named, mut parts) = (0, std::collections::BTreeSet::new());
    for at in 0..built.bytes.len() {
        let mut bytes = built.bytes.to_vec();
        bytes[at] ^= 1 << (random.below(8));
        match answers(&tenant, &meta, bytes.into()).await {
            Ok(answers) => assert_eq!(answers, expected, "byte {at}"),
            Err(Error::Corrupt { object, .. } | Error::Key { what: object }) => {
                assert!(object.starts_with(&format!("segment {} ", id.simple())), "{object}");
                named += 1;
                parts.insert(object);
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    // All but the head, which nobody reads.
    assert_eq!(named, built.bytes.len() - footer::HEAD.len());
    for part in ["block 1 messages", "block 0 columns", "row list 0", "footer", "directory", "identifiers"] {
        assert!(parts.iter().any(|p| p.ends_with(part)), "{part} is not among {parts:?}");
    }
}

#[tokio::test]
async fn the_neighbours_of_a_bad_block_are_read() {
    let mut random = sample::Random(6);
    let records = sample::records(&mut random, 400, 3);
    let (tenant, id) = (tenant(), new_object_id());
    let built = built(&tenant, id, &records, 4 << 10);
    let meta = meta(&tenant, id, &built, CommitId(99));
    let mut bytes = built.bytes.to_vec();
    let page = *open(&tenant, meta.clone(), built.bytes.clone())
        .await
        .unwrap()
        .opened
        .index
        .entry(1)
        .unwrap()
        .page(directory::Group::Messages);
    bytes[usize::try_from(page.offset).unwrap() + 3] ^= 1;
    let segment = open(&tenant, meta, bytes.into()).await.unwrap();
    let error = scan(&segment, &everything()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { object, .. } if object.ends_with("block 1 messages")),
        "{error}"
    );
    for (block, entry) in segment.opened.index.entries().iter().enumerate().filter(|(block, _)| *block != 1) {
        let source = segment.opened.index.sources().unwrap().id(entry.sources.start).unwrap();
        let key = heliograph_model::record::RecordKey {
            time: entry.first,
            source,
            position: heliograph_model::source::Position(0),
        };
        // Those of other sources, however described, have nothing to do with the bad block.
        let bad = segment.opened.index.entry(1).unwrap().sources.clone();
        let same = segment.opened.index.sources().unwrap().of_id(source);
        if same.end <= bad.start || bad.end <= same.start {
            let (answer, _) =
                scan(&segment, &all(Want::Around { key, before: 1, after: 100 })).await.unwrap();
            assert!(matches!(answer, Answer::Records(r) if !r.is_empty()), "block {block}");
        }
    }
    // What reads no messages does not mind.
    scan(&segment, &all(Want::Histogram { interval_nanos: 1, by_level: true })).await.unwrap();
}

#[tokio::test]
async fn a_segment_opens_only_as_itself() {
    let mut random = sample::Random(8);
    let records = sample::records(&mut random, 100, 3);
    let (tenant, id) = (tenant(), new_object_id());
    let built = built(&tenant, id, &records, writer::BLOCK_BYTES);
    let own = meta(&tenant, id, &built, CommitId(99));
    let is_key = |result: Result<Segment>| matches!(result, Err(Error::Key { .. }));
    // Another tenant's key, the same uid.
    let other = |uid, key| Arc::new(OpenTenant { name: tenant.name.clone(), uid, key });
    let foreign = other(tenant.uid, SecretKey::generate().unwrap());
    assert!(is_key(open(&foreign, own.clone(), built.bytes.clone()).await));
    // The same key, another uid.
    let moved = other(Uuid::new_v4(), tenant.key.clone());
    assert!(is_key(open(&moved, own.clone(), built.bytes.clone()).await));
    // The same tenant, under another segment's name.
    let renamed = SegmentMeta { id: new_object_id(), ..own.clone() };
    assert!(is_key(open(&tenant, renamed, built.bytes.clone()).await));
    // Cut off, or not what the catalog says.
    for cut in [0, 1, 100, built.bytes.len() - 1] {
        assert!(matches!(
            open(&tenant, own.clone(), built.bytes.slice(..cut)).await,
            Err(Error::Corrupt { .. })
        ));
    }
    let lied = SegmentMeta { index_offset: own.index_offset - 1, ..own };
    assert!(matches!(open(&tenant, lied, built.bytes).await, Err(Error::Corrupt { .. })));
}

#[test]
fn pages_do_not_open_under_another_number() {
    let pages = pages::Pages::new(&tenant(), new_object_id()).unwrap();
    let mut out = Vec::new();
    let page = pages.seal(3, b"text text text text text", 0, &mut out).unwrap();
    assert_eq!(pages.open(3, &page, "p", &out).unwrap(), b"text text text text text");
    assert!(matches!(pages.open(4, &page, "p", &out), Err(Error::Key { .. })));
    let large = pages::Page { plain: u32::MAX, ..page };
    assert!(matches!(pages.open(3, &large, "p", &out), Err(Error::Corrupt { .. })));
}
