use super::*;

fn read(text: &str) -> Vec<String> {
    let tree = Tree::parse(text);
    assert_eq!(tree.to_bytes(), text.as_bytes());
    assert_eq!(tree.fault(), None);
    tree.assignments()
        .map(|one| {
            let minus = if one.may_fail() { "-" } else { "" };
            format!("{} {minus}{}={:?}", one.place(), one.name(), one.value().as_deref())
        })
        .collect()
}

#[test]
fn assignments_are_read_as_systemd_reads_them() {
    let text = "# a = 1\n; b = 2\n net.ipv4.tcp_fin_timeout = 30 # half\r\n-net/ipv4/x=\n-net.ipv4.conf.all.y\nx=a = b\n";
    assert_eq!(
        read(text),
        [
            "3:2 net.ipv4.tcp_fin_timeout=Some(\"30 # half\")",
            "4:1 -net.ipv4.x=Some(\"\")",
            "5:1 -net.ipv4.conf.all.y=None",
            "6:1 x=Some(\"a = b\")"
        ]
    );
}

#[test]
fn the_first_separator_decides_what_separates() {
    assert_eq!(normalized("net.ipv4.conf.eth0/5.forwarding"), "net.ipv4.conf.eth0/5.forwarding");
    assert_eq!(normalized("net/ipv4/conf/eth0.5/forwarding"), "net.ipv4.conf.eth0/5.forwarding");
    assert_eq!(normalized("/proc/sys/net/ipv4/ip_forward"), "net.ipv4.ip_forward");
    assert_eq!(normalized("/net//ipv4/ip_forward"), "net.ipv4.ip_forward");
    assert_eq!(normalized("..."), "");
    assert_eq!(normalized("vm"), "vm");
}

#[test]
fn what_is_no_assignment_is_said_and_kept() {
    let tree = Tree::parse("\u{feff}a=1\nwords\n= 3\nb=2");
    let problems: Vec<_> = tree.problems().iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "1:1: a byte order mark: it is taken for a part of the first key",
            "2:1: no assignment: `key = value` is expected",
            "3:1: no key before the equals sign"
        ]
    );
    assert_eq!(read("\u{feff}a=1\nwords\n= 3\nb=2"), ["1:4 a=Some(\"1\")", "4:1 b=Some(\"2\")"]);
}
