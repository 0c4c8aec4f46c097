//! The processes of nginx and HAProxy, and how they were started.

use super::{Build, Kind};
use crate::process;
use crate::root::{Root, read_prefix};
use evidence::{Gap, Unseen};
use rustix::fs::CWD;
use std::collections::BTreeMap;

/// A program as it was started.
#[derive(Clone, Debug)]
pub struct Started {
    /// Which.
    pub kind: Kind,
    /// Its id in the pid namespace of the observer; of several, that of the one that started the others.
    pub pid: u32,
    /// Device and inode of its network namespace.
    pub net: (u64, u64),
    /// What it was started with, its own name aside.
    pub arguments: Vec<String>,
    /// Device and inode of the program's file.
    pub(super) program: Option<(u64, u64)>,
    directory: String,
    /// Processes that it started to do the work.
    pub(super) workers: u32,
    /// When the youngest of its processes began, in seconds since 1970.
    pub(super) since_s: Option<i64>,
}

/// What is known of a process of one of the programs.
struct Seen {
    pid: u32,
    parent: u32,
    kind: Kind,
    net: (u64, u64),
    words: Words,
    since_s: Option<i64>,
}

/// What a command line says.
#[derive(Debug, PartialEq, Eq)]
enum Words {
    /// The arguments, without the program's name.
    Arguments(Vec<String>),
    /// nginx calls it a worker, or a helper.
    Helper,
}

/// The programs that run in network namespaces that are wanted, by process id. Without the right to see which
/// namespace a process is in, there is a gap.
pub(super) fn find(root: &Root, wanted: impl Fn((u64, u64)) -> bool, gaps: &mut Vec<Gap>) -> Vec<Started> {
    let mut seen = BTreeMap::new();
    let mut denied = BTreeMap::<Kind, u32>::new();
    let booted = booted_s(root);
    for pid in root.pids().unwrap_or_default() {
        let Some(kind) = Kind::of(&process::name(root, pid)) else { continue };
        let Some(words) = words(root, pid, kind) else { continue };
        match identity(root, pid, "ns/net") {
            Ok(net) if wanted(net) => {
                let Some((parent, since)) = stat(root, pid) else { continue };
                let since_s = booted.and_then(|booted| booted.checked_add(since));
                seen.insert(pid, Seen { pid, parent, kind, net, words, since_s });
            }
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) if words != Words::Helper => {
                denied.entry(kind).or_insert(pid);
            }
            Ok(_) | Err(_) => {}
        }
    }
    for (kind, pid) in denied {
        let program = kind.names().first().copied().unwrap_or_default();
        gaps.push(Gap {
            unseen: Unseen::Configuration,
            netns: None,
            because: format!("the configuration of {program} (pid {pid}): permission denied"),
            how_to_see: format!("run as root, or name its file: {}", kind.option()),
        });
    }
    let child_of = |one: &Seen| seen.get(&one.parent).is_some_and(|parent| parent.kind == one.kind);
    let mut found = Vec::new();
    for one in seen.values() {
        let Words::Arguments(arguments) = &one.words else { continue };
        if child_of(one) || is_a_question(arguments) {
            continue;
        }
        let family: Vec<&Seen> =
            seen.values().filter(|other| other.parent == one.pid && child_of(other)).collect();
        found.push(Started {
            kind: one.kind,
            net: one.net,
            pid: one.pid,
            program: identity(root, one.pid, "exe").ok(),
            arguments: arguments.clone(),
            directory: directory(root, one.pid),
            workers: u32::try_from(family.len()).unwrap_or(u32::MAX),
            since_s: family.iter().map(|other| other.since_s).chain([one.since_s]).max().flatten(),
        });
    }
    found
}

impl Started {
    /// The file that nginx reads: `-c FILE`, in the prefix that was compiled in, or in that of `-p`.
    pub(super) fn nginx_file(&self, build: &Build) -> String {
        let prefix = match self.value_of("-p") {
            Some(prefix) => Some(below(&self.directory, prefix)),
            None => build.prefix.clone(),
        };
        let default = build.main_file.clone();
        match (self.value_of("-c"), prefix) {
            (Some(file), Some(prefix)) => below(&prefix, file),
            (Some(file), None) => below(&self.directory, file),
            // With `-p`, what was compiled in begins there, unless it is absolute.
            (None, Some(prefix)) => default.unwrap_or_else(|| below(&prefix, "conf/nginx.conf")),
            (None, None) => default.unwrap_or_else(|| "/etc/nginx/nginx.conf".to_owned()),
        }
    }

