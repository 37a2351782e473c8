//! What an entry of the spool holds, as bytes before they are sealed.
//!
//! ```text
//! 0  1  kind: 1 batch, 2 state, 3 gap, 4 gap of batches that were never sent
//! 1  8  number of the entry, rising over the spool's whole life
//! 9     tenant (u16 length, name)
//! batch:   head · moves · the rest: zstd(OTLP)
//! gap:     the same; it stands in the place of the batches of its ordinals, which are not sent any more
//! head:    8 first ordinal · 8 last ordinal (of a batch the same) · 8 epoch · 8 time in ms · 4 records
//! state:   8 ordinal up to which all is settled · 8 epoch · 8 sequence of the next batch
//! ```

use heliograph_model::tenant::TenantId;

use super::bytes::{Malformed, Reader, Writer};
use super::positions::{read_moves, write_moves};
use crate::gather::Move;

const BATCH: u8 = 1;
const STATE: u8 = 2;
const GAP: u8 = 3;
const UNSENT_GAP: u8 = 4;

/// How far a tenant's batches are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Batches up to this ordinal are acknowledged or given up.
    pub ordinal: u64,
    /// The epoch in which the next ones are sent.
    pub epoch: u64,
    /// The sequence of the batch that follows `ordinal`.
    pub sequence: u64,
}

/// What is known of a batch without reading its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Whether it only says what was given up.
    pub gap: bool,
    /// Whether no indexer can have anything of what it stands for, so that its ordinals need no sequences.
    pub unsent: bool,
    /// Batches of a tenant are counted from 1, without end; a gap stands for all from its first …
    pub first: u64,
    /// … to its last. Each ordinal takes one sequence when it is sent; those of a gap before its last are
    /// empty batches.
    pub last: u64,
    /// The life of the agent in which it was spooled: it is sent in this epoch, or in a later one.
    pub epoch: u64,
    /// When it was spooled, in milliseconds since 1970.
    pub at: u64,
    /// How many records.
    pub records: u32,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its number.
    pub number: u64,
    /// Whose.
    pub tenant: TenantId,
    /// What it is.
    pub content: Content,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Records to send, and the positions that they move.
    Batch {
        /// Which.
        head: Head,
        /// The positions.
        moves: Vec<Move>,
        /// The body to send.
        payload: Vec<u8>,
    },
    /// A note on what is settled. Losing it costs a repeat, which the indexer recognises.
    State(Settled),
}

impl Entry {
    /// The entry's bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(match &self.content {
            Content::Batch { head, .. } if head.unsent => UNSENT_GAP,
            Content::Batch { head, .. } if head.gap => GAP,
            Content::Batch { .. } => BATCH,
            Content::State(_) => STATE,
        });
        out.number(self.number.to_le_bytes());
        out.text(self.tenant.as_str().as_bytes());
        match &self.content {
            Content::Batch { head, moves, payload } => {
                for number in [head.first, head.last, head.epoch, head.at] {
                    out.number(number.to_le_bytes());
                }
                out.number(head.records.to_le_bytes());
                write_moves(&mut out, moves);
                out.0.extend_from_slice(payload);
            }
            Content::State(settled) => settled.write(&mut out),
        }
        out.0
    }

    /// Reads [`Self::to_bytes`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut bytes = Reader(bytes);
        let kind = bytes.u8()?;
        let number = bytes.u64()?;
        let tenant = read_tenant(&mut bytes)?;
        let content = match kind {
            BATCH | GAP | UNSENT_GAP => Content::Batch {
                head: Head {
                    gap: kind != BATCH,
                    unsent: kind == UNSENT_GAP,
                    first: bytes.u64()?,
                    last: bytes.u64()?,
                    epoch: bytes.u64()?,
                    at: bytes.u64()?,
                    records: bytes.u32()?,
                },
                moves: read_moves(&mut bytes)?,
                payload: bytes.0.to_vec(),
            },
            STATE => Content::State(Settled::read(&mut bytes)?),
            _ => return Err(Malformed),
        };
        Ok(Self { number, tenant, content })
    }
}

impl Settled {
    /// Three numbers.
    pub(crate) fn write(&self, out: &mut Writer) {
        out.number(self.ordinal.to_le_bytes());
        out.number(self.epoch.to_le_bytes());
        out.number(self.sequence.to_le_bytes());
    }

    /// Reads [`Self::write`].
    pub(crate) fn read(bytes: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { ordinal: bytes.u64()?, epoch: bytes.u64()?, sequence: bytes.u64()? })
    }
}

/// A tenant's name.
pub(crate) fn read_tenant(bytes: &mut Reader<'_>) -> Result<TenantId, Malformed> {
    let name = std::str::from_utf8(bytes.text()?).map_err(|_| Malformed)?;
    TenantId::parse(name).map_err(|_| Malformed)
}
