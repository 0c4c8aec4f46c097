//! What the nginx and HAProxy of a namespace are told, and what the files of `sysctl.d` set at boot.
//!
//! A process says by its command line which file it was started with; the file is read as the process sees it, below
//! its own root. What cannot be read is a gap that names the file.

mod build;
mod files;
mod named;
mod started;
mod trusted;

pub use files::Copy;
pub use named::{Named, Versions, copied, haproxy, nginx, sysctl};
pub use started::Started;
pub use trusted::{executable, other_user};

use crate::process;
use crate::root::{Root, why};
use build::Build;
use config::nginx::Sources;
use evidence::configuration::AS_INCLUDED;
use evidence::{Configuration, Gap, Running, Unseen};
use files::{Files, View};
use std::collections::BTreeMap;
use std::io;

/// So many programs are asked for their configuration.
const MAX_PROGRAMS: usize = 64;

/// Programs whose configuration is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// nginx, and OpenResty.
    Nginx,
    /// HAProxy.
    Haproxy,
}

impl Kind {
    /// What their files are called. OpenResty is nginx with modules.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Nginx => &["nginx", "nginx-debug", "openresty"],
            Self::Haproxy => &["haproxy"],
        }
    }

    /// The program whose processes have this name.
    pub fn of(comm: &str) -> Option<Self> {
        [Self::Nginx, Self::Haproxy].into_iter().find(|kind| kind.names().contains(&comm))
    }

    /// The option of `lastack doctor` that names its file.
    const fn option(self) -> &'static str {
        match self {
            Self::Nginx => "--nginx FILE",
            Self::Haproxy => "--haproxy FILE",
        }
    }
}

/// The configurations of the programs that run in these namespaces, given by device and inode with their names.
pub(crate) fn read(
    root: &Root,
    namespaces: &BTreeMap<(u64, u64), String>,
    gaps: &mut Vec<Gap>,
) -> Vec<Configuration> {
    let mut configurations = Vec::new();
    let mut builds = BTreeMap::new();
    let found = started::find(root, |net| namespaces.contains_key(&net), gaps);
    if found.len() > MAX_PROGRAMS {
        gaps.push(Gap {
            unseen: Unseen::Configuration,
            netns: None,
            because: format!(
                "the configuration of {} programs more than {MAX_PROGRAMS}",
                found.len() - MAX_PROGRAMS
            ),
            how_to_see: "look at fewer namespaces: --netns NAME".to_owned(),
        });
    }
    for started in found.into_iter().take(MAX_PROGRAMS) {
        let netns = namespaces.get(&started.net).map_or("", String::as_str);
        let files = match Files::of(root, started.pid) {
            Ok(files) => files,
            Err(error) => {
                gaps.push(started.gap(netns, "its files", &error));
                continue;
            }
        };
        let build = match started.program {
            Some(program) => builds
                .entry(program)
                .or_insert_with(|| build::ask(root, started.pid, started.kind, &files))
                .clone(),
            None => Build::default(),
        };
        let mut reader = Reader::new(files);
        let sources = started.sources(&mut reader, &build);
        gaps.extend(reader.refused.iter().map(|(path, why)| started.refused(netns, path, why)));
        match sources {
            Ok(sources) => {
                let configuration = sources.evaluate(build.version.as_deref());
                // Boot and start are both cut to whole seconds: it began up to two seconds later than their sum says.
                let older = |since: i64| reader.written_s > since.saturating_add(1);
                let running = Running {
                    netns: netns.to_owned(),
                    pid: started.pid,
                    name: process::name(root, started.pid),
                    container: process::container(root, started.pid),
                    workers: (started.workers > 0).then_some(started.workers),
                    older_than_files: started.since_s.is_some_and(older),
                };
                configurations.push(Configuration { running: Some(running), ..configuration });
            }
            Err((path, error)) => gaps.push(started.gap(netns, &path, &error)),
        }
    }
    configurations
}

/// The nginx and HAProxy that run, of whatever network namespace that we may see.
pub fn running(root: &Root) -> Vec<Started> {
    started::find(root, |_| true, &mut Vec::new())
}