    /// The files that HAProxy reads: `-f FILE`, and all after `--`, from the directory of `-C`.
    pub(super) fn haproxy_files(&self) -> Vec<String> {
        let directory = match self.value_of("-C") {
            Some(directory) => below(&self.directory, directory),
            None => self.directory.clone(),
        };
        let mut files = Vec::new();
        let mut words = self.arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "-f" => files.extend(words.next().map(|file| below(&directory, file))),
                "--" => files.extend(words.by_ref().map(|file| below(&directory, file))),
                _ => {}
            }
        }
        files
    }

    /// Whether a master runs it, which takes its files anew: nginx's as ever, HAProxy's by `-W` or `master-worker` in
    /// its file, which shows by a child.
    pub fn has_master(&self) -> bool {
        self.kind == Kind::Nginx
            || self.workers > 0
            || self.arguments.iter().any(|word| word.starts_with("-W"))
    }

    /// The arguments that say what is read, as they were given: where the files are, and for nginx what stands before
    /// them (`-g`). With them another process of the program reads the same.
    pub fn what_is_read(&self) -> Vec<String> {
        let flags: &[&str] = match self.kind {
            Kind::Nginx => &["-c", "-p", "-g"],
            Kind::Haproxy => &["-f", "-C", "-L"],
        };
        let mut read = Vec::new();
        let mut words = self.arguments.iter().peekable();
        while let Some(word) = words.next() {
            if self.kind == Kind::Haproxy && word == "--" {
                read.push(word.clone());
                read.extend(words.by_ref().cloned());
                break;
            }
            let Some(flag) = flags.iter().find(|flag| word.starts_with(**flag)) else { continue };
            if word != flag && *flag != "-g" {
                read.push(word.clone());
                continue;
            }
            let mut value = match word.strip_prefix(flag) {
                None | Some("") => words.next().cloned().unwrap_or_default(),
                Some(attached) => attached.to_owned(),
            };
            // The title that nginx writes over its arguments parts directives at their blanks.
            while *flag == "-g"
                && let Some(more) = words.next_if(|word| !word.starts_with('-'))
            {
                value = format!("{value} {more}");
            }
            if !value.is_empty() {
                read.extend([(*flag).to_owned(), value]);
            }
        }
        read
    }

    /// What follows a flag, in the same word or in the next; of several, the last.
    fn value_of(&self, flag: &str) -> Option<&str> {
        let mut words = self.arguments.iter().map(String::as_str);
        let mut value = None;
        while let Some(word) = words.next() {
            match word.strip_prefix(flag) {
                Some("") => value = words.next().or(value),
                Some(attached) => value = Some(attached),
                None => {}
            }
        }
        value
    }
}

/// A path from a directory on.
fn below(directory: &str, path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", directory.trim_end_matches('/'))
    }
}

/// True if it was started to say something, to test a file or to send a signal, and ends at once.
fn is_a_question(arguments: &[String]) -> bool {
    arguments
        .iter()
        .any(|word| matches!(word.as_str(), "-v" | "-V" | "-vv" | "-t" | "-T" | "-s" | "-h" | "-?"))
}

/// What its command line says; none of a process that has ended.
fn words(root: &Root, pid: u32, kind: Kind) -> Option<Words> {
    let bytes = process::command_line(root, pid).filter(|bytes| !bytes.is_empty())?;
    Some(words_in(&bytes, kind))
}

/// Arguments end in NUL. nginx writes a title over them: `nginx: master process /usr/sbin/nginx -c FILE`, with blanks.
fn words_in(bytes: &[u8], kind: Kind) -> Words {
    let text = String::from_utf8_lossy(bytes);
    let owned = |words: &mut dyn Iterator<Item = &str>| words.skip(1).map(str::to_owned).collect();
    if kind == Kind::Nginx
        && let Some(title) = text.strip_prefix("nginx: ")
    {
        return match title.strip_prefix("master process ") {
            Some(command) => {
                let command = command.trim_matches(|c: char| c == '\0' || c.is_whitespace());
                Words::Arguments(owned(&mut command.split_ascii_whitespace()))
            }
            None => Words::Helper,
        };
    }
    Words::Arguments(owned(&mut text.trim_end_matches('\0').split('\0')))
}

/// The directory it is in; empty if that cannot be seen, so that paths begin at its root.
fn directory(root: &Root, pid: u32) -> String {
    let link = rustix::fs::readlink(root.proc.join(format!("{pid}/cwd")), Vec::new());
    link.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
}

