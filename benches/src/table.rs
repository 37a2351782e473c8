//! Tables on the terminal: the first column to the left, figures to the right.

/// Rows under a heading.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    #[expect(clippy::print_stdout, reason = "printing figures is what a benchmark is for")]
    pub(crate) fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width_of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row: &Vec<String>| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width_of).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                line.push_str(&if column == 0 {
                    format!("{cell:<width$}")
                } else {
                    format!("  {cell:>width$}")
                });
            }
            println!("{}", line.trim_end());
        }
        println!();
    }
}

/// A figure with as many digits as are worth reading.
pub(crate) fn figure(value: f64) -> String {
    match value {
        v if v.is_nan() => "-".to_owned(),
        v if v.abs() >= 100.0 => format!("{v:.0}"),
        v if v.abs() >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// How many times `ours` goes into `theirs`: above 1, we are better.
pub(crate) fn ratio(theirs: f64, ours: f64) -> String {
    let ratio = theirs / ours;
    if ratio.is_finite() { format!("{}x", figure(ratio)) } else { "-".to_owned() }
}

/// Says what is going on, beside the tables.
#[expect(clippy::print_stderr, reason = "a benchmark that takes minutes tells how far it is")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

/// Says something on the output.
#[expect(clippy::print_stdout, reason = "printing figures is what a benchmark is for")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}
