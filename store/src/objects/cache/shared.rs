//! What all readers of a cache share: which pieces are kept, which are on their way from the store, and the ways
//! of a piece from there to disk and from disk to readers.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{self, BoxFuture, WeakShared};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore};
use parking_lot::Mutex;

use super::CacheCounts;
use super::files::{self, Files, Listed, Name, Unread};
use super::kept::Kept;
use crate::layout;

/// Pieces that one question to the store asks for: large enough for its pace, small enough to be many at once.
const RUN_PIECES_MAX: usize = 16;

/// Pieces that came together, one after the other.
#[derive(Debug)]
pub(super) struct Run {
    first: u32,
    pieces: Vec<Bytes>,
    /// What the store said of the object.
    pub(super) meta: ObjectMeta,
}

impl Run {
    /// The pieces with their numbers.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (u32, Bytes)> {
        (self.first..).zip(self.pieces.iter().cloned())
    }
}

/// Many wait for it, any of them drives it, and if all leave, it ends. Nothing comes where the store does not
/// answer.
type Fetch = BoxFuture<'static, Option<Arc<Run>>>;
pub(super) type Landing = future::Shared<Fetch>;

#[derive(Debug)]
struct Flight {
    id: u64,
    landing: WeakShared<Fetch>,
}

#[derive(Debug, Default)]
struct State {
    kept: Kept,
    flights: HashMap<Name, Flight>,
    flown: u64,
    /// How often objects were forgotten: what was on its way meanwhile is not kept.
    forgets: u64,
}

/// Where wanted pieces are.
pub(super) struct Found {
    /// On disk.
    pub(super) kept: Vec<Name>,
    /// On their way.
    pub(super) landings: Vec<Landing>,
}

#[derive(Debug)]
pub(super) struct Shared {
    files: Files,
    pub(super) bytes_max: u64,
    pub(super) piece_bytes: u64,
    /// Never held over a disk's or store's work.
    state: Mutex<State>,
    /// Held by who changes files: so there is one change at a time. Taken off the async threads only.
    changing: Mutex<()>,
    hits: AtomicU64,
    misses: AtomicU64,
    damaged: AtomicU64,
    disk_errors: AtomicU64,
    /// So that a full disk is told once and not at every piece.
    is_failing: AtomicBool,
}

impl Shared {
    pub(super) fn new(files: Files, bytes_max: u64, piece_bytes: u64) -> Self {
        Self {
            files,
            bytes_max,
            piece_bytes,
            state: Mutex::default(),
            changing: Mutex::default(),
            hits: AtomicU64::default(),
            misses: AtomicU64::default(),
            damaged: AtomicU64::default(),
            disk_errors: AtomicU64::default(),
            is_failing: AtomicBool::default(),
        }
    }

    /// Takes over what an earlier process left, oldest first, as far as there is room for it.
    pub(super) fn adopt(&self, mut listed: Vec<Listed>) {
        listed.sort_unstable_by_key(|file| (file.written, file.name));
        {
            let mut state = self.state.lock();
            listed.iter().for_each(|file| state.kept.insert(file.name, file.room));
        }
        let _changing = self.changing.lock();
        self.make_room(0);
    }

    pub(super) fn counts(&self) -> CacheCounts {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        CacheCounts {
            bytes: self.state.lock().kept.room(),
            hits: count(&self.hits),
            misses: count(&self.misses),
            damaged: count(&self.damaged),
            disk_errors: count(&self.disk_errors),
        }
    }

    pub(super) fn forgets(&self) -> u64 {
        self.state.lock().forgets
    }

    pub(super) fn meta(&self, location: &Path) -> Option<ObjectMeta> {
        self.state.lock().kept.meta(files::object(location))
    }

    pub(super) fn set_meta(&self, location: &Path, meta: &ObjectMeta, forgets: u64) {
        let mut state = self.state.lock();
        if state.forgets == forgets {
            state.kept.set_meta(files::object(location), meta.clone());
        }
    }