fn identity(root: &Root, pid: u32, file: &str) -> rustix::io::Result<(u64, u64)> {
    rustix::fs::stat(root.proc.join(format!("{pid}/{file}"))).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Its parent, and when it began, in seconds after boot.
fn stat(root: &Root, pid: u32) -> Option<(u32, i64)> {
    let stat = process::stat(root, pid)?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Some((stat.parent, i64::try_from(stat.started / per_second).ok()?))
}

/// When the host was started, in seconds since 1970.
fn booted_s(root: &Root) -> Option<i64> {
    let bytes = read_prefix(CWD, root.proc.join("stat"), 1 << 20).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(kind: Kind, command: &str) -> Started {
        let Words::Arguments(arguments) = words_in(command.replace(' ', "\0").as_bytes(), kind) else {
            panic!("{command} is a helper")
        };
        Started {
            kind,
            net: (0, 0),
            pid: 7,
            program: None,
            arguments,
            directory: "/srv".to_owned(),
            workers: 0,
            since_s: None,
        }
    }

    #[test]
    fn nginx_reads_what_it_was_told_to() {
        let build = Build {
            version: None,
            prefix: Some("/usr/share/nginx".into()),
            main_file: Some("/etc/nginx/nginx.conf".into()),
        };
        let file = |command: &str| started(Kind::Nginx, command).nginx_file(&build);
        assert_eq!(file("nginx"), "/etc/nginx/nginx.conf");
        assert_eq!(file("nginx -c /a.conf -g daemon off;"), "/a.conf");
        assert_eq!(file("nginx -ca.conf"), "/usr/share/nginx/a.conf");
        assert_eq!(file("nginx -p here -c a.conf"), "/srv/here/a.conf");
        assert_eq!(started(Kind::Nginx, "nginx").nginx_file(&Build::default()), "/etc/nginx/nginx.conf");
    }

    #[test]
    fn the_title_of_a_master_says_how_it_was_started() {
        let title = b"nginx: master process /usr/sbin/nginx -p /x -c n.conf\0\0\0";
        let Words::Arguments(arguments) = words_in(title, Kind::Nginx) else { panic!("a helper") };
        assert_eq!(arguments, ["-p", "/x", "-c", "n.conf"]);
        for title in [
            "nginx: worker process\0",
            "nginx: cache manager process",
            "nginx: worker process is shutting down",
        ] {
            assert_eq!(words_in(title.as_bytes(), Kind::Nginx), Words::Helper);
        }
    }

    #[test]
    fn haproxy_reads_all_its_files() {
        let files = |command: &str| started(Kind::Haproxy, command).haproxy_files();
        assert_eq!(files("haproxy -Ws -f /etc/haproxy/haproxy.cfg -p /run/p"), ["/etc/haproxy/haproxy.cfg"]);
        assert_eq!(files("haproxy -C conf -f a -db -- b c"), ["/srv/conf/a", "/srv/conf/b", "/srv/conf/c"]);
        assert_eq!(files("haproxy -f"), Vec::<String>::new());
    }

    #[test]
    fn another_process_can_read_the_same() {
        let read = |kind: Kind, command: &str| started(kind, command).what_is_read();
        assert_eq!(
            read(Kind::Nginx, "nginx -c /x.conf -g daemon off; pid /p; -p /srv -q"),
            ["-c", "/x.conf", "-g", "daemon off; pid /p;", "-p", "/srv"]
        );
        assert_eq!(read(Kind::Nginx, "nginx -c/x.conf -p"), ["-c/x.conf"]);
        assert_eq!(
            read(Kind::Haproxy, "haproxy -W -sf 12 -f /a.cfg -db -L one -- b c"),
            ["-f", "/a.cfg", "-L", "one", "--", "b", "c"]
        );
        assert_eq!(read(Kind::Haproxy, "haproxy -W -f"), [""; 0]);
    }

    #[test]
    fn a_haproxy_has_a_master_by_its_arguments_or_by_its_file() {
        let one = |command: &str| started(Kind::Haproxy, command);
        assert!(one("haproxy -Ws -f a").has_master() && !one("haproxy -D -f a").has_master());
        assert!(Started { workers: 1, ..one("haproxy -D -f a") }.has_master());
    }

    #[test]
    fn questions_are_no_servers() {
        let question = |command: &str| is_a_question(&started(Kind::Nginx, command).arguments);
        assert!(
            question("nginx -t -c /a.conf") && question("nginx -s reload") && !question("nginx -c /a.conf")
        );
    }
}
