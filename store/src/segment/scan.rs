//! Carries out a plan: fetches pages ahead, opens and evaluates blocks off the async threads, stops when the
//! collector can take nothing more.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use heliograph_model::filter::Matcher;
use heliograph_model::record::RecordKey;
use heliograph_model::scan::{Collector, Order, Scan, Want};
use heliograph_model::source::{Position, SourceId};
use heliograph_model::time::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::block::{Block, Columns, Line, Needs, Order as OrderPage};
use super::cache::Page;
use super::directory::{Entry, Group};
use super::plan::{Plan, may_take};
use super::reader::{Index, Kind};
use super::row_lists::RowLists;
use super::texts::Texts;
use super::{Opened, ScanStats};
use crate::error::{Error, Result};

/// Blocks of the first batch; each later batch has twice as many. The newest lines lie in few blocks.
const FIRST_BLOCKS: usize = 4;
/// Most blocks, and about how many stored bytes, a batch has; two batches are in memory at a time.
const BATCH_BLOCKS_MAX: usize = 64;
const BATCH_BYTES_MAX: u64 = 8 << 20;
/// Pages nearer to one another than this are read together.
const GAP_BYTES_MAX: u64 = 16 << 10;

/// Everything that an evaluation needs off the async threads.
pub(super) struct Task {
    pub(super) of: Opened,
    pub(super) scan: Scan,
    pub(super) matcher: Arc<Matcher>,
}

/// A block's pages, by group: sealed, or opened before.
pub(super) struct Fetched {
    pub(super) block: u32,
    pages: [Option<Bytes>; 4],
    kept: [Option<Page>; 4],
}

/// Runs CPU work where it may take its time.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::Objects(e.into()))
}

/// Offers every record that the scan means to the collector.
pub(super) async fn run(
    objects: &Arc<dyn ObjectStore>,
    path: &Path,
    task: Task,
    mut collector: Collector,
    stats: &mut ScanStats,
) -> Result<Collector> {
    let lists = RowLists::read(objects, path, &task.of, &task.scan, stats).await?;
    let task = Arc::new(task);
    let planning = Arc::clone(&task);
    let (plan, planned) = blocking(move || {
        let plan = Plan::new(&planning.of.index, &planning.scan, &lists, &mut collector);
        (plan, collector)
    })
    .await?;
    let plan = Arc::new(plan?);
    collector = planned;

    let mut waiting: VecDeque<u32> = plan.blocks.iter().copied().collect();
    let mut size = FIRST_BLOCKS;
    let batch = take_batch(&task, &plan, &mut waiting, &collector, size);
    let mut ready = fetch(objects, path, &task, &plan, batch, stats).await?;
    while !ready.is_empty() && !collector.is_cancelled() {
        size = (size * 2).min(BATCH_BLOCKS_MAX);
        let ahead = take_batch(&task, &plan, &mut waiting, &collector, size);
        let evaluation = {
            let (task, plan) = (Arc::clone(&task), Arc::clone(&plan));
            blocking(move || evaluate(&task, &plan, &ready, collector))
        };
        let fetching = fetch(objects, path, &task, &plan, ahead, stats);
        let (evaluated, fetched) = tokio::join!(evaluation, fetching);
        let blocks;
        (collector, blocks) = evaluated??;
        stats.blocks += blocks;
        ready = fetched?;
    }
    Ok(collector)
}

/// The next blocks that may matter.
fn take_batch(
    task: &Task,
    plan: &Plan,
    waiting: &mut VecDeque<u32>,
    collector: &Collector,
    size: usize,
) -> Vec<u32> {
    let (mut out, mut bytes) = (Vec::new(), 0);
    while out.len() < size
        && bytes < BATCH_BYTES_MAX
        && let Some(block) = waiting.pop_front()
    {
        if let Some(entry) = task.of.index.entry(block)
            && may_take(entry, &task.scan.want, collector)
        {
            bytes += groups(task, plan, block).map(|(_, range)| range.end - range.start).sum::<u64>();
            out.push(block);
        }
    }
    out
}

/// The pages of a block that the plan reads, with their places.
fn groups<'a>(task: &'a Task, plan: &'a Plan, block: u32) -> impl Iterator<Item = (Group, Range<u64>)> + 'a {
    let entry = task.of.index.entry(block);
    entry.into_iter().flat_map(move |entry| {
        let read = Group::ALL.into_iter().filter(move |g| plan.reads(block, entry, *g));
        read.map(|group| (group, entry.page(group).range()))
    })
}

