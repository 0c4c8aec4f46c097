//! The one file of ours in `sysctl.d`, which sets at the next boot what was set now, and says why.
//!
//! Each setting has comments of ours before it; everything else in the file is left as it is. Its name sorts behind
//! `99-sysctl.conf`, because the last file that sets something wins (sysctl.d(5)).

use config::sysctl::{File, SYSCTL_CONF, Tree, evaluate};
use diagnose::value;
use kernel::Root;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

/// Where programs look for it.
pub const FILE: &str = "/etc/sysctl.d/99-zz-lastack.conf";

const HEAD: &str = "\
# Written by `lastack fix`. Each setting says why it is here; `lastack fix --rollback ID` takes it out.
# Other lines may be added: they are kept.
";

/// What a comment of ours begins with.
const MARK: &str = "#lastack: ";

/// A setting to be durable.
pub(crate) struct Lasting<'a> {
    pub(crate) setting: &'a str,
    pub(crate) value: &'a str,
    /// Its value before.
    pub(crate) before: &'a str,
    /// Why, in one line each.
    pub(crate) why: Vec<String>,
}

/// Our file with these settings in it.
pub(crate) fn with(old: Option<&[u8]>, settings: &[Lasting<'_>]) -> Vec<u8> {
    let mut text = match old {
        Some(old) => settings.iter().fold(old.to_vec(), |text, lasting| without(&text, lasting.setting)),
        None => HEAD.into(),
    };
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    for lasting in settings {
        if !text.is_empty() {
            text.push(b'\n');
        }
        let before =
            if lasting.before.is_empty() { "empty".to_owned() } else { value::plain(lasting.before) };
        for comment in lasting.why.iter().map(|why| one_line(why)).chain([format!("before: {before}")]) {
            text.extend(format!("{MARK}{comment}\n").bytes());
        }
        text.extend(format!("{} = {}\n", lasting.setting, value::plain(lasting.value)).bytes());
    }
    text
}

/// Our file without a setting, and without our comments before it. None if nothing but our own head is left.
pub(crate) fn taken_out<'a>(old: &[u8], settings: impl Iterator<Item = &'a str>) -> Option<Vec<u8>> {
    let text = settings.fold(old.to_vec(), |text, setting| without(&text, setting));
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let is_others = |line: &[u8]| !line.is_empty() && HEAD.lines().all(|head| head.as_bytes() != line);
    lines.any(is_others).then_some(text)
}

fn without(text: &[u8], setting: &str) -> Vec<u8> {
    let tree = Tree::parse(text);
    let lines_of = |ours: bool| -> BTreeSet<usize> {
        let found = tree.assignments().filter(|one| (one.name() == setting) == ours);
        found.filter_map(|one| usize::try_from(one.place().line).ok()).collect()
    };
    // What ends a line for systemd does not for everybody: a line with something of others stays.
    let (ours, others) = (lines_of(true), lines_of(false));
    let mut kept: Vec<&[u8]> = Vec::new();
    for (number, line) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        if !ours.contains(&number) || others.contains(&number) {
            kept.push(line);
            continue;
        }
        while kept.last().is_some_and(|line| line.starts_with(MARK.as_bytes())) {
            kept.pop();
        }
        if kept.last().is_some_and(|line| line.trim_ascii().is_empty()) {
            kept.pop();
        }
    }
    kept.concat()
}

/// The settings that a file of ours was given.
pub(crate) fn given(before: &[u8], after: &[u8]) -> BTreeSet<String> {
    let says = |text: &[u8]| -> BTreeSet<(String, Option<String>)> {
        let tree = Tree::parse(text);
        tree.assignments().map(|one| (one.name(), one.value().map(Cow::into_owned))).collect()
    };
    says(after).difference(&says(before)).map(|(setting, _)| setting.clone()).collect()
}

/// A file that wins over ours at the next boot: it is applied later, or instead of ours, and sets something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wins {
    /// Whenever the host starts.
    Always(String),
    /// Where `sysctl --system` is what runs then: it reads this one last, whatever it is called.
    WithProcps(String),
}

/// What the files of `sysctl.d` say, as they are now.
pub(crate) struct Boot {
    files: Vec<File>,
}

impl Boot {
    pub(crate) fn read(root: &Root) -> Self {
        Self { files: kernel::programs::boot_files(root) }
    }

    /// What a setting is set to at the next boot.
    pub(crate) fn value(&self, setting: &str) -> Option<String> {
        evaluate(&self.files).sysctl?.winner(setting).map(|winner| winner.value.clone())
    }

    /// Why a value that a setting has now cannot be made that of the next boot by our file, as a clause.
    pub(crate) fn forbids(&self, setting: &str, value: &str) -> Option<String> {
        if !Path::new(FILE).parent().is_some_and(Path::is_dir) {
            return Some("this host has no /etc/sysctl.d".to_owned());
        }
        let now = self.files.iter().find(|file| file.path == FILE).map(|file| file.tree.to_bytes());
        let lasting = Lasting { setting, value, before: "", why: Vec::new() };
        match self.wins(&with(now.as_deref(), &[lasting]), setting, value) {
            Some(Wins::Always(file)) => {
                Some(format!("{file} sets {setting} too, and wins over {FILE}: change it there"))
            }
            Some(Wins::WithProcps(_)) | None => None,
        }
    }

