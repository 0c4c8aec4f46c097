//! Kernel memory by slab, for the slabs that hold sockets and what hangs on them. Host-wide.

use crate::root::{self, Root, open_directory, read_at, why};
use evidence::{Gap, Slab, Unseen};
use rustix::fs::CWD;
use std::collections::BTreeMap;
use std::io;

/// The largest /proc/slabinfo that is read; a line has about 120 bytes, a host a few hundred lines.
const MAX_FILE: usize = 4 << 20;

/// The longest sysfs value.
const MAX_VALUE: usize = 4 << 10;

const SLABS: [&str; 9] = [
    "tw_sock_TCP",
    "tw_sock_TCPv6",
    "TCP",
    "TCPv6",
    "tcp_bind_bucket",
    "tcp_bind2_bucket",
    "request_sock_TCP",
    "request_sock_TCPv6",
    "nf_conntrack",
];

/// Reads the slabs. /proc/slabinfo first: one file, half the time of the files of /sys/kernel/slab (0.17 ms to
/// 0.36 ms on 6.18). Both are for root only on current kernels.
///
/// A slab that the kernel merged with others of its size (`tcp_bind_bucket` often is) is left out: its numbers
/// would be those of all of them.
pub fn read(root: &Root, gaps: &mut Vec<Gap>) -> BTreeMap<String, Slab> {
    let listed = match root::read(&root.proc.join("slabinfo"), MAX_FILE) {
        Ok(text) => Ok(parse(&text, page_bytes())),
        Err(first) => from_sysfs(root).map_err(|second| {
            // Of two reasons the one that something can be done about.
            if second.kind() == io::ErrorKind::NotFound { first } else { second }
        }),
    };
    match listed {
        Ok(mut slabs) => {
            slabs.retain(|name, _| !is_merged(root, name));
            slabs
        }
        Err(error) => {
            let denied = error.kind() == io::ErrorKind::PermissionDenied;
            gaps.push(Gap {
                unseen: Unseen::Slabs,
                netns: None,
                because: format!("sizes of kernel slabs: {}", why(&error)),
                how_to_see: if denied {
                    "run as root".to_owned()
                } else {
                    "run on the host, not in a container, with a kernel that has CONFIG_SLUB_DEBUG".to_owned()
                },
            });
            BTreeMap::new()
        }
    }
}

/// The slabs of interest in the text of /proc/slabinfo, version 2.1 (mm/slab_common.c `cache_show()`): name,
/// objects in use, objects, bytes of one with its padding, objects per slab, pages per slab, and after
/// `slabdata` the slabs in use and the slabs.
pub fn parse(text: &[u8], page_bytes: u64) -> BTreeMap<String, Slab> {
    let mut slabs = BTreeMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(line) = std::str::from_utf8(line).ok() else { continue };
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next().filter(|name| SLABS.contains(name)) else { continue };
        let mut next = || words.next()?.parse::<u64>().ok();
        let (Some(objects), Some(_), Some(object_bytes), Some(_), Some(pages)) =
            (next(), next(), next(), next(), next())
        else {
            continue;
        };
        let mut data = words.skip_while(|word| *word != "slabdata").skip(2);
        let Some(count) = data.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
        let total_bytes = count.saturating_mul(pages).saturating_mul(page_bytes);
        slabs.insert(name.to_owned(), Slab { objects, object_bytes, total_bytes });
    }
    slabs
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

/// True if the slab shares its pages with others: its entry in sysfs is then a link to the shared one.
fn is_merged(root: &Root, name: &str) -> bool {
    std::fs::symlink_metadata(root.sys.join("kernel/slab").join(name)).is_ok_and(|entry| entry.is_symlink())
}

