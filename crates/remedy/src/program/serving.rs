//! Which workers serve: those that hold a TCP socket which listens. Whoever is let go closes his own first, and then what is
//! left of his connections.

use super::taking::Worker;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

/// So much of a table of sockets is read: listening ones come first in it.
const MAX_TABLE: u64 = 16 << 20;

/// The state of a listening socket in /proc/net/tcp.
const LISTEN: &str = "0A";

/// The workers that hold a listening socket. One that cannot be looked into holds none.
pub(super) fn serving(proc: &Path, workers: &[Worker]) -> Vec<Worker> {
    // All are in the network namespace of their program.
    let Some(first) = workers.first() else { return Vec::new() };
    let tables = ["tcp", "tcp6"].map(|table| listening(&proc.join(format!("{}/net/{table}", first.pid))));
    let sockets: BTreeSet<u64> = tables.into_iter().flatten().collect();
    workers.iter().filter(|worker| holds(proc, worker.pid, &sockets)).copied().collect()
}

/// The inodes of the listening sockets in a table.
fn listening(table: &Path) -> Vec<u64> {
    let Ok(file) = File::open(table) else { return Vec::new() };
    let lines = BufReader::new(file.take(MAX_TABLE)).lines().skip(1).map_while(Result::ok);
    let sockets = lines.map(|line| {
        let mut words = line.split_ascii_whitespace().skip(3);
        let listens = words.next() == Some(LISTEN);
        listens.then(|| words.nth(5)?.parse().ok())
    });
    // The others follow, and may be a million.
    sockets.map_while(|socket| socket).flatten().collect()
}

fn holds(proc: &Path, pid: i32, sockets: &BTreeSet<u64>) -> bool {
    let files = std::fs::read_dir(proc.join(format!("{pid}/fd"))).into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|link| {
        let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
        inode.and_then(|inode| inode.parse().ok()).is_some_and(|inode| sockets.contains(&inode))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpListener};

    #[test]
    fn who_listens_serves() {
        let proc = Path::new("/proc");
        let me = Worker { pid: std::process::id().cast_signed(), started: 0 };
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let other = Worker { pid: sleeper.id().cast_signed(), started: 0 };
        for address in ["127.0.0.1:0".parse().unwrap(), (Ipv6Addr::LOCALHOST, 0).into()] {
            let address: std::net::SocketAddr = address;
            // A machine without IPv6 has no such address.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            assert_eq!(serving(proc, &[me, other]), [me]);
            drop(listener);
        }
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert_eq!(serving(proc, &[]), []);
    }

    #[test]
    fn tables_are_read_to_the_last_socket_that_listens() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("tcp");
        let line = |state: &str, inode: &str| {
            format!(
                "   0: 0100007F:1F90 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 100 0 0 10 0\n"
            )
        };
        let lines = [("0A", "7"), ("0A", "x"), ("0A", "8"), ("01", "9"), ("0A", "10")];
        let text: String = lines.map(|(state, inode)| line(state, inode)).concat();
        std::fs::write(&table, format!("  sl  local_address\n{text}")).unwrap();
        assert_eq!(listening(&table), [7, 8]);
        assert_eq!(listening(&folder.path().join("none")), Vec::<u64>::new());
    }
}
