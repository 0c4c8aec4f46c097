use super::*;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A host with three namespaces: the first one with two processes and a thread of the kernel, one called `web`
/// with eight in a container, and one with a single process.
struct Fake {
    directory: TempDir,
    root: Root,
}

impl Fake {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::below(directory.path());
        let fake = Self { directory, root };
        for file in ["ns/first", "ns/web", "ns/lone", "ns/unused", "proc/sys/net/ipv4/tcp_max_orphans"] {
            fake.write(file, "");
        }
        fake.process(1, "first", "systemd", "0::/init.scope");
        fake.process(2, "first", "kthreadd", "0::/");
        fake.write("proc/2/cmdline", "");
        fake.process(90, "first", "sshd", "0::/system.slice/ssh.service");
        let id = "4f1c2d3e5a6b7c8d9e0f".repeat(4);
        for (pid, name) in (12..20).zip(["nginx", "nginx", "nginx", "sh", "a\u{1b}", "b", "c", "d"]) {
            fake.process(pid, "web", name, &format!("0::/docker/{}", &id[..64]));
        }
        fake.process(40, "lone", "java", "0::/");
        fake.link("proc/thread-self/ns/net", "ns/first");
        fake.link("run/netns/web", "ns/web");
        fake.link("run/docker/netns/default", "ns/first");
        fake.link("run/docker/netns/4f1c2d3e5a6b", "ns/web");
        fake
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.directory.path().join(target), path).unwrap();
    }

    fn process(&self, pid: u32, namespace: &str, name: &str, cgroup: &str) {
        self.link(&format!("proc/{pid}/ns/net"), &format!("ns/{namespace}"));
        self.write(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        self.write(&format!("proc/{pid}/cmdline"), name);
        self.write(&format!("proc/{pid}/cgroup"), &format!("{cgroup}\n"));
    }

    fn find(&self, selection: &Selection) -> Vec<Found> {
        let mut gaps = Vec::new();
        let found = find(&self.root, selection, &mut gaps).unwrap();
        assert_eq!(gaps, []);
        found
    }

    fn these(&self, specs: &[&str]) -> Result<Vec<Found>, NetnsError> {
        let specs = specs.iter().map(|spec| (*spec).to_owned()).collect();
        find(&self.root, &Selection::These(specs), &mut Vec::new())
    }

    fn refusal(&self, spec: &str) -> String {
        self.these(&[spec]).unwrap_err().to_string()
    }
}

fn names(found: &[Found]) -> Vec<&str> {
    found.iter().map(|found| found.name.as_str()).collect()
}

#[test]
fn all_namespaces_are_found_once_and_called_by_their_best_name() {
    let found = Fake::new().find(&Selection::All);
    assert_eq!(names(&found), ["host", "web", "pid:40"]);
    assert_eq!(found[0].pids, [1, 2, 90]);
    assert_eq!(found[0].holders, ["systemd (pid 1)", "sshd (pid 90)", "and 1 more"]);
    assert_eq!(
        found[1].holders,
        [
            "nginx (pid 12, container 4f1c2d3e5a6b)",
            "sh (pid 15, container 4f1c2d3e5a6b)",
            "a\\u{1b} (pid 16, container 4f1c2d3e5a6b)",
            "b (pid 17, container 4f1c2d3e5a6b)",
            "c (pid 18, container 4f1c2d3e5a6b)",
            "and 3 more",
        ]
    );
    assert_eq!(found[2].holders, ["java (pid 40)"]);
    assert!(found[0].paths.is_empty(), "it is our own");
    assert!(!found[1].paths.is_empty());
}

#[test]
fn the_calling_threads_namespace_is_found_without_looking_at_processes() {
    let fake = Fake::new();
    let found = fake.find(&Selection::Here);
    assert_eq!(names(&found), ["host"]);
    assert!(found[0].pids.is_empty() && found[0].holders.is_empty());
    assert_eq!(enter(&found[0], || 7).unwrap(), 7);
    let nothing = find(&Root::below(Path::new("/nowhere")), &Selection::Here, &mut Vec::new()).unwrap();
    assert_eq!(names(&nothing), ["here"]);
    assert_eq!(enter(&nothing[0], || 7).unwrap(), 7);
}

#[test]
fn a_namespace_that_is_not_the_hosts_is_called_after_its_first_process() {
    let fake = Fake::new();
    std::fs::remove_file(fake.root.proc.join("sys/net/ipv4/tcp_max_orphans")).unwrap();
    std::fs::remove_file(fake.root.proc.join("thread-self/ns/net")).unwrap();
    fake.link("proc/thread-self/ns/net", "ns/lone");
    assert_eq!(names(&fake.find(&Selection::Here)), ["pid:40"]);
    // In a container pid 1 is not the host's: docker's word is all there is.
    assert_eq!(names(&fake.find(&Selection::All)), ["default", "web", "pid:40"]);
    std::fs::create_dir_all(fake.root.proc.join("self/ns")).unwrap();
    symlink("pid:[4026531836]", fake.root.proc.join("self/ns/pid")).unwrap();
    assert_eq!(names(&fake.find(&Selection::All)), ["host", "web", "pid:40"]);
    // Pid 1 refuses, or ended: the kernel's own thread tells.
    std::fs::remove_file(fake.root.proc.join("1/ns/net")).unwrap();
    assert_eq!(names(&fake.find(&Selection::All)), ["host", "web", "pid:40"]);
    assert_eq!(names(&fake.these(&["host"]).unwrap()), ["host"]);
}