fn from_sysfs(root: &Root) -> io::Result<BTreeMap<String, Slab>> {
    let all = open_directory(CWD, root.sys.join("kernel/slab"))?;
    let mut slabs = BTreeMap::new();
    for name in SLABS {
        let directory = match open_directory(&all, name) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // `objects` is `26 N0=20 N1=6`: the sum comes first.
        let number = |file: &str| -> io::Result<u64> {
            let text = read_at(&directory, file, MAX_VALUE)?;
            let first = text.split(u8::is_ascii_whitespace).next().unwrap_or_default();
            std::str::from_utf8(first).ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{name}/{file} is no number"))
            })
        };
        let slab_bytes = 1_u64.checked_shl(u32::try_from(number("order")?).unwrap_or(u32::MAX)).unwrap_or(0);
        slabs.insert(
            name.to_owned(),
            Slab {
                objects: number("objects")?,
                object_bytes: number("slab_size")?,
                total_bytes: number("slabs")?.saturating_mul(slab_bytes).saturating_mul(page_bytes()),
            },
        );
    }
    Ok(slabs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    const TEXT: &str = "slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
tw_sock_TCP        28000  28032    256   16    1 : tunables    0    0    0 : slabdata   1750   1752      0
tcp_bind_bucket      640    640    128   32    1 : tunables    0    0    0 : slabdata     20     20      0
TCP                   20     26   2368   13    8 : tunables    0    0    0 : slabdata      2      2      0
TCPv6                 13     13   2496   13    8 : tunables
dentry                 1      1    192   21    1 : tunables    0    0    0 : slabdata      1      1      0
";

    #[test]
    fn sizes_count_padding_and_whole_pages() {
        let slabs = parse(TEXT.as_bytes(), 4_096);
        assert_eq!(
            slabs.get("tw_sock_TCP"),
            Some(&Slab { objects: 28_000, object_bytes: 256, total_bytes: 1_752 * 4_096 })
        );
        assert_eq!(slabs.get("TCP").map(|slab| slab.total_bytes), Some(2 * 8 * 4_096));
        assert_eq!(slabs.len(), 3, "a cut line and other slabs are left out: {slabs:?}");
    }

    #[test]
    fn a_merged_slab_is_left_out_and_sysfs_serves_without_slabinfo() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::below(directory.path());
        let all = root.sys.join("kernel/slab");
        std::fs::create_dir_all(all.join(":A-0000128")).unwrap();
        std::os::unix::fs::symlink(":A-0000128", all.join("tcp_bind_bucket")).unwrap();
        std::fs::create_dir_all(all.join("TCP")).unwrap();
        let write =
            |slab: &str, file: &str, text: &str| std::fs::write(all.join(slab).join(file), text).unwrap();
        for slab in ["TCP", ":A-0000128"] {
            write(slab, "objects", "26 N0=20 N1=6\n");
            write(slab, "slab_size", "2368\n");
            write(slab, "slabs", "2 N0=2\n");
            write(slab, "order", "3\n");
        }
        let mut gaps = Vec::new();
        let tcp = Slab { objects: 26, object_bytes: 2_368, total_bytes: 2 * 8 * page_bytes() };
        assert_eq!(read(&root, &mut gaps), BTreeMap::from([("TCP".to_owned(), tcp)]));
        std::fs::create_dir_all(&root.proc).unwrap();
        std::fs::write(root.proc.join("slabinfo"), TEXT).unwrap();
        let names: Vec<String> = read(&root, &mut gaps).into_keys().collect();
        assert_eq!(names, ["TCP", "tw_sock_TCP"]);
        assert_eq!(gaps, []);
    }

    #[test]
    fn no_slabs_are_a_gap() {
        let mut gaps = Vec::new();
        assert!(read(&Root::below(Path::new("/nowhere")), &mut gaps).is_empty());
        assert_eq!(gaps[0].unseen, Unseen::Slabs);
        assert_eq!(gaps[0].because, "sizes of kernel slabs: no such file");
        let directory = tempfile::tempdir().unwrap();
        let root = Root::below(directory.path());
        std::fs::create_dir_all(root.sys.join("kernel/slab/TCP")).unwrap();
        std::fs::write(root.sys.join("kernel/slab/TCP/order"), "many").unwrap();
        assert!(read(&root, &mut gaps).is_empty());
        assert_eq!(gaps[1].because, "sizes of kernel slabs: TCP/order is no number");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in "((TCP|x)( (-?[0-9]{1,20}|slabdata|:)){0,12}\n){0,4}"
        ) {
            parse(&bytes, 4_096);
            parse(text.as_bytes(), u64::MAX);
        }
    }
}
