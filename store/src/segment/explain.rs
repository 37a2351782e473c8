//! What the index says of a scan by itself: the whole answer, where no block need be looked at; and what would
//! have to be looked at, where a person asks.

use heliograph_model::scan::{Answer, Collector, Order, Scan, Want};

use super::Segment;
use super::directory::Group;
use super::plan::{self, Plan};
use super::reader::Index;
use super::row_lists::RowLists;
use crate::error::Result;

/// What a scan would look at in one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// Blocks of the segment.
    pub blocks: u64,
    /// Blocks that may hold a match, by the index.
    pub possible: u64,
    /// Those of them in which every record is a match.
    pub certain: u64,
    /// Blocks that are read for what is wanted, unless enough is found before; the others the index answers.
    pub read: u64,
    /// Stored bytes of what is read of those.
    pub bytes: u64,
}

impl Segment {
    /// The answer of the index alone; none if a block has to be looked at. CPU work: off the async threads.
    ///
    /// Most segments hold nothing of what a rare word asks for. Who looks at many of them in one go spares each
    /// its way to a thread and back, which takes longer than the look.
    pub fn glance(&self, scan: &Scan) -> Result<Option<Answer>> {
        let mut collector = Collector::new(scan);
        if plan::bounds(scan).touches(self.meta.first, self.meta.last) {
            let lists = RowLists::kept(&self.opened, scan)?;
            if !Plan::new(&self.opened.index, scan, &lists, &mut collector)?.blocks.is_empty() {
                return Ok(None);
            }
        }
        Ok(Some(collector.finish()))
    }
}

/// Plans a scan and counts. CPU work: off the async threads.
pub(super) fn explain(index: &Index, scan: &Scan, lists: &RowLists) -> Result<Explained> {
    // As if records were wanted: nothing of the filter's blocks is answered by the directory then.
    let every = Want::Records { order: Order::Desc, limit: usize::MAX, after: None };
    let every = Scan { want: every, ..scan.clone() };
    let possible = Plan::new(index, &every, lists, &mut Collector::new(&every))?;
    let plan = Plan::new(index, scan, lists, &mut Collector::new(scan))?;
    let stored = |block: u32| {
        let entry = index.entry(block)?;
        let read = Group::ALL.into_iter().filter(|group| plan.reads(block, entry, *group));
        Some(read.map(|group| u64::from(entry.page(group).stored)).sum::<u64>())
    };
    Ok(Explained {
        blocks: index.blocks().into(),
        possible: possible.blocks.len() as u64,
        certain: possible.blocks.iter().filter(|block| possible.is_certain(**block)).count() as u64,
        read: plan.blocks.len() as u64,
        bytes: plan.blocks.iter().filter_map(|block| stored(*block)).sum(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use heliograph_model::airflow::Identity;
    use heliograph_model::filter::{Field, Filter, Test};
    use heliograph_model::level::Level;
    use heliograph_model::record::{Attributes, Record};
    use heliograph_model::scan::CommitId;
    use heliograph_model::source::{Position, Source, SourceId};
    use heliograph_model::tenant::TenantId;
    use heliograph_model::time::{TimeRange, Timestamp};

    use super::super::tests::{Committed, sealed};
    use super::*;

    fn scan(filter: Filter, want: Want) -> Scan {
        Scan {
            tenant: TenantId::parse("team-a").unwrap(),
            range: TimeRange::ALL,
            filter,
            committed_after: None,
            committed_through: None,
            want,
        }
    }

    /// Lines of eight sources, alike but for a number.
    fn records() -> Vec<Committed> {
        let source = |id| Arc::new(Source { id: SourceId(id), ..Source::default() });
        let sources: Vec<_> = (0..8).map(source).collect();
        let record = |n: u64| Record {
            time: Timestamp::from_nanos(n.cast_signed()),
            observed: Timestamp::from_nanos(n.cast_signed()),
            position: Position(n),
            source: Arc::clone(&sources[usize::try_from(n / 250).unwrap()]),
            level: Some(Level::Info),
            stream: None,
            identity: Identity::default(),
            message: format!("line {n} of many that fill a block of text").into(),
            attributes: Attributes::default(),
        };
        (0..2_000).map(|n| (CommitId(0), Arc::new(record(n)))).collect()
    }

    #[tokio::test]
    async fn a_glance_answers_what_the_index_knows() {
        let segment = sealed(&records(), 4 << 10).await;
        let newest = || Want::Records { order: Order::Desc, limit: 10, after: None };
        let word = |text: &str| Filter::Is(Field::Message, Test::Text(text.into()));
        let glance = |filter, want| segment.glance(&scan(filter, want)).unwrap();
        assert_eq!(glance(word("nosuchword"), newest()), Some(Answer::Records(Vec::new())));
        assert_eq!(glance(word("many"), newest()), None);
        assert_eq!(glance(word("17"), newest()), None);
        let Some(Answer::Values(levels)) = glance(Filter::All, Want::Values { field: Field::Level }) else {
            panic!("the directory knows")
        };
        assert_eq!(levels.top(9), [("info", 2_000)]);
        let part = Scan {
            range: TimeRange { start: Timestamp::from_nanos(1_999), ..TimeRange::ALL },
            ..scan(Filter::All, Want::Values { field: Field::Level })
        };
        assert_eq!(segment.glance(&part).unwrap(), None);
        let nowhere = TimeRange { start: Timestamp::from_nanos(2_000), ..TimeRange::ALL };
        let nowhere = Scan { range: nowhere, ..scan(Filter::All, newest()) };
        assert_eq!(segment.glance(&nowhere).unwrap(), Some(Answer::Records(Vec::new())));
    }

    #[tokio::test]
    async fn it_says_what_is_looked_at_and_looks_at_nothing() {
        let segment = sealed(&records(), 4 << 10).await;
        let newest = || Want::Records { order: Order::Desc, limit: 10, after: None };
        let all = segment.explain(&scan(Filter::All, newest())).await.unwrap();
        assert!(all.blocks > 3, "{all:?}");
        assert_eq!((all.possible, all.certain, all.read), (all.blocks, all.blocks, all.blocks));
        assert!(all.bytes > 0 && all.bytes <= segment.meta().index_offset);
        let none = segment.explain(&scan(Filter::None, newest())).await.unwrap();
        assert_eq!(none, Explained { blocks: all.blocks, ..Explained::default() });
        let word = Filter::Is(Field::Message, Test::Text("nosuchword".into()));
        let absent = segment.explain(&scan(word, newest())).await.unwrap();
        assert!(absent.possible < all.possible && absent.certain == 0 && absent.bytes <= all.bytes);
        // Everything by level is what the directory knows.
        let levels = segment.explain(&scan(Filter::All, Want::Values { field: Field::Level })).await.unwrap();
        assert_eq!(levels, Explained { read: 0, bytes: 0, ..all });
        let nowhere = Scan {
            range: TimeRange { start: Timestamp::MAX, ..TimeRange::ALL },
            ..scan(Filter::All, newest())
        };
        assert_eq!(segment.explain(&nowhere).await.unwrap(), none);
    }
}
