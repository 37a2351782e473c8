//! One log event, its place in the total order, and its form in JSON.

use std::borrow::Cow;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::airflow::Identity;
use crate::error::{Error, Result};
use crate::level::Level;
use crate::source::{Component, Position, Source, SourceId, Stream};
use crate::tenant::TenantId;
use crate::time::Timestamp;

/// Longest message kept whole, in bytes; what is longer is cut with [`CUT_MARK`].
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Longest attribute object, as JSON text, in bytes; a larger one is dropped and [`CUT_MARK`] said instead.
pub const ATTRIBUTES_BYTES_MAX: usize = 256 << 10;
/// Longest value of an identity field, in bytes (Airflow's ids are at most 250 characters).
pub const FIELD_BYTES_MAX: usize = 1024;
/// What stands where something was cut.
pub const CUT_MARK: &str = " …[cut by heliograph]";

/// What stands where attributes were dropped, for they were too large.
const CUT_ATTRIBUTES: &str = r#"{"heliograph.cut":"…[cut by heliograph]"}"#;

/// The place of a record in the total order of its tenant's records; unique and stable for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    /// Event time; within one source it never falls.
    pub time: Timestamp,
    /// The source.
    pub source: SourceId,
    /// The place in the source.
    pub position: Position,
}

impl RecordKey {
    /// Lower than every real key of `time` or later.
    pub const fn first_at(time: Timestamp) -> Self {
        Self { time, source: SourceId(0), position: Position(0) }
    }

    /// The 32 bytes of the key, whose byte order is the key's order.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        // Flipping the sign bit makes the byte order of negative times right.
        out[..8].copy_from_slice(&(self.time.as_nanos() ^ i64::MIN).to_be_bytes());
        out[8..24].copy_from_slice(&self.source.0.to_be_bytes());
        out[24..].copy_from_slice(&self.position.0.to_be_bytes());
        out
    }

    /// Reads [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let word = |at: usize| {
            let mut w = [0; 8];
            w.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(w)
        };
        Self {
            time: Timestamp::from_nanos(word(0).cast_signed() ^ i64::MIN),
            source: SourceId((u128::from(word(8)) << 64) | u128::from(word(16))),
            position: Position(word(24)),
        }
    }
}

/// The opaque text that names a record in the API: a version, a tag of the tenant, the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordId {
    tenant_tag: u64,
    /// The record's key.
    pub key: RecordKey,
}

impl RecordId {
    const VERSION: u8 = 1;

    /// The id of a tenant's record.
    pub fn new(tenant: &TenantId, key: RecordKey) -> Self {
        Self { tenant_tag: xxh3_64(tenant.as_str().as_bytes()), key }
    }

    /// Whether the id may name a record of this tenant. Only sorts out: access is decided elsewhere.
    pub fn may_belong_to(&self, tenant: &TenantId) -> bool {
        self.tenant_tag == xxh3_64(tenant.as_str().as_bytes())
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |reason: &str| Error::Decode { what: "record id", reason: reason.to_owned() };
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|e| bad(&e.to_string()))?;
        let Some((&[version], rest)) = bytes.split_first_chunk::<1>() else { return Err(bad("it is empty")) };
        if version != Self::VERSION {
            return Err(bad("its version is not known"));
        }
        let Some((tag, rest)) = rest.split_first_chunk::<8>() else { return Err(bad("it is too short")) };
        let key: &[u8; 32] = rest.try_into().map_err(|_| bad("its length is wrong"))?;
        Ok(Self { tenant_tag: u64::from_be_bytes(*tag), key: RecordKey::from_bytes(key) })
    }
}

impl std::fmt::Display for RecordId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = [0; 41];
        bytes[0] = Self::VERSION;
        bytes[1..9].copy_from_slice(&self.tenant_tag.to_be_bytes());
        bytes[9..].copy_from_slice(&self.key.to_bytes());
        f.write_str(&BASE64URL_NOPAD.encode(&bytes))
    }
}