/// Reads the pages of blocks that the plan reads.
pub(super) async fn fetch(
    objects: &Arc<dyn ObjectStore>,
    path: &Path,
    task: &Task,
    plan: &Plan,
    batch: Vec<u32>,
    stats: &mut ScanStats,
) -> Result<Vec<Fetched>> {
    let mut wanted = Vec::new();
    let mut out = Vec::with_capacity(batch.len());
    for (at, block) in batch.iter().enumerate() {
        let mut fetched = Fetched { block: *block, pages: Default::default(), kept: Default::default() };
        for (group, range) in groups(task, plan, *block) {
            fetched.kept[group as usize] = task.of.cache.get(&task.of.key(group.number(*block)));
            if fetched.kept[group as usize].is_none() {
                wanted.push((range, at, group));
            }
        }
        out.push(fetched);
    }
    wanted.sort_unstable_by_key(|(range, ..)| range.start);
    let ranges: Vec<_> = wanted.iter().map(|(range, ..)| range.clone()).collect();
    let pages = fetch_pages(objects, path, &task.of.index, &ranges, stats).await?;
    for ((_, at, group), page) in wanted.into_iter().zip(pages) {
        if let Some(fetched) = out.get_mut(at) {
            let page = page.ok_or_else(|| task.of.index.cut_off(&group.part(fetched.block)))?;
            fetched.pages[group as usize] = Some(page);
        }
    }
    Ok(out)
}

/// Reads pages, which come sorted; none where the object ends before one.
pub(super) async fn fetch_pages(
    objects: &Arc<dyn ObjectStore>,
    path: &Path,
    index: &Index,
    pages: &[Range<u64>],
    stats: &mut ScanStats,
) -> Result<Vec<Option<Bytes>>> {
    let runs = coalesce(pages.iter().cloned());
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let read = match objects.get_ranges(path, &runs).await {
        Ok(read) => read,
        Err(e) => return Err(read_error(objects, path, index, e, runs.last().map_or(0, |r| r.end)).await),
    };
    stats.bytes += read.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
    let mut run = 0;
    let page = |range: &Range<u64>| {
        while runs.get(run).is_some_and(|r| r.end < range.end) {
            run += 1;
        }
        runs.get(run).zip(read.get(run)).and_then(|(r, bytes)| slice(bytes, r.start, range))
    };
    Ok(pages.iter().map(page).collect())
}

fn slice(bytes: &Bytes, start: u64, range: &Range<u64>) -> Option<Bytes> {
    let at = |offset: u64| offset.checked_sub(start).and_then(|n| usize::try_from(n).ok());
    let (from, to) = (at(range.start)?, at(range.end)?);
    (from <= to && to <= bytes.len()).then(|| bytes.slice(from..to))
}

/// Tells an object that is too short apart from a store that does not answer.
pub(super) async fn read_error(
    objects: &Arc<dyn ObjectStore>,
    path: &Path,
    index: &Index,
    error: object_store::Error,
    end: u64,
) -> Error {
    match objects.head(path).await {
        Ok(head) if head.size < end => index.cut_off("data"),
        _ => Error::Objects(error),
    }
}

/// Joins sorted ranges that lie close to one another.
fn coalesce(ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP_BYTES_MAX) => {
                last.end = last.end.max(range.end);
            }
            _ => out.push(range),
        }
    }
    out
}

/// Looks at fetched blocks; gives the collector and how many blocks were opened.
fn evaluate(
    task: &Task,
    plan: &Plan,
    ready: &[Fetched],
    mut collector: Collector,
) -> Result<(Collector, u64)> {
    let mut opened = 0;
    for fetched in ready {
        if collector.is_cancelled() {
            break;
        }
        let Some(entry) = task.of.index.entry(fetched.block) else { continue };
        // Blocks fetched ahead may be of no use by now.
        if may_take(entry, &task.scan.want, &collector) {
            evaluate_block(task, plan, fetched, entry, &mut collector)?;
            opened += 1;
        }
    }
    Ok((collector, opened))
}

fn evaluate_block(
    task: &Task,
    plan: &Plan,
    fetched: &Fetched,
    entry: &Entry,
    collector: &mut Collector,
) -> Result<()> {
    let (number, rows) = (fetched.block, entry.rows as usize);
    let block = fetched.block(task, plan, entry)?;
    let takes_records = matches!(task.scan.want, Want::Records { .. } | Want::Around { .. });
    if !has_time_for(&block.some, &task.scan, collector) {
        return Ok(());
    }
    for group in Group::ALL {
        // Texts of records that nobody takes stay closed.
        let is_now = !takes_records || group == Group::Order || plan.filters_by(number, group);
        if is_now && plan.reads(number, entry, group) {
            fetched.open(task, &block, group)?;
        }
    }
    let is_certain = plan.is_certain(number);
    let checks_commits = plan.checks_commits(entry);
    let is_of_commits = |row| match block.order.get() {
        Some(order) if checks_commits => task.scan.has_commit(order.commit(row)),
        _ => true,
    };
    let is_desc = matches!(task.scan.want, Want::Records { order: Order::Desc, .. });
    let mut line = Line::new(&block);
    for n in 0..rows {
        line.go_to(if is_desc { rows - 1 - n } else { n });
        let key = line.key();
        let is_meant = (is_certain || (task.scan.range.contains(key.time) && is_of_commits(line.row)))
            && (!takes_records || collector.could_take(&key))
            && (is_certain || task.matcher.matches(&line));
        if !is_meant {
            continue;
        }
        if takes_records {
            fetched.open_all(task, &block)?;
        }
        collector.offer(key, &line, || line.record());
    }
    Ok(())
}

