//! What lies around a path: the file it names now, and the files that it named before and that rotation has
//! renamed, oldest first.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::content::Content;
use super::identity::{FileIdentity, HEAD_BYTES, Head};
use super::names::{is_gzip, oldest_first, rotated_from};
use super::open::Reach;

/// How often a directory is read again because it changed under our eyes.
const TRIES_MAX: usize = 20;
/// Most rotated files of one path that are looked at: those that were written to last.
const ROTATED_MAX: usize = 1024;

/// A file of a rotation.
#[derive(Debug)]
pub(crate) struct Found {
    /// Open, so that it stays the same file.
    pub content: Content,
    /// What the descriptor says.
    pub meta: Metadata,
    /// How it begins.
    pub head: Head,
    /// Which file it is.
    pub identity: FileIdentity,
    /// Whether the path itself names it.
    pub live: bool,
    /// Whether its name is the path's, or one that rotation makes of it. Another may have had the inode of one
    /// of ours: it is ours only if it is recognised.
    pub kin: bool,
}

impl Found {
    /// Opens a file; `live` says whether the path itself names it.
    pub(crate) fn open(reach: &Reach, name: &Path, live: bool) -> io::Result<Self> {
        let (file, meta) = reach.open(name)?;
        let mut content = Content::of(file, !live && is_gzip(name))?;
        let head = Head::read(&mut content, HEAD_BYTES)?;
        Ok(Self { content, identity: FileIdentity::of(&meta, &head), meta, head, live, kin: true })
    }

    /// Bytes of text.
    pub(crate) fn len(&self) -> u64 {
        self.content.len().unwrap_or_default()
    }

    /// Whether it begins as `identity`, reaches up to `offset`, and has the bytes before it of which `before` is
    /// the hash (0: not known).
    pub(crate) fn goes_on(&mut self, identity: &FileIdentity, offset: u64, before: u64) -> io::Result<bool> {
        Ok(self.len() >= offset
            && identity.begins(&self.head)
            && (before == 0 || self.content.hash_before(offset)? == before))
    }
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
    let mut files = vec![];
    for entry in entries {
        let entry = entry?;
        let found = entry.file_name();
        if found == name || wanted.contains(&entry.ino()) || rotated_from(&found).contains(&name) {
            // The directory's own numbers differ from the files' on some file systems (overlays).
            match entry.metadata() {
                Ok(meta) => files.push((meta.modified()?, entry.path(), meta.ino())),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }
    let is_old = |name: &Path, ino| name != path && !wanted.contains(&ino);
    files.sort_unstable_by_key(|(written, name, ino)| (is_old(name, *ino), std::cmp::Reverse(*written)));
    files.truncate(1 + ROTATED_MAX);
    let mut names: Names = files.into_iter().map(|(_, name, ino)| (name, ino)).collect();
    // While it is being compressed, a file lies there twice.
    let plain: BTreeSet<_> = names.iter().map(|(name, _)| name.clone()).collect();
    names.retain(|(name, _)| !(is_gzip(name) && plain.contains(&name.with_extension(""))));
    Ok(names)
}

/// Opens all; none where a name has come to name another file.
fn open_all(reach: &Reach, path: &Path, names: &Names) -> io::Result<Option<Vec<Found>>> {
    let mut found: Vec<(PathBuf, Found)> = vec![];
    for (name, ino) in names {
        let live = name == path;
        let mut file = match Found::open(reach, name, live) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            // A sibling that is not ours to read is none; the path itself must be readable.
            Err(_) if !live => continue,
            Err(e) => return Err(e),
        };
        // A link's own inode is not its target's; only what was not a link can be checked.
        if file.meta.ino() != *ino && !name.is_symlink() {
            return Ok(None);
        }
        if file.content.is_damaged() {
            continue;
        }
        let base = path.file_name();
        file.kin =
            live || name.file_name().is_some_and(|n| rotated_from(n).into_iter().any(|b| Some(b) == base));
        let same = |f: &Found| f.meta.ino() == file.meta.ino() && f.meta.dev() == file.meta.dev();
        if live {
            found.retain(|(_, f)| !same(f));
        }
        if live || !found.iter().any(|(_, f)| same(f)) {
            found.push((name.clone(), file));
        }
    }
    Ok(Some(oldest_first(path, found)))
}

#[cfg(test)]
mod tests {
    use super::super::identity::born;
    use super::*;

    #[test]
    fn files_are_found_oldest_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        for (name, text) in [("x.log.10", "a"), ("x.log.2", "b"), ("x.log.1", "c"), ("x.log", "d"), ("y", "")]
        {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let mut found = survey(&Reach::Anywhere, &path, &BTreeSet::new()).unwrap();
        let read = |f: &mut Found| {
            let mut bytes = [0; 20];
            let n = f.content.read_full(&mut bytes, 0).unwrap();
            String::from_utf8(bytes.get(..n).unwrap().to_vec()).unwrap()
        };
        assert_eq!(found.iter_mut().map(read).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(found.iter().map(|f| f.live).collect::<Vec<_>>(), [false, false, false, true]);
    }

    #[test]
    fn of_very_many_the_newest_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        std::fs::write(&path, "live").unwrap();
        for n in 1..=2 * ROTATED_MAX as u64 {
            let file = std::fs::File::create(dir.path().join(format!("x.log.{n}"))).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 - n)).unwrap();
        }
        let names = look(&path, &BTreeSet::new()).unwrap();
        let name = |n: usize| dir.path().join(format!("x.log.{n}"));
        assert_eq!(names.len(), 1 + ROTATED_MAX);
        assert!((1..=ROTATED_MAX).all(|n| names.iter().any(|(found, _)| *found == name(n))));
        assert!(names.iter().any(|(found, _)| *found == path));
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
        let mut found = survey(&Reach::Anywhere, &path, &BTreeSet::new()).unwrap();
        let read = |f: &mut Found| {
            let mut bytes = [0; 20];
            let n = f.content.read_full(&mut bytes, 0).unwrap();
            String::from_utf8(bytes.get(..n).unwrap().to_vec()).unwrap()
        };
        assert_eq!(
            found.iter_mut().map(read).collect::<Vec<_>>(),
            ["x.log.1", "x.log.2", "x.log.10", "x.log"]
        );
    }
}
