//! A folder of files that vouch for one another: each by its checksum in the manifest.
//!
//! Blocking: to be called off the async threads where files are large.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use heliograph_model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::error::{Error, Result};

const MANIFEST: &str = "manifest.json";
const FORMAT: &str = "heliograph backup";
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: String,
    version: u32,
    kind: Kind,
    made: Timestamp,
    files: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    bytes: u64,
    sha256: String,
}

/// Writes a backup.
pub(super) struct Writer {
    folder: PathBuf,
    files: Vec<Entry>,
}

impl Writer {
    /// Into a folder that is new or empty.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
        if fs::read_dir(folder).map_err(at(folder))?.next().is_some() {
            return Err(Error::Exists {
                what: "folder that is not empty",
                name: folder.display().to_string(),
            });
        }
        Ok(Self { folder: folder.to_owned(), files: Vec::new() })
    }

    /// Adds a file, on disk when this returns.
    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(at(parent))?;
        }
        write(&path, bytes).map_err(at(&path))?;
        self.files.push(Entry { name: name.to_owned(), bytes: bytes.len() as u64, sha256: sum(bytes) });
        Ok(())
    }

    /// Whether a file was added.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.name == name)
    }

    /// Takes files back that the backup does not need after all.
    pub(super) fn keep(&mut self, is_needed: impl Fn(&str) -> bool) -> Result<()> {
        for file in self.files.extract_if(.., |file| !is_needed(&file.name)) {
            let path = self.folder.join(&file.name);
            fs::remove_file(&path).map_err(at(&path))?;
        }
        Ok(())
    }

    /// Makes it a backup.
    pub(super) fn finish(self, kind: Kind, made: Timestamp) -> Result<()> {
        let folders: Vec<_> = self
            .files
            .iter()
            .filter_map(|f| self.folder.join(&f.name).parent().map(Path::to_owned))
            .collect();
        let manifest =
            Manifest { format: FORMAT.to_owned(), version: VERSION, kind, made, files: self.files };
        let line = serde_json::to_string(&manifest).map_err(|e| at(&self.folder)(e.into()))?;
        let path = self.folder.join(MANIFEST);
        write(&path, format!("{line}\n{}\n", sum(line.as_bytes())).as_bytes()).map_err(at(&path))?;
        for folder in folders.iter().chain([&self.folder]) {
            File::open(folder).and_then(|f| f.sync_all()).map_err(at(folder))?;
        }
        Ok(())
    }
}

/// Reads a backup.
#[derive(Debug)]
pub(super) struct Reader {
    folder: PathBuf,
    manifest: Manifest,
}

impl Reader {
    /// The backup in a folder; its files are checked when they are read.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let reason = format!("{MANIFEST} is missing: it is no backup, or one that was not finished");
                return Err(Error::Corrupt { object: folder.display().to_string(), reason });
            }
            Err(source) => return Err(at(&path)(source)),
        };
        let corrupt = |reason: String| Error::Corrupt { object: path.display().to_string(), reason };
        let (line, rest) = text.split_once('\n').ok_or_else(|| corrupt("it is cut off".to_owned()))?;
        if rest.trim_end() != sum(line.as_bytes()) {
            return Err(corrupt("its checksum is wrong: it was altered or cut off".to_owned()));
        }
        let manifest: Manifest = serde_json::from_str(line).map_err(|e| corrupt(e.to_string()))?;
        if manifest.format != FORMAT || manifest.version != VERSION {
            let Manifest { format, version, .. } = manifest;
            return Err(corrupt(format!(
                "it is a {format} of version {version}, this program reads {VERSION}"
            )));
        }
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// What it is of.
    pub(super) fn kind(&self) -> Kind {
        self.manifest.kind
    }

    /// Reads every file once.
    pub(super) fn check(&self, kind: Kind) -> Result<()> {
        if self.manifest.kind != kind {
            let reason = format!("it is a backup of a {:?}, not of a {kind:?}", self.manifest.kind);
            return Err(Error::Corrupt { object: self.folder.display().to_string(), reason });
        }
        self.manifest.files.iter().try_for_each(|file| self.read(file).map(drop))
    }

    /// A file, as it was written.
    pub(super) fn get(&self, name: &str) -> Result<Vec<u8>> {
        self.find(name)?.ok_or_else(|| Error::Corrupt {
            object: self.folder.display().to_string(),
            reason: format!("its manifest does not name {name}"),
        })
    }

    /// A file, if the backup has it.
    pub(super) fn find(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.manifest.files.iter().find(|file| file.name == name).map(|file| self.read(file)).transpose()
    }

    fn read(&self, file: &Entry) -> Result<Vec<u8>> {
        let path = self.folder.join(&file.name);
        let corrupt = |reason: String| Error::Corrupt { object: path.display().to_string(), reason };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(corrupt("it is missing".to_owned())),
            Err(source) => return Err(at(&path)(source)),
        };
        if bytes.len() as u64 != file.bytes {
            return Err(corrupt(format!("it has {} bytes, not {}", bytes.len(), file.bytes)));
        }
        if sum(&bytes) != file.sha256 {
            return Err(corrupt("its content is not what was backed up".to_owned()));
        }
        Ok(bytes)
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sum(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::File { path: path.clone(), source }
}
