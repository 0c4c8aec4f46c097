//! What wrote an output.

use crate::command::Command;
use evidence::System;

/// What wrote an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// `ss`: sockets.
    Ss,
    /// `ss -s`.
    SsSummary,
    /// `netstat` of net-tools: sockets.
    Netstat,
    /// `netstat -s` of net-tools: counters in words.
    Statistics,
    /// netstat of Windows: sockets.
    Windows,
    /// `Get-NetTCPConnection` of PowerShell: sockets.
    PowerShell,
    /// `Get-NetTCPSetting`.
    NetTcpSetting,
    /// `netstat -s` of Windows.
    WindowsStatistics,
    /// `netsh int ipv4 show dynamicport tcp`.
    DynamicPorts,
    /// `reg query`.
    Registry,
    /// netstat of macOS: sockets.
    Bsd,
    /// `netstat -s` of macOS.
    BsdStatistics,
    /// `nstat`.
    Nstat,
    /// `sysctl`, or a listing of files below /proc/sys with their values.
    Sysctl,
    /// /proc/net/snmp or /proc/net/netstat.
    Counters,
    /// /proc/net/sockstat or sockstat6.
    Sockstat,
    /// /proc/net/tcp or tcp6.
    ProcTcp,
    /// `conntrack -L` or /proc/net/nf_conntrack.
    Conntrack,
    /// `conntrack -S`.
    ConntrackStats,
    /// /proc/net/stat/nf_conntrack.
    ProcConntrackStats,
    /// `uname -a`.
    Uname,
    /// `date`.
    Date,
    /// `hostname`.
    Hostname,
    /// The host that Ansible names before its output.
    Ansible,
    /// An output that says nothing of TCP.
    Other,
}

impl Kind {
    /// True if its rows are sockets.
    pub(crate) fn is_table(self) -> bool {
        matches!(
            self,
            Self::Ss | Self::Netstat | Self::ProcTcp | Self::Windows | Self::PowerShell | Self::Bsd
        )
    }

    /// The system whose tool it is, if no other has it.
    pub(crate) fn system(self) -> Option<System> {
        match self {
            Self::Windows
            | Self::PowerShell
            | Self::NetTcpSetting
            | Self::WindowsStatistics
            | Self::DynamicPorts
            | Self::Registry => Some(System::Windows),
            Self::Bsd | Self::BsdStatistics => Some(System::Macos),
            Self::Uname | Self::Date | Self::Hostname | Self::Ansible | Self::Sysctl | Self::Other => None,
            _ => Some(System::Linux),
        }
    }

    /// True if it tells of the host, and of no namespace.
    pub(crate) fn is_of_host(self) -> bool {
        matches!(self, Self::Uname | Self::Date | Self::Hostname | Self::Ansible | Self::Other)
    }

    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ss => "ss",
            Self::SsSummary => "ss -s",
            Self::Netstat | Self::Windows | Self::Bsd => "netstat",
            Self::Statistics | Self::WindowsStatistics | Self::BsdStatistics => "netstat -s",
            Self::PowerShell => "Get-NetTCPConnection",
            Self::NetTcpSetting => "Get-NetTCPSetting",
            Self::DynamicPorts => "netsh",
            Self::Registry => "reg query",
            Self::Nstat => "nstat",
            Self::Sysctl => "sysctl",
            Self::Counters => "/proc/net/netstat",
            Self::Sockstat => "/proc/net/sockstat",
            Self::ProcTcp => "/proc/net/tcp",
            Self::Conntrack => "conntrack -L",
            Self::ConntrackStats => "conntrack -S",
            Self::ProcConntrackStats => "/proc/net/stat/nf_conntrack",
            Self::Uname => "uname -a",
            Self::Date => "date",
            Self::Hostname => "hostname",
            Self::Ansible => "ansible",
            Self::Other => "another output",
        }
    }

    /// True if a command may have written it.
    pub(crate) fn is_of(self, command: &Command) -> bool {
        let program = command.program.as_str();
        match self {
            Self::Ss | Self::SsSummary => program == "ss",
            Self::Netstat
            | Self::Statistics
            | Self::Windows
            | Self::WindowsStatistics
            | Self::Bsd
            | Self::BsdStatistics => program == "netstat",
            Self::PowerShell => program == "get-nettcpconnection",
            Self::NetTcpSetting => program == "get-nettcpsetting",
            Self::DynamicPorts => program == "netsh",
            Self::Registry => program == "reg",
            Self::Nstat => program == "nstat",
            Self::Sysctl => matches!(program, "sysctl" | "grep" | "head" | "tail"),
            Self::Conntrack | Self::ConntrackStats => matches!(program, "conntrack" | "cat"),
            Self::Uname => program == "uname",
            Self::Date => program == "date",
            Self::Hostname => program == "hostname",
            Self::Counters | Self::Sockstat | Self::ProcTcp | Self::ProcConntrackStats => {
                matches!(program, "cat" | "head" | "tail" | "grep")
            }
            Self::Ansible | Self::Other => false,
        }
    }
}
