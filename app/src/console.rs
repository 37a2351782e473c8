//! Standard output and standard error of the commands that speak to people; the servers' own logs are
//! telemetry's.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;

/// The reader of our standard output has gone away: not a failure.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(crate) struct OutputClosed;

/// Says something to the person at the terminal, apart from the output.
pub(crate) fn say(text: &str) {
    // Where nobody listens there is nobody to tell.
    _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes output, at once.
pub(crate) fn output(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(OutputClosed.into()),
        done => done.context("cannot write to standard output"),
    }
}

/// Writes a line of output.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    output(format!("{text}\n").as_bytes())
}

/// Whether output goes to a terminal.
pub(crate) fn output_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Writes rows under a heading, in columns as wide as their widest cell.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> anyhow::Result<()> {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain(heading.get(column).map(|cell| cell.len()))
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let render = |cells: &[String; N]| {
        let row: String = cells.iter().zip(widths).map(|(cell, w)| format!("{cell:<w$}  ")).collect();
        row.trim_end().to_owned() + "\n"
    };
    let mut text = render(&heading.map(str::to_uppercase));
    rows.iter().for_each(|row| text.push_str(&render(row)));
    output(text.as_bytes())
}