#[test]
fn names_paths_pids_and_the_host_can_be_asked_for() {
    let fake = Fake::new();
    let path = fake.directory.path().join("ns/unused").display().to_string();
    let found = fake.these(&["pid:40", "web", "4f1c2d3e5a6b", "pid:12", "host", &path]).unwrap();
    assert_eq!(names(&found), ["pid:40", "web", "host", path.as_str()]);
    assert_eq!(found[1].pids.len(), 8);
    let by_path = fake.directory.path().join("proc/40/ns/net").display().to_string();
    assert_eq!(names(&fake.these(&[&by_path]).unwrap()), ["pid:40"]);
}

#[test]
fn what_is_no_namespace_is_refused_in_one_line_that_says_what_to_do() {
    let fake = Fake::new();
    for (spec, says) in [
        ("db", "no network namespace is called \"db\": `ip netns list`"),
        ("", "no network namespace is called \"\""),
        ("..", "no network namespace is called \"..\""),
        ("a\0b", "no network namespace is called \"a\0b\""),
        ("/nowhere/net", "no network namespace at /nowhere/net: no such file"),
        ("pid:7777", "no process 7777"),
        ("pid:", "\"pid:\" names no process"),
        ("pid:0", "\"pid:0\" names no process"),
        ("pid:-1", "\"pid:-1\" names no process"),
        ("/proc/self/status", "/proc/self/status is not a network namespace"),
    ] {
        let refusal = fake.refusal(spec);
        assert!(refusal.starts_with(says), "{spec}: {refusal}");
        assert!(!refusal.contains('\n'), "{refusal}");
    }
    std::fs::remove_file(fake.root.proc.join("sys/net/ipv4/tcp_max_orphans")).unwrap();
    assert!(fake.refusal("host").starts_with("no network namespace is called \"host\""));
    // A plain file passes where plain files are namespaces, as here, and the kernel refuses it.
    let found = fake.these(&["web"]).unwrap();
    let refusal = enter(&found[0], || ()).unwrap_err();
    assert!(matches!(refusal, NetnsError::NotANamespace(_) | NetnsError::Denied(_)), "{refusal}");
    // It went away between being found and being entered.
    let found = fake.these(&["pid:40"]).unwrap();
    std::fs::remove_file(fake.root.proc.join("40/ns/net")).unwrap();
    assert!(matches!(enter(&found[0], || ()), Err(NetnsError::Gone(_))));
    // Another process has the number now.
    fake.link("proc/40/ns/net", "ns/unused");
    assert!(matches!(enter(&found[0], || ()), Err(NetnsError::Gone(_))));
}

#[test]
fn the_kernels_own_files_are_told_from_others() {
    let root = Root::default();
    let refused = |spec: &str| {
        find(&root, &Selection::These(vec![spec.to_owned()]), &mut Vec::new()).unwrap_err().to_string()
    };
    assert!(refused("/etc/passwd").starts_with("/etc/passwd is not a network namespace"));
    assert!(refused("/").starts_with("/ is not a network namespace"));
    let own = format!("pid:{}", std::process::id());
    let found = find(&root, &Selection::These(vec![own]), &mut Vec::new()).unwrap();
    assert_eq!(enter(&found[0], || 7).unwrap(), 7, "our own needs no privilege");
    assert!(found[0].pids.contains(&std::process::id()));
}

/// A process in a new network namespace, ended at the end of the test.
struct Elsewhere(Child);

impl Elsewhere {
    fn new() -> Option<Self> {
        let options = if rustix::process::geteuid().is_root() { "-n" } else { "-Urn" };
        let mut command = Command::new("unshare");
        command.args([options, "sh", "-c", "echo ready; exec cat"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = Self(command.spawn().ok()?);
        let mut line = String::new();
        BufReader::new(child.0.stdout.take()?).read_line(&mut line).ok()?;
        (line == "ready\n").then_some(child)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn another_namespace_is_entered_by_another_thread() {
    let Some(elsewhere) = Elsewhere::new() else {
        let name = "netns::tests::another_namespace_is_entered_by_another_thread";
        namespaced::skip(name, "no network namespace: neither root nor unprivileged user namespaces");
        return;
    };
    let root = Root::default();
    let spec = format!("pid:{}", elsewhere.0.id());
    let found = find(&root, &Selection::These(vec![spec.clone()]), &mut Vec::new()).unwrap();
    assert_eq!(names(&found), [spec.as_str()]);
    let own = identity(&root.thread_namespace()).unwrap();
    assert_ne!(found[0].identity, own);
    let inside = enter(&found[0], || {
        let devices = std::fs::read_to_string(root.thread_net().unwrap().join("dev")).unwrap();
        (identity(&root.thread_namespace()).unwrap(), devices.lines().count())
    });
    match inside {
        // Two lines of headings and the loopback device.
        Ok((identity, lines)) => assert_eq!((identity, lines), (found[0].identity, 3)),
        Err(NetnsError::Denied(name)) => {
            assert!(!rustix::process::geteuid().is_root(), "{name}");
        }
        Err(other) => panic!("{other}"),
    }
    assert_eq!(identity(&root.thread_namespace()).unwrap(), own, "this thread stayed");
    let all = find(&root, &Selection::All, &mut Vec::new()).unwrap();
    assert!(all.iter().any(|all| all.identity == found[0].identity && all.name == spec), "{all:?}");
    let other_kind = format!("/proc/{}/ns/uts", elsewhere.0.id());
    let found = find(&root, &Selection::These(vec![other_kind]), &mut Vec::new()).unwrap();
    let refusal = enter(&found[0], || ()).unwrap_err();
    assert!(matches!(refusal, NetnsError::NotANamespace(_) | NetnsError::Denied(_)), "{refusal}");
    let gone = find(&root, &Selection::These(vec![spec]), &mut Vec::new()).unwrap();
    drop(elsewhere);
    assert!(matches!(enter(&gone[0], || ()), Err(NetnsError::Gone(_))));
}
