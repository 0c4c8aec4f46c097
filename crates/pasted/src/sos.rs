//! What a report of `sos` (sosreport) holds that tells of TCP. Each output of a command lies in a file that is called
//! after the command, so that the path tells what a prompt would have told.

/// What a file of a report is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What a command wrote, or a copy of a file below /proc, which `cat` would have written.
    Output {
        /// The command: `ss -peaonmi`, `ip netns exec blue netstat -s`.
        command: String,
    },
    /// What `nginx -V` wrote.
    NginxBuild,
    /// What `haproxy -c` wrote.
    HaproxyTest,
    /// A list of packages, by rpm or dpkg.
    Packages,
    /// A file of the configuration of nginx, HAProxy or sysctl, or a link to one, by its path on the host.
    Configuration {
        /// `/etc/nginx/nginx.conf`.
        path: String,
    },
}

/// Commands by what sos calls their files: anything but letters, digits, dots and dashes is `_` there.
const COMMANDS: [(&str, &str); 14] = [
    ("ss_-peaonmi", "ss -peaonmi"),
    ("netstat_-W_-neopa", "netstat -W -neopa"),
    ("netstat_-T_-neopa", "netstat -T -neopa"),
    ("netstat_-neopa", "netstat -neopa"),
    ("netstat_-s", "netstat -s"),
    ("nstat_-zas", "nstat -zas"),
    ("sysctl_-a", "sysctl -a"),
    ("conntrack_-L_-o_extended", "conntrack -L -o extended"),
    ("conntrack_-S", "conntrack -S"),
    ("date_--utc", "date --utc"),
    ("date", "date"),
    ("hostname_-f", "hostname"),
    ("hostname", "hostname"),
    ("uname_-a", "uname -a"),
];

/// The plugins of sos that run them.
const PLUGINS: [&str; 6] = ["networking", "kernel", "conntrack", "date", "host", "general"];

/// The plugins whose files tell versions.
const VERSIONS: [&str; 4] = ["nginx", "haproxy", "rpm", "dpkg"];

/// Files below /proc/net.
const PROC_NET: [&str; 8] =
    ["snmp", "netstat", "sockstat", "sockstat6", "tcp", "tcp6", "nf_conntrack", "stat/nf_conntrack"];

/// Where configuration lies.
const CONFIGURATION: [&str; 7] = [
    "etc/nginx",
    "etc/haproxy",
    "etc/sysctl.d",
    "run/sysctl.d",
    "usr/lib/sysctl.d",
    "usr/local/lib/sysctl.d",
    "lib/sysctl.d",
];

/// What the file at this path is, counted from the report's own directory; none if it tells nothing of TCP.
pub fn part(path: &str) -> Option<Part> {
    if let Some(rest) = path.strip_prefix("sos_commands/") {
        let (plugin, rest) = rest.split_once('/')?;
        match plugin {
            "nginx" if rest == "nginx_-V" => return Some(Part::NginxBuild),
            "haproxy" if rest.starts_with("haproxy_-f_") => return Some(Part::HaproxyTest),
            "dpkg" if rest == "dpkg_-l" => return Some(Part::Packages),
            "rpm" if rest == "package-data" || rest.starts_with("sh_-c_rpm_") && rest.contains("_-qa_") => {
                return Some(Part::Packages);
            }
            _ => {}
        }
        return PLUGINS.contains(&plugin).then(|| output(rest)).flatten();
    }
    if let Some(rest) = path.strip_prefix("proc/") {
        let file = below_net(rest)?;
        return PROC_NET.contains(&file).then(|| Part::Output { command: format!("cat /proc/net/{file}") });
    }
    // Links to the above in newer reports.
    if matches!(path, "installed-rpms" | "installed-debs") {
        return Some(Part::Packages);
    }
    let is_configuration = path == "etc/sysctl.conf"
        || CONFIGURATION.iter().any(|tree| is_below(path, tree)) && path.split('/').all(|name| name != "..");
    is_configuration.then(|| Part::Configuration { path: format!("/{path}") })
}

/// True if a directory of a report may hold such files, at whatever depth.
pub fn may_hold(directory: &str) -> bool {
    let plugins = PLUGINS.iter().chain(&VERSIONS).map(|plugin| format!("sos_commands/{plugin}"));
    let mut trees = CONFIGURATION.iter().map(|tree| (*tree).to_owned()).chain(plugins);
    if let Some(rest) = directory.strip_prefix("proc/") {
        let mut names = rest.split('/');
        let first = names.next().unwrap_or_default();
        return first == "net" || is_process(first) && names.next().is_none_or(|name| name == "net");
    }
    directory.is_empty()
        || directory == "proc"
        || trees.any(|tree| tree == directory || is_below(&tree, directory) || is_below(directory, &tree))
}

