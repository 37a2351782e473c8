//! Named points at which a test ends this process as a power cut would: between any two steps that must not be
//! torn apart.
//!
//! `HELIOGRAPH_CRASH_AT=NAME:N` kills the process when it passes the point `NAME` for the `N`-th time. Only builds
//! with debug assertions have this: in a release build a point is nothing, and no environment can end the program.
//! They are no feature of cargo's, for one could be switched on for all by any crate that asks for it.

/// A point that the process passes.
#[inline]
pub fn point(name: &'static str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    /// Where to end, if anywhere.
    struct Armed {
        name: String,
        passes_left: AtomicU32,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(read);

    #[expect(clippy::disallowed_methods, reason = "no setting of the program, and not there in a release")]
    fn read() -> Option<Armed> {
        let value = std::env::var("HELIOGRAPH_CRASH_AT").ok()?;
        let (name, passes) = value.rsplit_once(':').unwrap_or((&value, "1"));
        let passes_left = passes.parse().unwrap_or(1);
        Some(Armed { name: name.to_owned(), passes_left: AtomicU32::new(passes_left) })
    }

    pub(super) fn pass(name: &'static str) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.name == name) else { return };
        if armed.passes_left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        tracing::error!(point = name, "ends here, as the test wants it");
        // Unlike an abort it leaves no core and runs no handler.
        if kill_process(getpid(), Signal::KILL).is_err() {
            std::process::abort();
        }
    }
}
