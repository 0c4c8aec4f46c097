//! Places at which a test may kill the process, as a power cut or `kill -9` would; nothing in a release build.
//!
//! `LASTACK_FAILPOINT_LOG=FILE` writes the name of each place that is passed to a file, so that a test finds all of
//! them by itself. `LASTACK_FAILPOINT=NAME` kills the process there with SIGKILL; `NAME!` kills its parent first, so
//! that nobody is left to notice. A place that is passed several times is counted: `NAME#2` is the second time.

#[cfg(debug_assertions)]
mod armed {
    use rustix::process::{Pid, Signal, getpid, getppid, kill_process};
    use std::collections::BTreeMap;
    use std::io::Write as _;
    use std::sync::{Mutex, PoisonError};

    static PASSED: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());

    pub(crate) fn point(name: &str) {
        let wanted = std::env::var("LASTACK_FAILPOINT");
        let log = std::env::var_os("LASTACK_FAILPOINT_LOG");
        if wanted.is_err() && log.is_none() {
            return;
        }
        let count = {
            let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
            let count = passed.entry(name.to_owned()).or_default();
            *count = count.saturating_add(1);
            *count
        };
        let full = if count == 1 { name.to_owned() } else { format!("{name}#{count}") };
        if let Some(file) = log
            && let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(file)
        {
            // A test that misses a line fails by itself.
            let _ = writeln!(file, "{full}");
        }
        let Ok(wanted) = wanted else { return };
        if wanted.trim_end_matches('!') != full {
            return;
        }
        if wanted.ends_with('!')
            && let Some(parent) = getppid()
        {
            kill(parent);
        }
        kill(getpid());
    }

    fn kill(process: Pid) {
        // It may have gone already.
        let _ = kill_process(process, Signal::KILL);
    }
}

/// Passes a place.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) {
    armed::point(name);
}

/// Passes a place.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_name: &str) {}