    /// The file that will win over ours at the next boot, if there is one. `ours` is what our file will hold.
    pub(crate) fn wins(&self, ours: &[u8], setting: &str, value: &str) -> Option<Wins> {
        let mut files: Vec<File> = self.files.iter().filter(|file| file.path != FILE).cloned().collect();
        files.push(File { path: FILE.to_owned(), target: None, tree: Tree::parse(ours) });
        let boot = evaluate(&files);
        let winner = boot.sysctl.as_ref()?.winner(setting)?;
        let path = boot.files.get(usize::try_from(winner.place.file).ok()?)?;
        if path != FILE && !value::same(setting, &winner.value, value) {
            return Some(Wins::Always(path.clone()));
        }
        let is_conf = |file: &&File| file.path == SYSCTL_CONF || file.target.as_deref() == Some(SYSCTL_CONF);
        let conf = files.iter().find(is_conf)?;
        let last = conf.tree.assignments().filter(|one| one.name() == setting).last()?.value()?;
        (!value::same(setting, &last, value)).then(|| Wins::WithProcps(SYSCTL_CONF.to_owned()))
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasting(setting: &'static str, value: &'static str) -> Lasting<'static> {
        Lasting { setting, value, before: "2", why: vec!["because\nof this".into()] }
    }

    const REUSE: &str = "net.ipv4.tcp_tw_reuse";
    const RFC1337: &str = "net.ipv4.tcp_rfc1337";

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_setting_says_why_it_is_there() {
        let file = with(None, &[lasting(REUSE, "1")]);
        assert_eq!(
            text(&file),
            format!("{HEAD}\n#lastack: because of this\n#lastack: before: 2\nnet.ipv4.tcp_tw_reuse = 1\n")
        );
        assert_eq!(taken_out(&file, [REUSE].into_iter()), None);
    }

    #[test]
    fn what_others_wrote_is_kept() {
        let old = "# mine\nvm.swappiness = 1\nnet/ipv4/tcp_tw_reuse=0\n-net.ipv4.tcp_rfc1337 = 1\n\
                   /proc/sys/net/ipv4/tcp_tw_reuse = 2";
        let file = with(Some(old.as_bytes()), &[lasting(REUSE, "1"), lasting(RFC1337, "0")]);
        assert!(file.starts_with(b"# mine\nvm.swappiness = 1\n\n#lastack"), "{}", text(&file));
        assert_eq!(text(&file).matches("tcp_tw_reuse").count(), 1, "{}", text(&file));
        assert_eq!(with(Some(&file), &[lasting(REUSE, "1"), lasting(RFC1337, "0")]), file);
        let left = taken_out(&file, [REUSE, RFC1337].into_iter()).unwrap();
        assert_eq!(text(&left), "# mine\nvm.swappiness = 1\n");
    }

    #[test]
    fn bytes_of_others_are_kept_whatever_they_are() {
        let old = b"# caf\xe9\n\n# net.ipv4.tcp_tw_reuse = 3\r\nx=1\rnet.ipv4.tcp_tw_reuse=0\n";
        let file = with(Some(old), &[lasting(REUSE, "1")]);
        assert!(file.starts_with(old), "{file:?}");
        assert_eq!(taken_out(&file, [REUSE].into_iter()).unwrap(), old);
    }

    #[test]
    fn what_was_given_is_what_was_not_said_before() {
        let old = "vm.swappiness = 1\nnet.ipv4.tcp_rfc1337 = 1\n";
        let file = with(Some(old.as_bytes()), &[lasting(REUSE, "1"), lasting(RFC1337, "0")]);
        assert_eq!(given(old.as_bytes(), &file).into_iter().collect::<Vec<_>>(), [RFC1337, REUSE]);
        assert!(given(&file, &file).is_empty());
    }

    #[test]
    fn a_file_that_wins_is_named() {
        let file = |path: &str, text: &str| File { path: path.into(), target: None, tree: Tree::parse(text) };
        let ours = with(None, &[lasting(REUSE, "1")]);
        let wins = |files: &[File]| Boot { files: files.to_vec() }.wins(&ours, REUSE, "1");
        let always = |file: &File| Some(Wins::Always(file.path.clone()));
        assert_eq!(wins(&[]), None);
        let early = file("/etc/sysctl.d/10-first.conf", "net.ipv4.tcp_tw_reuse=0");
        let alike = file("/etc/sysctl.d/zz.conf", "net.ipv4.tcp_tw_reuse = 1\n");
        assert_eq!(wins(&[early, alike]), None);
        // What our file says now is not what it will say.
        assert_eq!(wins(&[file(FILE, "net.ipv4.tcp_tw_reuse = 0")]), None);
        let later =
            file("/usr/lib/sysctl.d/zz.conf", "net.ipv4.tcp_tw_reuse = 1\nnet/ipv4/tcp_tw_reuse = 0\n");
        assert_eq!(wins(std::slice::from_ref(&later)), always(&later));
        // That one is masked by another of its name, which says nothing of this.
        assert_eq!(wins(&[later, file("/etc/sysctl.d/zz.conf", "")]), None);
        // A pattern does not win over a name.
        assert_eq!(wins(&[file("/etc/sysctl.d/zz.conf", "net.ipv4.tcp_tw_* = 0")]), None);
        let procps = Some(Wins::WithProcps(SYSCTL_CONF.to_owned()));
        assert_eq!(wins(&[file(SYSCTL_CONF, "net.ipv4.tcp_tw_reuse = 0")]), procps);
        let linked = File {
            target: Some(SYSCTL_CONF.into()),
            ..file("/etc/sysctl.d/99-sysctl.conf", "net.ipv4.tcp_tw_reuse=0")
        };
        assert_eq!(wins(std::slice::from_ref(&linked)), procps);
        let last = File { path: "/etc/sysctl.d/zz-sysctl.conf".into(), ..linked };
        assert_eq!(wins(std::slice::from_ref(&last)), always(&last));
    }
}
