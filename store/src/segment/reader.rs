//! The index part of an opened segment, and the way to its blocks' pages.
//!
//! Opening checks every byte of the index part but opens the directory only; the other sections are opened when
//! they are first asked for. Everything here is CPU work: it belongs off the async threads.

use std::sync::OnceLock;

use bytes::Bytes;

use super::bitset::BitSet;
use super::columns::Malformed;
use super::directory::{self, Directory, Entry, Group};
use super::fields::Fields;
use super::footer::{Footer, HEAD, Section};
use super::identifiers::Identifiers;
use super::names::Names;
use super::pages::{Page, Pages};
use super::row_lists;
use super::sources::Sources;
use super::summary::Summary;
use super::templates::Templates;
use super::tokens::Words;
use crate::catalog::SegmentMeta;
use crate::error::Result;
use crate::tenants::OpenTenant;

/// Largest index part that is read into memory.
pub(super) const INDEX_BYTES_MAX: u64 = 1 << 30;

/// The index part of a segment.
pub(super) struct Index {
    pages: Pages,
    bytes: Bytes,
    footer: Footer,
    entries: Vec<Entry>,
    /// For each block the number of its first row among all of the segment's.
    first_rows: Vec<u32>,
    row_lists: Vec<Page>,
    sources: OnceLock<Sources>,
    fields: OnceLock<Fields>,
    names: OnceLock<Names>,
    summary: OnceLock<Summary>,
    messages: TextIndex,
    attributes: TextIndex,
}

/// The kinds of text that a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What people read.
    Messages,
    /// JSON.
    Attributes,
}

/// The sections that tell of a kind of text.
pub(super) struct TextSections {
    pub(super) templates: Section,
    pub(super) terms: Section,
    pub(super) postings: Section,
    pub(super) identifiers: Section,
}

impl Kind {
    /// Where a block has such texts.
    pub(super) const fn group(self) -> Group {
        match self {
            Self::Messages => Group::Messages,
            Self::Attributes => Group::Attributes,
        }
    }

    pub(super) const fn sections(self) -> TextSections {
        match self {
            Self::Messages => TextSections {
                templates: Section::Templates,
                terms: Section::Terms,
                postings: Section::Postings,
                identifiers: Section::Identifiers,
            },
            Self::Attributes => TextSections {
                templates: Section::AttributeTemplates,
                terms: Section::AttributeTerms,
                postings: Section::AttributePostings,
                identifiers: Section::AttributeIdentifiers,
            },
        }
    }
}

/// What is known of a kind of text, opened on first use.
#[derive(Default)]
pub(super) struct TextIndex {
    templates: OnceLock<Templates>,
    words: OnceLock<Words>,
    identifiers: OnceLock<Identifiers>,
}

impl Index {
    /// Checks the index part's bytes and reads the directory.
    pub(super) fn open(tenant: &OpenTenant, meta: &SegmentMeta, bytes: Bytes) -> Result<Self> {
        let pages = Pages::new(tenant, meta.id)?;
        let footer = Footer::read(&bytes, &pages)?;
        footer.check(&bytes, meta.index_offset, meta.bytes, &pages)?;
        let part = Section::Directory.part();
        let plain = footer.open(Section::Directory, &bytes, &pages)?;
        let Directory { entries, row_lists } =
            directory::read(&plain, HEAD.len() as u64, footer.index_offset).map_err(pages.malformed(part))?;
        let records: u64 = entries.iter().map(|e| u64::from(e.rows)).sum();
        if entries.len() != footer.blocks as usize || records != footer.records {
            return Err(pages.corrupt(part, "its counts are not those of the footer"));
        }
        let mut first_rows = Vec::with_capacity(entries.len());
        let mut rows = 0_u32;
        for entry in &entries {
            first_rows.push(rows);
            let too_many = || pages.corrupt(part, "it has too many records");
            rows = rows.checked_add(entry.rows).ok_or_else(too_many)?;
        }
        Ok(Self {
            pages,
            bytes,
            footer,
            entries,
            first_rows,
            row_lists,
            sources: OnceLock::new(),
            fields: OnceLock::new(),
            names: OnceLock::new(),
            summary: OnceLock::new(),
            messages: TextIndex::default(),
            attributes: TextIndex::default(),
        })
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> u32 {
        self.footer.blocks
    }

    /// The directory.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn entry(&self, block: u32) -> Option<&Entry> {
        self.entries.get(block as usize)
    }

    /// The numbers of a block's rows among all of the segment's.
    pub(super) fn rows(&self, block: u32) -> std::ops::Range<u32> {
        let first = self.first_rows.get(block as usize).copied().unwrap_or_default();
        first..first + self.entry(block).map_or(0, |entry| entry.rows)
    }

    /// Where a list of rows lies.
    pub(super) fn row_list(&self, list: u32) -> Option<&Page> {
        self.row_lists.get(list as usize)
    }

