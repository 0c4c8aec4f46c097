//! `lastack fix --as ansible`: the playbook is carried out by Ansible, on hosts that are namespaces of the test's own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use namespaced::{in_namespace, lacks};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const LASTACK: &str = env!("CARGO_BIN_EXE_lastack");

const SETTING: &str = "net.ipv4.tcp_fin_timeout";

/// Connections that fail, as many as there is time for, while the setting is changed.
const FAILING: &str = "while [ \"$(< /proc/sys/net/ipv4/tcp_fin_timeout)\" = 60 ]; do
    for try in {1..100}; do { : < /dev/tcp/127.0.0.1/9; } 2> /dev/null; done
done";

/// What would run if it were taken for a template, end the block, or be obeyed by YAML.
const HOSTILE: &str = "{{ lookup('pipe', 'touch CANARY') }} {% raw %} \\n- hosts: all\\n\\\"' \\t# !unsafe &a *a | > @guard@ \
                       \\u0085\\u2028\\uFEFF\\uFFFF";

/// A host: namespaces that a process holds, which ends with the test.
struct Host {
    name: &'static str,
    holder: Child,
    shell: PathBuf,
    state: PathBuf,
}

impl Host {
    fn new(folder: &Path, name: &'static str) -> Self {
        // Nothing that is made to last may reach the machine.
        let script = format!(
            "set -e; echo {name} > /proc/sys/kernel/hostname; ip link set lo up
             if [ -d /etc/sysctl.d ]; then mount -t tmpfs -o size=1m lastack-test /etc/sysctl.d; fi
             echo 30 > /proc/sys/net/ipv4/tcp_fin_timeout; echo ready; exec cat > /dev/null"
        );
        let mut holder = Command::new("unshare")
            .args(["--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .args(["sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{name} is there");
        let shell = folder.join(name);
        let ns = format!("/proc/{}/ns", holder.id());
        std::fs::write(
            &shell,
            format!(
                "#!/bin/sh\nexec nsenter --net={ns}/net --uts={ns}/uts --mount={ns}/mnt --pid={ns}/pid_for_children \
                 -- /bin/sh \"$@\"\n"
            ),
        )
        .unwrap();
        std::fs::set_permissions(&shell, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { name, holder, state: folder.join(format!("{name}-state")), shell }
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new(&self.shell);
        command.args(["-c", script]).stdin(Stdio::null());
        command
    }

    fn says(&self, script: &str) -> String {
        let output = self.shell(script).output().unwrap();
        assert!(output.status.success(), "{}: {script}: {}", self.name, said(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn get(&self) -> String {
        self.says("cat /proc/sys/net/ipv4/tcp_fin_timeout")
    }

    fn set(&self, value: &str) {
        self.says(&format!("echo {value} > /proc/sys/net/ipv4/tcp_fin_timeout"));
    }

    /// What was done here, the oldest first.
    fn outcomes(&self) -> Vec<String> {
        let log = self.says(&format!("{LASTACK} fix --log --json --state-dir {}", self.state.display()));
        let log: Value = serde_json::from_str(&log).unwrap();
        let applies = log["applies"].as_array().unwrap();
        let word = |apply: &Value| match apply["takes_back"] {
            Value::Null => apply["outcome"].as_str().unwrap().to_owned(),
            _ => "back".to_owned(),
        };
        applies.iter().map(word).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Its standard input ends, too, should this not be reached.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Hosts, and the playbook of a plan made for the first of them.
struct Rollout {
    folder: tempfile::TempDir,
    hosts: Vec<Host>,
}

impl Rollout {
    fn new(names: &[&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hosts: Vec<Host> = names.iter().map(|name| Host::new(folder.path(), name)).collect();
        let mut inventory = String::from("[hosts]\n");
        for Host { name, shell, state, .. } in &hosts {
            let (shell, state) = (shell.display(), state.display());
            // Writing to a string cannot fail. The last of four is watched until its guard trips.
            let guard = if *name == "web4" { "1m" } else { "200ms" };
            let _ = writeln!(
                inventory,
                "{name} ansible_shell_executable={shell} lastack_state_dir={state} lastack_guard={guard}"
            );
        }
        let _ = write!(
            inventory,
            "[hosts:vars]\nansible_connection=local\nansible_become=false\nansible_remote_tmp={}/remote\n\
             ansible_python_interpreter='{{{{ ansible_playbook_python }}}}'\nlastack_baseline=100ms\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("inventory"), inventory).unwrap();
        write_playbook(folder.path());
        Self { folder, hosts }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let programs = Path::new(LASTACK).parent().unwrap();
        let path = std::env::join_paths(
            [programs.to_owned()]
                .into_iter()
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let arguments = [&["-i", "inventory", "rollout.yml"], arguments].concat();
        ansible("ansible-playbook", self.folder.path(), &arguments)
            .env("PATH", path.unwrap())
            .output()
            .unwrap()
    }

    /// Runs to its end, and changes something or nothing.
    #[track_caller]
    fn succeeds(&self, arguments: &[&str], changes: bool) -> String {
        let output = self.run(arguments);
        let said = said(&output);
        assert!(output.status.success(), "{said}");
        for Host { name, .. } in &self.hosts {
            let recap = said.lines().rfind(|line| line.starts_with(&format!("{name} "))).unwrap();
            assert_eq!(!recap.contains("changed=0 "), changes, "{said}");
        }
        said
    }

    fn values(&self) -> Vec<String> {
        self.hosts.iter().map(Host::get).collect()
    }
}

/// Runs a test on hosts of these names; it is skipped where Ansible or a namespace is missing.
fn on_hosts(test: &str, names: &[&'static str], body: impl FnOnce(&Rollout)) {
    if !lacks(test, "ansible-playbook", "ansible-core") {
        in_namespace(test, || body(&Rollout::new(names)));
    }
}

/// A program of Ansible that finds and leaves nothing outside the test's folder.
fn ansible(program: &str, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ANSIBLE_") {
            command.env_remove(name);
        }
    }
    command
        .env("HOME", folder.join("home"))
        .env("XDG_CACHE_HOME", folder.join("home/cache"))
        .env("TMPDIR", folder)
        .env("ANSIBLE_CONFIG", folder.join("ansible.cfg"))
        .env("ANSIBLE_NOCOLOR", "1")
        .env("ANSIBLE_PIPELINING", "1")
        .env("LC_ALL", "C.UTF-8");
    command
}

/// A plan full of hostile text, and its playbook.
fn write_playbook(folder: &Path) {
    let canary = folder.join("canary").display().to_string();
    let hostile = HOSTILE.replace("CANARY", &canary);
    let plan = format!(
        "schema = \"lastack.plan/1\"\nhost = \"web1\"\n[[remedy]]\napply = true\nname = \"a-test\"\n\
         rule = \"fin-timeout-misread\"\nnetns = \"/proc/self/ns/net\"\napplicability = \"unsafe\"\n\
         summary = \"{hostile}\"\nwhy = [\"{hostile}\", \"long {}\"]\n\
         [[remedy.change]]\nsetting = \"{SETTING}\"\nfrom = \"30\"\nto = \"60\"\n\
         [[remedy]]\napply = false\nname = \"a-file\"\nrule = \"fin-timeout-misread\"\nnetns = \"host\"\n\
         applicability = \"unsafe\"\n[[remedy.change]]\nfile = \"/etc/nginx/nginx.conf\"\nprogram = \"nginx\"\n\
         from = \"  old \\n\\n\\n\\n \\n- new: {{{{ x }}}}\\n\"\nto = \"\\n---\\n...\\n\"\n",
        "and ".repeat(100)
    );
    std::fs::create_dir(folder.join("home")).unwrap();
    std::fs::write(folder.join("ansible.cfg"), "[defaults]\n").unwrap();
    std::fs::write(folder.join("plan.toml"), plan).unwrap();
    let output = Command::new(LASTACK)
        .args(["fix", "--plan", "plan.toml", "--as", "ansible"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    std::fs::write(folder.join("rollout.yml"), output.stdout).unwrap();
}

/// What `lastack` reads in a plan.
fn read_plan(file: &Path) -> Value {
    let output = Command::new(LASTACK)
        .args(["fix", "--json", "--state-dir", "/nonexistent", "--plan"])
        .arg(file)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
}

#[test]
fn the_playbook_has_no_fault_that_ansible_lint_knows() {
    if lacks("the_playbook_has_no_fault_that_ansible_lint_knows", "ansible-lint", "ansible-lint") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write_playbook(folder.path());
    let arguments = ["--offline", "--nocolor", "--strict", "--profile", "production", "rollout.yml"];
    let output = ansible("ansible-lint", folder.path(), &arguments).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn one_host_then_the_next_then_nothing_then_back() {
    on_hosts("one_host_then_the_next_then_nothing_then_back", &["web1", "web2", "web3"], |rollout| {
        let said = rollout.succeeds(&[], true);
        assert_eq!(rollout.values(), ["60", "60", "60"], "{said}");
        // Three batches: each host is done before the next is begun.
        let done: Vec<&str> = said
            .split("TASK [")
            .filter(|task| task.starts_with("Apply the plan under guard"))
            .map(|task| task.lines().nth(1).unwrap())
            .collect();
        assert_eq!(done, ["changed: [web1]", "changed: [web2]", "changed: [web3]"], "{said}");

        // What was written there is the plan, and nothing in it was obeyed.
        let folder = rollout.hosts[2].state.join("playbook");
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let plan =
            files.into_iter().find(|file| file.extension().is_some_and(|kind| kind == "toml")).unwrap();
        assert_eq!(read_plan(&plan), read_plan(&rollout.folder.path().join("plan.toml")));
        assert!(!rollout.folder.path().join("canary").exists(), "a text was taken for a template");

        rollout.succeeds(&[], false);
        assert!(rollout.hosts.iter().all(|host| host.outcomes() == ["kept"]));

        let said = rollout.succeeds(&["--tags", "rollback"], true);
        assert_eq!(rollout.values(), ["30", "30", "30"], "{said}");
        assert!(rollout.hosts.iter().all(|host| host.outcomes() == ["kept", "back"]), "{said}");
    });
}

#[test]
fn a_host_that_does_not_hold_stops_it_and_takes_its_batch_back() {
    on_hosts(
        "a_host_that_does_not_hold_stops_it_and_takes_its_batch_back",
        &["web1", "web2", "web3", "web4"],
        |rollout| {
            // One where somebody else has been.
            rollout.hosts[1].set("45");
            let output = rollout.run(&[]);
            let words = said(&output);
            assert_eq!(output.status.code(), Some(2), "{words}");
            assert_eq!(rollout.values(), ["60", "45", "30", "30"], "{words}");
            assert!(words.contains("is 45, and was 30 when the plan was made"), "{words}");
            assert!(!rollout.hosts[2].state.exists(), "{words}");

            // One of the last two where connections begin to fail once it is changed.
            rollout.hosts[1].set("30");
            let mut failing = rollout.hosts[3]
            .shell(&format!(
                "until [ \"$(cat /proc/sys/net/ipv4/tcp_fin_timeout)\" = 60 ]; do sleep 0.02; done\nexec bash -c '{FAILING}'"
            ))
            .spawn()
            .unwrap();
            let output = rollout.run(&[]);
            let words = said(&output);
            failing.wait().unwrap();
            assert_eq!(output.status.code(), Some(2), "{words}");
            assert_eq!(rollout.values(), ["60", "60", "30", "30"], "{words}");
            let outcomes: Vec<_> = rollout.hosts.iter().map(Host::outcomes).collect();
            assert_eq!(outcomes, [&["kept"][..], &["kept"], &["kept", "back"], &["rolled-back"]], "{words}");
            assert!(words.contains("Taking back: Tcp"), "{words}");
        },
    );
}

#[test]
fn a_host_that_holds_until_the_others_are_changed_takes_its_batch_back() {
    on_hosts(
        "a_host_that_holds_until_the_others_are_changed_takes_its_batch_back",
        &["web1", "web2", "web3", "web5"],
        |rollout| {
            // Their own guards have held when this is written, and connections begin to fail.
            let host = &rollout.hosts[2];
            let kept = format!("{}/playbook", host.state.display());
            let mut failing = host
                .shell(&format!(
                    "until ls {kept}/*.json 2> /dev/null; do sleep 0.02; done\nexec bash -c '{FAILING}'"
                ))
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let output = rollout.run(&["-e", "lastack_guard=2s"]);
            let words = said(&output);
            assert_eq!(output.status.code(), Some(2), "{words}");
            assert_eq!(rollout.values(), ["60", "60", "30", "30"], "{words}");
            failing.wait().unwrap();
            let outcomes: Vec<_> = rollout.hosts.iter().map(Host::outcomes).collect();
            assert_eq!(outcomes, [&["kept"][..], &["kept"], &["kept", "back"], &["kept", "back"]], "{words}");
            assert!(words.contains("TcpAttemptFails rose by"), "{words}");
            assert!(words.contains("does not hold any more"), "{words}");
        },
    );
}

/// Stands for a client of ssh: the last two arguments are host and command. A host that is `down` is not reached; one
/// that is `dying` goes down as soon as what its file says holds there, and what was said on the way is lost.
const SSH: &str = r#"#!/bin/bash
folder=FOLDER host=${@: -2:1} command=${@: -1}
lost() { echo "ssh: connect to host $host port 22: No route to host" >&2; exit 255; }
[ -e "$folder/$host.down" ] && lost
if [ -e "$folder/$host.dying" ]; then
    said=$("$folder/$host" -c "$command")
    status=$?
    if "$folder/$host" "$folder/$host.dying"; then
        touch "$folder/$host.down"
        lost
    fi
    printf '%s' "$said"
    exit $status
fi
exec "$folder/$host" -c "$command"
"#;

/// The hosts are reached by a client of ssh, and root is become there.
fn over_ssh(rollout: &Rollout) {
    let folder = rollout.folder.path();
    let ssh = folder.join("ssh");
    std::fs::write(&ssh, SSH.replace("FOLDER", &folder.display().to_string())).unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut inventory = String::from("[hosts]\n");
    for Host { name, state, .. } in &rollout.hosts {
        let _ = writeln!(inventory, "{name} lastack_state_dir={} lastack_guard=200ms", state.display());
    }
    let _ = write!(
        inventory,
        "[hosts:vars]\nansible_connection=ssh\nansible_ssh_executable={}\nansible_ssh_transfer_method=piped\n\
         ansible_ssh_args=\nansible_user=somebody\nansible_become_method=su\nansible_remote_tmp={}/remote\n\
         ansible_python_interpreter='{{{{ ansible_playbook_python }}}}'\nlastack_baseline=100ms\n",
        ssh.display(),
        folder.display()
    );
    std::fs::write(folder.join("inventory"), inventory).unwrap();
}

#[test]
fn over_ssh_and_as_root_it_is_done_and_taken_back() {
    on_hosts("over_ssh_and_as_root_it_is_done_and_taken_back", &["web1", "web2", "web3"], |rollout| {
        over_ssh(rollout);
        let said = rollout.succeeds(&["-vvv"], true);
        assert_eq!(rollout.values(), ["60", "60", "60"], "{said}");
        assert!(said.contains("BECOME-SUCCESS"), "root was not become: {said}");
        rollout.succeeds(&[], false);
        rollout.succeeds(&["--tags", "rollback"], true);
        assert_eq!(rollout.values(), ["30", "30", "30"]);
        assert!(rollout.hosts.iter().all(|host| host.outcomes() == ["kept", "back"]));
    });
}

#[test]
fn a_host_that_cannot_be_reached_stops_it() {
    on_hosts("a_host_that_cannot_be_reached_stops_it", &["web1", "web2", "web3", "web5"], |rollout| {
        over_ssh(rollout);
        let marker = |name: &str| rollout.folder.path().join(name);
        // From the beginning: nothing of its batch is begun.
        std::fs::write(marker("web5.down"), "").unwrap();
        let output = rollout.run(&[]);
        let words = said(&output);
        assert!(!output.status.success(), "{words}");
        assert_eq!(rollout.values(), ["60", "60", "30", "30"], "{words}");
        assert!(words.contains("UNREACHABLE"), "{words}");
    });
}

#[test]
fn a_host_that_is_lost_on_the_way_takes_its_batch_back() {
    on_hosts(
        "a_host_that_is_lost_on_the_way_takes_its_batch_back",
        &["web1", "web2", "web3", "web5"],
        |rollout| {
            over_ssh(rollout);
            let marker = |name: &str| rollout.folder.path().join(name);
            // After it was told to apply, or before it has watched again: it is changed, and the other one takes back.
            let kept = format!("ls {}/playbook/*.json > /dev/null 2>&1", rollout.hosts[3].state.display());
            for dies in ["[ $(cat /proc/sys/net/ipv4/tcp_fin_timeout) = 60 ]", &kept] {
                std::fs::write(marker("web5.dying"), dies).unwrap();
                let output = rollout.run(&[]);
                let words = said(&output);
                assert!(!output.status.success(), "{words}");
                assert_eq!(rollout.values(), ["60", "60", "30", "60"], "{words}");
                assert!(words.contains("does not hold. What was done here was taken back."), "{words}");
                assert_eq!(rollout.hosts[3].outcomes().last().unwrap(), "kept", "its own log says so");
                std::fs::remove_file(marker("web5.dying")).unwrap();
                std::fs::remove_file(marker("web5.down")).unwrap();
                if dies != kept {
                    rollout.hosts[3].says(&format!(
                        "{LASTACK} fix --rollback last --state-dir {}",
                        rollout.hosts[3].state.display()
                    ));
                }
            }

            // It comes back, and the rollout goes on where it was.
            let output = rollout.run(&[]);
            assert!(output.status.success(), "{}", said(&output));
            assert_eq!(rollout.values(), ["60", "60", "60", "60"]);
        },
    );
}

#[test]
fn hosts_without_lastack_are_told_so() {
    on_hosts("hosts_without_lastack_are_told_so", &["web1", "web2"], |rollout| {
        let arguments = ["-i", "inventory", "rollout.yml"];
        let output = ansible("ansible-playbook", rollout.folder.path(), &arguments)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .unwrap();
        let words = said(&output);
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(words.contains("lastack does not run here: install it, or copy it"), "{words}");
        assert_eq!(rollout.values(), ["30", "30"], "{words}");
        // The file of this machine goes there.
        rollout.succeeds(&["-e", &format!("lastack_binary={LASTACK}")], true);
        assert_eq!(rollout.values(), ["60", "60"]);
    });
}
