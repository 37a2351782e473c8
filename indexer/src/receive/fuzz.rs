//! Bodies as requests bring them, for the fuzz targets.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use heliograph_model::codec;
use heliograph_model::redact::Redactor;
use heliograph_model::source::Position;
use heliograph_model::tenant::TenantId;
use heliograph_model::time::Timestamp;

use super::encoding::{Encoding, Limits};
use super::otlp::{self, Format, Origin};
use super::redaction::Redaction;
use super::{Decoded, Positions, bulk as documents};

const LIMITS: Limits = Limits { body: 1 << 20, expanded: 4 << 20 };
const RECEIVED: Timestamp = Timestamp::from_nanos(1_795_694_400_000_000_000);

/// All default rules.
static REDACTOR: LazyLock<Option<Arc<Redactor>>> =
    LazyLock::new(|| Redactor::new(&BTreeSet::new(), Vec::new()).ok().map(Arc::new));

fn redaction() -> Redaction {
    Redaction { redactor: REDACTOR.clone(), tenant: TENANT.clone() }
}

static TENANT: LazyLock<TenantId> = LazyLock::new(|| match TenantId::parse("a") {
    Ok(tenant) => tenant,
    Err(error) => unreachable!("{error}"),
});

/// What is stored is what is searched until then, and has no secret that a second look would take.
fn holds(decoded: &Decoded) {
    let plain = codec::decompress(&decoded.payload, 1 << 28);
    let stored = plain.and_then(|plain| codec::decode(&plain));
    assert!(stored.is_ok_and(|stored| stored.to_records() == decoded.rows.to_records()));
    let again = REDACTOR.as_ref().and_then(|all| all.redact(&TENANT, &decoded.rows).ok().flatten());
    assert!(
        again.is_none(),
        "{:?} became {:?}",
        decoded.rows.to_records(),
        again.map(|of| of.rows.to_records())
    );
}

/// An OTLP request of somebody who is no agent.
pub fn otlp(bytes: &[u8], is_json: bool) {
    let mut next = 0;
    let origin = Origin::Foreign {
        producer: "token".to_owned(),
        received: RECEIVED,
        next_position: Box::new(move || {
            next += 1;
            Position(next)
        }),
    };
    let format = if is_json { Format::Json } else { Format::Protobuf };
    let body = Bytes::copy_from_slice(bytes);
    if let Ok(decoded) = otlp::decode(origin, format, Encoding::Identity, &body, LIMITS, &redaction()) {
        holds(&decoded);
    }
}

/// An Elasticsearch bulk request.
pub fn bulk(bytes: &[u8]) {
    let Ok(index) = documents::index(None) else { return };
    let batch =
        documents::Batch { tenant: TENANT.clone(), producer: "token".to_owned(), received: RECEIVED, index };
    let body = Bytes::copy_from_slice(bytes);
    let decoded =
        documents::decode(&batch, &Positions::default(), Encoding::Identity, &body, LIMITS, &redaction());
    if let Ok((decoded, items)) = decoded {
        holds(&decoded);
        let answer = [b"[", &*items.bytes, b"]"].concat();
        let items: Result<Vec<serde_json::Value>, _> = serde_json::from_slice(&answer);
        assert!(items.is_ok_and(|items| items.len() >= decoded.rows.len()));
    }
}

/// A compressed body comes to no more than it may.
pub fn expand(bytes: &[u8], limit: usize) {
    let body = Bytes::copy_from_slice(bytes);
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let expanded = encoding.expand(&body, Limits { body: limit, expanded: limit });
        assert!(expanded.map_or(true, |plain| plain.len() <= limit));
    }
}