/// What a line said beyond the named fields: a JSON object, kept as compact text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Option<Box<str>>);

impl Attributes {
    /// From an object; an empty one is no attributes, one over [`ATTRIBUTES_BYTES_MAX`] is replaced by a mark.
    pub fn from_map(map: &Map<String, Value>) -> Self {
        if map.is_empty() {
            return Self(None);
        }
        match serde_json::to_string(map) {
            Ok(text) if text.len() <= ATTRIBUTES_BYTES_MAX => Self(Some(text.into())),
            _ => Self(Some(CUT_ATTRIBUTES.into())),
        }
    }

    /// From the text of a JSON object; anything else is an error.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::check_json(text).map(|text| Self::from_trusted_json(&text))
    }

    /// The text of a JSON object as attributes keep it: as it is where it is an object on one line within the
    /// bounds, and written anew where it is not; empty for an empty one. Anything else is an error.
    pub fn check_json(text: &str) -> Result<Cow<'_, str>> {
        if text.is_empty() {
            return Ok(Cow::Borrowed(""));
        }
        let bad = |e: serde_json::Error| Error::Decode { what: "attributes", reason: e.to_string() };
        if is_plain_object(text) {
            // Looked at without being built: most are small, flat, and written by us.
            serde_json::from_str::<IgnoredAny>(text).map_err(bad)?;
            return Ok(Cow::Borrowed(text));
        }
        Self::bound_json(text)
    }

    /// The same of a text that is known to be a JSON object, or empty.
    pub fn bound_json(text: &str) -> Result<Cow<'_, str>> {
        if text.is_empty() || is_plain_object(text) {
            return Ok(Cow::Borrowed(text));
        }
        // Not read first: values take many times the memory of their text.
        if text.len() > ATTRIBUTES_BYTES_MAX {
            return Ok(Cow::Borrowed(CUT_ATTRIBUTES));
        }
        let bad = |e: serde_json::Error| Error::Decode { what: "attributes", reason: e.to_string() };
        let map = serde_json::from_str::<Map<String, Value>>(text).map_err(bad)?;
        Ok(Cow::Owned(Self::from_map(&map).as_json().to_owned()))
    }

    /// The object that stands for dropped ones.
    pub(crate) fn cut_json() -> String {
        CUT_ATTRIBUTES.to_owned()
    }

    /// From text that [`Self::as_json`] gave, unchecked but for its first byte: for authenticated stores.
    pub fn from_trusted_json(text: &str) -> Self {
        if text.starts_with('{') { Self(Some(text.into())) } else { Self(None) }
    }

    /// The object as compact JSON text; empty where there are none.
    pub fn as_json(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// Whether a text is kept as it is if it is JSON at all: an object with something in it, on one line, of
/// bounded size, and surely not nested deeper than `serde_json` reads.
fn is_plain_object(text: &str) -> bool {
    const NESTED_MAX: usize = 100;
    let bytes = text.as_bytes();
    bytes.len() <= ATTRIBUTES_BYTES_MAX
        && bytes.starts_with(b"{\"")
        && memchr::memchr2(b'\n', b'\r', bytes).is_none()
        && memchr::memchr2_iter(b'{', b'[', bytes).count() <= NESTED_MAX
}

/// One log event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Event time; the agent lets it never fall within one source, so that file order is time order.
    pub time: Timestamp,
    /// When it was read or received.
    pub observed: Timestamp,
    /// The place in its source.
    pub position: Position,
    /// Where it comes from.
    pub source: Arc<Source>,
    /// How grave; `None` where the line does not say.
    pub level: Option<Level>,
    /// The output it was written to, where known.
    pub stream: Option<Stream>,
    /// Which task, as the line or the path says.
    pub identity: Identity,
    /// The text: what a person reads.
    pub message: Box<str>,
    /// All else that the line said.
    pub attributes: Attributes,
}

impl Record {
    /// The place in the total order.
    pub fn key(&self) -> RecordKey {
        RecordKey { time: self.time, source: self.source.id, position: self.position }
    }

