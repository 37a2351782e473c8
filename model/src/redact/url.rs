//! Passwords in URLs and in connection strings that look like one: `scheme://user:PASSWORD@host`.

use std::ops::Range;

/// Longest user or password: what is looked at behind each `://`.
const PART_BYTES_MAX: usize = 256;

/// The password behind `://`, which ends at `at`. Takes passwords that nobody escaped as well, but for spaces and
/// quotes: ports, paths and digests of images are none.
pub(super) fn password(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?.as_bytes();
    let is_end = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'<' | b'>' | b'`');
    let user = rest.iter().take(PART_BYTES_MAX).position(|b| is_end(b) || b":/?#@".contains(b))?;
    if rest.get(user) != Some(&b':') {
        return None;
    }
    let start = user + 1;
    let tail = rest.get(start..)?;
    let tail =
        tail.iter().take(PART_BYTES_MAX).position(is_end).map_or(tail, |end| tail.get(..end).unwrap_or(tail));
    let tail = tail.get(..PART_BYTES_MAX).unwrap_or(tail);
    let authority = tail.iter().position(|b| b"/?#".contains(b)).unwrap_or(tail.len());
    let (authority, beyond) = tail.split_at_checked(authority)?;
    let length = match authority.iter().rposition(|b| *b == b'@') {
        Some(length) => length,
        // A port, or none, and then a path with an @ in it.
        None if authority.iter().all(u8::is_ascii_digit) => return None,
        None => authority.len() + beyond.iter().position(|b| *b == b'@')?,
    };
    let is_digest = tail.get(length + 1..).is_some_and(|host| host.starts_with(b"sha256:"));
    let secret = text.get(at + start..at + start + length)?;
    let is_stand_in =
        secret.starts_with("${") || secret.starts_with('{') || secret.bytes().all(|b| b == b'*');
    (!is_digest && !is_stand_in).then_some(at + start..at + start + length)
}
