//! The bytes of a file, by their place in the text: as they lie there, or decompressed while they are read.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::read::MultiGzDecoder;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes before a place that tell whether the file is still the one that was read up to there.
pub(crate) const BEFORE_BYTES: usize = 64;
/// Most bytes of text in a compressed file: more than any rotation leaves, and an end for a bomb.
const GZIP_TEXT_BYTES_MAX: u64 = 16 << 30;
/// Bytes that the decompressor reads at once.
const GZIP_BUFFER_BYTES: usize = 16 << 10;

/// An open file's bytes.
#[derive(Debug)]
pub(crate) enum Content {
    /// As they lie there.
    Plain(File),
    /// What rotation has compressed; offsets are those of the text.
    Gzip(Box<Gzip>),
}

impl Content {
    /// Of a file with this name.
    pub(crate) fn of(file: File, gzip: bool) -> io::Result<Self> {
        Ok(if gzip { Self::Gzip(Box::new(Gzip::new(file)?)) } else { Self::Plain(file) })
    }

    /// Whether it is compressed: then it is whole, and never written to again.
    pub(crate) fn is_gzip(&self) -> bool {
        matches!(self, Self::Gzip(_))
    }

    /// The same file, read independently.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Plain(file) => Ok(Self::Plain(file.try_clone()?)),
            Self::Gzip(gzip) => Self::of(gzip.file.try_clone()?, true),
        }
    }

    /// What the descriptor says now.
    pub(crate) fn meta(&self) -> io::Result<Metadata> {
        match self {
            Self::Plain(file) => file.metadata(),
            Self::Gzip(gzip) => gzip.file.metadata(),
        }
    }

    /// Bytes of text, as far as that is known now.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => Ok(file.metadata()?.len()),
            Self::Gzip(gzip) => Ok(gzip.len()),
        }
    }

    /// Whether there may be more text than [`Self::len`] says.
    pub(crate) fn may_be_longer(&self) -> bool {
        matches!(self, Self::Gzip(gzip) if gzip.end.is_none())
    }

    /// Reads text from `offset` on. 0 is the end, for now.
    pub(crate) fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            let read = match self {
                Self::Plain(file) => file.read_at(buffer, offset),
                Self::Gzip(gzip) => gzip.read_at(buffer, offset),
            };
            match read {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Fills the buffer from `offset` on, as far as there are bytes.
    pub(crate) fn read_full(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut at = 0;
        while let Some(rest) = buffer.get_mut(at..)
            && !rest.is_empty()
        {
            match self.read_at(rest, offset + at as u64)? {
                0 => break,
                n => at += n,
            }
        }
        Ok(at)
    }

    /// Hash of the [`BEFORE_BYTES`] before `offset`, or of all where there are fewer; 0 where they are not there.
    pub(crate) fn hash_before(&mut self, offset: u64) -> io::Result<u64> {
        let mut bytes = [0; BEFORE_BYTES];
        let wanted = usize::try_from(offset).unwrap_or(BEFORE_BYTES).min(BEFORE_BYTES);
        let Some(bytes) = bytes.get_mut(..wanted) else { return Ok(0) };
        let n = self.read_full(bytes, offset - wanted as u64)?;
        Ok(if n == wanted { hash(bytes) } else { 0 })
    }

    /// Whether compressed bytes could not be read to their end.
    pub(crate) fn is_damaged(&self) -> bool {
        matches!(self, Self::Gzip(gzip) if gzip.damaged)
    }
}

/// Stands for bytes that are gone: no file has them.
pub(crate) const NEVER: u64 = 1;

/// Never 0, which stands for what is not known, nor [`NEVER`].
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes).max(NEVER + 1)
}

/// A compressed file, read forward; going back begins anew.
pub(crate) struct Gzip {
    file: File,
    decoder: Option<MultiGzDecoder<BufReader<Forward>>>,
    /// Where the decoder is in the text.
    at: u64,
    /// Where the text ends, once that was reached.
    end: Option<u64>,
    /// What the trailer says of the text's length (modulo 4 GiB, of the last member).
    stated: u64,
    damaged: bool,
}