fn is_below(path: &str, tree: &str) -> bool {
    path.strip_prefix(tree).is_some_and(|rest| rest.starts_with('/'))
}

/// `net/tcp`, or `self/net/tcp`, which /proc/net is a link to.
fn below_net(path: &str) -> Option<&str> {
    let (first, rest) = path.split_once('/')?;
    if first == "net" { Some(rest) } else { rest.strip_prefix("net/").filter(|_| is_process(first)) }
}

fn is_process(name: &str) -> bool {
    name == "self" || !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// `ss_-peaonmi`, or `namespaces/blue/ip_netns_exec_blue_ss_-peaonmi`.
fn output(path: &str) -> Option<Part> {
    let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
    let whole = |command: &str| Some(Part::Output { command: command.to_owned() });
    let Some(inside) = file.strip_prefix("ip_netns_exec_") else {
        let found = COMMANDS.iter().find(|(name, _)| *name == file && directory.is_empty());
        return found.and_then(|(_, command)| whole(command));
    };
    let (namespace, command) = COMMANDS
        .iter()
        .find_map(|(name, command)| Some((inside.strip_suffix(name)?.strip_suffix('_')?, command)))?;
    // The directory has the name as it is, the file with `_` in it.
    let namespace = directory.strip_prefix("namespaces/").unwrap_or(namespace);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:@".contains(&byte);
    let named = !namespace.is_empty() && namespace.bytes().all(plain) && !namespace.starts_with('-');
    named.then(|| Part::Output { command: format!("ip netns exec {namespace} {command}") })
}

/// The version in what `nginx -V` writes: `nginx version: nginx/1.20.1`.
pub fn nginx_version(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes.get(..4_096).unwrap_or(bytes));
    let (_, rest) = text.split_once("nginx version: ")?;
    let (_, rest) = rest.split_once('/')?;
    version(rest).map(|(version, _)| version)
}

/// The version in what `haproxy -c` writes before its first warning:
/// `[NOTICE] (7) : haproxy version is 2.6.12-1+deb12u4`. One that warns of nothing does not tell.
pub fn haproxy_version(bytes: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"haproxy version is ";
    let begin = memchr::memmem::find(bytes, MARK)?.saturating_add(MARK.len());
    let rest = bytes.get(begin..)?;
    version(&String::from_utf8_lossy(rest.get(..64).unwrap_or(rest))).map(|(version, _)| version)
}

/// The version of a program by the packages that are installed; none if these are several that differ. `names` are
/// packages that have the program: `["haproxy"]`.
pub fn packaged_version(bytes: &[u8], names: &[&str]) -> Option<String> {
    let mut found: Option<String> = None;
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(version) = package(line.get(..512).unwrap_or(line), names) else { continue };
        if found.as_ref().is_some_and(|other| *other != version) {
            return None;
        }
        found = Some(version);
    }
    found
}

/// The version in a line of rpm, `haproxy-2.4.22-3.el9.x86_64 Tue 3 Sep`, or of dpkg,
/// `ii  haproxy  2.6.12-1+deb12u4  amd64`.
fn package(line: &[u8], names: &[&str]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let first = words.next()?;
    // Old dpkg cuts columns: a version that ends where its column does may be the beginning of another.
    let whole =
        |text: &str| version(text).filter(|(_, behind)| !behind.is_empty()).map(|(version, _)| version);
    // What is wanted, and what is there: installed.
    if first.len() == 2 && first.ends_with('i') {
        let name = words.next()?;
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        let version = names.contains(&name).then(|| words.next()).flatten()?;
        // What is before the epoch's colon tells no version.
        return whole(version.split_once(':').map_or(version, |(_, rest)| rest));
    }
    names.iter().find_map(|name| whole(first.strip_prefix(name)?.strip_prefix('-')?))
}

