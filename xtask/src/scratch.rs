//! A directory that goes with the process that made it.

use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Named after what it is for and after this process.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Makes one, and takes away those of processes that were ended before they could.
    pub(crate) fn new(parent: &Path, name: &str) -> anyhow::Result<Self> {
        for entry in std::fs::read_dir(parent).with_context(|| parent.display().to_string())?.flatten() {
            let file_name = entry.file_name();
            let owner =
                file_name.to_str().and_then(|file_name| file_name.strip_prefix(name)?.strip_prefix('-'));
            let owner = owner.and_then(|owner| owner.parse::<u32>().ok());
            if owner.is_some_and(|owner| !Path::new("/proc").join(owner.to_string()).exists()) {
                std::fs::remove_dir_all(entry.path()).with_context(|| entry.path().display().to_string())?;
            }
        }
        let path = parent.join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path.canonicalize()?))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be taken away now is taken away by the next.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dead_processes_left_is_taken_away_and_nothing_else() {
        let parent = std::env::temp_dir().join(format!("xtask-scratch-{}", std::process::id()));
        std::fs::create_dir(&parent).unwrap();
        // No process has a number above 2^22 (`PID_MAX_LIMIT`, include/linux/threads.h).
        let kept = ["tries-1", "tries-x", "other-4999999", "tries"];
        for name in kept.iter().chain(&["tries-4999999"]) {
            std::fs::create_dir(parent.join(name)).unwrap();
        }
        let scratch = Scratch::new(&parent, "tries").unwrap();
        std::fs::write(scratch.0.join("file"), "").unwrap();
        assert!(kept.iter().all(|name| parent.join(name).exists()));
        assert!(!parent.join("tries-4999999").exists());
        let path = scratch.0.clone();
        drop(scratch);
        assert!(!path.exists());
        std::fs::remove_dir_all(&parent).unwrap();
    }
}
