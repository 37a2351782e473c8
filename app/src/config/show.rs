//! The values in effect as text: TOML that could be written so, but for the secrets.

use crate::config::values::Shown;

impl Shown {
    fn to_toml(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        match self {
            Self::Text(text) => quoted(text),
            Self::Integer(n) => n.to_string(),
            Self::Boolean(yes) => yes.to_string(),
            Self::List(items) => {
                format!("[{}]", items.iter().map(|i| quoted(i)).collect::<Vec<_>>().join(", "))
            }
            Self::Redacted => quoted("[redacted]"),
        }
    }
}

/// One section after the other, in the order in which they were first read.
pub(crate) fn to_toml(effective: &[(String, Shown)]) -> String {
    let mut sections: Vec<(&str, String)> = Vec::new();
    for (path, value) in effective {
        let (section, key) = split(path);
        let line = format!("{key} = {}\n", value.to_toml());
        match sections.iter_mut().find(|(name, _)| *name == section) {
            Some((_, lines)) => lines.push_str(&line),
            None => sections.push((section, line)),
        }
    }
    let header = |section: &str| match section.rsplit_once('[') {
        Some((list, _)) => format!("[[{list}]]"),
        None => format!("[{section}]"),
    };
    sections
        .iter()
        .map(|(section, lines)| format!("{}\n{lines}", header(section)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// `path=value` after one another.
pub(crate) fn to_line(effective: &[(String, Shown)]) -> String {
    effective.iter().map(|(path, v)| format!("{path}={}", v.to_toml())).collect::<Vec<_>>().join(" ")
}

/// Section and key of a path; the key may be a quoted name that holds dots.
fn split(path: &str) -> (&str, &str) {
    let end = path.find('"').unwrap_or(path.len());
    path.get(..end)
        .and_then(|head| head.strip_suffix('.').unwrap_or(head).rfind('.').filter(|_| end == path.len()))
        .or_else(|| (end < path.len()).then(|| end.saturating_sub(1)))
        .and_then(|at| Some((path.get(..at)?, path.get(at + 1..)?)))
        .unwrap_or(("", path))
}
