//! A value that was set by hand is made that of the next boot, by our file of `sysctl.d`, and back.

use crate::sandbox::{
    DURABLE, State, applies, ends, fix, forget, held_namespace, in_debug_build, in_sandbox, run, set,
};
use std::process::Command;

const FILE: &str = "/etc/sysctl.d/90-tcp.conf";
const SETTING: &str = "net.ipv4.tcp_keepalive_time";

/// The host's first network namespace as somebody may call it, in which a value was set by hand that a file does not
/// say.
fn host() {
    run("mount", &["-t", "tmpfs", "-o", "size=1m", "lastack-test", "/run"]);
    std::fs::create_dir("/run/netns").unwrap();
    std::fs::write("/run/netns/host", "").unwrap();
    run("mount", &["--bind", "/proc/self/ns/net", "/run/netns/host"]);
    begin();
}

fn begin() {
    forget();
    set(SETTING, "600");
    set("net.ipv4.tcp_timestamps", "0");
    std::fs::write(FILE, format!("{SETTING} = 7200\nnet.ipv4.tcp_timestamps = 1\n")).unwrap();
}

/// `fix` of what is not durable.
fn keep(more: &[&str]) -> Command {
    let mut command = fix(&["--for", "0", "--finding", "setting-not-durable"]);
    command.args(more);
    command
}

fn apply() -> Command {
    keep(&["--remedy", "keep-at-boot", "--apply", "--yes"])
}

#[test]
fn a_value_that_was_set_by_hand_is_kept_at_boot_and_the_line_goes_again() {
    in_sandbox("at_boot::a_value_that_was_set_by_hand_is_kept_at_boot_and_the_line_goes_again", || {
        host();
        let before = State::read();
        // Which of the two is meant, nobody but a person knows.
        let said = ends(&mut keep(&["--apply", "--yes"]), 0);
        assert!(said.contains("has a price: --remedy keep-at-boot"), "{said}");
        let said = ends(&mut keep(&[]), 0);
        assert!(said.contains(&format!("{SETTING} at boot, by {DURABLE}")), "{said}");
        assert_eq!(said.matches("[can be taken back").count(), 0, "{said}");
        assert_eq!(said.matches("keep-at-boot").count(), 2, "timestamps = 0 is never advised: {said}");
        assert_eq!(State::read(), before);

        let said = ends(&mut apply(), 0);
        assert!(said.contains("it is about the next boot") && !said.contains("Guards"), "{said}");
        let ours = std::fs::read_to_string(DURABLE).unwrap();
        assert!(ours.ends_with(&format!("#lastack: before: 7200\n{SETTING} = 600\n")), "{ours}");
        assert!(ours.contains("is 600 now, and the next boot sets it to 7200"), "{ours}");
        assert_eq!(std::fs::read_to_string(FILE).unwrap().lines().count(), 2, "it is somebody else's");
        // It is what it is after a boot: nothing is found any more.
        let said = ends(&mut keep(&["--remedy", "keep-at-boot"]), 2);
        assert!(said.contains("no finding here offers the remedy keep-at-boot"), "{said}");
        ends(&mut fix(&["--watch", "last"]), 0);

        ends(&mut fix(&["--rollback", "last"]), 0);
        assert_eq!(State::read(), before);
        // What others have put into our file since stays, and what it said before.
        std::fs::write(DURABLE, "# mine\nnet.ipv4.tcp_fin_timeout = 60\n").unwrap();
        ends(&mut apply(), 0);
        let ours = std::fs::read_to_string(DURABLE).unwrap();
        std::fs::write(DURABLE, format!("{ours}vm.swappiness = 1\n")).unwrap();
        ends(&mut fix(&["--rollback", "last"]), 0);
        let left = std::fs::read_to_string(DURABLE).unwrap();
        assert_eq!(left, "# mine\nnet.ipv4.tcp_fin_timeout = 60\nvm.swappiness = 1\n");
    });
}

#[test]
fn a_plan_that_does_not_fit_any_more_is_refused_and_what_wins_is_named() {
    in_sandbox("at_boot::a_plan_that_does_not_fit_any_more_is_refused_and_what_wins_is_named", || {
        host();
        let order = "/mnt/order.toml";
        let made = ends(&mut keep(&["--remedy", "keep-at-boot", "--plan", order]), 0);
        let text = std::fs::read_to_string(order).unwrap();
        assert!(
            text.contains(&format!("setting_at_boot = \"{SETTING}\"\nfrom = \"7200\"\nto = \"600\"\n")),
            "{made}"
        );
        let refused = |why: &str| {
            let unchanged = State::read();
            let said = ends(&mut fix(&["--plan", order, "--apply", "--yes"]), 2);
            assert!(said.contains(why), "{said}");
            assert_eq!(State::read(), unchanged);
        };
        set(SETTING, "601");
        refused(&format!("{SETTING} is 601, and was 600"));
        set(SETTING, "600");
        std::fs::write(FILE, format!("{SETTING} = 70\n")).unwrap();
        refused(&format!("{SETTING} at boot is 70, and was 7200"));
        std::fs::write(order, text.replace("\"600\"", "\"600; reboot\"")).unwrap();
        refused("is refused: the value must be numbers");
        std::fs::write(order, text.replace(SETTING, "kernel.core_pattern")).unwrap();
        refused("lastack does not read this setting");
        let (mut other, _) = held_namespace();
        let theirs = text.replace("\"host\"", &format!("\"pid:{}\"", other.id()));
        std::fs::write(order, theirs).unwrap();
        refused("is not the network namespace that files of sysctl.d are for");
        drop(other.stdin.take());
        other.wait().unwrap();

        // A file that comes after ours.
        begin();
        std::fs::rename(FILE, "/etc/sysctl.d/99-zzz.conf").unwrap();
        std::fs::write(order, &text).unwrap();
        refused("/etc/sysctl.d/99-zzz.conf sets net.ipv4.tcp_keepalive_time too, and wins over");
        let said = ends(&mut apply(), 2);
        assert!(said.contains("by hand: /etc/sysctl.d/99-zzz.conf sets"), "{said}");
        // One that comes after ours only where procps reads the files.
        begin();
        std::fs::write("/etc/sysctl.conf", format!("{SETTING} = 1\n")).unwrap();
        let said = ends(&mut apply(), 0);
        assert!(
            said.contains("/etc/sysctl.conf sets") && said.contains("wins at the next boot if"),
            "{said}"
        );
    });
}

#[test]
fn killed_anywhere_it_is_done_or_not() {
    in_debug_build("at_boot::killed_anywhere_it_is_done_or_not", || {
        host();
        let log = "/mnt/points";
        apply().env("LASTACK_FAILPOINT_LOG", log).output().unwrap();
        let planned = State::read();
        let points = std::fs::read_to_string(log).unwrap();
        assert!(points.lines().any(|point| point == "file-swapped"), "{points}");
        for point in points.lines() {
            begin();
            let before = State::read();
            assert_ne!(before, planned);
            apply().env("LASTACK_FAILPOINT", format!("{point}!")).output().unwrap();
            ends(&mut fix(&["--log"]), 0);
            let kept = applies().last().is_some_and(|apply| apply["outcome"] == "kept");
            assert_eq!(State::read(), if kept { planned.clone() } else { before }, "killed at {point}");
        }
    });
}
