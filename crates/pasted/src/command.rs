//! Command lines between outputs: `$ ss -tan`, `[root@web1 ~]# ip netns exec blue netstat -s`, `C:\>netstat -ano`.
//! They tell what an output cannot: what was left out of it, in which namespace it ran, how long it waited.

use crate::table::selected;
use std::time::Duration;

/// The programs whose outputs or effects are known.
const PROGRAMS: [&str; 21] = [
    "ss",
    "netstat",
    "nstat",
    "sysctl",
    "cat",
    "conntrack",
    "netsh",
    "get-nettcpconnection",
    "get-nettcpsetting",
    "reg",
    "date",
    "sleep",
    "hostname",
    "uname",
    "grep",
    "egrep",
    "head",
    "tail",
    "awk",
    "sort",
    "ip",
];

/// What cuts lines out of what another program writes.
const FILTERS: [&str; 19] = [
    "grep",
    "egrep",
    "fgrep",
    "rg",
    "cut",
    "uniq",
    "sls",
    "head",
    "tail",
    "awk",
    "sed",
    "findstr",
    "find",
    "select-string",
    "more",
    "where-object",
    "where",
    "?",
    "group-object",
];

/// Options of `ssh` that another word belongs to.
const SSH_WITH_ARGUMENT: [&str; 9] = ["-p", "-i", "-l", "-o", "-J", "-F", "-b", "-E", "-S"];

/// So much of a line may be a prompt.
const LONGEST_PROMPT: usize = 200;

/// One command as it was typed, without what only starts it (`sudo`, `watch`, `ip netns exec`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Command {
    /// The program's file name.
    pub(crate) program: String,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// Where it ran, as lastack names namespaces; none if where the shell was.
    pub(crate) netns: Option<String>,
    /// True if another program left out some of its lines, or it was asked for some only.
    pub(crate) filtered: bool,
    /// The host that the prompt names.
    pub(crate) host: Option<String>,
}

impl Command {
    /// True if a short option is among the arguments, alone or with others: `-a` in `-tan`.
    pub(crate) fn has(&self, option: char) -> bool {
        self.short_options().any(|options| options.contains(option))
    }

    /// True if an argument is this word.
    pub(crate) fn says(&self, word: &str) -> bool {
        self.arguments.iter().any(|argument| argument == word)
    }

    /// True if what it prints may be read here.
    pub(crate) fn is_known(&self) -> bool {
        PROGRAMS.contains(&self.program.as_str())
    }

    /// The letters of short options.
    fn short_options(&self) -> impl Iterator<Item = &str> {
        self.arguments
            .iter()
            .filter_map(|argument| argument.strip_prefix('-'))
            .filter(|options| !options.starts_with('-'))
    }

    /// How long `sleep` sleeps.
    pub(crate) fn sleeps(&self) -> Option<Duration> {
        if self.program != "sleep" {
            return None;
        }
        let length = self.arguments.first()?;
        let (number, scale) = match length.strip_suffix(['s', 'm', 'h']) {
            Some(number) if length.ends_with('m') => (number, 60.0),
            Some(number) if length.ends_with('h') => (number, 3_600.0),
            Some(number) => (number, 1.0),
            None => (length.as_str(), 1.0),
        };
        Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()
    }
}

/// The commands of a line, in their order; none if it is no command line. One that is not known has an empty program.
pub(crate) fn commands(line: &str) -> Option<Vec<Command>> {
    let typed = typed(line)?;
    let host = line.trim().strip_suffix(typed).and_then(host_of);
    let mut all = Vec::new();
    let parts = typed.split(';').flat_map(|part| part.split("&&"));
    for part in parts.map(str::trim).filter(|part| !part.is_empty()).take(32) {
        let mut piped = part.split('|').map(str::trim);
        let first = piped.next().unwrap_or_default();
        let mut command = simple(first);
        // What runs elsewhere is of another host than the prompt's, whatever that calls itself.
        let elsewhere = first.split_whitespace().any(|word| program_name(word) == "ssh");
        command.host = host.filter(|_| !elsewhere).map(str::to_owned);
        command.filtered = piped.any(|next| {
            let program = next.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
            FILTERS.contains(&program.as_str())
        }) || selected::filters(&command);
        all.push(command);
    }
    Some(all)
}

