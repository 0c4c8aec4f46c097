//! The one file of ours in `sysctl.d`, which sets at the next boot what was set now, and says why.
//!
//! Each setting has comments of ours before it; everything else in the file is left as it is. Its name sorts behind
//! `99-sysctl.conf`, because the last file that sets something wins (sysctl.d(5)).

use crate::merge::merged;
use config::sysctl::{File, SYSCTL_CONF, Tree, evaluate};
use diagnose::value;
use kernel::Root;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
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
        Some(old) => {
            settings.iter().fold(old.to_vec(), |text, lasting| Parted::new(&text, lasting.setting).rest)
        }
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

/// Our file as it is now, with what an apply did to it taken back, and what somebody has changed since: that stays.
/// None if nothing but our own head is left.
pub(crate) fn taken_back(before: Option<&[u8]>, after: &[u8], now: &[u8]) -> (Option<Vec<u8>>, Vec<String>) {
    let before = before.unwrap_or(HEAD.as_bytes());
    let (were, made, are) = (says(before), says(after), says(now));
    let (mut ours, mut left) = (BTreeSet::new(), Vec::new());
    for (setting, values) in &made {
        let now = are.get(setting);
        if were.get(setting) == Some(values) || were.get(setting) == now {
            // It is not from this apply, or is taken back already.
        } else if now == Some(values) {
            ours.insert(setting.as_str());
        } else {
            let now = now.and_then(|values| values.last()).map_or_else(
                || "is not there any more".to_owned(),
                |value| format!("is {} there now", value.as_deref().unwrap_or("empty")),
            );
            left.push(format!("{FILE}: {setting} {now}: somebody has changed it since; it was left alone"));
        }
    }
    // As a whole, so that everything comes to its old place; if lines do not fit, one after the other.
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let whole = text(after).zip(text(before)).zip(text(now)).filter(|_| left.is_empty());
    let whole = whole.and_then(|((after, before), now)| merged(after, [before, now]));
    let wanted: BTreeMap<_, _> = are
        .iter()
        .filter(|(setting, _)| !ours.contains(setting.as_str()))
        .chain(were.iter().filter(|(setting, _)| ours.contains(setting.as_str())))
        .map(|(setting, values)| (setting.clone(), values.clone()))
        .collect();
    let whole = whole.map(String::into_bytes).filter(|whole| says(whole) == wanted);
    let text = whole.unwrap_or_else(|| {
        ours.iter().fold(now.to_vec(), |text, setting| {
            let Parted { mut rest, at, .. } = Parted::new(&text, setting);
            let mut block = Parted::new(before, setting).taken;
            if !block.is_empty() && !block.ends_with(b"\n") {
                block.push(b'\n');
            }
            if !block.is_empty()
                && rest.get(..at).is_some_and(|text| !text.is_empty() && !text.ends_with(b"\n"))
            {
                block.insert(0, b'\n');
            }
            rest.splice(at..at, block);
            rest
        })
    });
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let is_others = |line: &[u8]| !line.is_empty() && HEAD.lines().all(|head| head.as_bytes() != line);
    (lines.any(is_others).then_some(text), left)
}

/// A text in two parts: what is about a setting, with our comments before it, and the rest.
struct Parted {
    rest: Vec<u8>,
    taken: Vec<u8>,
    /// Where the first line of what is taken was, in the rest.
    at: usize,
}

impl Parted {
    fn new(text: &[u8], setting: &str) -> Self {
        let tree = Tree::parse(text);
        let lines_of = |ours: bool| -> BTreeSet<usize> {
            let found = tree.assignments().filter(|one| (one.name() == setting) == ours);
            found.filter_map(|one| usize::try_from(one.place().line).ok()).collect()
        };
        // What ends a line for systemd does not for everybody: a line with something of others stays.
        let (ours, others) = (lines_of(true), lines_of(false));
        let (mut rest, mut taken): (Vec<&[u8]>, Vec<&[u8]>) = (Vec::new(), Vec::new());
        let mut first = None;
        for (number, line) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
            if !ours.contains(&number) || others.contains(&number) {
                rest.push(line);
                continue;
            }
            let is_ours = |line: &&[u8]| line.starts_with(MARK.as_bytes());
            let comments = rest.iter().rev().take_while(|line| is_ours(line)).count();
            let mut from = rest.len().saturating_sub(comments);
            let is_blank = |line: &&[u8]| line.trim_ascii().is_empty();
            if rest.get(..from).and_then(<[_]>::last).is_some_and(is_blank) {
                from = from.saturating_sub(1);
            }
            taken.extend(rest.split_off(from));
            taken.push(line);
            first = first.or(Some(from));
        }
        let at = rest.iter().take(first.unwrap_or(rest.len())).map(|line| line.len()).sum();
        Self { rest: rest.concat(), taken: taken.concat(), at }
    }
}