/// The files of a configuration that was read before, as they are now.
pub fn sources(root: &Root, configuration: &Configuration) -> io::Result<config::Sources> {
    let (Some(first), Ok(files)) = (configuration.files.first(), Files::ours()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let files = match &configuration.running {
        Some(running) => Files::of(root, running.pid)?,
        None => files,
    };
    let mut reader = Reader::new(files);
    let sources = if configuration.haproxy.is_some() {
        reader.haproxy(&configuration.files).map_err(|(_, error)| error)?
    } else if configuration.sysctl.is_some() {
        let read = configuration.files.iter().map(|path| {
            let tree = config::sysctl::Tree::parse(reader.file(path)?);
            Ok((path.clone(), tree))
        });
        config::Sources::Sysctl(read.collect::<io::Result<_>>()?)
    } else {
        config::Sources::Nginx(match first.strip_suffix(AS_INCLUDED) {
            Some(part) => named::as_included(&mut reader, part)?,
            None => reader.nginx(first)?,
        })
    };
    if reader.files.are_ours() {
        return Ok(sources);
    }
    let why = "the program sees other files than we do, as in a container: change them where it is made";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

fn view_of(root: &Root) -> View {
    if root.files == std::path::Path::new("/") { View::Ours } else { View::Other }
}

/// What the files of `sysctl.d` set at boot, if there are any.
pub(crate) fn read_boot(root: &Root, gaps: &mut Vec<Gap>) -> Option<Configuration> {
    let files = Files::below(&root.files, view_of(root)).ok()?;
    let mut reader = Reader::new(files);
    let configuration = reader.sysctl();
    gaps.extend(reader.refused.iter().map(|(path, why)| Gap {
        unseen: Unseen::Configuration,
        netns: None,
        because: format!("what {path} sets at boot: {why}"),
        how_to_see: "run as root".to_owned(),
    }));
    (!configuration.files.is_empty()).then_some(configuration)
}

/// The files that set something at boot, as far as they can be read.
pub fn boot_files(root: &Root) -> Vec<config::sysctl::File> {
    let files = Files::below(&root.files, view_of(root));
    files.map(|files| Reader::new(files).sysctl_files()).unwrap_or_default()
}

/// Reads the files of one configuration.
struct Reader {
    files: Files,
    /// When the youngest of the files was written to, in seconds since 1970.
    written_s: i64,
    /// Files that are there and cannot be read, and why.
    refused: Vec<(String, String)>,
}

/// So many files that could not be read are named.
const MAX_REFUSED: usize = 5;

impl Reader {
    fn new(files: Files) -> Self {
        Self { files, written_s: i64::MIN, refused: Vec::new() }
    }

    fn file(&mut self, path: &str) -> io::Result<Vec<u8>> {
        let text = self.files.read(path)?;
        self.written_s = self.written_s.max(text.written_s);
        Ok(text.bytes)
    }

    /// The same where others go on without it: none if it is not there, and a refusal is written down.
    fn one_of_many(&mut self, path: &str) -> Option<Vec<u8>> {
        match self.file(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                self.refuse(path, &error);
                None
            }
        }
    }

    fn refuse(&mut self, path: &str, error: &io::Error) {
        if self.refused.len() < MAX_REFUSED {
            self.refused.push((path.to_owned(), why(error)));
        }
    }

    fn nginx(&mut self, main: &str) -> io::Result<Sources> {
        let bytes = self.file(main)?;
        let mut sources = Sources::new(main, bytes);
        self.include(&mut sources);
        Ok(sources)
    }

    /// Reads what is included, until nothing is wanted. Ends, because a configuration takes so many files at most.
    fn include(&mut self, sources: &mut Sources) {
        loop {
            let wanted = sources.wanted();
            if wanted.is_empty() {
                return;
            }
            for pattern in wanted {
                let paths = self.files.expand(&pattern).unwrap_or_else(|error| {
                    self.refuse(&pattern, &error);
                    Vec::new()
                });
                let read =
                    paths.into_iter().filter_map(|path| Some((path.clone(), self.one_of_many(&path)?)));
                let read: Vec<_> = read.collect();
                sources.provide(&pattern, read);
            }
        }
    }

    /// Files in their order; of a directory, all that end in `.cfg`, by name, as HAProxy reads them.
    fn haproxy(&mut self, paths: &[String]) -> Result<config::Sources, (String, io::Error)> {
        let mut read = Vec::new();
        for path in paths {
            let file = match self.file(path) {
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                    let names = self.files.names(path).map_err(|error| (path.clone(), error))?;
                    for name in
                        names.iter().filter(|name| has_extension(name, "cfg") && !name.starts_with('.'))
                    {
                        let path = format!("{}/{name}", path.trim_end_matches('/'));
                        let bytes = self.file(&path).map_err(|error| (path.clone(), error))?;
                        read.push((path, config::haproxy::Tree::parse(bytes)));
                    }
                    continue;
                }
                other => other.map_err(|error| (path.clone(), error))?,
            };
            read.push((path.clone(), config::haproxy::Tree::parse(file)));
        }
        Ok(config::Sources::Haproxy(read))
    }

    fn sysctl(&mut self) -> Configuration {
        config::sysctl::evaluate(&self.sysctl_files())
    }

    fn sysctl_files(&mut self) -> Vec<config::sysctl::File> {
        let mut found = Vec::new();
        let mut seen = Vec::new();
        for directory in config::sysctl::DIRECTORIES {
            let names = match self.files.names(directory) {
                Ok(names) => names,
                Err(error) => {
                    if error.kind() != io::ErrorKind::NotFound {
                        self.refuse(directory, &error);
                    }
                    continue;
                }
            };
            // `/lib` is a link to `/usr/lib` on most systems: its files are the same.
            let identity = self.files.identity(directory).ok();
            if identity.is_some() && seen.contains(&identity) {
                continue;
            }
            seen.push(identity);
            for name in names.into_iter().filter(|name| has_extension(name, "conf")) {
                self.sysctl_file(format!("{directory}/{name}"), &mut found);
            }
        }
        self.sysctl_file(config::sysctl::SYSCTL_CONF.to_owned(), &mut found);
        found
    }

    fn sysctl_file(&mut self, path: String, found: &mut Vec<config::sysctl::File>) {
        let target = self.files.target(&path);
        // A link to /dev/null masks the file of the same name in the directories after it.
        let bytes =
            if target.as_deref() == Some("/dev/null") { Some(Vec::new()) } else { self.one_of_many(&path) };
        if let Some(bytes) = bytes {
            found.push(config::sysctl::File { path, target, tree: config::sysctl::Tree::parse(bytes) });
        }
    }
}

