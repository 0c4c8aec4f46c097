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
        if rest == "nginx_-V" && plugin == "nginx" {
            return Some(Part::NginxBuild);
        }
        return PLUGINS.contains(&plugin).then(|| output(rest)).flatten();
    }
    if let Some(rest) = path.strip_prefix("proc/") {
        let file = below_net(rest)?;
        return PROC_NET.contains(&file).then(|| Part::Output { command: format!("cat /proc/net/{file}") });
    }
    let is_configuration = path == "etc/sysctl.conf"
        || CONFIGURATION.iter().any(|tree| is_below(path, tree)) && path.split('/').all(|name| name != "..");
    is_configuration.then(|| Part::Configuration { path: format!("/{path}") })
}

/// True if a directory of a report may hold such files, at whatever depth.
pub fn may_hold(directory: &str) -> bool {
    let plugins = PLUGINS.iter().chain(&["nginx"]).map(|plugin| format!("sos_commands/{plugin}"));
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
    let version: String =
        rest.chars().take_while(|sign| sign.is_ascii_digit() || *sign == '.').take(32).collect();
    (!version.is_empty()).then_some(version)
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
}
