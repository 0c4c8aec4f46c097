//! Which process owns a socket: the links in /proc/PID/fd, read as fast as the kernel lets us.
//!
//! Where the kernel says how many files a process has open (since 6.2 as the size of the directory), its
//! descriptors are tried from 0 upwards without listing them first, which costs a third less; the kernel gives the
//! lowest free number, so they lie close together. What lies beyond is listed from there on. Large processes are
//! cut into parts, and threads take the parts in order of pid, so that the lowest pid that holds a socket is its
//! owner however the threads run: nginx's master is named for the listener that its workers share.

use crate::process;
use crate::root::{Root, number, open_directory, why};
use evidence::{Gap, Process, Unseen};
use rustix::fs::{CWD, RawDir, SeekFrom};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Descriptors in one part of a large process.
const PART: u32 = 2_048;

/// Threads are not worth their start for fewer open files than this.
const WORTH_A_THREAD: u64 = 512;

/// At most so many threads: the kernel gains little from more, and the host has other work.
const MAX_THREADS: usize = 4;

/// `socket:[4294967295]` has 19 bytes; a longer link is cut, and is no socket.
const LINK_BYTES: usize = 32;

const NOBODY: u32 = u32::MAX;

/// Sockets and the processes that hold them open.
#[derive(Debug, Default)]
pub struct Owners {
    wanted: Inodes,
    /// For each wanted inode an index into `processes`, or [`NOBODY`].
    owner: Vec<u32>,
    /// The owners, by ascending pid.
    pub processes: Vec<Process>,
}

impl Owners {
    /// Looks for the processes that hold these sockets, in every process that /proc shows, whatever its network
    /// namespace: inodes of sockets are unique on a host. Stops when each has its owner.
    ///
    /// `wanted` may be in any order. 0 is no inode: it has no owner.
    pub fn scan(root: &Root, wanted: &[u32], gaps: &mut Vec<Gap>) -> Self {
        let mut sorted: Vec<u32> = wanted.iter().copied().filter(|inode| *inode != 0).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let wanted = Inodes::new(sorted);
        if wanted.sorted.is_empty() {
            return Self { wanted, owner: Vec::new(), processes: Vec::new() };
        }
        let scan = match Scan::plan(root, &wanted, PART) {
            Ok(scan) => scan,
            Err(error) => {
                gaps.push(gap(format!("the processes: {}", why(&error)), "mount /proc"));
                let owner = vec![NOBODY; wanted.sorted.len()];
                return Self { wanted, owner, processes: Vec::new() };
            }
        };
        scan.run();
        if scan.missing() {
            scan.explain(root, gaps);
        }
        let (owner, processes) = scan.result(root);
        Self { wanted, owner, processes }
    }

    /// The process that holds a socket, as an index into [`Owners::processes`].
    #[inline]
    pub fn process_of(&self, inode: u32) -> Option<u32> {
        let place = self.wanted.place(inode)?;
        Some(self.owner[place]).filter(|process| *process != NOBODY)
    }
}

/// One piece of work: the files of a process, or a part of them.
struct Part {
    /// Index into the pids.
    process: u32,
    files: Files,
}

#[derive(Clone, Copy)]
enum Files {
    /// List all.
    List,
    /// Try from 0; the kernel says that there are so many.
    Try(u32),
    /// Try these.
    Range(u32, u32),
    /// List those from here on.
    ListFrom(u32),
}

struct Scan<'a> {
    proc: OwnedFd,
    wanted: &'a Inodes,
    pids: Vec<u32>,
    /// True if /proc is the kernel's, not a copy.
    live: bool,
    /// Open files by process, where known.
    open_files: Vec<AtomicU32>,
    parts: Vec<Part>,
    threads: usize,
    /// The next part.
    next: AtomicUsize,
    /// For each wanted inode the lowest index into `pids`.
    owner: Vec<AtomicU32>,
    found: AtomicUsize,
    /// What kept a process from being read, by its index.
    trouble: Mutex<BTreeMap<u32, io::Error>>,
}

