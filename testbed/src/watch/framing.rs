//! Takes the messages of one direction of an HTTP/1.1 connection apart: heads, and what their bodies hold.

/// A head that is longer is none.
const HEAD_BYTES_MAX: usize = 256 << 10;
const LINE_END: &[u8] = b"\r\n";

/// Where in the stream we are.
#[derive(Debug)]
pub(super) enum Framing {
    /// A head, as far as it is there.
    Head(Vec<u8>),
    /// So many bytes of a body.
    Body(usize),
    /// The size of a chunk, as far as it is there.
    ChunkSize(Vec<u8>),
    /// So many bytes of a chunk.
    Chunk(usize),
    /// Behind a chunk.
    ChunkEnd(Vec<u8>),
    /// Behind the last chunk, up to an empty line.
    Trailers(Vec<u8>),
    /// No messages any more, or a body up to the end.
    Opaque,
}

impl Default for Framing {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

impl Framing {
    /// What comes behind a head with these fields.
    pub(super) fn behind(head: &str, without_length: Self) -> Self {
        let mut next = without_length;
        for (name, value) in head.split("\r\n").skip(1).filter_map(|line| line.split_once(':')) {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => next = value.trim().parse().map_or(Self::Opaque, Self::of_bytes),
                "transfer-encoding" => return Self::ChunkSize(Vec::new()),
                "upgrade" => return Self::Opaque,
                _ => {}
            }
        }
        next
    }

    fn of_bytes(bytes: usize) -> Self {
        if bytes == 0 { Self::default() } else { Self::Body(bytes) }
    }

    /// Takes a piece: tells of each head, which says what comes behind it, and of what bodies hold.
    pub(super) fn take(
        &mut self,
        mut piece: &[u8],
        mut on_head: impl FnMut(&str) -> Self,
        mut on_body: impl FnMut(&[u8]),
    ) {
        while let Some((byte, rest)) = piece.split_first() {
            let next = match self {
                Self::Opaque => return on_body(piece),
                Self::Body(left) | Self::Chunk(left) => {
                    let (body, rest) = piece.split_at(piece.len().min(*left));
                    on_body(body);
                    *left -= body.len();
                    piece = rest;
                    match (*left, &self) {
                        (0, Self::Chunk(_)) => Some(Self::ChunkEnd(Vec::new())),
                        (0, _) => Some(Self::default()),
                        _ => None,
                    }
                }
                Self::Head(so_far) => {
                    so_far.push(*byte);
                    piece = rest;
                    match so_far.ends_with(b"\r\n\r\n") {
                        true => Some(on_head(&String::from_utf8_lossy(so_far))),
                        false => (so_far.len() > HEAD_BYTES_MAX).then_some(Self::Opaque),
                    }
                }
                Self::ChunkSize(so_far) | Self::ChunkEnd(so_far) | Self::Trailers(so_far) => {
                    so_far.push(*byte);
                    piece = rest;
                    self.line()
                }
            };
            if let Some(next) = next {
                *self = next;
            }
        }
    }

    /// What comes behind a line around chunks, if it is whole.
    fn line(&self) -> Option<Self> {
        match self {
            Self::ChunkSize(line) if line.ends_with(LINE_END) => {
                let text = String::from_utf8_lossy(line);
                let digits = text.split([';', '\r']).next().unwrap_or_default().trim();
                Some(match usize::from_str_radix(digits, 16) {
                    Ok(0) => Self::Trailers(Vec::new()),
                    Ok(bytes) => Self::Chunk(bytes),
                    Err(_) => Self::Opaque,
                })
            }
            Self::ChunkEnd(line) if line.ends_with(LINE_END) => Some(Self::ChunkSize(Vec::new())),
            Self::Trailers(lines) if lines == LINE_END || lines.ends_with(b"\r\n\r\n") => {
                Some(Self::default())
            }
            _ => None,
        }
    }
}
