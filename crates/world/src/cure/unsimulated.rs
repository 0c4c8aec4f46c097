//! Remedies that the simulator cannot show, and why.

/// By the names that rules use.
const ALL: &[(&str, &str)] = &[
    ("abort-on-overflow-line-out", "it is about the next boot"),
    ("close-what-is-bound", "which bound sockets are of use, only their owner knows"),
    ("default-table", "it is about the next boot"),
    (
        "fewer-connections",
        "how many requests share a connection is the program's choice; keep-connections shows a pool",
    ),
    ("find-memory", "it is a search, not a change"),
    ("find-the-flood", "it is a search, not a change"),
    ("find-what-drops", "it is a search, not a change"),
    ("fin-timeout-line-out", "it is about the next boot"),
    ("fix-the-peer", "what the peer does wrong is not known here"),
    ("keep-at-boot", "it is about the next boot"),
    ("keep-the-listener", "the model has no restarts"),
    ("leave-the-server-alone", "it is to change nothing"),
    ("let-resets-pass", "the model has no filters between hosts"),
    ("let-the-peer-finish", "the model has no data behind a close"),
    ("more-requests", "how many requests a proxy lets a connection have is not fitted"),
    ("more-snat-addresses", "translation between the hosts is not a part of a fitted load"),
    ("more-workers", "the simulator has no limit of workers"),
    ("move-the-service", "a restart on a taken port is not a part of a fitted load"),
    ("name-of-today", "it is about the next boot"),
    ("notrack", "connection tracking is not a part of a fitted load"),
    ("one-line-in-a-file", "it is about the next boot"),
    ("one-of-two-options", "it changes what a file says, and not what is done"),
    ("own-timestamps-at-the-balancer", "clients behind a balancer are not told apart in a fitted load"),
    ("raise-conntrack-max", "connection tracking is not a part of a fitted load"),
    ("random-fully", "translation between the hosts is not a part of a fitted load"),
    ("recycle-line-out", "it is about the next boot"),
    (
        "reserve-less",
        "which ports are reserved for whom is not known; --set net.ipv4.ip_local_reserved_ports=... shows it",
    ),
    ("reserve-ports", "a restart on a taken port is not a part of a fitted load"),
    ("restart", "the model has no restarts"),
    ("retry-what-is-safe", "it does not change connections, but who notices that one failed"),
    (
        "rfc1337-off-at-the-server",
        "the other host was not looked at; --set PEER:net.ipv4.tcp_rfc1337=0 shows it",
    ),
    ("rfc1337-line-out", "it is about the next boot"),
    ("set-so-reuseaddr", "the model has no restarts"),
    ("shorter-conntrack-time-wait", "connection tracking is not a part of a fitted load"),
    ("somaxconn-line-out", "it is about the next boot"),
    ("so-keepalive", "it hides a leak of sockets; the descriptors leak on"),
    ("spread-ports", "translation between the hosts is not a part of a fitted load"),
    ("syn-cookies-line-out", "it is about the next boot"),
    ("syn-cookies", "the simulator has no SYN cookies"),
    ("tcp-user-timeout", "the simulator has no TCP_USER_TIMEOUT"),
    ("timestamps-line-out", "it is about the next boot"),
    ("use-loopback", "another route is another load"),
    ("wait", "it is to change nothing"),
];

/// Why a remedy is not simulated; none if it is, or is not known.
pub(super) fn because(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, because)| *because)
}
