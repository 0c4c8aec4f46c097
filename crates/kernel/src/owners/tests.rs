use super::*;
use proptest::prelude::*;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn fixture(name: &str) -> Root {
    Root::below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name))
}

#[test]
fn the_lowest_pid_that_holds_a_socket_owns_it() {
    let mut gaps = Vec::new();
    let owners =
        Owners::scan(&fixture("proc-alibaba"), &[71_005, 71_004, 0, 71_003, 71_001, 71_001], &mut gaps);
    let pids: Vec<u32> = owners.processes.iter().map(|process| process.pid).collect();
    assert_eq!(pids, [812, 813, 900]);
    let of = |inode| owners.process_of(inode);
    assert_eq!((of(71_001), of(71_003), of(71_004), of(71_005)), (Some(0), Some(1), Some(2), Some(2)));
    assert_eq!((of(71_002), of(0), of(u32::MAX)), (None, None, None));
    assert_eq!(gaps, []);
    assert_eq!(
        owners.processes[2],
        Process {
            pid: 900,
            name: "java".into(),
            container: Some("4f1c2d3e5a6b".into()),
            open_files: Some(4),
            open_files_limit: Some(1_048_576),
        }
    );
    assert_eq!(owners.processes[0].container, None);
}

#[test]
fn links_that_only_look_like_sockets_own_nothing() {
    let mut gaps = Vec::new();
    let wanted = &[1, 71_001, 71_002, 71_003, 71_004, u32::MAX];
    let owners = Owners::scan(&fixture("proc-hostile"), wanted, &mut gaps);
    let owned: Vec<bool> = [71_001, 71_002, 71_003, 71_004, 1, u32::MAX]
        .map(|inode| owners.process_of(inode).is_some())
        .to_vec();
    assert_eq!(owned, [true, false, false, false, false, false]);
    assert_eq!(owners.processes.len(), 1);
    // 67/fd is a file; 68/fd points nowhere, as if the process had just ended; 69 has no fd at all.
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0].because, "the open files of 1 of 4 processes: not a directory");
}

#[test]
fn what_is_found_everywhere_needs_no_gap() {
    let mut gaps = Vec::new();
    let owners = Owners::scan(&fixture("proc-hostile"), &[71_001], &mut gaps);
    assert_eq!(owners.process_of(71_001), Some(0));
    assert_eq!(gaps, [], "the unreadable process cannot hold what has an owner with a lower pid");
    assert!(Owners::scan(&fixture("proc-3.10"), &[0], &mut gaps).processes.is_empty());
    assert_eq!(gaps, []);
    Owners::scan(&Root::below(Path::new("/nowhere")), &[5], &mut gaps);
    assert_eq!(gaps[0].because, "the processes: no such file");
}

#[test]
fn the_running_kernel_names_this_process() {
    let listeners: Vec<TcpListener> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    // A descriptor far beyond the number of open files is found as well.
    let far = rustix::io::fcntl_dupfd_cloexec(&listeners[4], 900).unwrap();
    let inode = |file: &TcpListener| {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
        u32::try_from(std::fs::metadata(path).unwrap().ino()).unwrap()
    };
    let inodes: Vec<u32> = listeners.iter().map(inode).collect();
    drop(listeners);
    let owners = Owners::scan(&Root::default(), &inodes, &mut Vec::new());
    let pids: Vec<u32> = owners.processes.iter().map(|process| process.pid).collect();
    assert_eq!(pids, [std::process::id()]);
    assert_eq!(
        inodes.iter().map(|inode| owners.process_of(*inode)).collect::<Vec<_>>(),
        [None, None, None, None, Some(0)]
    );
    assert!(owners.processes[0].open_files.is_some_and(|files| files >= 4));
    assert!(owners.processes[0].open_files_limit.is_some());
    drop(far);
}