/// The number that a text begins with, and what follows it.
fn version(text: &str) -> Option<(String, &str)> {
    let end = text.find(|sign: char| !sign.is_ascii_digit() && sign != '.').unwrap_or(text.len());
    let (version, behind) = text.split_at(end);
    (version.starts_with(|sign: char| sign.is_ascii_digit()) && version.len() <= 32)
        .then(|| (version.trim_end_matches('.').to_owned(), behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(path: &str) -> Option<String> {
        match part(path) {
            Some(Part::Output { command }) => Some(command),
            _ => None,
        }
    }

    #[test]
    fn files_are_called_after_their_commands() {
        for (path, says) in [
            ("sos_commands/networking/ss_-peaonmi", "ss -peaonmi"),
            ("sos_commands/kernel/sysctl_-a", "sysctl -a"),
            ("sos_commands/date/date_--utc", "date --utc"),
            ("sos_commands/conntrack/conntrack_-L_-o_extended", "conntrack -L -o extended"),
            ("proc/net/snmp", "cat /proc/net/snmp"),
            ("proc/4711/net/stat/nf_conntrack", "cat /proc/net/stat/nf_conntrack"),
            (
                "sos_commands/networking/namespaces/qrouter-1_a/ip_netns_exec_qrouter-1_a_nstat_-zas",
                "ip netns exec qrouter-1_a nstat -zas",
            ),
            ("sos_commands/conntrack/ip_netns_exec_blue_conntrack_-S", "ip netns exec blue conntrack -S"),
        ] {
            assert_eq!(command(path).as_deref(), Some(says), "{path}");
            let mut directory = path;
            while let Some((up, _)) = directory.rsplit_once('/') {
                assert!(may_hold(up), "{up}");
                directory = up;
            }
        }
        for path in [
            "sos_commands/networking/ip_-o_addr",
            "sos_commands/networking/namespaces/a b/ip_netns_exec_a_b_sysctl_-a",
            "sos_commands/networking/namespaces/x;y/ip_netns_exec_x_y_sysctl_-a",
            "sos_commands/networking/old/ss_-peaonmi",
            "sos_commands/other/ss_-peaonmi",
            "proc/net/udp",
            "proc/x/net/tcp",
            "etc/passwd",
            "etc/nginx/../passwd",
            "",
        ] {
            assert_eq!(part(path), None, "{path}");
        }
        assert!(
            !may_hold("proc/17/task") && !may_hold("sys") && !may_hold("var/log") && !may_hold("etc/pki")
        );
        assert!(may_hold("etc/nginx/sites-enabled") && may_hold("") && may_hold("etc"));
    }

    #[test]
    fn configuration_keeps_its_path() {
        let path = |path| match part(path) {
            Some(Part::Configuration { path }) => path,
            other => format!("{other:?}"),
        };
        assert_eq!(path("etc/nginx/conf.d/a.conf"), "/etc/nginx/conf.d/a.conf");
        assert_eq!(path("etc/sysctl.conf"), "/etc/sysctl.conf");
        assert_eq!(nginx_version(b"nginx version: openresty/1.25.3.1\nbuilt by"), Some("1.25.3.1".into()));
        assert_eq!(nginx_version(b"sh: nginx: not found"), None);
    }

    #[test]
    fn versions_are_told_by_programs_and_by_packages() {
        for path in [
            "sos_commands/dpkg/dpkg_-l",
            "sos_commands/rpm/package-data",
            "sos_commands/rpm/sh_-c_rpm_--nodigest_-qa_--qf_-59_NVRA_INSTALLTIME_date_sort_-V",
            "installed-rpms",
        ] {
            assert_eq!(part(path), Some(Part::Packages), "{path}");
        }
        assert!(may_hold("sos_commands/rpm") && may_hold("sos_commands/haproxy"));
        assert_eq!(
            part("sos_commands/haproxy/haproxy_-f_.etc.haproxy.haproxy.cfg_-c"),
            Some(Part::HaproxyTest)
        );
        assert_eq!(part("sos_commands/rpm/rpm_--showrc"), None);

        let notice = b"[NOTICE]   (31533) : haproxy version is 2.6.12-1+deb12u4\n[WARNING] x\n";
        assert_eq!(haproxy_version(notice), Some("2.6.12".into()));
        assert_eq!(haproxy_version(b"Configuration file is valid\n"), None);
        assert_eq!(haproxy_version(b"haproxy version is "), None);

        let found = |text: &str| packaged_version(text.as_bytes(), &["haproxy"]);
        let dpkg = "||/ Name    Version            Architecture Description\n+++-==\n\
                    rc  haproxy 1.8.19-1+deb10u3   amd64        removed\n\
                    ii  haproxy 2.6.12-1+deb12u4   amd64        fast and reliable\n\
                    ii  haproxy-doc 2.4.0-1        all          manual\n";
        assert_eq!(found(dpkg).as_deref(), Some("2.6.12"));
        assert_eq!(found("hi  haproxy:amd64  1:3.0.5-1ppa1~jammy  amd64\n").as_deref(), Some("3.0.5"));
        let rpm =
            "haproxy-exporter-1.0-1.el9.x86_64   Tue Sep  3\nhaproxy-2.4.22-3.el9_3.x86_64      Tue Sep  3\n";
        assert_eq!(found(rpm).as_deref(), Some("2.4.22"));
        let core = packaged_version(b"nginx-core-1.20.1-14.el9.x86_64 x\n", &["nginx", "nginx-core"]);
        assert_eq!(core.as_deref(), Some("1.20.1"));
        // Two that differ: which one runs is not known. One that is cut off may be another.
        for text in [
            "haproxy-2.4.22-3.el9.x86_64\nhaproxy-3.0.5-1.el9.x86_64\n",
            "ii  haproxy  2.6.1 amd64",
            "",
            "haproxy-\n",
            "ii haproxy",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