    /// Where pieces are; those that are nowhere are sent for. They must rise.
    pub(super) fn look_up(
        self: &Arc<Self>,
        inner: &Arc<dyn ObjectStore>,
        location: &Path,
        pieces: &[u32],
    ) -> Found {
        let object = files::object(location);
        let mut found = Found { kept: Vec::new(), landings: Vec::new() };
        let mut missing = Vec::new();
        let mut state = self.state.lock();
        for piece in pieces {
            let name = Name { object, piece: *piece };
            if state.kept.touch(name) {
                found.kept.push(name);
            } else if let Some(landing) = state.flights.get(&name).and_then(|flight| flight.landing.upgrade())
            {
                // Neighbours mostly come together.
                if !found.landings.last().is_some_and(|last| last.ptr_eq(&landing)) {
                    found.landings.push(landing);
                }
            } else {
                missing.push(*piece);
            }
        }
        for run in
            missing.chunk_by(|a, b| a.checked_add(1) == Some(*b)).flat_map(|run| run.chunks(RUN_PIECES_MAX))
        {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            state.flown += 1;
            let trip = Trip {
                shared: Arc::clone(self),
                location: location.clone(),
                object,
                pieces: *first..last.saturating_add(1),
                id: state.flown,
                forgets: state.forgets,
            };
            let landing = trip.run(Arc::clone(inner)).boxed().shared();
            for piece in run {
                if let Some(weak) = landing.downgrade() {
                    let flight = Flight { id: state.flown, landing: weak };
                    state.flights.insert(Name { object, piece: *piece }, flight);
                }
            }
            found.landings.push(landing);
        }
        found
    }

    /// Reads pieces from disk; those that it does not give are kept no longer.
    pub(super) async fn load(self: &Arc<Self>, location: &Path, names: Vec<Name>) -> Vec<(u32, Bytes)> {
        if names.is_empty() {
            return Vec::new();
        }
        let (shared, location) = (Arc::clone(self), location.clone());
        let read = move || {
            let read =
                names.into_iter().filter_map(|name| Some((name.piece, shared.load_piece(name, &location)?)));
            read.collect()
        };
        // Only a panic could be lost here, and then the store is asked.
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }

