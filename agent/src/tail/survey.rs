//! What lies around a path: the file it names now, and the files that it named before and that rotation has
//! renamed, oldest first.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::identity::{FileIdentity, born};
use super::open::Reach;

/// How often a directory is read again because it changed under our eyes.
const TRIES_MAX: usize = 20;
/// Most rotated files of one path that are looked at.
const ROTATED_MAX: usize = 256;

/// A file of a rotation.
#[derive(Debug)]
pub(crate) struct Found {
    /// Open, so that it stays the same file.
    pub file: File,
    /// What the descriptor says.
    pub meta: Metadata,
    /// Which file it is.
    pub identity: FileIdentity,
    /// Whether the path itself names it.
    pub live: bool,
}

/// The files of a path, oldest first, the live one last. Also finds files of the inodes `wanted` under any
/// name in the directory.
///
/// Rotation renames one file after the other; a look in between could miss one. So the directory is read
/// until two looks agree.
pub(crate) fn survey(reach: &Reach, path: &Path, wanted: &BTreeSet<u64>) -> io::Result<Vec<Found>> {
    let mut before = look(path, wanted)?;
    for _ in 0..TRIES_MAX {
        let found = open_all(reach, path, &before);
        let after = look(path, wanted)?;
        let same = before == after;
        before = after;
        if same && let Some(found) = found? {
            return Ok(found);
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "its directory does not come to rest"))
}

/// Names and inodes of the files of a path.
type Names = BTreeSet<(PathBuf, u64)>;

fn look(path: &Path, wanted: &BTreeSet<u64>) -> io::Result<Names> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Names::new()) };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Names::new()),
        Err(e) => return Err(e),
    };
    let mut names = Names::new();
    for entry in entries {
        let entry = entry?;
        let found = entry.file_name();
        if found == name || wanted.contains(&entry.ino()) || rotated_from(&found).contains(&name) {
            // The directory's own numbers differ from the files' on some file systems (overlays).
            match entry.metadata() {
                Ok(meta) => drop(names.insert((entry.path(), meta.ino()))),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(names)
}

/// Opens all; none where a name has come to name another file.
fn open_all(reach: &Reach, path: &Path, names: &Names) -> io::Result<Option<Vec<Found>>> {
    let mut found: Vec<(PathBuf, Found)> = vec![];
    for (name, ino) in names.iter().take(ROTATED_MAX) {
        let live = name == path;
        let (file, meta) = match reach.open(name) {
            Ok(open) => open,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            // A sibling that is not ours to read is none; the path itself must be readable.
            Err(_) if !live => continue,
            Err(e) => return Err(e),
        };
        // A link's own inode is not its target's; only what was not a link can be checked.
        if meta.ino() != *ino && !name.is_symlink() {
            return Ok(None);
        }
        let identity = FileIdentity::of(&file, &meta)?;
        if !found.iter().any(|(_, f)| f.meta.ino() == meta.ino() && f.meta.dev() == meta.dev()) {
            found.push((name.clone(), Found { file, meta, identity, live }));
        } else if live {
            found.retain(|(_, f)| f.meta.ino() != meta.ino() || f.meta.dev() != meta.dev());
            found.push((name.clone(), Found { file, meta, identity, live }));
        }
    }
    let rising = ordinals_rise(&found);
    found.sort_by(|(a, x), (b, y)| {
        x.live.cmp(&y.live).then_with(|| by_age((a.file_name(), &x.meta), (b.file_name(), &y.meta), rising))
    });
    Ok(Some(found.into_iter().map(|(_, f)| f).collect()))
}

/// Whether ordinals count upwards (`.2` newer than `.1`, as log4j2 can), not the usual way round: so if every
/// file was born, and last written, after the one of the ordinal below.
fn ordinals_rise(found: &[(PathBuf, Found)]) -> bool {
    let mut ages: Vec<_> = found
        .iter()
        .filter(|(_, f)| !f.live)
        .filter_map(|(name, f)| {
            Some((ordinal(&suffix(name.file_name())?)?, born(&f.meta), f.meta.mtime(), f.meta.mtime_nsec()))
        })
        .collect();
    ages.sort_unstable();
    ages.len() > 1 && ages.windows(2).all(|w| matches!(w, [a, b] if a.1 < b.1 && (a.2, a.3) <= (b.2, b.3)))
}

fn suffix(name: Option<&OsStr>) -> Option<String> {
    Some(name?.to_str()?.rsplit_once(['.', '-'])?.1.to_owned())
}

fn ordinal(suffix: &str) -> Option<u32> {
    if suffix.len() <= 4 { suffix.parse().ok() } else { None }
}

/// Older before newer: by ordinal (`.2` before `.1`, or where they rise the other way round), by the time in the
/// name, else by birth.
fn by_age(a: (Option<&OsStr>, &Metadata), b: (Option<&OsStr>, &Metadata), rising: bool) -> Ordering {
    let (x, y) = (suffix(a.0), suffix(b.0));
    match (x.as_deref().and_then(ordinal), y.as_deref().and_then(ordinal)) {
        (Some(x), Some(y)) if rising => x.cmp(&y),
        (Some(x), Some(y)) => y.cmp(&x),
        (None, None) if x.is_some() && y.is_some() && is_rotated(a.0) && is_rotated(b.0) => a.0.cmp(&b.0),
        _ => (born(a.1), a.1.mtime()).cmp(&(born(b.1), b.1.mtime())),
    }
}

fn is_rotated(name: Option<&OsStr>) -> bool {
    name.is_some_and(|n| !rotated_from(n).is_empty())
}

/// The names from which rotation may have made this one, longest first: `x.log` for `x.log.1`,
/// `x.log-20261124`, `0.log.20261124-101500`; none for compressed files, which hold other bytes.
pub(crate) fn rotated_from(name: &OsStr) -> Vec<&OsStr> {
    let Some(text) = name.to_str() else { return vec![] };
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
        check("x.log.1.gz", &[]);
        check("attempt=1.log", &[]);
        check("x.log.swp", &[]);
        check("1", &[]);
        check(".1", &[]);
    }

    #[test]
    fn files_are_found_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        for (name, text) in [("x.log.10", "a"), ("x.log.2", "b"), ("x.log.1", "c"), ("x.log", "d"), ("y", "")]
        {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let found = survey(&Reach::Anywhere, &path, &BTreeSet::new()).unwrap();
        let read = |f: &Found| io::read_to_string(&f.file).unwrap();
        assert_eq!(found.iter().map(read).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(found.iter().map(|f| f.live).collect::<Vec<_>>(), [false, false, false, true]);
    }

    #[test]
    fn ordinals_that_rise_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        for name in ["x.log.1", "x.log.2", "x.log.10", "x.log"] {
            let at = dir.path().join(name);
            std::fs::write(&at, name).unwrap();
            // Birth times are as coarse as the kernel's tick.
            let one = born(&std::fs::metadata(&at).unwrap());
            let probe = dir.path().join("probe");
            while born(&std::fs::metadata(&probe).unwrap_or_else(|_| std::fs::metadata(&at).unwrap())) <= one
            {
                drop(std::fs::remove_file(&probe));
                std::fs::write(&probe, "").unwrap();
            }
            std::fs::remove_file(&probe).unwrap();
        }
        let found = survey(&Reach::Anywhere, &path, &BTreeSet::new()).unwrap();
        let read = |f: &Found| io::read_to_string(&f.file).unwrap();
        assert_eq!(found.iter().map(read).collect::<Vec<_>>(), ["x.log.1", "x.log.2", "x.log.10", "x.log"]);
    }
}
