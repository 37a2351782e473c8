//! Promise: a disk that is full or fails costs no line. What cannot be kept is refused, what is kept can be read, and
//! when there is room again it goes on by itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::direct::{AGENT_TOKEN, Direct, sent};
use crate::server::{Place, Server};
use crate::strace::Tracer;
use crate::writer::assert_same;

/// Nothing is sealed but by size, so that what is written ahead stays.
const SETTINGS: [(&str, &str); 2] =
    [("HELIOGRAPH_INDEXER__SEAL_AFTER", "1h"), ("HELIOGRAPH_AUTH__AGENT_TOKEN", AGENT_TOKEN)];

/// A small disk over the data folder, gone with the test.
struct SmallDisk(PathBuf);

/// What lies on it.
#[derive(Clone, Copy, Debug)]
enum FileSystem {
    Tmpfs,
    /// In a file: it keeps blocks for root, and a journal, and takes room for what a file will need.
    Ext4,
}

impl SmallDisk {
    /// Mounts it; nothing where that is not allowed.
    fn mount(of: FileSystem, at: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = match of {
            FileSystem::Tmpfs => {
                let options = std::ffi::CString::new(format!("size={megabytes}m")).unwrap();
                mount("tmpfs", at, "tmpfs", MountFlags::empty(), options.as_c_str())
                    .map_err(|e| e.to_string())
            }
            FileSystem::Ext4 => loop_mount(at, megabytes),
        };
        mounted.map_err(|error| eprintln!("full_disk: no {of:?} can be mounted here ({error})")).ok()?;
        Some(Self(at.to_owned()))
    }

    /// The part that is used.
    fn used(&self) -> f64 {
        let disk = rustix::fs::statvfs(&self.0).unwrap();
        #[expect(clippy::cast_precision_loss, reason = "a small disk")]
        let part = disk.f_bavail as f64 / disk.f_blocks as f64;
        1.0 - part
    }

    /// Puts a file there that leaves so many bytes.
    fn fill(&self, left: u64) -> PathBuf {
        let disk = rustix::fs::statvfs(&self.0).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        let ballast = self.0.join("ballast");
        std::fs::write(&ballast, vec![0; usize::try_from(free.saturating_sub(left)).unwrap()]).unwrap();
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Something may still have it open.
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            eprintln!("full_disk: {}: {error}", self.0.display());
        }
    }
}

/// An ext4 in a file beside the folder.
fn loop_mount(at: &Path, megabytes: u32) -> Result<(), String> {
    let image = at.with_extension("ext4");
    let file = std::fs::File::create(&image).map_err(|e| e.to_string())?;
    file.set_len(u64::from(megabytes) << 20).map_err(|e| e.to_string())?;
    let tell = |command: &mut Command| {
        let done = command.output().map_err(|e| e.to_string())?;
        if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
    };
    tell(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
    tell(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(at))?;
    // It comes with a folder for what a check of the disk finds.
    std::fs::remove_dir(at.join("lost+found")).map_err(|e| e.to_string())
}

/// Checks that everything acknowledged is found, once and in order.
async fn assert_all_there(server: &Server, token: &str, direct: &Direct) {
    let found: BTreeMap<_, _> = server.messages(token).await;
    assert_same("direct", found.get("direct").map_or(&[], Vec::as_slice), &sent(direct.lines()));
}

#[tokio::test]
async fn a_full_disk_refuses_keeps_and_goes_on_by_itself() {
    refuses_keeps_and_goes_on(FileSystem::Tmpfs, 32).await;
}

#[tokio::test]
async fn a_full_ext4_refuses_keeps_and_goes_on_by_itself() {
    refuses_keeps_and_goes_on(FileSystem::Ext4, 64).await;
}

async fn refuses_keeps_and_goes_on(of: FileSystem, megabytes: u32) {
    let place = Place::new();
    let Some(disk) = SmallDisk::mount(of, &place.data(), megabytes) else { return };
    let server = place.up_alone(&[], &SETTINGS).await;
    let base = server.base("indexer.listen");
    let mut direct = Direct::new("direct");
    direct.send(&base).await;
    let token = place.token("default", "viewer").await;

    // Little is left: it is refused before the disk is full.
    let ballast = disk.fill(5 << 20);
    let refused = loop {
        match direct.try_send(&base).await {
            200 => {}
            other => break other,
        }
    };
    assert_eq!(refused, 503);
    let used = disk.used();
    assert!((0.8..0.95).contains(&used), "{used}");
    assert_all_there(&server, &token, &direct).await;

    // Nothing is left at all.
    std::fs::remove_file(&ballast).unwrap();
    let ballast = disk.fill(0);
    assert_eq!(direct.try_send(&base).await, 503);
    assert!(disk.used() > 0.999);
    assert_all_there(&server, &token, &direct).await;

    std::fs::remove_file(ballast).unwrap();
    let freed = Instant::now();
    direct.send(&base).await;
    eprintln!(
        "full_disk: {of:?}: refused at {:.0} %, went on {:?} after there was room",
        100.0 * used,
        freed.elapsed()
    );
    assert_all_there(&server, &token, &direct).await;
    server.kill().await;
    let server = place.up_alone(&[], &SETTINGS).await;
    direct.send(&server.base("indexer.listen")).await;
    assert_all_there(&server, &token, &direct).await;
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_acknowledged_that_was_not_synced_and_no_sync_is_tried_again() {
    let place = Place::new();
    let mut server = place.up_alone(&[], &SETTINGS).await;
    let mut direct = Direct::new("direct");
    direct.send(&server.base("indexer.listen")).await;
    let token = place.token("default", "viewer").await;
    let catalog = place.data().join("catalog.sqlite-wal");
    for file in [None, Some(&*catalog)] {
        let base = server.base("indexer.listen");
        let tracer = Tracer::attach(&server, "fsync", "error=EIO", file).await;
        for _ in 0..3 {
            assert_eq!(direct.try_send(&base).await, 503, "{file:?}");
        }
        assert_all_there(&server, &token, &direct).await;
        let calls = tracer.detach().await;
        let failed: Vec<&String> = calls.iter().filter(|line| line.contains("EIO")).collect();
        assert!(failed.len() >= 3, "{calls:?}");
        let mut synced: Vec<&str> = failed.iter().filter_map(|line| line.split(['<', '>']).nth(1)).collect();
        synced.retain(|path| path.contains("/objects/w/") && path.contains('#'));
        let all = synced.len();
        synced.dedup();
        assert_eq!(synced.len(), all, "a file that was not synced is given up: {failed:?}");
        assert_eq!(all, if file.is_none() { 3 } else { 0 }, "{failed:?}");

        let mended = Instant::now();
        direct.send(&base).await;
        eprintln!("full_disk: went on {:?} after {file:?} could be synced again", mended.elapsed());
        assert_all_there(&server, &token, &direct).await;
        server.kill().await;
        server = place.up_alone(&[], &SETTINGS).await;
        direct.send(&server.base("indexer.listen")).await;
        assert_all_there(&server, &token, &direct).await;
    }
    server.stop().await;
}
