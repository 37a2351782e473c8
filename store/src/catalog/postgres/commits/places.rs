//! Where the producers of a commit stand, and where the commit moves them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::catalog::{CommittedBatch, erased, stored};
use crate::error::{Error, Result};

/// A tenant's row and a producer of it, in the order in which rows are locked.
type Producer<'a> = (i64, &'a str);
/// Epoch and sequence.
type Place = (i64, i64);

/// Where a commit's producers stand after it.
pub(super) struct Places<'a> {
    /// Those that were on record; they are locked.
    pub(super) moved: Rows<'a>,
    /// Those that were not.
    pub(super) begun: Rows<'a>,
}

/// Rows of `producers`, column by column.
#[derive(Default)]
pub(super) struct Rows<'a> {
    tenants: Vec<i64>,
    producers: Vec<&'a str>,
    epochs: Vec<i64>,
    sequences: Vec<i64>,
}

impl<'a> Rows<'a> {
    pub(super) fn len(&self) -> u64 {
        self.tenants.len() as u64
    }

    fn push(&mut self, (tenant, producer): Producer<'a>, (epoch, sequence): Place) {
        self.tenants.push(tenant);
        self.producers.push(producer);
        self.epochs.push(epoch);
        self.sequences.push(sequence);
    }

    /// Binds the four columns.
    pub(super) fn bind<'q>(
        &'q self,
        query: Query<'q, sqlx::Postgres, PgArguments>,
    ) -> Query<'q, sqlx::Postgres, PgArguments> {
        query.bind(&self.tenants).bind(&self.producers).bind(&self.epochs).bind(&self.sequences)
    }
}

impl<'a> Places<'a> {
    /// Locks the producers of these batches and moves them on, if each batch is the next of its producer or
    /// begins a higher epoch; else names the first that is not. [`Error::Erased`] where a tenant has no key any more.
    pub(super) async fn after(write: &mut PgConnection, batches: &'a [CommittedBatch]) -> Result<Self> {
        let tenants = tenant_rows(write, batches.iter().map(|batch| batch.uid).collect()).await?;
        let row = |batch: &CommittedBatch| tenants.get(&batch.uid).copied();
        let asked =
            batches.iter().filter_map(|batch| Some((row(batch)?, batch.id.as_ref()?.producer.as_str())));
        let on_record = lock(write, asked.collect()).await?;

        let mut after: BTreeMap<Producer<'a>, Place> = BTreeMap::new();
        for batch in batches {
            let tenant = &batch.tenant;
            let row = row(batch).ok_or_else(|| erased(tenant))?;
            let Some(id) = &batch.id else { continue };
            let (epoch, sequence) =
                (stored("epoch of a batch", id.epoch)?, stored("sequence of a batch", id.sequence)?);
            let producer = (row, id.producer.as_str());
            let before = on_record.get(&producer).copied();
            if !is_next(after.get(&producer).copied().or(before), (epoch, sequence)) {
                let (epoch, expected) = match before {
                    Some((on_record, last)) if on_record >= epoch => (on_record, last.saturating_add(1)),
                    _ => (epoch, 1),
                };
                let (epoch, expected) = (epoch.cast_unsigned(), expected.cast_unsigned());
                return Err(Error::Sequence { tenant: tenant.clone(), epoch, expected });
            }
            after.insert(producer, (epoch, sequence));
        }
        let mut places = Self { moved: Rows::default(), begun: Rows::default() };
        for (producer, place) in after {
            let rows = if on_record.contains_key(&producer) { &mut places.moved } else { &mut places.begun };
            rows.push(producer, place);
        }
        Ok(places)
    }
}

fn is_next(place: Option<Place>, (epoch, sequence): Place) -> bool {
    match place {
        None => sequence == 1,
        Some((now, last)) => {
            (epoch == now && sequence.checked_sub(1) == Some(last)) || (epoch > now && sequence == 1)
        }
    }
}

/// The rows of those tenants that have their keys.
async fn tenant_rows(write: &mut PgConnection, uids: BTreeSet<Uuid>) -> Result<HashMap<Uuid, i64>> {
    let uids: Vec<_> = uids.into_iter().collect();
    let rows = sqlx::query("SELECT uid, id FROM tenants WHERE uid = ANY($1) AND wrapped_key <> ''")
        .bind(uids)
        .fetch_all(write)
        .await?;
    rows.iter().map(|row| Ok((row.try_get("uid")?, row.try_get("id")?))).collect()
}

/// Locks the producers that are on record, in order, and reads their places.
async fn lock<'a>(
    write: &mut PgConnection,
    asked: BTreeSet<Producer<'a>>,
) -> Result<HashMap<Producer<'a>, Place>> {
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let (tenants, producers): (Vec<_>, Vec<_>) = asked.iter().copied().unzip();
    let rows = sqlx::query(
        "SELECT n.number, p.epoch, p.sequence FROM producers p
         JOIN unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS n (tenant, producer, number)
             ON p.tenant = n.tenant AND p.producer = n.producer
         ORDER BY p.tenant, p.producer FOR NO KEY UPDATE OF p",
    )
    .bind(tenants)
    .bind(producers)
    .fetch_all(write)
    .await?;
    let asked: Vec<_> = asked.into_iter().collect();
    let mut places = HashMap::with_capacity(rows.len());
    for row in &rows {
        let number: i64 = row.try_get("number")?;
        let at = usize::try_from(number).unwrap_or_default().checked_sub(1);
        if let Some(producer) = at.and_then(|at| asked.get(at)) {
            places.insert(*producer, (row.try_get("epoch")?, row.try_get("sequence")?));
        }
    }
    Ok(places)
}
