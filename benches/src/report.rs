//! Figures as tables.

use crate::ask::{Asked, Timed};
use crate::compare::Ingests;
use crate::corpus::Shape;
use crate::load::Ingested;
use crate::series::Series;
use crate::size::{float, mib};
use crate::table::{Table, figure, ratio, say};
use crate::truth::Truth;

/// What a corpus is like.
pub(crate) fn shape(shape: &Shape) {
    let each = |bytes: u64| float(bytes) / float(shape.documents.max(1));
    say(&format!(
        "corpus: {} documents, {:.0} MiB of NDJSON ({:.0} B each, {:.0} B of it message), {} tenants, {} pods, \
         {} DAGs; {} parcels, {:.0} MiB as _bulk, {:.0} MiB as batches\n",
        shape.documents,
        mib(shape.document_bytes),
        each(shape.document_bytes),
        each(shape.message_bytes),
        shape.tenants,
        shape.pods,
        shape.dags,
        shape.parcels,
        mib(shape.bulk_bytes),
        mib(shape.binary_bytes),
    ));
}

/// How many lines each question means.
pub(crate) fn truth(truth: &Truth) {
    let mut table = Table::new(&["lines that match", "count"]);
    for (question, tally) in &truth.asked {
        table.row([question.name.to_owned(), tally.count().to_string()]);
    }
    table.print();
}

/// One figure of an ingest; smaller is better.
type Figure = (&'static str, fn(&Ingested) -> f64);

const FIGURES: [Figure; 7] = [
    ("wall until acknowledged, s", |i| i.acknowledged_seconds),
    ("wall until searchable, s", |i| i.searchable_seconds),
    ("CPU until sealed / flushed, s", |i| i.cpu_seconds),
    ("CPU with forced merge, s", |i| i.cpu_merged_seconds),
    ("peak memory, MiB", |i| mib(i.memory_bytes_max)),
    ("stored, MiB", |i| mib(i.stored_bytes)),
    ("stored after forced merge, MiB", |i| mib(i.stored_merged_bytes)),
];

fn median(of: &Ingests, figure: fn(&Ingested) -> f64) -> f64 {
    Series::new(of.runs.iter().map(figure).collect()).median()
}

/// Ingest side by side, medians of all runs.
pub(crate) fn ingests(shape: &Shape, ours: &[Ingests], theirs: &Ingests) {
    let mut heading = vec!["ingest"];
    heading.extend(ours.iter().map(|of| of.name.as_str()));
    heading.push(&theirs.name);
    heading.extend(ours.iter().map(|_| "ratio"));
    let mut table = Table::new(&heading);
    for (name, of_run) in FIGURES {
        let their = median(theirs, of_run);
        let our: Vec<f64> = ours.iter().map(|of| median(of, of_run)).collect();
        let mut row = vec![name.to_owned()];
        row.extend(our.iter().map(|value| figure(*value)));
        row.push(figure(their));
        row.extend(our.iter().map(|value| ratio(their, *value)));
        table.row(row);
    }
    let gib = float(shape.document_bytes) / float(1 << 30);
    let per_gib = |of: &Ingests| figure(median(of, |i| i.cpu_seconds) / gib);
    let share = |of: &Ingests| {
        figure(100.0 * median(of, |i| float(i.stored_merged_bytes)) / float(shape.document_bytes))
    };
    let all = || ours.iter().chain([theirs]);
    table.row(["CPU seconds a GiB".to_owned()].into_iter().chain(all().map(per_gib)));
    table.row(["stored, % of the documents".to_owned()].into_iter().chain(all().map(share)));
    let put_off = |of: &Ingests| of.runs.iter().map(|run| run.put_off).sum::<u64>().to_string();
    table.row(["requests put off, all runs".to_owned()].into_iter().chain(all().map(put_off)));
    table.print();
}

fn timings(timed: &Timed) -> [String; 3] {
    let warm = timed.warm();
    [timed.cold_ms.map_or_else(|| "-".to_owned(), figure), figure(warm.median()), figure(warm.at(0.95))]
}

/// Questions side by side; the ratio is that of the warm medians.
pub(crate) fn questions(ours: &Asked, theirs: &Asked) {
    let mut table = Table::new(&[
        "query, ms",
        "cold",
        "median",
        "p95",
        "VL cold",
        "VL median",
        "VL p95",
        "ratio",
        "found",
    ]);
    for (our, their) in ours.timed.iter().zip(&theirs.timed) {
        let mut row = vec![our.question.to_owned()];
        row.extend(timings(our));
        row.extend(timings(their));
        row.push(ratio(their.warm().median(), our.warm().median()));
        let is_wrong = our.wrong.is_some() || their.wrong.is_some();
        row.push(if is_wrong { "WRONG".to_owned() } else { our.found.clone() });
        table.row(row);
    }
    table.print();
    say(&format!(
        "peak memory while asked, MiB: {:.0}, VictoriaLogs {:.0}\n",
        mib(ours.memory_bytes_max),
        mib(theirs.memory_bytes_max)
    ));
}
