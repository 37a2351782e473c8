//! Requests: their bodies and heads, and what roles say to one another.

use heliograph_model::codec;
use heliograph_model::scan::FeedFrame;

/// What a decompression may come to here.
const EXPANDED_MAX: usize = 1 << 20;

/// Records that are read are written as records that are read alike.
pub(crate) fn codec(bytes: &[u8]) {
    let Ok(rows) = codec::decode(bytes) else { return };
    let again = codec::decode(&codec::encode_rows(&rows));
    assert!(again.is_ok_and(|again| again.to_records() == rows.to_records()));
}

/// Compressed bytes come to no more than they may.
pub(crate) fn decompress(bytes: &[u8]) {
    if let Ok(plain) = codec::decompress(bytes, EXPANDED_MAX) {
        assert!(plain.len() <= EXPANDED_MAX);
    }
    heliograph_indexer::fuzz::expand(bytes, EXPANDED_MAX);
}

/// An OTLP request in protobuf.
pub(crate) fn otlp_protobuf(bytes: &[u8]) {
    heliograph_indexer::fuzz::otlp(bytes, false);
}

/// An OTLP request in JSON.
pub(crate) fn otlp_json(bytes: &[u8]) {
    heliograph_indexer::fuzz::otlp(bytes, true);
}

/// An Elasticsearch bulk request.
pub(crate) fn bulk(bytes: &[u8]) {
    heliograph_indexer::fuzz::bulk(bytes);
}

/// A cursor that somebody made up opens nothing.
pub(crate) fn cursor(bytes: &[u8]) {
    heliograph_query::fuzz::cursor(bytes);
}

/// A value of `Authorization`.
pub(crate) fn authorization(bytes: &[u8]) {
    heliograph_indexer::fuzz::authorization(bytes);
}

/// A value of `Cookie`.
pub(crate) fn cookie(bytes: &[u8]) {
    heliograph_query::fuzz::cookie(bytes);
}

/// The part of a URL behind `?`.
pub(crate) fn parameters(bytes: &[u8]) {
    heliograph_query::fuzz::parameters(bytes);
}

/// A message of a tail's client.
pub(crate) fn tail_message(bytes: &[u8]) {
    heliograph_query::fuzz::tail_message(bytes);
}

/// A line of an indexer's feed: one that is read is written as one that is read alike.
pub(crate) fn feed_frame(bytes: &[u8]) {
    let Ok(frame) = serde_json::from_slice::<FeedFrame<'_>>(bytes) else { return };
    let written = serde_json::to_string(&frame);
    let again = written.as_ref().ok().and_then(|text| {
        let frame: FeedFrame<'_> = serde_json::from_str(text).ok()?;
        serde_json::to_string(&frame).ok()
    });
    assert_eq!(written.ok(), again, "{frame:?}");
}