    /// About how many bytes of memory it holds.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.message.len() + self.attributes.as_json().len() + self.identity.text_bytes()
    }

    /// The record, wherever its parts lie.
    pub fn as_ref(&self) -> RecordRef<'_> {
        RecordRef {
            time: self.time,
            observed: self.observed,
            position: self.position,
            source: &self.source,
            level: self.level,
            stream: self.stream,
            identity: &self.identity,
            message: &self.message,
            attributes: self.attributes.as_json(),
        }
    }

    /// The form of the query API, for one tenant's record.
    pub fn to_api<'a>(&'a self, tenant: &'a TenantId) -> ApiRecord<'a> {
        self.as_ref().to_api(tenant)
    }
}

/// One log event whose parts lie somewhere else: in a [`Record`], or among [`crate::rows::Rows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Event time.
    pub time: Timestamp,
    /// When it was read or received.
    pub observed: Timestamp,
    /// The place in its source.
    pub position: Position,
    /// Where it comes from.
    pub source: &'a Arc<Source>,
    /// How grave.
    pub level: Option<Level>,
    /// The output it was written to.
    pub stream: Option<Stream>,
    /// Which task.
    pub identity: &'a Identity,
    /// The text.
    pub message: &'a str,
    /// A JSON object as compact text, or empty.
    pub attributes: &'a str,
}

impl<'a> RecordRef<'a> {
    /// The place in the total order.
    pub fn key(&self) -> RecordKey {
        RecordKey { time: self.time, source: self.source.id, position: self.position }
    }

    /// A record of its own.
    pub fn to_record(&self) -> Record {
        Record {
            time: self.time,
            observed: self.observed,
            position: self.position,
            source: Arc::clone(self.source),
            level: self.level,
            stream: self.stream,
            identity: self.identity.clone(),
            message: self.message.into(),
            attributes: Attributes::from_trusted_json(self.attributes),
        }
    }

    /// Bytes of its texts.
    pub fn text_bytes(&self) -> usize {
        self.message.len() + self.attributes.len()
    }

    /// The form of the query API, for one tenant's record.
    pub fn to_api(&self, tenant: &TenantId) -> ApiRecord<'a> {
        let text = |s: &'a Option<Box<str>>| s.as_deref().map(Cow::Borrowed);
        let shared = |s: &'a Option<Arc<str>>| s.as_deref().map(Cow::Borrowed);
        ApiRecord {
            id: RecordId::new(tenant, self.key()).to_string(),
            timestamp: self.time,
            message: Cow::Borrowed(self.message),
            level: self.level,
            tenant: tenant.clone(),
            component: self.source.component.clone(),
            namespace: text(&self.source.namespace),
            pod: text(&self.source.pod),
            container: text(&self.source.container),
            node: text(&self.source.node),
            stream: self.stream,
            dag_id: shared(&self.identity.dag_id),
            task_id: shared(&self.identity.task_id),
            run_id: shared(&self.identity.run_id),
            map_index: self.identity.map_index,
            try_number: self.identity.try_number,
            log_id: shared(&self.identity.log_id),
            logger: shared(&self.identity.logger),
            // Attributes are valid JSON by construction.
            attributes: (!self.attributes.is_empty())
                .then(|| RawValue::from_string(self.attributes.to_owned()).ok())
                .flatten(),
        }
    }
}

