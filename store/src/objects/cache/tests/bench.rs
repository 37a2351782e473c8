//! A cache over a store in memory that counts what it is asked, on a disk that can be made to fail.

use std::io;
use std::path::{Path as File, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::memory::InMemory;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::super::*;

/// Pieces of tests are small, so that there are many.
pub(super) const PIECE: u64 = 1_000;
/// Room for twelve of them.
pub(super) const ROOM: u64 = 12 * 4096;

/// A disk that refuses some of what it is asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Faulty {
    /// How many of a thousand.
    pub(super) faults: Arc<AtomicU64>,
    pub(super) asked: Arc<AtomicU64>,
}

impl Faulty {
    fn strike(&self, errno: i32) -> io::Result<()> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let thrown = asked.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        match thrown % 1_000 < self.faults.load(Ordering::Relaxed) {
            true => Err(io::Error::from_raw_os_error(errno)),
            false => Ok(()),
        }
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

impl Disk for Faulty {
    fn read(&self, file: &File, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.strike(EIO)?;
        LocalDisk.read(file, bytes_max)
    }
    fn write(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.strike(ENOSPC) {
            LocalDisk.write(file, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        LocalDisk.write(file, bytes)
    }
    fn rename(&self, from: &File, to: &File) -> io::Result<()> {
        self.strike(EIO)?;
        LocalDisk.rename(from, to)
    }
    fn remove(&self, file: &File) -> io::Result<()> {
        self.strike(EIO)?;
        LocalDisk.remove(file)
    }
}

/// A store that counts reads, and lets them through when it is told to.
#[derive(Debug)]
pub(super) struct Distant {
    inner: InMemory,
    pub(super) reads: AtomicU64,
    pub(super) gate: Semaphore,
}

impl fmt::Display for Distant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a distant store")
    }
}

#[async_trait]
impl ObjectStore for Distant {
    async fn put_opts(&self, to: &Path, of: PutPayload, o: PutOptions) -> object_store::Result<PutResult> {
        self.inner.put_opts(to, of, o).await
    }
    async fn put_multipart_opts(
        &self,
        to: &Path,
        o: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, o).await
    }
    async fn get_opts(&self, from: &Path, o: GetOptions) -> object_store::Result<GetResult> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.gate.acquire().await.unwrap().forget();
        self.inner.get_opts(from, o).await
    }
    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.gate.acquire().await.unwrap().forget();
        self.inner.get_ranges(from, ranges).await
    }
    fn delete_stream(
        &self,
        of: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(of)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, o: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, o).await
    }
}

pub(super) struct Bench {
    pub(super) distant: Arc<Distant>,
    pub(super) disk: Faulty,
    pub(super) folder: TempDir,
    pub(super) cache: Option<DiskCache>,
    /// Whether files of objects that were deleted may be left, because the disk refused.
    pub(super) has_leftovers: bool,
}

pub(super) fn place(n: u128) -> Path {
    layout::segment(Uuid::from_u128(7), Uuid::from_u128(n))
}

pub(super) fn one(range: Range<u64>) -> [Range<u64>; 1] {
    [range]
}

pub(super) fn content(n: u128, length: u64) -> Bytes {
    let of = |at: u64| {
        let [byte, ..] = at.wrapping_mul(31).wrapping_add(at >> 8).to_le_bytes();
        let ([n, ..], [low, high, ..]) = (n.to_le_bytes(), length.to_le_bytes());
        byte ^ n ^ low ^ high
    };
    (0..length).map(of).collect()
}

impl Bench {
    pub(super) fn new() -> Self {
        let gate = Semaphore::new(1 << 20);
        let distant = Arc::new(Distant { inner: InMemory::new(), reads: AtomicU64::default(), gate });
        let folder = tempfile::tempdir().unwrap();
        let mut bench = Self { distant, disk: Faulty::default(), folder, cache: None, has_leftovers: false };
        bench.reopen();
        bench
    }

    pub(super) fn try_open(&self) -> io::Result<DiskCache> {
        let config = CacheConfig { folder: self.folder.path().join("cache"), bytes_max: ROOM };
        let distant: Arc<dyn ObjectStore> = Arc::<Distant>::clone(&self.distant);
        DiskCache::open_with(distant, &config, Box::new(self.disk.clone()), PIECE)
    }

    pub(super) fn reopen(&mut self) {
        self.cache = None;
        let faults = self.disk.faults.swap(0, Ordering::Relaxed);
        self.cache = Some(self.try_open().unwrap());
        self.disk.faults.store(faults, Ordering::Relaxed);
    }

    pub(super) fn cache(&self) -> DiskCache {
        self.cache.clone().unwrap()
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let list = |folder: &File| -> Vec<PathBuf> {
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        let (folders, mut files): (Vec<_>, Vec<_>) =
            list(&self.folder.path().join("cache")).into_iter().partition(|path| path.is_dir());
        files.extend(folders.iter().flat_map(|folder| list(folder)));
        files.sort_unstable();
        files
    }

    pub(super) fn room(&self) -> u64 {
        self.files().iter().map(|file| file.metadata().unwrap().len().next_multiple_of(4096)).sum()
    }

    pub(super) fn reads(&self) -> u64 {
        self.distant.reads.load(Ordering::Relaxed)
    }

    pub(super) async fn put(&self, n: u128, length: u64) {
        self.cache().put(&place(n), content(n, length).into()).await.unwrap();
    }

    /// Asks both for the same.
    pub(super) async fn compare(&self, n: u128, ranges: &[Range<u64>], asked: GetRange) {
        let (cache, plain) = (self.cache(), &self.distant.inner);
        let got = cache.get_ranges(&place(n), ranges).await;
        match plain.get_ranges(&place(n), ranges).await {
            Ok(expected) => assert!(got.unwrap() == expected, "{n} {ranges:?}"),
            Err(_) => assert!(got.is_err(), "{n} {ranges:?}"),
        }
        let options = GetOptions { range: Some(asked.clone()), ..GetOptions::default() };
        let got = cache.get_opts(&place(n), options.clone()).await;
        match plain.get_opts(&place(n), options).await {
            Ok(expected) => {
                let got = got.unwrap();
                assert_eq!((&got.meta, &got.range), (&expected.meta, &expected.range), "{n} {asked:?}");
                assert!(got.bytes().await.unwrap() == expected.bytes().await.unwrap(), "{n} {asked:?}");
            }
            Err(_) => assert!(got.is_err(), "{n} {asked:?}"),
        }
    }
}