#[test]
fn a_process_read_in_parts_loses_no_descriptor() {
    let (reader, _writer) = std::os::unix::net::UnixStream::pair().unwrap();
    let inode = |file: &OwnedFd| u32::try_from(rustix::fs::fstat(file).unwrap().st_ino).unwrap();
    let sockets: Vec<OwnedFd> = (0..30).map(|_| TcpListener::bind("127.0.0.1:0").unwrap().into()).collect();
    // Beyond every part, so that only listing finds it.
    let far = rustix::io::fcntl_dupfd_cloexec(&reader, 800).unwrap();
    let mut inodes: Vec<u32> = sockets.iter().chain([&far]).map(inode).collect();
    inodes.sort_unstable();
    drop(reader);
    let wanted = Inodes::new(inodes);
    for part in [1, 3, 7, PART] {
        let scan = Scan::plan(&Root::default(), &wanted, part).unwrap();
        scan.run();
        assert!(!scan.missing(), "parts of {part}: {} of {}", scan.found.into_inner(), wanted.sorted.len());
    }
}

#[test]
fn a_listing_begins_at_the_descriptor_it_is_told() {
    let far = rustix::io::fcntl_dupfd_cloexec(TcpListener::bind("127.0.0.1:0").unwrap(), 700).unwrap();
    let number = u32::try_from(std::os::fd::AsRawFd::as_raw_fd(&far)).unwrap();
    let inode = u32::try_from(rustix::fs::fstat(&far).unwrap().st_ino).unwrap();
    let wanted = Inodes::new(vec![inode]);
    for (start, missing) in [(number, false), (number + 1, true)] {
        let mut scan = Scan::plan(&Root::default(), &wanted, PART).unwrap();
        let own = scan.pids.binary_search(&std::process::id()).unwrap();
        scan.parts = vec![Part { process: u32::try_from(own).unwrap(), files: Files::ListFrom(start) }];
        scan.run();
        assert_eq!(scan.missing(), missing, "from {start}, it is at {number}");
    }
}

#[test]
fn parts_and_threads_give_the_same_owners_as_one_thread() {
    // 40 processes hold the same 300 sockets in turn, each the last 200 of a window: the lowest pid must win.
    let directory = tempfile::tempdir().unwrap();
    let root = Root::below(directory.path());
    for pid in 1..=40_u32 {
        let files = root.proc.join(format!("{pid}/fd"));
        std::fs::create_dir_all(&files).unwrap();
        for descriptor in 0..20 {
            let socket = 1_000 + (pid * 5 + descriptor) % 300;
            std::os::unix::fs::symlink(format!("socket:[{socket}]"), files.join(descriptor.to_string()))
                .unwrap();
        }
    }
    let wanted = Inodes::new((1_000..1_300).collect());
    let mut expected = None;
    for threads in [1, 2, 4, 8] {
        let mut scan = Scan::plan(&root, &wanted, PART).unwrap();
        scan.threads = threads;
        scan.run();
        let (owner, _) = scan.result(&root);
        // Socket 1_000 + n is held by pids from (n - 19) / 5 rounded up to n / 5.
        assert_eq!(owner[50], (50_u32 - 19).div_ceil(5) - 1);
        assert_eq!(*expected.get_or_insert_with(|| owner.clone()), owner, "{threads} threads");
    }
}

#[test]
fn numbers_become_names_and_back() {
    for value in [0, 9, 10, 65_535, u32::MAX] {
        assert_eq!(decimal(value, &mut [0; 11]).to_bytes(), value.to_string().as_bytes());
        assert_eq!(number(value.to_string().as_bytes()), Some(value));
    }
}

proptest! {
    #[test]
    fn the_index_finds_exactly_what_is_in_it(
        near in proptest::collection::btree_set(70_000_u32..70_400, 0..200),
        far in proptest::collection::btree_set(any::<u32>(), 0..20),
        probe in any::<u32>(),
    ) {
        let all: Vec<u32> = near.union(&far).copied().collect();
        let index = Inodes::new(all.clone());
        for inode in all.iter().copied().chain(69_999..70_401).chain([probe, 0, u32::MAX]) {
            prop_assert_eq!(index.place(inode), all.binary_search(&inode).ok());
        }
        prop_assert!(index.starts.len() <= all.len() + 2);
    }

    #[test]
    fn any_link_is_read_without_panic(link in proptest::collection::vec(any::<u8>(), 0..40)) {
        socket_inode(&link);
    }
}
