//! Figures as tables.

use crate::ask::{Asked, Timed};
use crate::compare::Ingests;
use crate::corpus::Shape;
use crate::load::Ingested;
use crate::peer::Peer;
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

/// A ratio's heading: whose it is only where there are several.
fn ratio_heading<T>(short: &str, theirs: &[T]) -> String {
    if theirs.len() > 1 { format!("{short} ratio") } else { "ratio".to_owned() }
}

/// Ingest side by side, medians of all runs; a ratio for each peer and each form of ours.
pub(crate) fn ingests(shape: &Shape, ours: &[Ingests], theirs: &[Ingests]) {
    let all = || ours.iter().chain(theirs);
    let mut heading = vec!["ingest".to_owned()];
    heading.extend(all().map(|of| of.name.clone()));
    for their in theirs {
        heading.extend(ours.iter().map(|_| ratio_heading(their.short, theirs)));
    }
    let heading: Vec<&str> = heading.iter().map(String::as_str).collect();
    let mut table = Table::new(&heading);
    for (name, of_run) in FIGURES {
        let mut row = vec![name.to_owned()];
        row.extend(all().map(|of| figure(median(of, of_run))));
        for their in theirs {
            row.extend(ours.iter().map(|our| ratio(median(their, of_run), median(our, of_run))));
        }
        table.row(row);
    }
    let gib = float(shape.document_bytes) / float(1 << 30);
    let per_gib = |of: &Ingests| figure(median(of, |i| i.cpu_seconds) / gib);
    let share = |of: &Ingests| {
        figure(100.0 * median(of, |i| float(i.stored_merged_bytes)) / float(shape.document_bytes))
    };
    table.row(["CPU seconds a GiB".to_owned()].into_iter().chain(all().map(per_gib)));
    table.row(["stored, % of the documents".to_owned()].into_iter().chain(all().map(share)));
    let put_off = |of: &Ingests| of.runs.iter().map(|run| run.put_off).sum::<u64>().to_string();
    table.row(["requests put off, all runs".to_owned()].into_iter().chain(all().map(put_off)));
    table.print();
}

/// Cold, median and p95; "n/a" where the server's language cannot say what is asked for.
fn timings(timed: &Timed) -> [String; 3] {
    if timed.warm_ms.is_empty() {
        return ["n/a", "n/a", "n/a"].map(str::to_owned);
    }
    let warm = timed.warm();
    [timed.cold_ms.map_or_else(|| "-".to_owned(), figure), figure(warm.median()), figure(warm.at(0.95))]
}

/// Questions side by side; the ratios are those of the warm medians.
pub(crate) fn questions(ours: &Asked, theirs: &[(Peer, Asked)]) {
    let mut heading = ["query, ms", "cold", "median", "p95"].map(str::to_owned).to_vec();
    for (peer, _) in theirs {
        heading.extend(["cold", "median", "p95"].map(|name| format!("{} {name}", peer.short())));
        heading.push(ratio_heading(peer.short(), theirs));
    }
    heading.push("found".to_owned());
    let heading: Vec<&str> = heading.iter().map(String::as_str).collect();
    let mut table = Table::new(&heading);
    for (n, our) in ours.timed.iter().enumerate() {
        let mut row = vec![our.question.to_owned()];
        row.extend(timings(our));
        let mut is_wrong = our.wrong.is_some();
        for their in theirs.iter().filter_map(|(_, asked)| asked.timed.get(n)) {
            row.extend(timings(their));
            row.push(ratio(their.warm().median(), our.warm().median()));
            is_wrong |= their.wrong.is_some();
        }
        row.push(if is_wrong { "WRONG".to_owned() } else { our.found.clone() });
        table.row(row);
    }
    table.print();
    let mut peaks = format!("peak memory while asked, MiB: {:.0}", mib(ours.memory_bytes_max));
    for (peer, asked) in theirs {
        peaks.push_str(&format!(", {} {:.0}", peer.name(), mib(asked.memory_bytes_max)));
    }
    say(&format!("{peaks}\n"));
}
