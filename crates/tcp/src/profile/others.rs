//! Systems that are not Linux. Few of their constants could be checked; what is not here is not known.

/// Windows since Vista and Server 2008.
pub mod windows {
    use crate::profile::Constant;
    use core::time::Duration;

    /// Length of TIME-WAIT. Microsoft's pages name 120 s (registry) and 240 s (troubleshooting): measure.
    pub const TIME_WAIT: Constant<Duration> = Constant {
        value: Duration::from_secs(120),
        kernel: "Windows Vista, Server 2008 and later",
        source: "TcpTimedWaitDelay, default 0x78, 30 to 300 s; tcp-ip-port-exhaustion-troubleshooting says 4 minutes",
    };

    /// The same before Vista.
    pub const TIME_WAIT_BEFORE_VISTA: Constant<Duration> = Constant {
        value: Duration::from_secs(240),
        kernel: "Windows XP, Server 2003",
        source: "TcpTimedWaitDelay, default 0xf0",
    };

    /// First and last dynamic port.
    pub const DYNAMIC_PORTS: Constant<(u16, u16)> = Constant {
        value: (49_152, 65_535),
        kernel: "Windows Vista, Server 2008 and later",
        source: "netsh int ipv4 show dynamicport tcp; tcp-ip-port-exhaustion-troubleshooting",
    };

    /// The same before Vista; `MaxUserPort` moves the last.
    pub const DYNAMIC_PORTS_BEFORE_VISTA: Constant<(u16, u16)> = Constant {
        value: (1_025, 5_000),
        kernel: "Windows XP, Server 2003",
        source: "tcp-ip-port-exhaustion-troubleshooting; MaxUserPort",
    };
}

/// macOS.
pub mod macos {
    use crate::profile::Constant;
    use core::time::Duration;

    /// Length of TIME-WAIT: twice `net.inet.tcp.msl`.
    pub const TIME_WAIT: Constant<Duration> = Constant {
        value: Duration::from_secs(30),
        kernel: "xnu-11417",
        source: "bsd/netinet/tcp_timer.h TCPTV_MSL (15*TCP_RETRANSHZ)",
    };

    /// First and last port that connect() uses.
    pub const PORTS: Constant<(u16, u16)> = Constant {
        value: (49_152, 65_535),
        kernel: "xnu-11417",
        source: "net.inet.ip.portrange.first, .last",
    };
}

/// FreeBSD.
pub mod freebsd {
    use crate::profile::Constant;
    use core::time::Duration;

    /// Length of TIME-WAIT: twice `net.inet.tcp.msl` (30000 ms). Newer releases have `msl_local` for local peers.
    pub const TIME_WAIT: Constant<Duration> = Constant {
        value: Duration::from_secs(60),
        kernel: "not checked",
        source: "net.inet.tcp.msl, from memory",
    };

    /// First and last port that connect() uses: `net.inet.ip.portrange.first` and `.last`.
    pub const PORTS: Constant<(u16, u16)> = Constant {
        value: (10_000, 65_535),
        kernel: "not checked",
        source: "net.inet.ip.portrange.first, .last, from memory",
    };

    /// `net.inet.tcp.finwait2_timeout`.
    pub const FIN_WAIT_2: Constant<Duration> = Constant {
        value: Duration::from_secs(60),
        kernel: "not checked",
        source: "net.inet.tcp.finwait2_timeout, from memory",
    };
}
