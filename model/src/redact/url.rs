//! Passwords in URLs and in connection strings that look like one: `scheme://user:PASSWORD@host`.

use std::ops::Range;

/// How far beyond a `/`, `?` or `#` in a password its end may be: so much is looked at behind each `://` at most.
const BEYOND_BYTES_MAX: usize = 256;

/// The password behind `://`, which ends at `at`. Takes passwords that nobody escaped as well, but for spaces and
/// quotes: ports, paths and digests of images are none.
pub(super) fn password(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.as_bytes().get(at..)?;
    let is_end = |b: &u8| b.is_ascii_whitespace() || b"\"'<>`".contains(b);
    let is_beyond = |b: &u8| b"/?#".contains(b);
    let user = rest.iter().position(|b| is_end(b) || is_beyond(b) || *b == b':')?;
    if rest.get(user) != Some(&b':') {
        return None;
    }
    let start = user + 1;
    // An address of mail, or a user at a host whose port or path follows.
    let is_address = rest.get(..user)?.contains(&b'@');
    let tail = rest.get(start..)?;
    let length = tail.iter().position(|b| is_end(b) || is_beyond(b)).unwrap_or(tail.len());
    let (authority, beyond) = tail.split_at_checked(length)?;
    let length = match authority.iter().rposition(|b| *b == b'@') {
        Some(length) => length,
        // A port, or none, and then a path with an @ in it.
        None if is_address || authority.iter().all(u8::is_ascii_digit) => return None,
        None => {
            let stop = beyond.iter().take(BEYOND_BYTES_MAX).position(|b| *b == b'@' || is_end(b))?;
            length + (beyond.get(stop) == Some(&b'@')).then_some(stop)?
        }
    };
    let is_digest = tail.get(length + 1..).is_some_and(|host| host.starts_with(b"sha256:"));
    let bytes = at + start..at + start + length;
    let secret = text.get(bytes.clone())?;
    let is_stand_in =
        secret.starts_with("${") || secret.starts_with('{') || secret.bytes().all(|b| b == b'*');
    (!is_digest && !is_stand_in).then_some(bytes)
}
