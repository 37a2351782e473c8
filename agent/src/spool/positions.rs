//! Read positions: how far each file of each source is spooled.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use heliograph_model::source::SourceId;
use heliograph_model::time::Timestamp;
use litemap::LiteMap;

use super::bytes::{Malformed, Reader, Writer};
use crate::gather::Move;
use crate::tail::identity::FileIdentity;
use crate::tail::{KNOWN_MAX, Known, Step};

/// What is saved of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Its path.
    pub path: PathBuf,
    /// Time of its latest record.
    pub last: Timestamp,
    /// Its newest files, by number.
    pub generations: LiteMap<u32, Known>,
}

/// What is saved of all sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Positions(pub BTreeMap<SourceId, Saved>);

impl Positions {
    /// Takes over a move.
    pub(crate) fn apply(&mut self, change: &Move) {
        let Some(step) = change.step else {
            self.0.remove(&change.source);
            return;
        };
        let saved = self.0.entry(change.source).or_insert_with(|| Saved {
            path: change.path.to_path_buf(),
            last: change.last,
            generations: LiteMap::new(),
        });
        saved.last = saved.last.max(change.last);
        saved.generations.insert(step.number, step.known);
        while saved.generations.len() > KNOWN_MAX
            && let Some(oldest) = saved.generations.first().map(|(number, _)| *number)
        {
            saved.generations.remove(&oldest);
        }
    }

    /// Source, then its files.
    pub(crate) fn write(&self, out: &mut Writer) {
        out.number((self.0.len() as u64).to_le_bytes());
        for (source, saved) in &self.0 {
            write_source(out, *source, saved.last, &saved.path);
            out.number(u16::try_from(saved.generations.len()).unwrap_or(u16::MAX).to_le_bytes());
            for (number, known) in saved.generations.iter().take(usize::from(u16::MAX)) {
                write_step(out, &Step { number: *number, known: *known });
            }
        }
    }

    /// Reads [`Self::write`].
    pub(crate) fn read(bytes: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut positions = Self::default();
        for _ in 0..bytes.u64()? {
            let (source, last, path) = read_source(bytes)?;
            let mut generations = LiteMap::new();
            for _ in 0..bytes.u16()? {
                let step = read_step(bytes)?;
                generations.insert(step.number, step.known);
            }
            positions.0.insert(source, Saved { path, last, generations });
        }
        Ok(positions)
    }
}

/// The moves of an entry.
pub(crate) fn write_moves(out: &mut Writer, moves: &[Move]) {
    out.number(u32::try_from(moves.len()).unwrap_or(u32::MAX).to_le_bytes());
    for change in moves {
        write_source(out, change.source, change.last, &change.path);
        out.u8(u8::from(change.step.is_some()));
        if let Some(step) = &change.step {
            write_step(out, step);
        }
    }
}

/// Reads [`write_moves`].
pub(crate) fn read_moves(bytes: &mut Reader<'_>) -> Result<Vec<Move>, Malformed> {
    let mut moves = vec![];
    for _ in 0..bytes.u32()? {
        let (source, last, path) = read_source(bytes)?;
        let step = if bytes.u8()? == 1 { Some(read_step(bytes)?) } else { None };
        moves.push(Move { source, last, path: path.into(), step });
    }
    Ok(moves)
}

fn write_source(out: &mut Writer, source: SourceId, last: Timestamp, path: &Path) {
    out.number(source.0.to_le_bytes());
    out.number(last.as_nanos().to_le_bytes());
    out.text(path.as_os_str().as_bytes());
}

fn read_source(bytes: &mut Reader<'_>) -> Result<(SourceId, Timestamp, PathBuf), Malformed> {
    let (source, last) = (SourceId(bytes.u128()?), Timestamp::from_nanos(bytes.i64()?));
    Ok((source, last, OsString::from_vec(bytes.text()?.to_vec()).into()))
}

fn write_step(out: &mut Writer, step: &Step) {
    let Known { identity, offset, before, ended } = &step.known;
    out.number(step.number.to_le_bytes());
    out.number(offset.to_le_bytes());
    out.number(identity.dev.to_le_bytes());
    out.number(identity.ino.to_le_bytes());
    out.number(identity.born.to_le_bytes());
    out.number(identity.head_len.to_le_bytes());
    out.number(identity.head_hash.to_le_bytes());
    out.number(before.to_le_bytes());
    out.u8(u8::from(*ended));
}

fn read_step(bytes: &mut Reader<'_>) -> Result<Step, Malformed> {
    let (number, offset) = (bytes.u32()?, bytes.u64()?);
    let identity = FileIdentity {
        dev: bytes.u64()?,
        ino: bytes.u64()?,
        born: bytes.u64()?,
        head_len: bytes.u16()?,
        head_hash: bytes.u64()?,
    };
    let (before, ended) = (bytes.u64()?, bytes.u8()? == 1);
    Ok(Step { number, known: Known { identity, offset, before, ended } })
}
