//! Something that is made of files, and made anew when they change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, Result};

/// How often files are looked at; Kubernetes needs up to a minute to bring a new Secret to a node.
pub const RENEW_EVERY: Duration = Duration::from_secs(3);

/// Tells one content of a file from another without reading it. Projected files are replaced, not written to: the
/// kubelet lets a link lead to another directory, and what is behind it has another inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that a path leads to now, if it leads to one.
    fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: meta.ino(),
            bytes: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

type Make<T> = dyn Fn() -> Result<T> + Send + Sync;

/// The value of the moment, and the files that it is made of.
pub struct Watched<T> {
    /// What our log calls it.
    what: &'static str,
    paths: Arc<[PathBuf]>,
    make: Arc<Make<T>>,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    value: Arc<T>,
    /// The files that it was made of.
    stamps: Vec<Option<Stamp>>,
    /// What was wrong with newer ones, as it was last said.
    complaint: Option<String>,
}

/// What a look at the files has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// They are as they were.
    Same,
    /// There is a new value.
    Renewed,
    /// They have changed, but make no value: the last one stays. Looked at again the next time.
    Refused {
        /// Nothing else was wrong the last time.
        known: bool,
    },
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Makes the first value. `make` reads the files at `paths`, and blocks.
    pub async fn open(
        what: &'static str,
        paths: Vec<PathBuf>,
        make: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Result<Self> {
        let (paths, make): (Arc<[PathBuf]>, Arc<Make<T>>) = (paths.into(), Arc::new(make));
        let (of, making) = (Arc::clone(&paths), Arc::clone(&make));
        let made = blocking(move || {
            // Before the content: a change in between is seen the next time.
            let stamps = stamps(&of);
            Ok((making()?, stamps))
        });
        let (value, stamps) = made.await?;
        Ok(Self {
            what,
            paths,
            make,
            held: Mutex::new(Held { value: Arc::new(value), stamps, complaint: None }),
        })
    }

    /// The value of the moment.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.held.lock().value)
    }

    /// Looks whether the files have changed, and if so makes a new value of them. Files that make none, or that do not
    /// fit one another (yet), change nothing but our log.
    pub async fn renew(&self) -> Renewal {
        if self.paths.is_empty() {
            return Renewal::Same;
        }
        let (of, make, known) =
            (Arc::clone(&self.paths), Arc::clone(&self.make), self.held.lock().stamps.clone());
        let made = blocking(move || {
            let stamps = stamps(&of);
            if stamps == known { Ok(None) } else { Ok(Some((make()?, stamps))) }
        });
        match made.await {
            Ok(None) => {
                self.held.lock().complaint = None;
                Renewal::Same
            }
            Ok(Some((value, stamps))) => {
                *self.held.lock() = Held { value: Arc::new(value), stamps, complaint: None };
                tracing::info!(what = self.what, "certificates read anew");
                Renewal::Renewed
            }
            Err(error) => {
                let error = error.to_string();
                let known = self.held.lock().complaint.replace(error.clone()).as_ref() == Some(&error);
                if !known {
                    let what = self.what;
                    tracing::warn!(what, error, "certificates cannot be read anew, the last ones are used");
                }
                Renewal::Refused { known }
            }
        }
    }
}

impl<T> std::fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched")
            .field("what", &self.what)
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    paths.iter().map(|path| Stamp::of(path)).collect()
}

/// Reads on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|e| Err(Error::Reading(e)))
}