/// What a file sets, and to what; nothing where a line takes a setting out.
fn says(text: &[u8]) -> BTreeMap<String, Vec<Option<String>>> {
    let mut says = BTreeMap::<_, Vec<_>>::new();
    for one in Tree::parse(text).assignments() {
        says.entry(one.name()).or_default().push(one.value().map(Cow::into_owned));
    }
    says
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
        assert_eq!(taken_back(None, &file, &file), (None, Vec::new()));
    }

    #[test]
    fn what_others_wrote_is_kept() {
        let old = "# mine\nvm.swappiness = 1\nnet/ipv4/tcp_tw_reuse=0\n-net.ipv4.tcp_rfc1337 = 1\n\
                   /proc/sys/net/ipv4/tcp_tw_reuse = 2";
        let file = with(Some(old.as_bytes()), &[lasting(REUSE, "1"), lasting(RFC1337, "0")]);
        assert!(file.starts_with(b"# mine\nvm.swappiness = 1\n\n#lastack"), "{}", text(&file));
        assert_eq!(text(&file).matches("tcp_tw_reuse").count(), 1, "{}", text(&file));
        assert_eq!(with(Some(&file), &[lasting(REUSE, "1"), lasting(RFC1337, "0")]), file);
        assert_eq!(back(old, &file, text(&file)), old, "and all comes back");
    }

    #[test]
    fn bytes_of_others_are_kept_whatever_they_are() {
        let old = b"# caf\xe9\n\n# net.ipv4.tcp_tw_reuse = 3\r\nx=1\rnet.ipv4.tcp_tw_reuse=0\n";
        let file = with(Some(old), &[lasting(REUSE, "1")]);
        assert!(file.starts_with(old), "{file:?}");
        assert_eq!(taken_back(Some(old), &file, &file), (Some(old.to_vec()), Vec::new()));
    }

    /// What is left of our file where all of an apply is taken back.
    #[track_caller]
    fn back(before: &str, after: &[u8], now: &str) -> String {
        let (text, left) = taken_back(Some(before.as_bytes()), after, now.as_bytes());
        assert_eq!(left, [""; 0]);
        String::from_utf8(text.unwrap()).unwrap()
    }

    #[test]
    fn what_others_said_before_comes_back_and_what_they_said_since_stays() {
        let before = "# ours for long\n\n# slow peers\nnet.ipv4.tcp_tw_reuse = 0\nvm.swappiness = 1\n";
        let after = with(Some(before.as_bytes()), &[lasting(REUSE, "1"), lasting(RFC1337, "0")]);
        let now = format!("{}kernel.panic = 5\n", text(&after));
        assert_eq!(back(before, &after, &now), format!("{before}kernel.panic = 5\n"));
        // Lines that do not fit together: what each was is put where it is now.
        let now = text(&after).replace("#lastack: before: 2", "# bob: before 2").replace("slow", "fast");
        let back = back(before, &after, &now);
        assert!(back.contains("tcp_tw_reuse = 0") && !back.contains("tcp_tw_reuse = 1"), "{back}");
        assert!(back.contains("# bob: before 2") && back.contains("# fast peers"), "{back}");
    }

    #[test]
    fn a_line_that_is_not_this_applys_any_more_stays() {
        let since = |before: Option<&[u8]>, after: &[u8], now: &[u8]| {
            let (text, left) = taken_back(before, after, now);
            (String::from_utf8(text.unwrap()).unwrap(), left)
        };
        let first = with(None, &[lasting(REUSE, "1"), lasting(RFC1337, "0")]);
        // A later apply, or a person.
        let second = with(Some(&first), &[lasting(REUSE, "2")]);
        let (left, why) = since(None, &first, &second);
        assert!(left.contains("tcp_tw_reuse = 2\n") && !left.contains("tcp_rfc1337"), "{left}");
        assert!(left.starts_with(HEAD), "{left}");
        assert!(why.len() == 1 && why[0].contains("tcp_tw_reuse is 2 there now"), "{why:?}");
        let gone = Parted::new(&second, REUSE).rest;
        assert_eq!(taken_back(None, &first, &gone), (None, Vec::new()));
        let (left, why) = since(Some(&first), &second, &gone);
        assert_eq!(left, text(&gone));
        assert!(why.len() == 1 && why[0].contains("tcp_tw_reuse is not there any more"), "{why:?}");
        // The later one first, then the earlier one.
        assert_eq!(taken_back(Some(&first), &second, &second), (Some(first.clone()), Vec::new()));
        assert_eq!(taken_back(None, &first, &first), (None, Vec::new()));
        // What another apply has put there is not this one's.
        let other = with(Some(&first), &[lasting("net.core.somaxconn", "9")]);
        let (left, why) = since(None, &first, &other);
        assert_eq!((text(&with(None, &[lasting("net.core.somaxconn", "9")])), why), (&*left, Vec::new()));
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