/// What stands behind the prompt.
fn typed(line: &str) -> Option<&str> {
    let line = line.trim();
    // A bare command, as notes have it, or one between marks: `ss -tan`, `### ss -tan`, `==> ss -tan <==`.
    let bare = line.trim_start_matches(['=', '-', '*', '#', '>', '+', '$', '%', ':', ' ']);
    let bare = bare.trim_end_matches(['=', '-', '*', '#', '<', '>', ':', ' ']);
    if is_typed(bare) {
        return Some(bare);
    }
    if let Some(watched) = watched(line).filter(|watched| is_typed(watched)) {
        return Some(watched);
    }
    // Prompts that begin with a sign, and show where the shell is between it and the command: `➜  ~ ss -tan`.
    if let Some(mut rest) = line.strip_prefix(['➜', '❯', '»', 'λ']) {
        for _ in 0..5 {
            rest = rest.trim_start();
            if is_typed(rest) {
                return Some(rest);
            }
            rest = rest.split_once(' ')?.1;
        }
    }
    // The sign that ends a prompt is followed by the command.
    let prompts = line.char_indices().take_while(|(at, _)| *at <= LONGEST_PROMPT);
    for (at, _) in prompts.filter(|(_, sign)| "$#>%".contains(*sign)) {
        let rest = line.get(at + 1..).unwrap_or_default().trim_start();
        if is_typed(rest) {
            return Some(rest);
        }
    }
    // Any other program, where the prompt is plain to see.
    let (prompt, rest) = line.split_once(['$', '#', '>'])?;
    let is_prompt = prompt.is_empty() && line.as_bytes().get(1) == Some(&b' ')
        || prompt.starts_with("PS ")
        || prompt.contains('@') && prompt.len() <= LONGEST_PROMPT;
    (is_prompt && (rest.starts_with(' ') || prompt.starts_with("PS "))).then_some(rest.trim())
}

/// The host in a prompt: `root@web1:~#`, `[root@web1 ~]#`.
fn host_of(prompt: &str) -> Option<&str> {
    let (_, behind) = prompt.rsplit_once('@')?;
    let end = behind.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c))?;
    behind.get(..end).filter(|host| !host.is_empty())
}

/// What `watch` says it runs: `Every 2.0s: ss -tan            web1: Sat Nov 21 09:29:23 2026`.
fn watched(line: &str) -> Option<&str> {
    let (every, rest) = line.strip_prefix("Every ")?.split_once("s: ")?;
    every.parse::<f64>().ok()?;
    Some(rest.split_once("  ").map_or(rest, |(command, _)| command))
}

/// True if a text begins as a command that is known, and not as a sentence about one.
fn is_typed(text: &str) -> bool {
    let command = simple(text.split(['|', ';']).next().unwrap_or_default());
    if !PROGRAMS.contains(&command.program.as_str()) {
        return false;
    }
    match (command.program.as_str(), command.arguments.first()) {
        (_, None) => true,
        ("cat" | "head" | "tail" | "grep" | "egrep", Some(_)) => {
            command.arguments.iter().any(|argument| argument.contains('/'))
        }
        ("sysctl", Some(first)) => first.starts_with('-') || first.contains('.'),
        ("netsh", Some(first)) => ["int", "interface", "interfaces"].contains(&first.as_str()),
        ("reg", Some(first)) => first == "query",
        ("sleep", Some(_)) => command.sleeps().is_some(),
        ("ss", Some(first)) => first.starts_with('-') || ["state", "dst", "src"].contains(&first.as_str()),
        ("ip" | "awk" | "sort", Some(_)) => false,
        (_, Some(first)) => first.starts_with(['-', '+', '/']),
    }
}

/// One command without what starts it.
fn simple(text: &str) -> Command {
    let mut words = text.split_whitespace().take(256).peekable();
    let mut command = Command::default();
    while let Some(word) = words.next() {
        // Of what another shell is given as one word: `ssh web1 'ss -tan'`.
        let word = word.trim_start_matches(['\'', '"']);
        let name = program_name(word);
        match name.as_str() {
            "sudo" | "time" | "watch" | "timeout" | "env" | "nice" | "stdbuf" | "nohup" => {
                while words
                    .next_if(|word| word.starts_with('-') || word.starts_with(|c: char| c.is_ascii_digit()))
                    .is_some()
                {}
            }
            "sh" | "bash" if words.peek().is_some_and(|word| word.starts_with('-')) => {
                while words.next_if(|word| word.starts_with('-')).is_some() {}
            }
            "ssh" => {
                while let Some(option) = words.next_if(|word| word.starts_with('-')) {
                    if SSH_WITH_ARGUMENT.contains(&option) {
                        words.next();
                    }
                }
                words.next();
            }
            "ip" if words.peek() == Some(&"netns") => {
                let mut named = words.by_ref().skip(1).skip_while(|word| *word == "exec");
                command.netns = named.next().map(str::to_owned);
            }
            "nsenter" => command.netns = entered(&mut words),
            "docker" | "podman" | "kubectl" | "crictl" | "oc" => command.netns = contained(&name, &mut words),
            _ if word.contains('=') && command.program.is_empty() && !word.starts_with('-') => {}
            _ => {
                command.program = name;
                command.arguments = words.by_ref().map(unquoted).collect();
            }
        }
    }
    if command.program == "ss"
        && let Some(at) =
            command.arguments.iter().position(|argument| argument == "-N" || argument == "--net")
    {
        command.netns = command.arguments.get(at + 1).cloned();
    }
    command
}

fn program_name(word: &str) -> String {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word).to_ascii_lowercase();
    name.strip_suffix(".exe").map_or(name.clone(), str::to_owned)
}

fn unquoted(word: &str) -> String {
    word.trim_matches(['\'', '"']).to_owned()
}