    /// Opens a list of rows.
    pub(super) fn open_row_list(&self, list: u32, sealed: &[u8]) -> Result<BitSet> {
        let (page, part) = (self.row_list(list).copied().unwrap_or_default(), row_lists::part(list));
        let plain = self.pages.open(row_lists::page_number(list), &page, &part, sealed)?;
        // There are no more: they were counted when the index was opened.
        let records = u32::try_from(self.footer.records).unwrap_or(u32::MAX);
        row_lists::read(&plain, records).map_err(self.pages.malformed(&part))
    }

    fn section(&self, section: Section) -> Result<Vec<u8>> {
        self.footer.open(section, &self.bytes, &self.pages)
    }

    pub(super) fn sources(&self) -> Result<&Sources> {
        self.once(&self.sources, Section::Sources, |bytes| {
            let sources = Sources::read(&bytes)?;
            let known = |e: &Entry| e.sources.end <= sources.len();
            if self.entries.iter().all(known) {
                Ok(sources)
            } else {
                Err(Malformed("a block's source is missing"))
            }
        })
    }

    pub(super) fn fields(&self) -> Result<&Fields> {
        self.once(&self.fields, Section::Fields, |bytes| Fields::read(&bytes, self.blocks()))
    }

    /// What is known of a kind of texts.
    fn texts(&self, kind: Kind) -> &TextIndex {
        match kind {
            Kind::Messages => &self.messages,
            Kind::Attributes => &self.attributes,
        }
    }

    /// The templates of a kind of texts.
    pub(super) fn templates(&self, kind: Kind) -> Result<&Templates> {
        let section = kind.sections().templates;
        self.once(&self.texts(kind).templates, section, |bytes| Templates::read(&bytes, self.blocks()))
    }

    /// The vocabulary of a kind of texts.
    pub(super) fn words(&self, kind: Kind) -> Result<&Words> {
        let (cell, sections) = (&self.texts(kind).words, kind.sections());
        let postings = match cell.get() {
            Some(words) => return Ok(words),
            None => self.section(sections.postings)?,
        };
        self.once(cell, sections.terms, |terms| {
            Words::open(terms, postings, self.blocks()).map_err(|_| Malformed("tantivy does not open it"))
        })
    }

    /// The identifiers of a kind of texts.
    pub(super) fn identifiers(&self, kind: Kind) -> Result<&Identifiers> {
        let section = kind.sections().identifiers;
        self.once(&self.texts(kind).identifiers, section, |bytes| Identifiers::read(bytes, self.blocks()))
    }

    pub(super) fn names(&self) -> Result<&Names> {
        self.once(&self.names, Section::Names, |bytes| Names::read(&bytes))
    }

    pub(super) fn summary(&self) -> Result<&Summary> {
        let records = self.footer.records;
        self.once(&self.summary, Section::Summary, |bytes| Summary::read(&bytes, records))
    }

    /// What `cell` holds, read on first use. Two that ask at once may both read; one result is kept.
    fn once<'a, T>(
        &self,
        cell: &'a OnceLock<T>,
        section: Section,
        read: impl FnOnce(Vec<u8>) -> Result<T, Malformed>,
    ) -> Result<&'a T> {
        if let Some(value) = cell.get() {
            return Ok(value);
        }
        let value = read(self.section(section)?).map_err(self.pages.malformed(section.part()))?;
        Ok(cell.get_or_init(|| value))
    }

    /// Opens what most questions ask.
    pub(super) fn warm(&self) -> Result<()> {
        self.sources()?;
        self.fields()?;
        self.summary()?;
        for kind in [Kind::Messages, Kind::Attributes] {
            self.templates(kind)?;
            self.words(kind)?;
            self.identifiers(kind)?;
        }
        Ok(())
    }

    /// Opens a page of a block and reads it.
    pub(super) fn page<T>(
        &self,
        block: u32,
        group: Group,
        sealed: &[u8],
        read: impl FnOnce(Vec<u8>) -> Result<T, Malformed>,
    ) -> Result<T> {
        let page = self.entry(block).map(|e| *e.page(group)).unwrap_or_default();
        let part = group.part(block);
        let plain = self.pages.open(group.number(block), &page, &part, sealed)?;
        read(plain).map_err(self.pages.malformed(&part))
    }

    /// The error of a page that opened but does not follow the format.
    pub(super) fn malformed(&self, part: &str) -> impl FnOnce(Malformed) -> crate::Error {
        self.pages.malformed(part)
    }

    /// The error of a page that could not be read whole.
    pub(super) fn cut_off(&self, part: &str) -> crate::Error {
        self.pages.corrupt(part, "it is cut off")
    }

    /// The error for tantivy's refusal of a section that opened.
    pub(super) fn bad_terms(&self, kind: Kind) -> impl Fn(std::io::Error) -> crate::Error + '_ {
        move |e| self.pages.corrupt(kind.sections().terms.part(), e.to_string())
    }
}
