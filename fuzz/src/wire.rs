//! Bodies of requests.

use heliograph_model::codec;

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
