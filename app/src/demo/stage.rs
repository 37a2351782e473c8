//! The files of a make-believe node, written as a kubelet and Airflow would, in bounded space.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::tz::TimeZone;

use super::sample::Shown;
use super::{PODS, TASK_LOGS};

/// Files kept of one container, the present one among them.
const GENERATIONS: usize = 5;
/// Task runs kept of all tenants together; older ones are deleted, as a platform's clean-up would.
const RUNS_MAX: usize = 150;

/// Writes below one folder.
pub(super) struct Stage {
    dir: PathBuf,
    /// A container's log at this size is rotated.
    file_bytes_max: u64,
    /// Folders of task runs, the oldest first.
    runs: VecDeque<PathBuf>,
}

impl Stage {
    /// Makes the folders, and finds what an earlier replay left.
    pub(super) fn open(dir: &Path, file_bytes_max: u64) -> anyhow::Result<Self> {
        for part in [PODS, TASK_LOGS] {
            let path = dir.join(part);
            fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        }
        let mut runs = Vec::new();
        for tenant in folders(&dir.join(TASK_LOGS))? {
            for dag in folders(&tenant)? {
                runs.extend(folders(&dag)?);
            }
        }
        // A run's name ends with its date.
        runs.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        Ok(Self { dir: dir.to_owned(), file_bytes_max, runs: runs.into() })
    }

    /// When anything of these was last written, in nanoseconds since the epoch.
    pub(super) fn last_written<'a>(&self, paths: impl Iterator<Item = &'a str>) -> Option<i64> {
        paths
            .filter_map(|path| fs::metadata(self.dir.join(path)).ok()?.modified().ok())
            .filter_map(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .filter_map(|since| i64::try_from(since.as_nanos()).ok())
            .max()
    }

    /// Appends records to their files.
    pub(super) fn write(&mut self, shown: Vec<Shown>, now: i64) -> anyhow::Result<()> {
        let mut by_path: BTreeMap<String, String> = BTreeMap::new();
        for Shown { path, text } in shown {
            by_path.entry(path).or_default().push_str(&text);
        }
        for (path, text) in by_path {
            let full = self.dir.join(&path);
            self.append(&path, &full, &text, now).with_context(|| format!("write {}", full.display()))?;
        }
        Ok(())
    }

    fn append(&mut self, path: &str, full: &Path, text: &str, now: i64) -> io::Result<()> {
        if let Some(parent) = full.parent() {
            fs::create_dir_all(parent)?;
        }
        if path.starts_with(TASK_LOGS) {
            self.remember_run(full)?;
        }
        let mut file = File::options().append(true).create(true).open(full)?;
        file.write_all(text.as_bytes())?;
        let bytes = file.metadata()?.len();
        drop(file);
        if path.starts_with(PODS) && bytes >= self.file_bytes_max {
            rotate(full, now)?;
        }
        Ok(())
    }

    /// Notes the run that a task's file belongs to, and deletes the oldest beyond the bound.
    fn remember_run(&mut self, file: &Path) -> io::Result<()> {
        let run = file.ancestors().find(|path| name(path).starts_with("run_id="));
        if let Some(run) = run
            && !self.runs.iter().rev().any(|known| known == run)
        {
            self.runs.push_back(run.to_owned());
        }
        while self.runs.len() > RUNS_MAX
            && let Some(oldest) = self.runs.pop_front()
        {
            match fs::remove_dir_all(&oldest) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Renames a full log to `0.log.20261124-013335`, as a kubelet does, and deletes the oldest generation beyond
/// the bound.
fn rotate(file: &Path, now: i64) -> io::Result<()> {
    let Some(parent) = file.parent() else { return Ok(()) };
    let prefix = format!("{}.", name(file));
    let mut old: Vec<PathBuf> = fs::read_dir(parent)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| name(path).starts_with(&prefix))
        .collect();
    old.sort();
    let mut seconds = now.div_euclid(1_000_000_000);
    let rotated = loop {
        let time = jiff::Timestamp::from_second(seconds).map_err(io::Error::other)?;
        let time = TimeZone::UTC.to_datetime(time).strftime("%Y%m%d-%H%M%S");
        let rotated = parent.join(format!("{prefix}{time}"));
        // Names of one second must differ, and rise with the order of writing.
        if old.last().is_none_or(|last| *last < rotated) {
            break rotated;
        }
        seconds += 1;
    };
    fs::rename(file, rotated)?;
    // The new present file appears with its first line.
    for path in old.iter().take((old.len() + 2).saturating_sub(GENERATIONS)) {
        fs::remove_file(path)?;
    }
    Ok(())
}

fn folders(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("list {}", dir.display()))?,
    };
    Ok(entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_runs_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = |run: usize| format!("{TASK_LOGS}/t/dag_id=d/run_id=r{run:04}/task_id=a/attempt=1.log");
        let show = |run: usize| vec![Shown { path: path(run), text: "x\n".to_owned() }];
        for half in [0..120, 120..RUNS_MAX + 20] {
            let mut stage = Stage::open(dir.path(), 1).unwrap();
            for run in half {
                stage.write(show(run), 0).unwrap();
            }
        }
        let runs = folders(&dir.path().join(TASK_LOGS).join("t/dag_id=d")).unwrap();
        assert_eq!(runs.len(), RUNS_MAX);
        let has = |run| dir.path().join(path(run)).try_exists().unwrap();
        assert!(!has(19) && has(20));
    }

    #[test]
    fn a_rotated_log_keeps_its_lines_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = format!("{PODS}/p/c/0.log");
        let mut stage = Stage::open(dir.path(), 4).unwrap();
        for n in 0..20 {
            stage.write(vec![Shown { path: path.clone(), text: format!("{n:03}\n") }], 0).unwrap();
        }
        let mut texts: Vec<_> = fs::read_dir(dir.path().join(PODS).join("p/c"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
            .collect();
        texts.sort();
        let texts: Vec<_> = texts.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["016\n", "017\n", "018\n", "019\n"]);
    }
}