/// Whether any of a block's rows is of a time that the collector still takes: its first and last time say little
/// of those between, and the times are the cheapest of its pages.
fn has_time_for(columns: &Columns, scan: &Scan, collector: &Collector) -> bool {
    let Want::Records { order, after, .. } = &scan.want else { return true };
    let full = collector.full_at();
    columns.times.iter().map(|nanos| Timestamp::from_nanos(*nanos)).any(|time| {
        let low = RecordKey::first_at(time);
        let high = RecordKey { time, source: SourceId(u128::MAX), position: Position(u64::MAX) };
        let (best, worst) = match order {
            Order::Desc => (high, low),
            Order::Asc => (low, high),
        };
        scan.range.contains(time)
            && after.is_none_or(|after| order.is_before(&after, &worst))
            && full.is_none_or(|full| order.is_before(&best, &full))
    })
}

impl Fetched {
    /// The block with the columns that the plan needs first.
    pub(super) fn block<'a>(&self, task: &'a Task, plan: &'a Plan, entry: &Entry) -> Result<Block<'a>> {
        let (index, number) = (&*task.of.index, self.block);
        Ok(Block {
            sources: index.sources()?,
            values: index.fields()?,
            message_templates: index.templates(Kind::Messages)?,
            attribute_templates: index.templates(Kind::Attributes)?,
            conditions: &plan.conditions,
            number,
            first_row: index.rows(number).start,
            some: self.columns(task, entry.rows as usize, plan.columns(number))?,
            all: OnceCell::new(),
            order: OnceCell::new(),
            messages: OnceCell::new(),
            attributes: OnceCell::new(),
            candidates: plan.conditions.iter().map(|_| OnceCell::new()).collect(),
        })
    }

    /// The bytes of a page of columns.
    fn bytes(&self, task: &Task, group: Group) -> Result<Arc<[u8]>> {
        if let Some(Page::Bytes(bytes)) = &self.kept[group as usize] {
            return Ok(Arc::clone(bytes));
        }
        let sealed = self.pages[group as usize].as_deref().unwrap_or_default();
        let bytes: Arc<[u8]> = task.of.index.page(self.block, group, sealed, |bytes| Ok(bytes.into()))?;
        task.of.cache.put(task.of.key(group.number(self.block)), Page::Bytes(Arc::clone(&bytes)));
        Ok(bytes)
    }

    /// A page of texts.
    fn texts(&self, task: &Task, block: &Block<'_>, kind: Kind) -> Result<Arc<Texts>> {
        let group = kind.group();
        if let Some(Page::Texts(texts)) = &self.kept[group as usize] {
            return Ok(Arc::clone(texts));
        }
        let sealed = self.pages[group as usize].as_deref().unwrap_or_default();
        let texts = Arc::new(task.of.index.page(self.block, group, sealed, |bytes| {
            Texts::read(bytes, block.columns().texts(kind), block.some.rows, block.templates(kind))
        })?);
        task.of.cache.put(task.of.key(group.number(self.block)), Page::Texts(Arc::clone(&texts)));
        Ok(texts)
    }

    fn columns(&self, task: &Task, rows: usize, needs: Needs) -> Result<Columns> {
        let bytes = self.bytes(task, Group::Columns)?;
        let part = Group::Columns.part(self.block);
        Columns::read(&bytes, rows, needs).map_err(task.of.index.malformed(&part))
    }

    /// Opens everything that a record is made of.
    pub(super) fn open_all(&self, task: &Task, block: &Block<'_>) -> Result<()> {
        if block.all.get().is_none() {
            let all = self.columns(task, block.some.rows, Needs::ALL)?;
            block.all.get_or_init(|| all);
        }
        self.open(task, block, Group::Messages)?;
        self.open(task, block, Group::Attributes)
    }

    /// Opens a page of the block, if it is not open yet.
    pub(super) fn open(&self, task: &Task, block: &Block<'_>, group: Group) -> Result<()> {
        match group {
            Group::Columns => {}
            Group::Order => {
                if block.order.get().is_none() {
                    let bytes = self.bytes(task, group)?;
                    let part = group.part(self.block);
                    let order = OrderPage::read(&bytes, block.columns());
                    let order = order.map_err(task.of.index.malformed(&part))?;
                    block.order.get_or_init(|| order);
                }
            }
            Group::Messages => {
                if block.messages.get().is_none() {
                    let texts = self.texts(task, block, Kind::Messages)?;
                    block.messages.get_or_init(|| texts);
                }
            }
            Group::Attributes => {
                if block.attributes.get().is_none() {
                    let is_there = task.of.index.entry(self.block).is_some_and(|e| !e.page(group).is_none());
                    let texts = is_there.then(|| self.texts(task, block, Kind::Attributes)).transpose()?;
                    block.attributes.get_or_init(|| texts);
                }
            }
        }
        Ok(())
    }
}
