//! The host goes down between an apply and its end, and comes up again: settings are those of the boot, programs have
//! been started with the files that were there, and the next run finds both.

use crate::nginx::{FILE, answer, begin, last_answer, plan as plan_of_file, server, start, stop};
use crate::sandbox::{
    CHANGES, DURABLE, State, WORK, applies, apply, before, ends, fix, get, held_namespace, in_debug_build,
    plan, run, set, with_program,
};
use std::process::Command;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// From here on this is another boot.
fn reboot() {
    let file = format!("{WORK}/boot_id");
    let is_first = !std::path::Path::new(&file).exists();
    let was = std::fs::read_to_string(BOOT_ID).unwrap();
    let (first, rest) = was.split_at(1);
    std::fs::write(&file, format!("{}{rest}", if first == "0" { "1" } else { "0" })).unwrap();
    if is_first {
        run("mount", &["--bind", &file, BOOT_ID]);
    }
    assert_ne!(std::fs::read_to_string(BOOT_ID).unwrap(), was);
}

/// Settles, and answers what was printed.
#[track_caller]
fn settle() -> String {
    let said = ends(&mut fix(&["--log"]), 0);
    assert!(applies().iter().all(|apply| apply["outcome"] != "unfinished"), "{said}");
    said
}

#[test]
fn what_was_set_went_with_the_boot() {
    in_debug_build("rebooted::what_was_set_went_with_the_boot", || {
        before();
        apply("0").env("LASTACK_FAILPOINT", "acted#3!").output().unwrap();
        for (setting, _, after) in CHANGES {
            let now = get(setting);
            assert!(now == after || now == "8080-8081", "{setting} is {now}");
        }
        reboot();
        // This boot has one value as the apply would have had it, one as it was before, and one of its own.
        set(CHANGES[1].0, "");
        set(CHANGES[2].0, "1");
        settle();
        let now = CHANGES.map(|(setting, ..)| get(setting));
        assert_eq!(now, ["60", "", "1"], "what this boot has is not from the apply");
        assert_eq!(std::fs::read_dir("/etc/sysctl.d").unwrap().count(), 1, "nothing is left beside our file");
        assert_eq!(applies().last().unwrap()["outcome"], "rolled-back");

        // Without the reboot it is taken back.
        let unchanged = before();
        apply("0").env("LASTACK_FAILPOINT", "acted#3!").output().unwrap();
        settle();
        assert_eq!(State::read(), unchanged);
    });
}

#[test]
fn what_was_to_stay_is_set_again() {
    in_debug_build("rebooted::what_was_to_stay_is_set_again", || {
        before();
        ends(&mut apply("0"), 0);
        let planned = State::read();
        before();
        // Our file in sysctl.d is written when it is decided that all stays.
        apply("0").env("LASTACK_FAILPOINT", "file-swapped!").output().unwrap();
        reboot();
        for (setting, at_boot, _) in CHANGES {
            set(setting, at_boot);
        }
        settle();
        assert_eq!(State::read(), planned);
        assert!(std::fs::read_to_string(DURABLE).unwrap().contains("net.ipv4.tcp_fin_timeout = 60"));
        assert_eq!(applies().last().unwrap()["outcome"], "kept");
    });
}

#[test]
fn another_namespace_with_the_same_number_is_left_alone() {
    in_debug_build("rebooted::another_namespace_with_the_same_number_is_left_alone", || {
        before();
        let (mut holder, link) = held_namespace();
        let net = format!("--net={link}");
        let tell = |value: &str| {
            run(
                "nsenter",
                &[&net, "sh", "-c", &format!("echo {value} > /proc/sys/net/ipv4/tcp_fin_timeout")],
            );
        };
        let says = || {
            let output =
                Command::new("nsenter").args([&net, "cat", "/proc/sys/net/ipv4/tcp_fin_timeout"]).output();
            String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
        };
        let apply = || {
            let order = plan(&[CHANGES[0]]);
            let text =
                std::fs::read_to_string(&order).unwrap().replace("pid:1", &format!("pid:{}", holder.id()));
            std::fs::write(&order, text).unwrap();
            fix(&["--plan", &order, "--apply", "--yes", "--guard", "0"])
        };
        tell("30");
        apply().env("LASTACK_FAILPOINT", "tidied!").output().unwrap();
        assert_eq!(says(), "60", "it was decided that it stays");
        reboot();
        tell("30");
        let said = settle();
        assert_eq!(says(), "30", "{said}");

        ends(&mut apply(), 0);
        reboot();
        let said = ends(&mut fix(&["--rollback", "last"]), 0);
        assert!(said.contains("the network namespace has gone"), "{said}");
        assert_eq!(says(), "60", "{said}");
        drop(holder.stdin.take());
        holder.wait().unwrap();
    });
}

#[test]
fn a_program_that_was_started_with_what_was_there_is_told() {
    const NAME: &str = "rebooted::a_program_that_was_started_with_what_was_there_is_told";
    with_program("nginx", NAME, in_debug_build, || {
        start();
        let order = plan_of_file(FILE, &server("one"), &server("two"));
        let apply = || {
            let mut command = fix(&["--plan", &order, "--apply", "--yes", "--guard", "0"]);
            command.env("LASTACK_FAILPOINT", "file-swapped!");
            command
        };
        let restart = || {
            stop();
            begin("nginx");
            answer()
        };
        // With the same boot, too: somebody has started it anew.
        for boot in ["same", "another"] {
            apply().output().unwrap();
            if boot == "another" {
                reboot();
            }
            assert_eq!(restart().as_deref(), Some("two"), "{boot}");
            settle();
            assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("one"), "{boot}");
            assert_eq!(last_answer().as_deref(), Some("one"), "{boot}");
        }

        // Taking back was decided and not done, and is done now, whether it runs or not.
        for runs in [true, false] {
            ends(apply().env_remove("LASTACK_FAILPOINT"), 0);
            assert_eq!(last_answer().as_deref(), Some("two"));
            fix(&["--rollback", "last"]).env("LASTACK_FAILPOINT", "file-swapped!").output().unwrap();
            reboot();
            if runs {
                assert_eq!(restart().as_deref(), Some("one"));
            } else {
                stop();
            }
            settle();
            assert_eq!(std::fs::read_to_string(FILE).unwrap(), server("one"));
        }
    });
}
