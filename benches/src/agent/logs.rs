//! Container logs on disk.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use heliograph_model::codec;
use heliograph_model::record::RecordRef;

use super::EXPANDED_BYTES_MAX;
use crate::inside::thread_cpu;
use crate::sample::Sample;

/// What the reference compresses at once: as much as a batch of the agent's holds.
const PIECE_BYTES: usize = 512 << 10;
/// As the agent compresses.
const ZSTD_LEVEL: i32 = 1;

/// Container logs below a root.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Logs {
    pub(super) files: u64,
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// Writes the corpus' messages as the kubelet lays container logs out, line by line.
pub(super) fn write_logs(seed: u64, bytes: u64, root: &Path) -> anyhow::Result<Logs> {
    let sample = Sample::make(seed, bytes, 10)?;
    let mut logs = Logs { files: 0, lines: 0, bytes: 0 };
    let mut files: HashMap<PathBuf, File> = HashMap::new();
    let mut text: HashMap<PathBuf, String> = HashMap::new();
    for batch in &sample.batches {
        let rows = codec::decode(&codec::decompress(&batch.body, EXPANDED_BYTES_MAX)?)?;
        for record in rows.iter() {
            let out = text.entry(path_of(root, &record)).or_default();
            // The agent passes over lines without anything in them.
            for line in record.message.split('\n').filter(|line| !line.trim().is_empty()) {
                writeln!(out, "{} stdout F {line}", record.time)?;
                logs.lines += 1;
            }
        }
        for (path, text) in text.drain() {
            logs.bytes += text.len() as u64;
            if !files.contains_key(&path) {
                fs::create_dir_all(path.parent().context("a log has no folder")?)?;
                files.insert(path.clone(), File::create(&path)?);
            }
            files.get_mut(&path).context("a log is not open")?.write_all(text.as_bytes())?;
        }
    }
    logs.files = files.len() as u64;
    Ok(logs)
}

fn path_of(root: &Path, record: &RecordRef<'_>) -> PathBuf {
    let of = |text: &Option<Box<str>>| text.as_deref().unwrap_or("none").to_owned();
    let source = record.source;
    let pod = format!("{}_{}_00000000-0000-4000-8000-000000000000", of(&source.namespace), of(&source.pod));
    root.join(pod).join(of(&source.container)).join("0.log")
}

/// Files of one line each.
pub(super) fn write_idle(root: &Path, files: u32) -> anyhow::Result<()> {
    for n in 0..files {
        let folder = root.join(format!("quiet_pod-{n}_00000000-0000-4000-8000-000000000000")).join("main");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("0.log"), "2026-11-02T06:00:00.000000000Z stdout F ready\n")?;
    }
    Ok(())
}

/// Seconds of CPU to read all files below a root and compress what they hold.
pub(super) fn compress_all(root: &Path) -> anyhow::Result<f64> {
    let begun = thread_cpu()?;
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    for pod in fs::read_dir(root)? {
        for container in fs::read_dir(pod?.path())? {
            let mut file = File::open(container?.path().join("0.log"))?;
            loop {
                piece.clear();
                if (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece)? == 0 {
                    break;
                }
                codec::compress(&piece, ZSTD_LEVEL)?;
            }
        }
    }
    Ok((thread_cpu()? - begun).as_secs_f64())
}
