//! Programs that a unit of systemd runs: told by it where it can and is theirs, else by their signal.

use crate::nginx::{FILE, answer, last_answer, master, plan, server, start, stop};
use crate::sandbox::{WORK, ends, fix, in_sandbox, run, until, with_program};
use std::process::Command;

/// Stands in for the program of systemd, which says of each unit what is in a file, and reloads by the signal.
const SYSTEMCTL: &str = "#!/bin/sh
echo \"$@\" >> /mnt/asked
case $1 in
show) cat /mnt/unit ;;
reload) kill -HUP $(cat /mnt/nginx.pid) ;;
esac
";

/// Lets nginx run in a unit, as far as its control group tells.
fn start_in(unit: &str) {
    start();
    let group = format!("{WORK}/cgroup");
    std::fs::write(&group, format!("0::/system.slice/{unit}\n")).unwrap();
    run("mount", &["--bind", &group, &format!("/proc/{}/cgroup", master())]);
}

fn told(arguments: &[&str], answers: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let with_ours = [WORK.into()].into_iter().chain(std::env::split_paths(&path));
    let mut command: Command = fix(arguments);
    ends(command.env("PATH", std::env::join_paths(with_ours).unwrap()), 0);
    until("nginx has taken it", || answer().as_deref() == Some(answers));
    last_answer();
    let asked = format!("{WORK}/asked");
    let said = std::fs::read_to_string(&asked).unwrap();
    std::fs::remove_file(asked).unwrap();
    said
}

#[test]
fn a_unit_is_reloaded_if_it_can_be_and_is_the_programs_own() {
    const NAME: &str = "units::a_unit_is_reloaded_if_it_can_be_and_is_the_programs_own";
    with_program("nginx", NAME, in_sandbox, || {
        run("mount", &["-t", "tmpfs", "-o", "size=1m", "lastack-test", "/run"]);
        std::fs::create_dir_all("/run/systemd/system").unwrap();
        std::fs::write(format!("{WORK}/systemctl"), SYSTEMCTL).unwrap();
        run("chmod", &["755", &format!("{WORK}/systemctl")]);
        start_in("web.service");
        let own = master();
        for (can, main, reloads) in [("yes", own, true), ("no", own, false), ("yes", 1, false)] {
            std::fs::write(format!("{WORK}/unit"), format!("CanReload={can}\nMainPID={main}\n")).unwrap();
            let order = plan(FILE, &server("one"), &server("two"));
            let asked = told(&["--plan", &order, "--apply", "--yes", "--guard", "0"], "two");
            assert_eq!(asked.contains("reload -- web.service"), reloads, "{can} {main}: {asked}");
            let asked = told(&["--rollback", "last"], "one");
            assert_eq!(asked.contains("reload -- web.service"), reloads, "{can} {main}: {asked}");
        }
        stop();
    });
}
