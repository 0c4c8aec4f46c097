//! What a run left on the machine that was not there before.

use super::step::Outcome;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The environment variable that marks the processes a run of the tests started, and theirs in turn.
pub(super) const MARK: &str = "LASTACK_TEST_RUN";

/// How long a process that is already dying may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The machine before the tests.
pub(super) struct Before {
    namespaces: BTreeSet<String>,
    settings: BTreeMap<PathBuf, Vec<u8>>,
    tmp: PathBuf,
}

impl Before {
    /// Looks at the machine. `tmp` is the directory for temporary files that the tests will be given.
    pub(super) fn look(tmp: &Path) -> Self {
        Self { namespaces: namespaces(), settings: settings(), tmp: tmp.to_owned() }
    }

    /// Compares the machine with what it was: named network namespaces, settings, temporary files, and
    /// processes that carry the mark.
    pub(super) fn compare(&self, mark: &str) -> Outcome {
        let start = Instant::now();
        loop {
            let left = self.left(mark);
            if left.is_empty() {
                return Outcome::Passed;
            }
            if start.elapsed() > PATIENCE {
                return Outcome::Failed(left.join("; "));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn left(&self, mark: &str) -> Vec<String> {
        let mut left: Vec<_> = namespaces()
            .difference(&self.namespaces)
            .map(|name| format!("network namespace {name}"))
            .collect();
        let settings = settings();
        left.extend(
            self.settings
                .iter()
                .filter(|(path, value)| settings.get(*path).is_some_and(|now| now != *value))
                .map(|(path, _)| format!("{} changed", path.display())),
        );
        left.extend(names_in(&self.tmp).into_iter().map(|name| format!("temporary file {name}")));
        left.extend(marked(mark));
        left
    }
}

fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Named network namespaces, as `ip netns` keeps them.
fn namespaces() -> BTreeSet<String> {
    names_in(Path::new("/run/netns"))
}

/// The settings of this namespace that lastack reads, and that no test may change.
fn settings() -> BTreeMap<PathBuf, Vec<u8>> {
    let files = ["/proc/sys/net/ipv4", "/proc/sys/net/core"]
        .into_iter()
        .flat_map(|directory| std::fs::read_dir(directory).into_iter().flatten().flatten())
        .map(|entry| entry.path());
    files.filter_map(|path| std::fs::read(&path).ok().map(|value| (path, value))).collect()
}

/// Processes that carry the mark in their environment.
fn marked(mark: &str) -> Vec<String> {
    let wanted = format!("{MARK}={mark}");
    let processes = names_in(Path::new("/proc"))
        .into_iter()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    processes
        .filter(|process| {
            std::fs::read(format!("/proc/{process}/environ")).is_ok_and(|environment| {
                environment.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes())
            })
        })
        .map(|process| {
            let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            format!("process {process} ({})", name.trim())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_and_a_file_that_stay_are_found() {
        let tmp = std::env::temp_dir().join(format!("leftovers-{}", std::process::id()));
        std::fs::create_dir_all(&tmp).unwrap();
        let before = Before::look(&tmp);
        let mark = format!("leftovers-{}", std::process::id());
        assert_eq!(before.left(&mark), Vec::<String>::new());

        let mut child =
            Command::new("cat").env(MARK, &mark).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        std::fs::write(tmp.join("forgotten"), "").unwrap();
        let left = before.left(&mark);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(left.iter().any(|line| line == "temporary file forgotten"), "{left:?}");
        assert!(left.iter().any(|line| line.starts_with(&format!("process {}", child.id()))), "{left:?}");

        std::fs::remove_dir_all(&tmp).unwrap();
        assert_eq!(before.left(&mark), Vec::<String>::new());
    }
}
