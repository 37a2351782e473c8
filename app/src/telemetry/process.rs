//! What the process uses, read from /proc when metrics are gathered. Names are those that all Prometheus
//! clients use, so that ready-made dashboards show them.

use std::fs;
use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Registry};

struct Process {
    /// Held while gathering: the counter can only be moved on, and no difference must be added twice.
    gathering: Mutex<()>,
    cpu: Counter,
    memory: Gauge,
    files: Gauge,
}

/// Registers the process's figures.
pub(super) fn register(registry: &Registry) -> prometheus::Result<()> {
    let process = Process {
        gathering: Mutex::new(()),
        cpu: Counter::new("process_cpu_seconds_total", "User and system CPU time in seconds")?,
        memory: Gauge::new("process_resident_memory_bytes", "Resident memory in bytes")?,
        files: Gauge::new("process_open_fds", "Open file descriptors")?,
    };
    registry.register(Box::new(process))
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        [self.cpu.desc(), self.memory.desc(), self.files.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seconds) = cpu_seconds() {
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
        if let Some(bytes) = resident_bytes() {
            self.memory.set(bytes);
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            self.files.set(entries.map(|_| 1.0).sum());
        }
        [self.cpu.collect(), self.memory.collect(), self.files.collect()].concat()
    }
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold spaces; user and system time are fields 14 and 15.
    let (_, after_name) = stat.rsplit_once(") ")?;
    let ticks: f64 = after_name.split(' ').skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    let per_second = u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    Some(ticks / f64::from(per_second))
}

fn resident_bytes() -> Option<f64> {
    let pages: f64 = fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    let page = u32::try_from(rustix::param::page_size()).ok()?;
    Some(pages * f64::from(page))
}