/// A record as the query API gives it; absent fields are left out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a"))]
pub struct ApiRecord<'a> {
    /// The opaque [`RecordId`].
    pub id: String,
    /// Event time, RFC 3339 with nanoseconds.
    #[serde(rename = "@timestamp")]
    pub timestamp: Timestamp,
    /// The text.
    pub message: Cow<'a, str>,
    /// Severity.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub level: Option<Level>,
    /// Whose it is.
    pub tenant: TenantId,
    /// Which part of Airflow.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub component: Option<Component>,
    /// Kubernetes namespace.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub namespace: Option<Cow<'a, str>>,
    /// Kubernetes pod.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod: Option<Cow<'a, str>>,
    /// Container within the pod.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container: Option<Cow<'a, str>>,
    /// Node or host.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub node: Option<Cow<'a, str>>,
    /// stdout or stderr.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stream: Option<Stream>,
    /// Airflow DAG.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dag_id: Option<Cow<'a, str>>,
    /// Airflow task.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub task_id: Option<Cow<'a, str>>,
    /// Airflow DAG run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run_id: Option<Cow<'a, str>>,
    /// Index of a mapped task; -1 where not mapped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub map_index: Option<i32>,
    /// Which try, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub try_number: Option<u32>,
    /// Airflow's key of a task try's log.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub log_id: Option<Cow<'a, str>>,
    /// The logger's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub logger: Option<Cow<'a, str>>,
    /// All else.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attributes: Option<Box<RawValue>>,
}

impl ApiRecord<'_> {
    /// Back to a record; what the API form leaves out (observed time, file path) is gone.
    pub fn into_record(self) -> Result<Record> {
        let id = RecordId::parse(&self.id)?;
        let boxed = |s: Option<Cow<'_, str>>| s.map(|s| Box::from(s.as_ref()));
        let shared = |s: Option<Cow<'_, str>>| s.map(|s| Arc::from(s.as_ref()));
        let attributes = match self.attributes {
            Some(raw) => Attributes::from_json(raw.get())?,
            None => Attributes::default(),
        };
        Ok(Record {
            time: id.key.time,
            observed: id.key.time,
            position: id.key.position,
            source: Arc::new(Source {
                id: id.key.source,
                component: self.component,
                namespace: boxed(self.namespace),
                pod: boxed(self.pod),
                container: boxed(self.container),
                node: boxed(self.node),
                path: None,
            }),
            level: self.level,
            stream: self.stream,
            identity: Identity {
                dag_id: shared(self.dag_id),
                task_id: shared(self.task_id),
                run_id: shared(self.run_id),
                map_index: self.map_index,
                try_number: self.try_number,
                log_id: shared(self.log_id),
                logger: shared(self.logger),
            },
            message: self.message.into(),
            attributes,
        })
    }
}

/// Cuts a text to `limit` bytes at a character's edge and says so.
pub fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let end = (0..=limit).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    Cow::Owned(format!("{}{CUT_MARK}", text.get(..end).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_lead_back_and_keys_sort_as_their_bytes(a: (i64, u128, u64), b: (i64, u128, u64)) {
            let key = |(t, s, p)| RecordKey { time: Timestamp::from_nanos(t), source: SourceId(s), position: Position(p) };
            let (a, b) = (key(a), key(b));
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
            let id = RecordId::new(&TenantId::parse("t").unwrap(), a);
            prop_assert_eq!(RecordId::parse(&id.to_string()).unwrap(), id);
        }

        #[test]
        fn foreign_ids_never_panic(text in "[A-Za-z0-9_-]{0,80}") {
            drop(RecordId::parse(&text));
        }
    }

    #[test]
    fn attributes_are_kept_as_they_are_written_anew_or_cut() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Attributes::bound_json(text).unwrap(), expected);
            assert_eq!(Attributes::check_json(text).unwrap(), expected);
        };
        check("", "");
        check("{}", "");
        check(r#"{"a": 1}"#, r#"{"a": 1}"#);
        check("{\"a\":\r1}", r#"{"a":1}"#);
        check(&format!(r#"{{"a":"{}"}}"#, "x".repeat(ATTRIBUTES_BYTES_MAX)), CUT_ATTRIBUTES);
        assert!(CUT_ATTRIBUTES.contains(CUT_MARK.trim()));
        assert!(Attributes::check_json(r#"{"a":}"#).is_err());
    }

    #[test]
    fn cutting_keeps_characters_whole() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("aäb", 2), format!("a{CUT_MARK}"));
    }
}
