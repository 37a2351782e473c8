//! Whether the log is whole: every row from the anchor to the head, and the head's code.

use super::{Log, Row};
use crate::error::Result;

/// Rows that are read at once.
const ROWS_AT_ONCE: u32 = 1_000;
/// Faults that are told; what comes behind them is counted.
const FAULTS_MAX: usize = 20;
/// How often it is begun again because rows were dropped meanwhile for their age.
const TRIES_MAX: usize = 4;

/// A row that was seen earlier, as [`Verdict`] told it: it must be there, or a whole older log was put in the place of
/// this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: Vec<u8>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Rows up to this were dropped for their age.
    pub anchor: u64,
    /// The last row; with its hash it is what to keep elsewhere.
    pub last: Seen,
    /// Rows that were read.
    pub rows: u64,
    /// What is wrong, and where, in the order of the rows; none if the log is whole.
    pub faults: Vec<String>,
    /// Further faults.
    pub more_faults: u64,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        } else {
            self.more_faults += 1;
        }
    }

    /// Takes the next row.
    fn take(&mut self, row: &Row) {
        if row.seq != self.last.seq + 1 {
            self.fault(missing(self.last.seq + 1, row.seq - 1));
        } else if row.hash != row.hash_after(&self.last.hash) {
            self.fault(format!(
                "row {} is not what was written, or does not follow row {}",
                row.seq, self.last.seq
            ));
        }
        self.last = Seen { seq: row.seq, hash: row.hash.clone() };
        self.rows += 1;
    }
}

fn missing(first: u64, last: u64) -> String {
    if first == last {
        format!("row {first} is missing")
    } else {
        format!("rows {first} to {last} are missing")
    }
}

impl Log {
    /// Reads all rows, also those that are appended meanwhile. `seen` is a row that must be among them.
    pub async fn verify(&self, seen: Option<&Seen>) -> Result<Verdict> {
        let mut tries = 0;
        loop {
            tries += 1;
            if let Some(verdict) = self.verify_once(seen, tries == TRIES_MAX).await? {
                return Ok(verdict);
            }
        }
    }

    /// Nothing if rows were dropped for their age meanwhile, unless this is the last try.
    async fn verify_once(&self, seen: Option<&Seen>, is_last_try: bool) -> Result<Option<Verdict>> {
        let begin = self.catalog.audit_head().await?;
        let mut found = Verdict {
            anchor: begin.anchor,
            last: Seen { seq: begin.anchor, hash: begin.anchor_hash.clone() },
            rows: 0,
            faults: Vec::new(),
            more_faults: 0,
        };
        // Whoever drops rows moves the anchor in the same transaction.
        if let Some(row) = self.catalog.audit_rows(0, 1).await?.first().filter(|row| row.seq <= begin.anchor)
        {
            found.fault(format!("row {} is there, and was dropped for its age", row.seq));
        }
        let mut is_seen = seen.is_none_or(|seen| *seen == found.last);
        let head = loop {
            let rows = self.catalog.audit_rows(found.last.seq, ROWS_AT_ONCE).await?;
            for row in &rows {
                found.take(row);
                is_seen |= seen == Some(&found.last);
            }
            if rows.is_empty() {
                let head = self.catalog.audit_head().await?;
                // Else rows came in between.
                if head.seq <= found.last.seq || self.catalog.audit_rows(found.last.seq, 1).await?.is_empty()
                {
                    break head;
                }
            }
        };
        if head.anchor != begin.anchor && !is_last_try {
            return Ok(None);
        }
        if head.seq > found.last.seq {
            found.fault(format!("{} at the end", missing(found.last.seq + 1, head.seq)));
        } else if head.seq < found.last.seq {
            found.fault(format!("rows above {} are not of this log: its head does not know them", head.seq));
        } else if head.hash != found.last.hash {
            found.fault(format!("the head does not follow row {}", found.last.seq));
        }
        if !self.holds(&head).await? {
            found.fault("the head was not written with this master key".to_owned());
        }
        if head.broken > 0 {
            found.fault(format!(
                "before row {} the head was changed by somebody without this master key: rows may be missing there",
                head.broken
            ));
        }
        if let Some(seen) = seen.filter(|_| !is_seen) {
            found.fault(match seen.seq < head.anchor {
                true => format!("row {} was dropped for its age: give one that is newer", seen.seq),
                false => {
                    format!("row {} is not the one that was seen: another log was put in its place", seen.seq)
                }
            });
        }
        Ok(Some(found))
    }
}
