//! From written to used: hands each setting its value once, and notes what was asked for, what was wrong and
//! what is in effect.
//!
//! A setting is known because it is asked for, so the list of known keys cannot fall behind the code.

use std::collections::BTreeSet;

use secrecy::SecretString;

use crate::config::Mistake;
use crate::config::values::{Setting, Shown};
use crate::config::written::{Entry, Table, Written, parse_inline};

/// Reads one table of settings; made for the whole configuration, and for each section in it.
pub(crate) struct Reader<'a> {
    /// The path of this table, as in `agent.inputs[0]`; empty for the whole.
    path: String,
    table: Table,
    asked: BTreeSet<&'static str>,
    notes: &'a mut Notes,
}

/// What reading has found so far.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) mistakes: Vec<Mistake>,
    /// The values in effect, by path.
    pub(crate) effective: Vec<(String, Shown)>,
}

impl<'a> Reader<'a> {
    /// A reader of a whole configuration.
    pub(crate) fn new(table: Table, notes: &'a mut Notes) -> Self {
        Self { path: String::new(), table, asked: BTreeSet::new(), notes }
    }

    /// Reads a section; an absent one is empty.
    pub(crate) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let path = self.path_of(key);
        let table = match self.take(key) {
            None => Table::new(),
            Some(entry) => self.table_of(&path, entry),
        };
        self.within(path, table, read)
    }

    /// Whether anything is written under a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Reads sections whose names are the operator's own, in the order of their names.
    pub(crate) fn sections<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Reader<'_>, &str) -> Option<T>,
    ) -> Vec<T> {
        let path = self.path_of(key);
        let Some(entry) = self.take(key) else { return Vec::new() };
        let mut out = Vec::new();
        for (name, entry) in self.table_of(&path, entry) {
            let path = format!("{path}.{name}");
            let table = self.table_of(&path, entry);
            out.extend(self.within(path, table, |r| read(r, &name)));
        }
        out
    }

    /// Reads a list of sections.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Reader<'_>) -> Option<T>,
    ) -> Vec<T> {
        let path = self.path_of(key);
        let Some(entry) = self.take(key) else { return Vec::new() };
        let items = match self.unfold(&path, entry) {
            Some(Entry { value: Written::List(items), .. }) => items,
            Some(Entry { value, origin }) => {
                self.mistake(Mistake::at(
                    &origin,
                    format!("{path}: expected a list, found {}", value.kind()),
                ));
                return Vec::new();
            }
            None => return Vec::new(),
        };
        let mut out = Vec::with_capacity(items.len());
        for (n, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{n}]");
            let table = self.table_of(&path, item);
            out.extend(self.within(path, table, &mut read));
        }
        out
    }

    /// A setting that may be absent.
    pub(crate) fn optional<S: Setting>(&mut self, key: &'static str) -> Option<S> {
        let path = self.path_of(key);
        let entry = self.take(key)?;
        let entry = if S::NESTED { self.unfold(&path, entry)? } else { entry };
        match S::read(&entry.value) {
            Ok(value) => {
                self.notes.effective.push((path, value.show()));
                Some(value)
            }
            Err(reason) => {
                self.mistake(Mistake::at(&entry.origin, format!("{path}: {reason}")));
                None
            }
        }
    }

    /// A setting that has a default.
    pub(crate) fn setting<S: Setting>(&mut self, key: &'static str, default: S) -> S {
        let before = (self.notes.effective.len(), self.notes.mistakes.len());
        match self.optional(key) {
            Some(value) => value,
            None => {
                if before == (self.notes.effective.len(), self.notes.mistakes.len()) {
                    self.notes.effective.push((self.path_of(key), default.show()));
                }
                default
            }
        }
    }

    /// A setting without which its section makes no sense.
    pub(crate) fn required<S: Setting>(&mut self, key: &'static str) -> Option<S> {
        let missing = !self.table.contains_key(key);
        let value = self.optional(key);
        if missing {
            let path = self.path_of(key);
            self.mistake(Mistake::new(format!("{path}: is missing")));
        }
        value
    }

    /// A secret, given as `key` or as the file that `key_file` names.
    pub(crate) fn secret(&mut self, key: &'static str, key_file: &'static str) -> Option<SecretString> {
        let direct = self.optional::<SecretString>(key);
        let file = self.optional::<std::path::PathBuf>(key_file);
        match (direct, file) {
            (Some(_), Some(_)) => {
                let (a, b) = (self.path_of(key), self.path_of(key_file));
                self.mistake(Mistake::new(format!("{a} and {b} are both set: give one")));
                None
            }
            (Some(secret), None) => Some(secret),
            (None, Some(file)) => match read_secret_file(&file) {
                Ok(secret) => Some(secret),
                Err(reason) => {
                    let path = self.path_of(key_file);
                    self.mistake(Mistake::new(format!("{path}: {reason}")));
                    None
                }
            },
            (None, None) => None,
        }
    }

    /// The whole table as names with texts, in the order of names: for maps whose keys are the operator's own.
    pub(crate) fn names(&mut self, key: &'static str) -> Vec<(String, String)> {
        let path = self.path_of(key);
        let Some(entry) = self.take(key) else { return Vec::new() };
        let mut out = Vec::new();
        for (name, entry) in self.table_of(&path, entry) {
            match entry.value {
                Written::Text(text) => {
                    self.notes.effective.push((format!("{path}.{name:?}"), Shown::Text(text.clone())));
                    out.push((name, text));
                }
                value => self.mistake(Mistake::at(
                    &entry.origin,
                    format!("{path}.{name:?}: expected a text, found {}", value.kind()),
                )),
            }
        }
        out
    }

    /// Notes a mistake of the settings read so far.
    pub(crate) fn mistake(&mut self, mistake: Mistake) {
        self.notes.mistakes.push(mistake);
    }

    /// How many mistakes there are so far.
    pub(crate) fn mistakes(&self) -> usize {
        self.notes.mistakes.len()
    }

    /// The full path of a key of this table.
    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Refuses the keys that nobody asked for.
    pub(crate) fn finish(self) {
        for (key, entry) in &self.table {
            let nearest = self
                .asked
                .iter()
                .map(|known| (strsim::jaro_winkler(known, key), *known))
                .filter(|(likeness, _)| *likeness > 0.7)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let known = || self.asked.iter().copied().collect::<Vec<_>>().join(", ");
            let hint = match nearest {
                Some((_, known)) => format!("did you mean `{known}`?"),
                None if self.path.is_empty() => format!("known sections: {}", known()),
                None => format!("known keys of [{}]: {}", self.path, known()),
            };
            let what = if matches!(entry.value, Written::Table(_)) { "section" } else { "key" };
            self.notes
                .mistakes
                .push(Mistake::at(&entry.origin, format!("unknown {what} `{}`: {hint}", self.path_of(key))));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Entry> {
        self.asked.insert(key);
        self.table.remove(key)
    }

    fn within<T>(&mut self, path: String, table: Table, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let mut reader = Reader { path, table, asked: BTreeSet::new(), notes: self.notes };
        let value = read(&mut reader);
        reader.finish();
        value
    }

    fn table_of(&mut self, path: &str, entry: Entry) -> Table {
        match self.unfold(path, entry) {
            Some(Entry { value: Written::Table(table), .. }) => table,
            Some(Entry { value, origin }) => {
                self.mistake(Mistake::at(
                    &origin,
                    format!("{path}: expected a section, found {}", value.kind()),
                ));
                Table::new()
            }
            None => Table::new(),
        }
    }

    /// A text where a list or section is wanted: from the environment it holds one as TOML.
    fn unfold(&mut self, path: &str, entry: Entry) -> Option<Entry> {
        let Written::Text(text) = &entry.value else { return Some(entry) };
        match parse_inline(text, &entry.origin) {
            Ok(value) => Some(Entry { value, origin: entry.origin }),
            Err(reason) => {
                self.mistake(Mistake::at(&entry.origin, format!("{path}: {reason}")));
                None
            }
        }
    }
}

fn read_secret_file(path: &std::path::Path) -> Result<SecretString, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{}: the file is empty", path.display())),
        secret => Ok(SecretString::from(secret)),
    }
}
