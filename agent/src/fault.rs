//! Where the disk may fail: every step that changes it goes through here, so that tests can end it at each one,
//! as a crash does. Outside tests these are the plain calls.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Called before a step.
#[cfg(not(test))]
pub(crate) fn step() -> io::Result<()> {
    Ok(())
}

/// Writes all bytes.
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(test)]
    let bytes = tests::torn(bytes);
    file.write_all_at(bytes, offset)?;
    #[cfg(test)]
    step()?;
    Ok(())
}

#[cfg(test)]
pub(crate) use tests::{crash_after, step};

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        /// Steps that still work, and how much of the last write reaches the disk, in 256ths.
        static LEFT: Cell<Option<(u32, u8)>> = const { Cell::new(None) };
    }

    /// After so many steps of this thread none works any more; `None` for no end.
    pub(crate) fn crash_after(steps: Option<(u32, u8)>) {
        LEFT.set(steps);
    }

    /// Counts a step.
    pub(crate) fn step() -> io::Result<()> {
        match LEFT.get() {
            None => Ok(()),
            Some((0, _)) => Err(io::Error::other("crashed")),
            Some((left, part)) => {
                LEFT.set(Some((left - 1, part)));
                Ok(())
            }
        }
    }

    /// What of a write reaches the disk: a part of it if the crash is in it, nothing after the crash.
    pub(crate) fn torn(bytes: &[u8]) -> &[u8] {
        let Some((0, part)) =
            LEFT.replace(LEFT.get().map(|(left, part)| (left, if left == 0 { 0 } else { part })))
        else {
            return bytes;
        };
        bytes.get(..bytes.len() * usize::from(part) / 256).unwrap_or_default()
    }
}
