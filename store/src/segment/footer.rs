//! The fixed end of a segment: its version, and where the sections of its index part lie.
//!
//! The only bytes besides the head that can be read without the key; they are authenticated with it.

use super::columns::{Cursor, Parsed};
use super::pages::{Page, Pages};
use crate::error::Result;

/// How every segment begins and ends: its kind, and the version that this code writes, the only one it reads.
pub(super) const HEAD: [u8; 8] = *b"HGLOSEG\x01";
/// Places for sections, of which version 1 uses the first thirteen.
const SLOTS: usize = 16;
const SLOT_BYTES: usize = 12;
const CLEAR_BYTES: usize = 8 + 8 + 8 + 4 + SLOTS * SLOT_BYTES;
const TAG_BYTES: usize = heliograph_model::cipher::TAG_BYTES;
/// Size of the footer.
pub(super) const FOOTER_BYTES: usize = CLEAR_BYTES + TAG_BYTES + 4 + HEAD.len();
/// Page numbers of sections and of the footer's tag: beyond those of any block.
const SECTION_PAGES: u64 = 1 << 62;
const FOOTER_PAGE: u64 = 1 << 63;

/// A part of the index, each a page of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Blocks and their pages.
    Directory,
    /// Sources and their fields.
    Sources,
    /// Values of the records' fields, and the blocks that hold each, with counts.
    Fields,
    /// Words of the messages' vocabulary.
    Terms,
    /// Templates and blocks of each word.
    Postings,
    /// Identifiers of the messages, with their blocks.
    Identifiers,
    /// Names of attributes with counts.
    Names,
    /// Templates of messages, and the blocks that use each, with counts.
    Templates,
    /// Templates of attributes, likewise.
    AttributeTemplates,
    /// Records by minute and level.
    Summary,
    /// Words of the attributes' vocabulary.
    AttributeTerms,
    /// Templates and blocks of each word.
    AttributePostings,
    /// Identifiers of the attributes, with their blocks.
    AttributeIdentifiers,
}

impl Section {
    /// All, in their order in the file; a section's index here is its slot.
    pub(super) const ALL: [Self; 13] = [
        Self::Directory,
        Self::Sources,
        Self::Fields,
        Self::Terms,
        Self::Postings,
        Self::Identifiers,
        Self::Names,
        Self::Templates,
        Self::AttributeTemplates,
        Self::Summary,
        Self::AttributeTerms,
        Self::AttributePostings,
        Self::AttributeIdentifiers,
    ];

    pub(super) const fn part(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Sources => "sources",
            Self::Fields => "fields",
            Self::Terms => "terms",
            Self::Postings => "postings",
            Self::Identifiers => "identifiers",
            Self::Names => "attribute names",
            Self::Templates => "templates",
            Self::AttributeTemplates => "attribute templates",
            Self::Summary => "summary",
            Self::AttributeTerms => "attribute terms",
            Self::AttributePostings => "attribute postings",
            Self::AttributeIdentifiers => "attribute identifiers",
        }
    }

    /// The number that its page is sealed under.
    pub(super) const fn number(self) -> u64 {
        SECTION_PAGES | self as u64
    }
}

/// What the footer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// Where the index part begins.
    pub(super) index_offset: u64,
    /// Size of the whole object.
    pub(super) bytes: u64,
    /// How many records.
    pub(super) records: u64,
    /// How many blocks.
    pub(super) blocks: u32,
    /// The sections, by slot.
    pub(super) sections: [Page; Section::ALL.len()],
}

impl Footer {
    /// The bytes of the footer.
    pub(super) fn to_bytes(&self, pages: &Pages) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend_from_slice(&self.index_offset.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.records.to_le_bytes());
        out.extend_from_slice(&self.blocks.to_le_bytes());
        for page in &self.sections {
            out.extend_from_slice(&page.stored.to_le_bytes());
            out.extend_from_slice(&page.plain.to_le_bytes());
            out.extend_from_slice(&page.crc.to_le_bytes());
        }
        out.resize(CLEAR_BYTES, 0);
        let tag = pages.sign(FOOTER_PAGE, &[&out, HEAD.as_slice()].concat())?;
        out.extend_from_slice(&tag);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out.extend_from_slice(&HEAD);
        Ok(out)
    }

    /// Reads and authenticates the footer at the end of an index part.
    pub(super) fn read(index: &[u8], pages: &Pages) -> Result<Self> {
        let part = "footer";
        let corrupt = |reason: &str| pages.corrupt(part, reason);
        let Some((rest, head)) = index.split_last_chunk() else { return Err(corrupt("it is cut off")) };
        if *head != HEAD {
            return Err(corrupt("its magic or version is not known"));
        }
        let Some((rest, crc)) = rest.split_last_chunk() else { return Err(corrupt("it is cut off")) };
        let Some(start) = rest.len().checked_sub(CLEAR_BYTES + TAG_BYTES) else {
            return Err(corrupt("it is cut off"));
        };
        let signed = rest.get(start..).unwrap_or_default();
        if crc32fast::hash(signed) != u32::from_le_bytes(*crc) {
            return Err(corrupt("its checksum is wrong"));
        }
        let (clear, tag) = signed.split_at_checked(CLEAR_BYTES).unwrap_or_default();
        let footer = Self::parse(clear).map_err(pages.malformed(part))?;
        pages.verify(FOOTER_PAGE, &[clear, &HEAD].concat(), tag, part)?;
        Ok(footer)
    }

    fn parse(clear: &[u8]) -> Parsed<Self> {
        let mut from = Cursor::new(clear);
        let (index_offset, bytes, records) = (from.u64_le()?, from.u64_le()?, from.u64_le()?);
        let blocks = from.u32_le()?;
        let mut sections = [Page::default(); Section::ALL.len()];
        let mut offset = index_offset;
        for page in &mut sections {
            *page = Page { offset, stored: from.u32_le()?, plain: from.u32_le()?, crc: from.u32_le()? };
            offset = page.range().end;
        }
        Ok(Self { index_offset, bytes, records, blocks, sections })
    }

    /// Checks the footer against what the catalog says, and every section's bytes against its checksum.
    pub(super) fn check(&self, index: &[u8], index_offset: u64, bytes: u64, pages: &Pages) -> Result<()> {
        if self.index_offset != index_offset || self.bytes != bytes {
            return Err(pages.corrupt("footer", "it is of an object of another size"));
        }
        let sections: usize = self.sections.iter().map(|p| p.stored as usize).sum();
        if sections + FOOTER_BYTES != index.len() {
            return Err(pages.corrupt("footer", "its lengths do not add up"));
        }
        for section in Section::ALL {
            let page = self.page(section);
            pages.check(page, section.part(), self.slice(section, index))?;
        }
        Ok(())
    }

    pub(super) fn page(&self, section: Section) -> &Page {
        &self.sections[section as usize]
    }

    fn slice<'a>(&self, section: Section, index: &'a [u8]) -> &'a [u8] {
        let page = self.page(section);
        let start = usize::try_from(page.offset - self.index_offset).unwrap_or(usize::MAX);
        index.get(start..start.saturating_add(page.stored as usize)).unwrap_or_default()
    }

    /// Opens a section out of the index part.
    pub(super) fn open(&self, section: Section, index: &[u8], pages: &Pages) -> Result<Vec<u8>> {
        pages.open(section.number(), self.page(section), section.part(), self.slice(section, index))
    }
}