impl std::fmt::Debug for Gzip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gzip").field("at", &self.at).field("end", &self.end).finish_non_exhaustive()
    }
}

/// Reads a file from its start, whatever others do with its descriptor.
struct Forward {
    file: File,
    at: u64,
}

impl Read for Forward {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Gzip {
    fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let mut trailer = [0; 4];
        let stated = match len.checked_sub(4) {
            Some(at) if file.read_at(&mut trailer, at)? == 4 => u64::from(u32::from_le_bytes(trailer)),
            _ => 0,
        };
        Ok(Self { file, decoder: None, at: 0, end: None, stated, damaged: false })
    }

    fn len(&self) -> u64 {
        self.end.unwrap_or(self.stated.max(self.at))
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.end.is_some_and(|end| offset >= end) {
            return Ok(0);
        }
        if self.decoder.is_none() || self.at > offset {
            let forward = Forward { file: self.file.try_clone()?, at: 0 };
            let buffered = BufReader::with_capacity(GZIP_BUFFER_BYTES, forward);
            self.decoder = Some(MultiGzDecoder::new(buffered));
            self.at = 0;
        }
        while self.at < offset {
            let mut skipped = [0; 8 << 10];
            let wanted = usize::try_from(offset - self.at).unwrap_or(skipped.len()).min(skipped.len());
            if self.decode(skipped.get_mut(..wanted).unwrap_or_default())? == 0 {
                return Ok(0);
            }
        }
        self.decode(buffer)
    }

    /// Text from where the decoder is. Damage is an end: what was read before it stands.
    fn decode(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else { return Ok(0) };
        let n = match decoder.read(buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
            Err(_) => {
                self.damaged = true;
                0
            }
        };
        self.at += n as u64;
        if self.at >= GZIP_TEXT_BYTES_MAX {
            self.damaged = true;
        }
        if n == 0 || self.damaged {
            self.end = Some(self.at);
            self.decoder = None;
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![], Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn opened(bytes: &[u8]) -> Content {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Content::of(file, true).unwrap()
    }

    #[test]
    fn compressed_text_is_read_by_its_own_offsets() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut content = opened(&gzip(&text));
        assert_eq!(content.len().unwrap(), 400_000);
        let mut buffer = [0; 1000];
        for offset in [0, 1000, 350_000, 5, 399_500] {
            let n = content.read_full(&mut buffer, offset).unwrap();
            let offset = usize::try_from(offset).unwrap();
            assert_eq!(buffer.get(..n), text.get(offset..(offset + 1000).min(text.len())), "{offset}");
        }
        assert_eq!(content.hash_before(400_000).unwrap(), hash(&text[399_936..]));
        assert_eq!(content.hash_before(400_001).unwrap(), 0);
        assert!(!content.is_damaged());
    }

    #[test]
    fn the_length_is_the_same_before_and_after_reading() {
        let mut content = opened(&gzip(b"one\ntwo\n"));
        assert_eq!((content.len().unwrap(), content.may_be_longer()), (8, true));
        assert_ne!(content.hash_before(8).unwrap(), 0);
        assert_eq!((content.len().unwrap(), content.may_be_longer()), (8, true));
        assert_eq!(content.read_at(&mut [0; 8], 8).unwrap(), 0);
        assert_eq!((content.len().unwrap(), content.may_be_longer()), (8, false));
    }

    #[test]
    fn a_torn_file_ends_where_it_is_torn() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        let packed = gzip(&text);
        let mut content = opened(&packed[..packed.len() / 2]);
        let mut all = vec![0; text.len()];
        let n = content.read_full(&mut all, 0).unwrap();
        assert!(n > 1000 && n < text.len() && content.is_damaged());
        assert_eq!(all.get(..n), text.get(..n));
        assert_eq!(content.len().unwrap(), n as u64);
    }
}
