//! The one file of ours in `sysctl.d`, which sets at the next boot what was set now, and says why.
//!
//! Each setting has comments of ours before it; everything else in the file is left as it is. Its name sorts behind
//! `99-sysctl.conf`, because the last file that sets something wins (sysctl.d(5)).

use crate::value;
use std::path::{Path, PathBuf};

/// Where programs look for it.
pub const FILE: &str = "/etc/sysctl.d/99-zz-lastack.conf";

/// Files of these directories that sort behind ours win over it; so does /etc/sysctl.conf where `sysctl --system` is what
/// runs at boot.
const DIRECTORIES: [&str; 4] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"];

/// The largest file of others that is looked at.
const MAX_OTHER: u64 = 1 << 20;

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

/// The text of our file with these settings in it.
pub(crate) fn with(old: Option<&str>, settings: &[Lasting<'_>]) -> String {
    let mut text = match old {
        Some(old) => settings.iter().fold(old.to_owned(), |text, lasting| without(&text, lasting.setting)),
        None => HEAD.to_owned(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for lasting in settings {
        if !text.is_empty() {
            text.push('\n');
        }
        let before =
            if lasting.before.is_empty() { "empty".to_owned() } else { value::plain(lasting.before) };
        for comment in lasting.why.iter().map(|why| one_line(why)).chain([format!("before: {before}")]) {
            text.extend([MARK, &comment, "\n"]);
        }
        text.extend([lasting.setting, " = ", &value::plain(lasting.value), "\n"]);
    }
    text
}

/// The text without a setting, and without our comments before it. None if nothing but our own head is left.
pub(crate) fn taken_out<'a>(old: &str, settings: impl Iterator<Item = &'a str>) -> Option<String> {
    let text = settings.fold(old.to_owned(), |text, setting| without(&text, setting));
    let left = text.lines().any(|line| !line.trim().is_empty() && !HEAD.lines().any(|head| head == line));
    left.then_some(text)
}

fn without(text: &str, setting: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for line in text.split_inclusive('\n') {
        if assigns(line).is_none_or(|(name, _)| name != setting) {
            kept.push(line);
            continue;
        }
        while kept.last().is_some_and(|line| line.starts_with(MARK)) {
            kept.pop();
        }
        if kept.last().is_some_and(|line| line.trim().is_empty()) {
            kept.pop();
        }
    }
    kept.concat()
}

/// The setting and the value that a line assigns (sysctl.d(5)): dots or slashes in the name, perhaps `-` before it.
pub(crate) fn assigns(line: &str) -> Option<(String, &str)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    let name = name.trim().trim_start_matches('-').replace('/', ".");
    (!name.is_empty()).then(|| (name, value.trim()))
}

/// The file that will win over ours at the next boot, if there is one: it sorts behind ours and sets the same.
pub(crate) fn overridden(etc: &Path, setting: &str, value: &str) -> Option<PathBuf> {
    let ours = Path::new(FILE).file_name()?.to_owned();
    let mut behind: Vec<PathBuf> = vec![etc.join("sysctl.conf")];
    for directory in DIRECTORIES.map(|directory| match directory.strip_prefix("/etc/") {
        Some(rest) => etc.join(rest),
        None => PathBuf::from(directory),
    }) {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let later = entries.filter(|entry| entry.file_name() > ours);
        behind.extend(
            later.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "conf")),
        );
    }
    behind.into_iter().find(|path| {
        let small = path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MAX_OTHER);
        let text = if small { std::fs::read(path).unwrap_or_default() } else { Vec::new() };
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().filter_map(assigns).rfind(|(name, _)| name == setting);
        last.is_some_and(|(_, other)| !value::same(setting, other, value))
    })
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

    #[test]
    fn a_setting_says_why_it_is_there() {
        let text = with(None, &[lasting(REUSE, "1")]);
        assert_eq!(
            text,
            format!("{HEAD}\n#lastack: because of this\n#lastack: before: 2\nnet.ipv4.tcp_tw_reuse = 1\n")
        );
        assert_eq!(taken_out(&text, [REUSE].into_iter()), None);
    }

    #[test]
    fn what_others_wrote_is_kept() {
        let old = "# mine\nvm.swappiness = 1\nnet/ipv4/tcp_tw_reuse=0\n-net.ipv4.tcp_rfc1337 = 1";
        let text = with(Some(old), &[lasting(REUSE, "1"), lasting(RFC1337, "0")]);
        assert!(text.starts_with("# mine\nvm.swappiness = 1\n\n#lastack"), "{text}");
        assert_eq!(text.matches("tcp_tw_reuse").count(), 1, "{text}");
        assert_eq!(with(Some(&text), &[lasting(REUSE, "1"), lasting(RFC1337, "0")]), text);
        let left = taken_out(&text, [REUSE, RFC1337].into_iter()).unwrap();
        assert_eq!(left, "# mine\nvm.swappiness = 1\n");
    }

    #[test]
    fn a_file_that_wins_is_named() {
        let etc = tempfile::tempdir().unwrap();
        assert_eq!(overridden(etc.path(), REUSE, "1"), None);
        let folder = etc.path().join("sysctl.d");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("10-first.conf"), "net.ipv4.tcp_tw_reuse=0").unwrap();
        std::fs::write(folder.join("zz.conf"), "net.ipv4.tcp_tw_reuse = 1\n").unwrap();
        assert_eq!(overridden(etc.path(), REUSE, "1"), None);
        std::fs::write(folder.join("zz.conf"), "net.ipv4.tcp_tw_reuse = 1\nnet/ipv4/tcp_tw_reuse = 0\n")
            .unwrap();
        assert_eq!(overridden(etc.path(), REUSE, "1"), Some(folder.join("zz.conf")));
    }
}
