//! Which processes hold a TCP socket that listens.

use crate::owners::socket_inode;
use crate::process;
use crate::root::{Root, number};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// So much of a table of sockets is read: listening ones come first in it.
const MAX_TABLE: u64 = 16 << 20;

/// The state of a listening socket in /proc/net/tcp.
const LISTEN: &str = "0A";

/// Those of some processes of one network namespace that hold a listening socket. One that cannot be looked into
/// holds none.
pub fn listening(root: &Root, pids: &[u32]) -> Vec<u32> {
    let Some(first) = pids.first() else { return Vec::new() };
    let tables = ["tcp", "tcp6"].map(|table| sockets(&root.proc.join(format!("{first}/net/{table}"))));
    let sockets: BTreeSet<u32> = tables.into_iter().flatten().collect();
    let holds = |pid: u32| {
        let mut inodes =
            process::files(root, pid).filter_map(|link| socket_inode(link.as_os_str().as_bytes()));
        inodes.any(|inode| sockets.contains(&inode))
    };
    pids.iter().copied().filter(|pid| holds(*pid)).collect()
}

/// The inodes of the listening sockets in a table.
fn sockets(table: &Path) -> Vec<u32> {
    let Ok(file) = File::open(table) else { return Vec::new() };
    let lines = BufReader::new(file.take(MAX_TABLE)).lines().skip(1).map_while(Result::ok);
    let sockets = lines.map(|line| {
        let mut words = line.split_ascii_whitespace().skip(3);
        let listens = words.next() == Some(LISTEN);
        listens.then(|| words.nth(5).and_then(|inode| number(inode.as_bytes())))
    });
    // The others follow, and may be a million.
    sockets.map_while(|socket| socket).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpListener};

    #[test]
    fn who_has_a_listening_socket_is_found() {
        let root = Root::default();
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let both = [std::process::id(), sleeper.id()];
        for address in ["127.0.0.1:0".parse().unwrap(), (Ipv6Addr::LOCALHOST, 0).into()] {
            let address: std::net::SocketAddr = address;
            // A machine without IPv6 has no such address.
            let Ok(listener) = TcpListener::bind(address) else { continue };
            assert_eq!(listening(&root, &both), [std::process::id()]);
            drop(listener);
        }
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert_eq!(listening(&root, &[]), [0_u32; 0]);
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
        assert_eq!(sockets(&table), [7, 8]);
        assert_eq!(sockets(&folder.path().join("none")), Vec::<u32>::new());
    }
}