    fn load_piece(&self, name: Name, location: &Path) -> Option<Bytes> {
        match self.files.read(name, location, self.piece_bytes) {
            Ok(bytes) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Some(bytes);
            }
            Err(Unread::Damaged) => {
                self.damaged.fetch_add(1, Ordering::Relaxed);
                tracing::warn!("a file of the object cache is damaged: its piece is read anew");
            }
            // It had to make room meanwhile.
            Err(Unread::Disk(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(Unread::Disk(error)) => self.note(Err(&error)),
        }
        let _changing = self.changing.lock();
        self.state.lock().kept.condemn(name);
        self.remove(name);
        None
    }

    /// Removes a piece's file, and says whether it is gone. Only for who holds `changing`.
    fn remove(&self, name: Name) -> bool {
        match self.files.remove(name) {
            Ok(()) => {
                self.state.lock().kept.remove(name);
                true
            }
            Err(error) => {
                self.note(Err(&error));
                false
            }
        }
    }

    /// Removes files until there is room for so many bytes more. Only for who holds `changing`.
    fn make_room(&self, bytes: u64) -> bool {
        loop {
            let oldest = {
                let mut state = self.state.lock();
                if state.kept.room().saturating_add(bytes) <= self.bytes_max {
                    return true;
                }
                let Some(oldest) = state.kept.oldest() else { return false };
                state.kept.condemn(oldest);
                oldest
            };
            if !self.remove(oldest) {
                return false;
            }
        }
    }

    /// Writes pieces to disk as far as it takes them.
    fn keep(&self, trip: &Trip, run: &Run) {
        let _changing = self.changing.lock();
        for (piece, bytes) in run.pieces() {
            let name = Name { object: trip.object, piece };
            let room = files::room(bytes.len());
            if self.forgets() != trip.forgets || !self.make_room(room) {
                return;
            }
            if let Err(error) = self.files.write(name, &trip.location, &bytes) {
                return self.note(Err(&error));
            }
            self.note(Ok(()));
            let is_kept = {
                let mut state = self.state.lock();
                state.kept.insert(name, room);
                if state.forgets != trip.forgets {
                    state.kept.condemn(name);
                }
                state.forgets == trip.forgets
            };
            if !is_kept {
                self.remove(name);
                return;
            }
        }
        self.set_meta(&trip.location, &run.meta, trip.forgets);
    }

    /// Notes what the disk said, and tells of it where that is new.
    fn note(&self, done: Result<(), &io::Error>) {
        let is_failing = done.is_err();
        if let Err(error) = done {
            self.disk_errors.fetch_add(1, Ordering::Relaxed);
            if !self.is_failing.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, "the object cache's disk refuses: what it lacks comes from the store");
            }
        } else if self.is_failing.swap(is_failing, Ordering::Relaxed) {
            tracing::info!("the object cache's disk works again");
        }
    }

    /// Keeps nothing of an object any longer, nor what is on its way.
    pub(super) async fn forget(self: &Arc<Self>, location: &Path) {
        if !layout::is_segment(location) {
            return;
        }
        let object = files::object(location);
        let names = {
            let mut state = self.state.lock();
            state.forgets += 1;
            state.flights.retain(|name, _| name.object != object);
            state.kept.condemn_object(object)
        };
        self.remove_all(names).await;
    }

    /// Keeps nothing but pieces of these objects, nor what is on its way.
    pub(super) async fn keep_only(self: &Arc<Self>, objects: HashSet<u128>) {
        let names = {
            let mut state = self.state.lock();
            state.forgets += 1;
            state.flights.retain(|name, _| objects.contains(&name.object));
            state.kept.condemn_others(&objects)
        };
        self.remove_all(names).await;
    }

    async fn remove_all(self: &Arc<Self>, names: Vec<Name>) {
        if names.is_empty() {
            return;
        }
        let shared = Arc::clone(self);
        let remove = move || {
            let _changing = shared.changing.lock();
            names.into_iter().for_each(|name| {
                shared.remove(name);
            });
        };
        if let Err(error) = tokio::task::spawn_blocking(remove).await {
            tracing::error!(%error, "removing files of the object cache ended early");
        }
    }
}

/// A run of pieces that is to come from the store.
struct Trip {
    shared: Arc<Shared>,
    location: Path,
    object: u128,
    pieces: Range<u32>,
    id: u64,
    /// As many as when it began.
    forgets: u64,
}

impl Trip {
    async fn run(self, inner: Arc<dyn ObjectStore>) -> Option<Arc<Run>> {
        let run = Arc::new(self.fetch(&*inner).await?);
        let kept = Arc::clone(&run);
        // It is on disk, if it can be, before it is no longer on its way: nobody reads it in between.
        let keep = move || self.shared.keep(&self, &kept);
        if let Err(error) = tokio::task::spawn_blocking(keep).await {
            tracing::error!(%error, "writing to the object cache ended early");
        }
        Some(run)
    }

    async fn fetch(&self, inner: &dyn ObjectStore) -> Option<Run> {
        let piece_bytes = self.shared.piece_bytes;
        let range = u64::from(self.pieces.start) * piece_bytes..u64::from(self.pieces.end) * piece_bytes;
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let result = inner.get_opts(&self.location, options).await.ok()?;
        let (meta, start) = (result.meta.clone(), result.range.start);
        let bytes = result.bytes().await.ok()?;
        let length = usize::try_from(range.end.min(meta.size).checked_sub(range.start)?).ok()?;
        if start != range.start || bytes.len() != length {
            return None;
        }
        let step = usize::try_from(piece_bytes).ok()?.max(1);
        let pieces: Vec<Bytes> =
            (0..length).step_by(step).map(|at| bytes.slice(at..length.min(at + step))).collect();
        self.shared.misses.fetch_add(pieces.len() as u64, Ordering::Relaxed);
        Some(Run { first: self.pieces.start, pieces, meta })
    }
}

impl Drop for Trip {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        for piece in self.pieces.clone() {
            let name = Name { object: self.object, piece };
            if state.flights.get(&name).is_some_and(|flight| flight.id == self.id) {
                state.flights.remove(&name);
            }
        }
    }
}
