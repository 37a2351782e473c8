//! A cache of object-store reads on a local disk: pieces of segments as the store has them, sealed.
//!
//! It is asked like the store behind it and answers the same. What is asked of a segment by range is read in
//! aligned pieces, which are kept as files (`files`) in bounded room, the longest not asked going first (`kept`).
//! Many who want a piece at once read it once (`shared`). The files survive a restart; their order of use does
//! not, and is that of writing then.
//!
//! It never adds an error: a piece that is damaged is read anew, and what the disk does not take or give comes
//! from the store. All else (writing, listing, other objects, whole objects) goes through.
//!
//! An object is written once under its name and never changed; only that makes this simple. Objects that another
//! process deletes stay readable here until their pieces go; so do those, after a restart, whose files the disk
//! did not let us remove.

mod files;
mod kept;
mod shared;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::{fmt, io};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::future::{join, join_all};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Extensions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutOptions,
    PutPayload, PutResult,
};

use crate::layout;
use files::{Disk, Files, LocalDisk};
use shared::Shared;

/// A piece: so large that reading it whole costs a distant store hardly more than a part of it, so small that a
/// question for one block does not read much else.
const PIECE_BYTES: u64 = 256 << 10;
/// Most bytes of one question; a larger one goes through, as it would push out all else.
const QUESTION_BYTES_MAX: u64 = 64 << 20;
/// A piece that turns out to be damaged is looked for again, once.
const ROUNDS: usize = 2;

/// Where a cache lies, and how large it may grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// A folder of its own, made if it is missing; one process uses it at a time.
    pub folder: PathBuf,
    /// Most room on disk, in whole blocks of 4 KiB.
    pub bytes_max: u64,
}

/// What a cache has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Room on disk now.
    pub bytes: u64,
    /// Pieces given from disk.
    pub hits: u64,
    /// Pieces read from the store.
    pub misses: u64,
    /// Files that were not what was written.
    pub damaged: u64,
    /// Reads, writes and removals that the disk refused.
    pub disk_errors: u64,
}

/// An object store with a cache before it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DiskCache {
    inner: Arc<dyn ObjectStore>,
    shared: Arc<Shared>,
}

impl fmt::Display for DiskCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} behind a cache on disk", self.inner)
    }
}

impl DiskCache {
    /// Opens the folder with what an earlier process left in it. Reads it whole: call it off the async threads.
    pub fn open(inner: Arc<dyn ObjectStore>, config: &CacheConfig) -> io::Result<Self> {
        Self::open_with(inner, config, Box::new(LocalDisk), PIECE_BYTES)
    }

    fn open_with(
        inner: Arc<dyn ObjectStore>,
        config: &CacheConfig,
        disk: Box<dyn Disk>,
        piece_bytes: u64,
    ) -> io::Result<Self> {
        let (files, listed) = Files::open(&config.folder, disk)?;
        let shared = Shared::new(files, config.bytes_max, piece_bytes);
        shared.adopt(listed);
        Ok(Self { inner, shared: Arc::new(shared) })
    }

    /// What it has done.
    pub fn counts(&self) -> CacheCounts {
        self.shared.counts()
    }

    /// Keeps nothing but pieces of these objects: the rest may be gone from the store, and is not to be read any more.
    pub async fn keep_only(&self, paths: impl Iterator<Item = Path>) {
        self.shared.keep_only(paths.map(|path| files::object(&path)).collect()).await;
    }

    /// The ranges of a segment, and what the store said of it, if it was asked; nothing where it must be asked as
    /// we were.
    async fn read(&self, location: &Path, ranges: &[Range<u64>]) -> Option<(Vec<Bytes>, Option<ObjectMeta>)> {
        let wanted = self.pieces(ranges)?;
        let mut have = HashMap::with_capacity(wanted.len());
        let mut meta = None;
        for _ in 0..ROUNDS {
            let missing: Vec<u32> =
                wanted.iter().copied().filter(|piece| !have.contains_key(piece)).collect();
            if missing.is_empty() {
                break;
            }
            let found = self.shared.look_up(&self.inner, location, &missing);
            let (loaded, landed) =
                join(self.shared.load(location, found.kept), join_all(found.landings)).await;
            have.extend(loaded);
            for run in landed {
                let run = run?;
                have.extend(run.pieces());
                meta = Some(run.meta.clone());
            }
        }
        let bytes = ranges.iter().map(|range| put_together(range, &have, self.shared.piece_bytes));
        Some((bytes.collect::<Option<_>>()?, meta))
    }

