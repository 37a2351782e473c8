//! What the fuzz targets reach of the query role.

use std::sync::LazyLock;

use heliograph_model::cipher::SecretKey;
use heliograph_model::time::Timestamp;

use crate::access::Principal;
use crate::cursor::{Binding, Cursors};

static CURSORS: LazyLock<Cursors> = LazyLock::new(|| Cursors::with(vec![SecretKey::from_bytes([3; 32])]));

/// Opens a cursor that nobody sealed.
pub fn cursor(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let binding = Binding::new("search", &Principal::User("ada".to_owned()));
    let opened: Result<serde_json::Value, _> = CURSORS.open(&binding, &text, Timestamp::from_nanos(0));
    assert!(opened.is_err(), "{text:?} was taken for a cursor");
}
