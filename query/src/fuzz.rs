//! What the fuzz targets reach of the query role.

use std::sync::LazyLock;

use heliograph_model::cipher::SecretKey;
use heliograph_model::time::Timestamp;
use secrecy::ExposeSecret as _;

use crate::access::{Cookie, Principal};
use crate::cursor::{Binding, Cursors};

static CURSORS: LazyLock<Cursors> = LazyLock::new(|| Cursors::with(vec![SecretKey::from_bytes([3; 32])]));

/// Opens a cursor that nobody sealed.
pub fn cursor(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let binding = Binding::new("search", &Principal::User("ada".to_owned()));
    let opened: Result<serde_json::Value, _> = CURSORS.open(&binding, &text, Timestamp::from_nanos(0));
    assert!(opened.is_err(), "{text:?} was taken for a cursor");
}

/// Reads the cookies of a request: at most one session, which is a part of what was sent.
pub fn cookie(bytes: &[u8]) {
    let Ok(value) = http::HeaderValue::from_bytes(bytes) else { return };
    let mut headers = http::HeaderMap::new();
    headers.insert(http::header::COOKIE, value);
    for secure in [false, true] {
        let cookie = Cookie { secure };
        for found in [cookie.of(&headers), cookie.pending_of(&headers)] {
            let Ok(Some(found)) = found else { continue };
            let found = found.expose_secret();
            assert!(!found.contains(';') && String::from_utf8_lossy(bytes).contains(found), "{found:?}");
        }
    }
}

/// Reads what the client of a tail says.
pub fn tail_message(bytes: &[u8]) {
    crate::tail::read_message(bytes);
}

/// Reads the parameters of a request's query, as the search does.
pub fn parameters(bytes: &[u8]) {
    drop(crate::http::read_parameters(bytes, Timestamp::from_nanos(1_795_694_400_000_000_000)));
}