impl Started {
    /// The files that it was told to read, as they are now. An error is that of the file it goes with.
    pub fn files(&self, root: &Root) -> Result<Vec<String>, (String, io::Error)> {
        let files = Files::of(root, self.pid).map_err(|error| ("its files".to_owned(), error))?;
        let build = build::ask(root, self.pid, self.kind, &files);
        let sources = self.sources(&mut Reader::new(files), &build)?;
        Ok(sources.evaluate(None).files)
    }

    /// True if the files that it was told to read are those that we see, as far as they can be read.
    pub fn sees_our_files(&self, root: &Root) -> bool {
        let Ok(files) = Files::of(root, self.pid) else { return false };
        let build = build::ask(root, self.pid, self.kind, &files);
        let mut reader = Reader::new(files);
        // What is not there is not another one.
        let _ = self.sources(&mut reader, &build);
        reader.files.are_ours()
    }

    fn sources(&self, reader: &mut Reader, build: &Build) -> Result<config::Sources, (String, io::Error)> {
        match self.kind {
            Kind::Nginx => {
                let main = self.nginx_file(build);
                reader.nginx(&main).map(config::Sources::Nginx).map_err(|error| (main, error))
            }
            Kind::Haproxy => reader.haproxy(&self.haproxy_files()),
        }
    }

    /// What could not be read of it, as a gap.
    fn gap(&self, netns: &str, path: &str, error: &io::Error) -> Gap {
        self.refused(netns, path, &why(error))
    }

    fn refused(&self, netns: &str, path: &str, why: &str) -> Gap {
        let program = self.kind.names().first().copied().unwrap_or_default();
        Gap {
            unseen: Unseen::Configuration,
            netns: Some(netns.to_owned()),
            because: format!("the configuration of {program} (pid {}): {}: {why}", self.pid, printable(path)),
            how_to_see: format!("run as root, or name its file: {}", self.kind.option()),
        }
    }
}

/// True if a name ends so; programs tell large letters from small ones here.
fn has_extension(name: &str, extension: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|found| found == extension)
}

/// A path for people.
fn printable(path: &str) -> String {
    path.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_at_boot_is_found_in_its_directories() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::below(folder.path());
        let mut gaps = Vec::new();
        assert_eq!(read_boot(&root, &mut gaps), None);
        for (path, text) in [
            ("etc/sysctl.d/50-a.conf", "net.ipv4.tcp_tw_reuse = 1\n"),
            ("etc/sysctl.d/README", "net.ipv4.tcp_tw_reuse = 2\n"),
            ("usr/lib/sysctl.d/50-a.conf", "net.ipv4.tcp_tw_reuse = 0\n"),
            ("usr/lib/sysctl.d/60-b.conf", "net.ipv4.tcp_fin_timeout = 20\n"),
            ("etc/sysctl.conf", "net.ipv4.tcp_tw_recycle = 1\n"),
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::os::unix::fs::symlink("usr/lib", folder.path().join("lib")).unwrap();
        std::os::unix::fs::symlink("../sysctl.conf", folder.path().join("etc/sysctl.d/99-sysctl.conf"))
            .unwrap();
        std::os::unix::fs::symlink("/dev/null", folder.path().join("etc/sysctl.d/60-b.conf")).unwrap();
        let configuration = read_boot(&root, &mut gaps).unwrap();
        assert_eq!(gaps, []);
        let sysctl = configuration.sysctl.as_ref().unwrap();
        let said = |name: &str| {
            sysctl.winner(name).map(|winner| (winner.value.as_str(), configuration.at(winner.place)))
        };
        assert_eq!(said("net.ipv4.tcp_tw_reuse"), Some(("1", "/etc/sysctl.d/50-a.conf:1".to_owned())));
        assert_eq!(said("net.ipv4.tcp_tw_recycle"), Some(("1", "/etc/sysctl.d/99-sysctl.conf:1".to_owned())));
        assert_eq!(said("net.ipv4.tcp_fin_timeout"), None, "masked by a link to /dev/null");
    }

    #[test]
    fn programs_without_a_process_are_none() {
        let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        for name in ["proc-alibaba", "proc-hostile", "proc-3.10"] {
            let mut gaps = Vec::new();
            let found = read(&Root::below(&fixtures.join(name)), &BTreeMap::new(), &mut gaps);
            assert_eq!((found.len(), gaps.len()), (0, 0), "{name}");
        }
    }
}