/// The namespace that `nsenter` enters: by a process, or by a path.
fn entered<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Option<String> {
    let mut netns = None;
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        if let Some(path) = option.strip_prefix("--net=") {
            netns = Some(path.to_owned());
        } else if let Some(pid) = option.strip_prefix("--target=") {
            netns = Some(format!("pid:{pid}"));
        } else if option == "-t" || option == "--target" {
            netns = words.next().map(|pid| format!("pid:{pid}"));
        }
    }
    netns
}

/// The container that a command runs in: the first word of `exec` that is no option.
fn contained<'a>(
    program: &str,
    words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
) -> Option<String> {
    words.by_ref().find(|word| *word == "exec")?;
    while let Some(option) = words.next_if(|word| word.starts_with('-') && *word != "--") {
        if ["-n", "-c", "-u", "-e", "-w", "--namespace", "--container", "--user"].contains(&option) {
            words.next();
        }
    }
    let name = words.next().map(|name| format!("{program}:{name}"));
    if matches!(program, "kubectl" | "oc") {
        while words.next_if(|word| *word != "--").is_some() {}
        words.next();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        let Some(all) = commands(line) else { return "none".to_owned() };
        let one = |command: &Command| {
            let netns = command.netns.as_ref().map_or(String::new(), |netns| format!(" in {netns}"));
            let filtered = if command.filtered { " filtered" } else { "" };
            format!("{} {}{netns}{filtered}", command.program, command.arguments.join(" "))
        };
        all.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn prompts_of_all_shells_are_known() {
        for (line, command) in [
            ("$ ss -tan", "ss -tan"),
            ("# /usr/sbin/ss -s", "ss -s"),
            ("ss -tanpoe", "ss -tanpoe"),
            ("### netstat -s ###", "netstat -s"),
            ("root@web1:~# ss -tan", "ss -tan"),
            ("[root@web1 ~]# sudo ss -tanp | grep TIME", "ss -tanp filtered"),
            ("web1:~ user$ netstat -an", "netstat -an"),
            ("user@web1 ~ % netstat -an", "netstat -an"),
            (r"C:\Users\x>netstat -ano", "netstat -ano"),
            (r"PS C:\> netstat.exe -ano", "netstat -ano"),
            ("+ nstat -az", "nstat -az"),
            ("$ LC_ALL=C ss -tan", "ss -tan"),
            ("$ ip netns exec blue ss -tan", "ss -tan in blue"),
            ("$ nsenter -t 12 -n ss -tan", "ss -tan in pid:12"),
            ("$ docker exec -it web ss -tan", "ss -tan in docker:web"),
            ("$ kubectl exec -n x web-0 -- ss -tan", "ss -tan in kubectl:web-0"),
            ("$ nstat -az; sleep 10 && nstat -az", "nstat -az; sleep 10; nstat -az"),
            ("$ cat /proc/net/tcp", "cat /proc/net/tcp"),
            ("ssh web1 \"ss -Htan state time-wait\"", "ss -Htan state time-wait"),
            ("root@jump:~# ssh -p 22 op@web1 'ss -tan; nstat -az'", "ss -tan; nstat -az"),
            ("$ docker exec web sh -c 'ss -tan | grep x'", "ss -tan in docker:web filtered"),
            ("ssh web1", "none"),
            ("Every 2.0s: ss -tano            web1: Sat Nov 21 09:29:23 2026", "ss -tano"),
            ("➜  ~ git:(main) ✗ ss -tan", "ss -tan"),
            ("╰─# ss -tan", "ss -tan"),
            ("root@web1:~# ls -l", "ls -l"),
            ("ss shows many sockets", "none"),
            ("netstat says it, too", "none"),
            ("#kernel", "none"),
            ("tcp 0 0 10.0.0.1:80 10.0.0.2:81 TIME_WAIT", "none"),
            ("", "none"),
        ] {
            assert_eq!(shown(line).trim_end(), command, "{line}");
        }
    }

    #[test]
    fn prompts_name_their_host() {
        let host = |line: &str| commands(line).and_then(|all| all[0].host.clone());
        for (line, name) in [
            ("root@web1:~# ss -tan", Some("web1")),
            ("[root@web1.example ~]# sudo ss -tanp | grep x", Some("web1.example")),
            ("op@mac ~ % netstat -an", Some("mac")),
            ("$ ss -tan", None),
            ("root@jump:~# ssh web1 ss -tan", None),
            ("C:\\Users\\x@y>netstat -ano", Some("y")),
            ("ss -tan dst x@y", None),
        ] {
            assert_eq!(host(line).as_deref(), name, "{line}");
        }
    }

    #[test]
    fn sleeps_are_as_long_as_they_say() {
        let slept = |line: &str| commands(line).and_then(|all| all[0].sleeps());
        assert_eq!(slept("$ sleep 10"), Some(Duration::from_secs(10)));
        assert_eq!(slept("$ sleep 0.5"), Some(Duration::from_millis(500)));
        assert_eq!(slept("$ sleep 2m"), Some(Duration::from_secs(120)));
        assert_eq!(slept("$ sleep -1"), None);
        assert_eq!(slept("$ sleep 1e300"), None);
    }
}
