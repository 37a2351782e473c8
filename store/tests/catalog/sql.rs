//! No statement is made of values: a text of SQL is a constant, or a constant with names of ours in it.

use std::path::{Path, PathBuf};

/// What may stand in a text of SQL that is put together: constants, and names out of tables of constants.
const NAMES: [&str; 11] = [
    "SELECT",
    "USER",
    "COLUMNS",
    "table",
    "removed",
    "columns(table)",
    "table.name",
    "head",
    "places",
    "LEASE_END.0",
    "LEASE_END.1",
];
/// Where SQL is made of a dump's tables and numbers of parameters; read it when it changes.
const OF_TABLES: &str = "dump.rs";

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(sources(&path)),
            false if path.extension().is_some_and(|ending| ending == "rs") => all.push(path),
            false => {}
        }
    }
    all
}

/// From an opening bracket to the one that closes it.
fn within_brackets(text: &str) -> &str {
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            return text.split_at(at + 1).0;
        }
    }
    text
}

/// What a `format!` puts into its text.
fn interpolated(call: &str) -> Vec<String> {
    let (_, rest) = call.split_once('"').unwrap();
    let (text, rest) = rest.split_once('"').unwrap();
    let mut names: Vec<_> = text
        .split('{')
        .skip(1)
        .filter_map(|part| part.split_once('}'))
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    names.extend(
        rest.trim_end_matches(')')
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty()),
    );
    names
}

#[test]
fn sql_is_made_of_constants_only() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/catalog");
    let (mut asserted, mut queries) = (0, 0);
    for path in sources(&folder) {
        let name = path.strip_prefix(&folder).unwrap().display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        queries += text.matches("sqlx::query").count();
        // sqlx takes a text that is not constant in these ways only.
        for way in
            ["AssertSqlSafe(", "QueryBuilder::<sqlx::Sqlite>::new(", "QueryBuilder::<sqlx::Postgres>::new("]
        {
            for (at, _) in text.match_indices(way) {
                asserted += 1;
                let call = within_brackets(text.split_at(at + way.len() - 1).1);
                let is_table = name.ends_with(OF_TABLES);
                let Some((_, made)) = call.split_once("format!") else {
                    assert!(is_table, "{name}: {call}");
                    continue;
                };
                for value in interpolated(within_brackets(made)) {
                    assert!(
                        NAMES.contains(&value.as_str()),
                        "{name}: {value:?} stands in a text of SQL: {call}"
                    );
                }
            }
        }
        // A builder's text is constant; values are bound.
        for (at, _) in text.match_indices(".push(") {
            let pushed = within_brackets(text.split_at(at + ".push(".len() - 1).1);
            let of_builder = text.split_at(at).0.rsplit([';', '{']).next().unwrap().contains("query");
            assert!(!of_builder || pushed.starts_with("(\""), "{name}: {pushed}");
        }
        for way in ["push_str(&format!(\"SELECT", "raw_sql(&", "raw_sql(format!", ".push(format!(\"S"] {
            assert!(!text.contains(way), "{name}: {way}");
        }
    }
    assert!(asserted > 20 && queries > 100, "{asserted} of {queries}");
}
