//! What the names of rotated files say: from which path they come, and which is the oldest.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::identity::born;
use super::survey::Found;

/// Ordinals have at most so many digits; longer numbers are times.
const ORDINAL_DIGITS_MAX: usize = 4;

/// Whether the name is of a file that rotation has compressed, and that we can read.
pub(crate) fn is_gzip(name: &Path) -> bool {
    name.extension().is_some_and(|e| e == "gz")
}

/// The names from which rotation may have made this one, longest first: `x.log` for `x.log.1`, `x.log.1.gz`,
/// `x.log-20261124`, `0.log.20261124-101500`.
pub(crate) fn rotated_from(name: &OsStr) -> Vec<&OsStr> {
    let Some(text) = name.to_str() else { return vec![] };
    let text = text.strip_suffix(".gz").unwrap_or(text);
    let plain = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_' | b':' | b'T' | b'Z' | b'+');
    let tail = text.bytes().rev().take_while(plain).count();
    let first = text.len() - tail;
    (first.max(1)..text.len())
        .rev()
        .filter_map(|at| {
            let (base, suffix) = text.split_at_checked(at)?;
            let digits = suffix.bytes().filter(u8::is_ascii_digit).count();
            let begins = suffix.strip_prefix(['.', '-'])?.starts_with(|c: char| c.is_ascii_digit());
            (begins && digits > 0 && !base.ends_with(['.', '-'])).then_some(OsStr::new(base))
        })
        .collect()
}

/// What follows the path in the name of a file that rotation made of it.
fn suffix(path: &Path, name: &Path) -> Option<String> {
    let (path, name) = (path.file_name()?.to_str()?, name.file_name()?.to_str()?);
    let rest = name.strip_suffix(".gz").unwrap_or(name).strip_prefix(path)?;
    rest.strip_prefix(['.', '-']).filter(|r| !r.is_empty()).map(str::to_owned)
}

fn ordinal(suffix: &str) -> Option<u32> {
    if suffix.len() <= ORDINAL_DIGITS_MAX { suffix.parse().ok() } else { None }
}

/// The files of a path, oldest first, the live one last: by ordinal (`.2` before `.1`) if all have one, by the
/// time in the name if all have one, else by birth.
pub(crate) fn oldest_first(path: &Path, mut found: Vec<(PathBuf, Found)>) -> Vec<Found> {
    let suffixes: Option<Vec<String>> =
        found.iter().filter(|(_, f)| !f.live).map(|(name, _)| suffix(path, name)).collect();
    let ordinals = suffixes.as_ref().is_some_and(|all| all.iter().all(|s| ordinal(s).is_some()));
    let times = suffixes.is_some_and(|all| all.iter().all(|s| ordinal(s).is_none()));
    let of = |name: &Path| suffix(path, name).unwrap_or_default();
    if ordinals {
        found.sort_by_key(|(name, f)| (f.live, ordinal(&of(name))));
        if !ordinals_rise(path, &found) {
            let rotated = found.iter().take_while(|(_, f)| !f.live).count();
            found.get_mut(..rotated).unwrap_or_default().reverse();
        }
    } else if times {
        found.sort_by_key(|(name, f)| (f.live, of(name)));
    } else {
        found.sort_by_key(|(name, f)| (f.live, born(&f.meta), f.meta.mtime(), name.clone()));
    }
    found.into_iter().map(|(_, f)| f).collect()
}

/// Whether ordinals count upwards (`.2` newer than `.1`, as log4j2 can), not the usual way round: so if every
/// file was born, and last written, after the one of the ordinal below.
fn ordinals_rise(path: &Path, by_ordinal: &[(PathBuf, Found)]) -> bool {
    let plain = |(name, f): &(PathBuf, Found)| {
        let age = (born(&f.meta), (f.meta.mtime(), f.meta.mtime_nsec()));
        (!f.live && suffix(path, name).is_some() && !f.content.is_gzip()).then_some(age)
    };
    let ages: Vec<_> = by_ordinal.iter().filter_map(plain).collect();
    ages.len() > 1 && ages.windows(2).all(|w| matches!(w, [a, b] if a.0 < b.0 && a.1 <= b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &[&str]) {
        assert_eq!(rotated_from(OsStr::new(name)), expected, "{name}");
    }

    #[test]
    fn names_that_rotation_makes() {
        check("x.log.1", &["x.log"]);
        check("x.log-20261124", &["x.log"]);
        check("0.log.20261124-101500", &["0.log.20261124", "0.log"]);
        check("x.log", &[]);
        check("x.log.1.gz", &["x.log"]);
        check("0.log.20261124-101500.gz", &["0.log.20261124", "0.log"]);
        check("x.log.gz", &[]);
        check("attempt=1.log", &[]);
        check("x.log.swp", &[]);
        check("1", &[]);
        check(".1", &[]);
    }
}