impl<'a> Scan<'a> {
    fn plan(root: &Root, wanted: &'a Inodes, part: u32) -> io::Result<Self> {
        let proc = open_directory(CWD, &root.proc)?;
        let pids = root.pids()?;
        let live =
            rustix::fs::fstatfs(&proc).is_ok_and(|system| system.f_type == rustix::fs::PROC_SUPER_MAGIC);
        // This process has open files; if the kernel says 0, it does not say (before 6.2).
        let sized = live && rustix::fs::statat(&proc, "self/fd", follow()).is_ok_and(|own| own.st_size > 0);
        let mut parts = Vec::with_capacity(pids.len());
        let mut open_files = Vec::with_capacity(pids.len());
        let mut work = 0_u64;
        for (process, pid) in (0_u32..).zip(&pids) {
            let mut known = NOBODY;
            if sized {
                // A process that is gone has no files; threads of the kernel have none either.
                let entry = rustix::fs::statat(&proc, format!("{pid}/fd"), follow());
                let count = entry.map_or(0, |entry| u32::try_from(entry.st_size).unwrap_or(NOBODY - 1));
                known = count;
                work += u64::from(count);
                if count > 2 * part {
                    let starts = (0..count).step_by(part as usize);
                    parts.extend(starts.map(|start| {
                        let end = count.min(start.saturating_add(part));
                        Part { process, files: Files::Range(start, end) }
                    }));
                    parts.push(Part { process, files: Files::ListFrom(count) });
                } else if count > 0 {
                    parts.push(Part { process, files: Files::Try(count) });
                }
            } else {
                // A guess; most processes have some dozens.
                work += 32;
                parts.push(Part { process, files: Files::List });
            }
            open_files.push(AtomicU32::new(known));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            proc,
            wanted,
            live,
            open_files,
            threads: if work < WORTH_A_THREAD { 1 } else { cores.min(MAX_THREADS) },
            parts,
            next: AtomicUsize::new(0),
            owner: wanted.sorted.iter().map(|_| AtomicU32::new(NOBODY)).collect(),
            found: AtomicUsize::new(0),
            trouble: Mutex::default(),
            pids,
        })
    }

    fn missing(&self) -> bool {
        self.found.load(Ordering::Relaxed) < self.wanted.sorted.len()
    }

    fn run(&self) {
        std::thread::scope(|scope| {
            for _ in 1..self.threads {
                // Without another thread this one does all the work.
                let _ = std::thread::Builder::new().spawn_scoped(scope, || self.work());
            }
            self.work();
        });
    }

    /// Takes parts in order until all sockets have an owner. A part that was begun is read to its end, and so
    /// are all before it: no lower pid is missed.
    fn work(&self) {
        let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
        while self.missing() {
            let Some(part) = self.parts.get(self.next.fetch_add(1, Ordering::Relaxed)) else { return };
            if let Err(error) = self.read(part, &mut buffer)
                && !is_gone(&error)
                && let Ok(mut trouble) = self.trouble.lock()
            {
                trouble.entry(part.process).or_insert(error);
            }
        }
    }

    fn read(&self, part: &Part, buffer: &mut [MaybeUninit<u8>]) -> io::Result<()> {
        let pid = self.pids[part.process as usize];
        let files = open_directory(&self.proc, format!("{pid}/fd"))?;
        match part.files {
            Files::List => {
                let count = self.list(&files, part.process, buffer)?;
                self.open_files[part.process as usize].store(count, Ordering::Relaxed);
            }
            Files::Try(count) => {
                self.try_each(&files, part.process, 0, count)?;
                // Even if there were so many: some may be new, and some beyond.
                self.list_from(&files, part.process, count, buffer)?;
            }
            Files::Range(start, end) => self.try_each(&files, part.process, start, end)?,
            Files::ListFrom(start) => self.list_from(&files, part.process, start, buffer)?,
        }
        Ok(())
    }

    /// Reads the links `start..end`, where they exist.
    fn try_each(&self, files: &OwnedFd, process: u32, start: u32, end: u32) -> io::Result<()> {
        for descriptor in start..end {
            self.link(files, process, decimal(descriptor, &mut [0; 11]))?;
        }
        Ok(())
    }

    fn list_from(
        &self,
        files: &OwnedFd,
        process: u32,
        start: u32,
        buffer: &mut [MaybeUninit<u8>],
    ) -> io::Result<()> {
        // Descriptor N is at place N + 2, after `.` and `..` (fs/proc/fd.c proc_readfd_common()).
        rustix::fs::seek(files, SeekFrom::Start(u64::from(start) + 2))?;
        self.list(files, process, buffer)?;
        Ok(())
    }

    fn list(&self, files: &OwnedFd, process: u32, buffer: &mut [MaybeUninit<u8>]) -> io::Result<u32> {
        let mut entries = RawDir::new(files.as_fd(), buffer);
        let mut there = 0;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if number(entry.file_name().to_bytes()).is_some() {
                there += u32::from(self.link(files, process, entry.file_name())?);
            }
        }
        Ok(there)
    }

    /// Reads one link and notes the socket. False if there is no such link.
    #[inline]
    fn link(&self, files: &OwnedFd, process: u32, name: &CStr) -> io::Result<bool> {
        let mut target = [MaybeUninit::<u8>::uninit(); LINK_BYTES];
        match rustix::fs::readlinkat_raw(files, name, &mut target) {
            Ok((target, _)) => {
                if let Some(place) = socket_inode(target).and_then(|inode| self.wanted.place(inode))
                    && self.owner[place].fetch_min(process, Ordering::Relaxed) == NOBODY
                {
                    self.found.fetch_add(1, Ordering::Relaxed);
                }
                Ok(true)
            }
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Says why some sockets have no owner, if a reason is known. A socket that was closed meanwhile, and one
    /// that no process has open, has none either; that is no gap.
    fn explain(&self, root: &Root, gaps: &mut Vec<Gap>) {
        const ROOT: &str = "run as root, with CAP_SYS_PTRACE";
        let Ok(trouble) = self.trouble.lock() else { return };
        let (denied, other): (Vec<_>, Vec<_>) =
            trouble.values().partition(|error| error.kind() == io::ErrorKind::PermissionDenied);
        let all = self.pids.len();
        if !denied.is_empty() {
            gaps.push(gap(
                format!("the open files of {} of {all} processes: permission denied", denied.len()),
                ROOT,
            ));
        }
        if let Some(first) = other.first() {
            let because = format!("the open files of {} of {all} processes: {}", other.len(), why(first));
            gaps.push(gap(because, "look again"));
        }
        if !self.live {
            return;
        }
        if self.pids.first() != Some(&1) {
            gaps.push(gap("/proc hides the processes of other users (hidepid)".to_owned(), ROOT));
        }
        if root.sees_all_pids() == Some(false) {
            gaps.push(gap(
                "processes outside this pid namespace are not in /proc".to_owned(),
                "run on the host, or in a container with the host's pid namespace (`--pid=host`)",
            ));
        }
    }

    fn result(self, root: &Root) -> (Vec<u32>, Vec<Process>) {
        let mut owner: Vec<u32> = self.owner.into_iter().map(AtomicU32::into_inner).collect();
        // From indexes into all pids to indexes into those that own something.
        let mut index = vec![NOBODY; self.pids.len()];
        for process in owner.iter().filter(|process| **process != NOBODY) {
            index[*process as usize] = 0;
        }
        let mut processes = Vec::new();
        for (place, pid) in
            self.pids.iter().enumerate().filter(|(place, _)| index[*place] == 0).collect::<Vec<_>>()
        {
            index[place] = u32::try_from(processes.len()).unwrap_or(NOBODY);
            let open_files = self.open_files[place].load(Ordering::Relaxed);
            processes.push(Process {
                pid: *pid,
                name: process::name(root, *pid),
                container: process::container(root, *pid),
                open_files: (open_files != NOBODY).then(|| u64::from(open_files)),
                open_files_limit: process::open_files_limit(root, *pid),
            });
        }
        for process in owner.iter_mut().filter(|process| **process != NOBODY) {
            *process = index[*process as usize];
        }
        (owner, processes)
    }
}

fn follow() -> rustix::fs::AtFlags {
    rustix::fs::AtFlags::empty()
}

fn gap(because: String, how_to_see: &str) -> Gap {
    Gap { unseen: Unseen::Owners, netns: None, because, how_to_see: how_to_see.to_owned() }
}

/// The process ended while we looked: nothing is missing.
fn is_gone(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(number, Some(rustix::io::Errno::NOENT | rustix::io::Errno::SRCH))
}

/// The inode in `socket:[71001]`.
#[inline]
pub(crate) fn socket_inode(link: &[u8]) -> Option<u32> {
    number(link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?)
}

/// A number as a file name.
#[inline]
fn decimal(mut number: u32, digits: &mut [u8; 11]) -> &CStr {
    let mut start = 10;
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    // The last byte stays 0, so there is always an end.
    CStr::from_bytes_until_nul(&digits[start..]).unwrap_or_default()
}

/// A sorted list of inodes with an index of pages, about one inode each: a lookup touches two places in memory
/// where a binary search over 70,000 would touch seventeen.
#[derive(Debug, Default)]
struct Inodes {
    sorted: Vec<u32>,
    /// Where each page begins in `sorted`, and the end of the last.
    starts: Vec<u32>,
    shift: u32,
}

impl Inodes {
    fn new(sorted: Vec<u32>) -> Self {
        let span = sorted.last().zip(sorted.first()).map_or(0, |(last, first)| last - first);
        let shift = (0..32).find(|shift| (span >> shift) as usize <= sorted.len()).unwrap_or(31);
        let mut starts = vec![0; (span >> shift) as usize + 2];
        if let Some(first) = sorted.first() {
            for inode in &sorted {
                starts[((inode - first) >> shift) as usize + 1] += 1;
            }
            for page in 1..starts.len() {
                starts[page] += starts[page - 1];
            }
        }
        Self { sorted, starts, shift }
    }

    #[inline]
    fn place(&self, inode: u32) -> Option<usize> {
        let page = (inode.checked_sub(*self.sorted.first()?)? >> self.shift) as usize;
        let (start, end) = (*self.starts.get(page)? as usize, *self.starts.get(page + 1)? as usize);
        Some(start + self.sorted[start..end].binary_search(&inode).ok()?)
    }
}

#[cfg(test)]
mod tests;
