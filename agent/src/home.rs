//! The agent's data directory: one agent at a time, its name, its key.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use heliograph_model::batch::ProducerId;
use heliograph_model::cipher::SecretKey;
use heliograph_model::source::{Component, Source, SourceId};
use uuid::Uuid;
use zeroize::Zeroize;

use crate::error::{Error, Result};
use crate::sealed::replace;

/// The directory, held until dropped.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    /// This agent's stable name.
    pub producer: ProducerId,
    /// Seals all that is kept here.
    pub key: SecretKey,
    /// Locked while the agent runs.
    _lock: File,
}

impl Home {
    /// Opens or makes the directory.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(Error::disk(dir))?;
        let lock_path = dir.join("agent.lock");
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(Error::disk(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { path: dir.to_owned() }),
            Err(TryLockError::Error(e)) => return Err(Error::disk(&lock_path)(e)),
        }
        let key = key(&dir.join("spool.key"))?;
        let producer = producer(&dir.join("producer"))?;
        Ok(Self { dir: dir.to_owned(), producer, key, _lock: lock })
    }

    /// Where the spool lies.
    pub(crate) fn spool_dir(&self) -> PathBuf {
        self.dir.join("spool")
    }

    /// What the agent itself has to say comes from here, in each tenant's log.
    pub(crate) fn own_source(&self, node: &str) -> Source {
        Source {
            id: SourceId::of(self.producer.as_str(), "the agent's own words"),
            component: Component::parse("heliograph-agent").ok(),
            node: Some(node.into()),
            ..Source::default()
        }
    }

    /// Where known pods lie.
    pub(crate) fn pods_file(&self) -> PathBuf {
        self.dir.join("pods")
    }

    /// Where refused batches lie.
    pub(crate) fn quarantine_dir(&self) -> PathBuf {
        self.dir.join("quarantine")
    }
}

/// The key file: 32 bytes, made once.
fn key(path: &Path) -> Result<SecretKey> {
    match File::open(path) {
        Ok(mut file) => {
            let mut bytes = [0; 32];
            let read = file.read_exact(&mut bytes);
            let key = SecretKey::from_bytes(bytes);
            bytes.zeroize();
            read.map(|()| key).map_err(|e| Error::Corrupt { path: path.to_owned(), reason: e.to_string() })
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let key = SecretKey::generate().map_err(Error::cipher)?;
            replace(path, key.expose())?;
            Ok(key)
        }
        Err(e) => Err(Error::disk(path)(e)),
    }
}

/// The name file: made once.
fn producer(path: &Path) -> Result<ProducerId> {
    match std::fs::read_to_string(path) {
        Ok(text) => ProducerId::parse(text.trim())
            .map_err(|e| Error::Corrupt { path: path.to_owned(), reason: e.to_string() }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let name = format!("agent-{}", Uuid::new_v4());
            replace(path, name.as_bytes())?;
            ProducerId::parse(&name).map_err(Error::cipher)
        }
        Err(e) => Err(Error::disk(path)(e)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn name_and_key_stay_and_one_agent_has_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(&dir.path().join("data")).unwrap();
        let mode = |name: &str| {
            std::fs::metadata(dir.path().join("data").join(name)).unwrap().permissions().mode() & 0o777
        };
        assert_eq!((mode("spool.key"), mode("")), (0o600, 0o700));
        let refused = Home::open(&dir.path().join("data")).unwrap_err();
        assert!(refused.to_string().ends_with("is in use by another agent"), "{refused}");
        let (producer, key) = (home.producer.clone(), *home.key.expose());
        drop(home);
        let home = Home::open(&dir.path().join("data")).unwrap();
        assert_eq!((home.producer.clone(), *home.key.expose()), (producer, key));
    }
}
