//! Opening of files that others name: regular files only, and not out of the allowed root.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, openat};

/// How the files of an input may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only below this directory, and through no symbolic link: what lies there is the tenants'.
    Beneath(Arc<Path>),
    /// Wherever the path leads: it is the operator's own.
    Anywhere,
}

impl Reach {
    /// Opens a regular file to read. Never blocks, whatever the path names.
    pub(crate) fn open(&self, path: &Path) -> io::Result<(File, Metadata)> {
        // Without NONBLOCK, opening a FIFO would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file: File = match self {
            Self::Anywhere => openat(CWD, path, flags, Mode::empty())?.into(),
            Self::Beneath(root) => {
                let below = path.strip_prefix(root).map_err(|_| io::ErrorKind::PermissionDenied)?;
                let parent = below.parent().unwrap_or(Path::new(""));
                let name = below.file_name().ok_or(io::ErrorKind::InvalidInput)?;
                let dir_flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let mut dir = openat(CWD, &**root, dir_flags, Mode::empty())?;
                for part in parent.components() {
                    let Component::Normal(part) = part else {
                        return Err(io::ErrorKind::PermissionDenied.into());
                    };
                    dir = openat(&dir, part, dir_flags | OFlags::NOFOLLOW, Mode::empty())?;
                }
                openat(&dir, name, flags | OFlags::NOFOLLOW, Mode::empty())?.into()
            }
        };
        let meta = file.metadata()?;
        if meta.is_file() {
            Ok((file, meta))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
        }
    }

    /// What a path names now, without opening it.
    pub(crate) fn look(&self, path: &Path) -> io::Result<Metadata> {
        match self {
            Self::Anywhere => std::fs::metadata(path),
            Self::Beneath(_) => std::fs::symlink_metadata(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_regular_files_below_the_root_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("secret.log"), "x").unwrap();
        std::fs::write(root.join("a/0.log"), "x").unwrap();
        symlink(outside.join("secret.log"), root.join("a/1.log")).unwrap();
        symlink(&outside, root.join("b")).unwrap();
        let fifo = root.join("a/2.log");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());

        let reach = Reach::Beneath(root.as_path().into());
        assert!(reach.open(&root.join("a/0.log")).is_ok());
        for refused in ["a/1.log", "b/secret.log", "a/2.log", "a", "a/../../outside/secret.log"] {
            assert!(reach.open(&root.join(refused)).is_err(), "{refused}");
        }
        assert!(reach.open(&outside.join("secret.log")).is_err());
        assert!(Reach::Anywhere.open(&root.join("a/1.log")).is_ok());
        assert!(Reach::Anywhere.open(&fifo).is_err());
    }
}