    /// The pieces in which ranges lie.
    fn pieces(&self, ranges: &[Range<u64>]) -> Option<BTreeSet<u32>> {
        let piece_bytes = self.shared.piece_bytes;
        let mut pieces = BTreeSet::new();
        let mut bytes = 0_u64;
        for range in ranges {
            let length = range.end.checked_sub(range.start).filter(|length| *length > 0)?;
            bytes = bytes.saturating_add(length);
            if bytes > QUESTION_BYTES_MAX.min(self.shared.bytes_max / 2) {
                return None;
            }
            let piece = |at: u64| u32::try_from(at / piece_bytes).ok();
            pieces.extend(piece(range.start)?..=piece(range.end - 1)?);
        }
        Some(pieces)
    }

    /// What the store says of an object, asked once.
    async fn meta(&self, location: &Path) -> Option<ObjectMeta> {
        if let Some(meta) = self.shared.meta(location) {
            return Some(meta);
        }
        let forgets = self.shared.forgets();
        let meta = self.inner.head(location).await.ok()?;
        self.shared.set_meta(location, &meta, forgets);
        Some(meta)
    }

    /// The answer to a question for one range of a segment, if it is nothing but that.
    async fn get_part(&self, location: &Path, options: &GetOptions) -> Option<GetResult> {
        let GetOptions { if_match, if_none_match, if_modified_since, if_unmodified_since, .. } = options;
        let has_condition = if_match.is_some()
            || if_none_match.is_some()
            || if_modified_since.is_some()
            || if_unmodified_since.is_some()
            || options.version.is_some()
            || options.head;
        let asked = options.range.as_ref().filter(|_| !has_condition && layout::is_segment(location))?;
        let (range, meta, bytes) = match asked {
            // Reading tells of the object, too, where it does not come from disk.
            GetRange::Bounded(range) => {
                let (bytes, meta) = self.read(location, std::slice::from_ref(range)).await?;
                let meta = match meta {
                    Some(meta) => meta,
                    None => self.meta(location).await?,
                };
                (range.clone(), meta, bytes)
            }
            GetRange::Offset(_) | GetRange::Suffix(_) => {
                let meta = self.meta(location).await?;
                let range = asked.as_range(meta.size).ok()?;
                let (bytes, _) = self.read(location, std::slice::from_ref(&range)).await?;
                (range, meta, bytes)
            }
        };
        let payload = stream::iter(bytes.into_iter().map(Ok)).boxed();
        let (attributes, extensions) = (Attributes::default(), Extensions::default());
        Some(GetResult { payload: GetResultPayload::Stream(payload), meta, range, attributes, extensions })
    }
}

/// The bytes of a range, copied, so that a few of them do not hold whole pieces in memory.
fn put_together(range: &Range<u64>, have: &HashMap<u32, Bytes>, piece_bytes: u64) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(usize::try_from(range.end - range.start).ok()?);
    let mut at = range.start;
    while at < range.end {
        let number = at / piece_bytes;
        let piece = have.get(&u32::try_from(number).ok()?)?;
        let start = number * piece_bytes;
        let place = |at: u64| usize::try_from(at - start).ok();
        let end = range.end.min(start + piece_bytes);
        // A piece that ends too early is the object's last: the store knows what to answer.
        out.extend_from_slice(piece.get(place(at)?..place(end)?)?);
        at = end;
    }
    Some(out.freeze())
}

#[async_trait]
impl ObjectStore for DiskCache {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let result = self.inner.put_opts(location, payload, options).await;
        self.shared.forget(location).await;
        result
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.shared.forget(location).await;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        match self.get_part(location, &options).boxed().await {
            Some(result) => Ok(result),
            None => self.inner.get_opts(location, options).await,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let read = match layout::is_segment(location) {
            true => self.read(location, ranges).boxed().await.map(|(bytes, _)| bytes),
            false => None,
        };
        match read {
            Some(read) => Ok(read),
            None => self.inner.get_ranges(location, ranges).await,
        }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let (before, after) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
        // Before, since an object that is gone already may be an error; after, since it may be read meanwhile.
        let locations = locations.and_then(move |location| {
            let shared = Arc::clone(&before);
            async move {
                shared.forget(&location).await;
                Ok(location)
            }
        });
        let deleted = self.inner.delete_stream(locations.boxed());
        deleted
            .and_then(move |location| {
                let shared = Arc::clone(&after);
                async move {
                    shared.forget(&location).await;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        let result = self.inner.copy_opts(from, to, options).await;
        self.shared.forget(to).await;
        result
    }
}

#[cfg(test)]
mod tests;
