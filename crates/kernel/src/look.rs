//! The look: start, watch, end. Everything is read in each namespace from a thread that has entered it.

use crate::netns::{self, Found, NetnsError, Selection};
use crate::owners::Owners;
use crate::snapshot::BoundWalk;
use crate::sock_diag::{Query, SockDiag, States};
use crate::{Root, addresses, conntrack, counters, host, programs, settings, slabs, snapshot, sockstat};
use evidence::{Case, Counters, Gap, Namespace, Process, Tally, TallyOptions, Unseen};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::collections::{BTreeMap, HashMap as StdHashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};
use tcp::State;

/// While a look lasts, live sockets are listed so often at most: those that close in between keep their owner.
const ROUND: Duration = Duration::from_millis(100);

/// Whoever decides on the end of a look is asked so often.
const QUESTION: Duration = Duration::from_millis(10);

/// Listing takes at most this part of the time: a round that took 30 ms is followed by 270 ms of rest.
const REST_FACTOR: u32 = 9;

/// Whoever was not seen in a look of this length is not seen in a longer one either.
const LONG_LOOK: Duration = Duration::from_secs(10);

/// So many sockets of one namespace are remembered with their owner in each half of the memory.
const REMEMBERED: usize = 200_000;

/// What to look at, and how long.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which network namespaces.
    pub selection: Selection,
    /// How long counters are watched; zero is a single glance.
    pub duration: Duration,
    /// Ask the kernel for ports that bind() took whatever that costs, not only where they can matter.
    pub all_bound_ports: bool,
    /// Where the host's files are.
    pub root: Root,
}

/// Why there is no case.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// A namespace cannot be found or entered.
    #[error(transparent)]
    Namespace(#[from] NetnsError),
}

/// Looks at the host. Changes nothing.
pub fn look(options: &Options) -> Result<Case, LookError> {
    look_while(options, || true)
}

/// Looks at the host until `goes_on` says no more, but not longer than the options say. It is asked for the first time
/// when the counters of all namespaces have been read, and not at all in a glance.
pub fn look_while(options: &Options, goes_on: impl Fn() -> bool) -> Result<Case, LookError> {
    let root = &options.root;
    let mut gaps = Vec::new();
    let mut watches: Vec<Watch> =
        netns::find(root, &options.selection, &mut gaps)?.into_iter().map(Watch::new).collect();
    if !options.duration.is_zero() {
        each(&mut watches, &options.selection, &mut gaps, |watch, _| watch.start(root))?;
        watch(&mut watches, options, &goes_on, &mut gaps)?;
    }
    let mut finished = Vec::new();
    each(&mut watches, &options.selection, &mut gaps, |watch, gaps| {
        let (namespace, tally) = watch.finish(root, options.all_bound_ports, gaps);
        finished.push((namespace, tally));
    })?;
    own(&mut finished, root, &mut gaps);
    let found = watches.iter().map(|watch| (watch.found.identity(), watch.found.name.clone())).collect();
    let mut configurations = programs::read(root, &found, &mut gaps);
    // Files of the host's root are for its first namespace; others begin with what the kernel presets.
    if watches.iter().any(|watch| watch.found.name == "host") {
        configurations.extend(programs::read_boot(root, &mut gaps));
    }
    let namespaces = finished
        .into_iter()
        .map(|(namespace, tally)| complete(namespace, tally, options.duration, &mut gaps))
        .collect();
    let mut host = host::read(root);
    host.taken_at = format!("{:.9}", jiff::Timestamp::now());
    host.slabs = slabs::read(root, &mut gaps);
    Ok(Case { host, namespaces, configurations, gaps, ..Case::default() })
}

/// Does something in every namespace. Where all were asked for, one that has gone or cannot be entered is a
/// gap; where one was named, it is an error.
fn each(
    watches: &mut Vec<Watch>,
    selection: &Selection,
    gaps: &mut Vec<Gap>,
    mut act: impl FnMut(&mut Watch, &mut Vec<Gap>) + Send,
) -> Result<(), NetnsError> {
    let mut error = None;
    watches.retain_mut(|watch| {
        if error.is_some() {
            return true;
        }
        let found = watch.found.clone();
        match netns::enter(&found, || act(watch, gaps)) {
            Ok(()) => true,
            Err(refused) if matches!(selection, Selection::All) => {
                gaps.push(not_entered(&refused));
                false
            }
            Err(refused) => {
                error = Some(refused);
                true
            }
        }
    });
    error.map_or(Ok(()), Err)
}

/// The gap that a namespace leaves. It is in no namespace of the case, and names itself.
fn not_entered(refused: &NetnsError) -> Gap {
    let how_to_see = match refused {
        NetnsError::Denied(_) => "run as root",
        NetnsError::Gone(_) => "look again; with --for 0 hardly one can end meanwhile",
        _ => "look again",
    };
    Gap {
        unseen: Unseen::Namespace,
        netns: None,
        because: refused.to_string(),
        how_to_see: how_to_see.to_owned(),
    }
}

/// Lists live sockets again and again until the look is over.
fn watch(
    watches: &mut Vec<Watch>,
    options: &Options,
    goes_on: &impl Fn() -> bool,
    gaps: &mut Vec<Gap>,
) -> Result<(), NetnsError> {
    let end = Instant::now() + options.duration;
    loop {
        let round = Instant::now();
        each(watches, &options.selection, gaps, |watch, _| watch.list_live())?;
        let mut wanted: Vec<u32> =
            watches.iter().flat_map(|watch| watch.new.iter().map(|new| new.inode)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if !wanted.is_empty() {
            // What these scans cannot see, the last one cannot either, and that one says so.
            let owners = Owners::scan(&options.root, &wanted, &mut Vec::new());
            for watch in watches.iter_mut() {
                watch.remember(&owners);
            }
        }
        let rested = Instant::now() + (round.elapsed() * REST_FACTOR).max(ROUND);
        while Instant::now() < rested {
            if Instant::now() >= end || !goes_on() {
                return Ok(());
            }
            let next = rested.min(end).saturating_duration_since(Instant::now());
            std::thread::sleep(next.min(QUESTION));
        }
    }
}

/// A live socket that was not seen before.
struct NewSocket {
    cookie: u64,
    inode: u32,
}

/// A namespace while it is watched.
struct Watch {
    found: Found,
    started: Option<Started>,
    processes: Roster,
    /// Owners by cookie, in two halves: the older is dropped when the younger is full or a minute old.
    young: HashMap<u64, u32, FixedState>,
    old: HashMap<u64, u32, FixedState>,
    turned: Instant,
    new: Vec<NewSocket>,
}

struct Started {
    at: Instant,
    counters: BTreeMap<String, u64>,
    conntrack: BTreeMap<String, u64>,
}

impl Watch {
    fn new(found: Found) -> Self {
        Self {
            found,
            started: None,
            processes: Roster::default(),
            young: HashMap::default(),
            old: HashMap::default(),
            turned: Instant::now(),
            new: Vec::new(),
        }
    }

    fn start(&mut self, root: &Root) {
        self.started = Some(Started {
            at: Instant::now(),
            counters: counters::read(root).unwrap_or_default(),
            conntrack: conntrack::stats(root),
        });
    }

    fn list_live(&mut self) {
        self.new.clear();
        let Ok(mut diag) = SockDiag::open() else { return };
        // An error here is met again, and told, when the look ends.
        let _ = diag.dump(Query::all(States::LIVE), |socket, _| {
            let known = self.young.contains_key(&socket.cookie) || self.old.contains_key(&socket.cookie);
            if let Some(inode @ 1..) = socket.inode
                && !known
                && self.new.len() < REMEMBERED
            {
                self.new.push(NewSocket { cookie: socket.cookie, inode });
            }
        });
    }

    fn remember(&mut self, owners: &Owners) {
        let minute = tcp::profile::linux::TIME_WAIT.value;
        if self.young.len() + self.new.len() > REMEMBERED || self.turned.elapsed() > minute {
            self.old = std::mem::take(&mut self.young);
            self.turned = Instant::now();
        }
        for new in self.new.drain(..) {
            if let Some(process) = owners.process_of(new.inode) {
                let process = self.processes.place_of(&owners.processes[process as usize]);
                self.young.insert(new.cookie, process);
            }
        }
    }

    fn finish(
        &mut self,
        root: &Root,
        all_bound_ports: bool,
        gaps: &mut Vec<Gap>,
    ) -> (Namespace, Option<Tally>) {
        let name = self.found.name.clone();
        let first_gap = gaps.len();
        let counters = self.counters(root, gaps);
        let settings = settings::read(root, gaps);
        let mut owners_by_cookie = std::mem::take(&mut self.old);
        owners_by_cookie.extend(self.young.drain());
        let options = TallyOptions {
            range: settings.local_port_range(),
            reserved: settings.reserved_ports(),
            owners_by_cookie,
            seed: RandomState::new().hash_one(0_u8),
        };
        let sockstat = sockstat::read(root);
        let open_sockets = sockstat.get("sockets.used").copied();
        let walk = if all_bound_ports { BoundWalk::Always } else { BoundWalk::IfItMatters { open_sockets } };
        let tally = snapshot::tally(options, walk, &mut |gap| gaps.push(gap));
        let tally = tally.map_err(|error| gaps.push(no_sockets(&error))).ok();
        let conntrack = conntrack::read(root, &settings, gaps).map(|mut conntrack| {
            if let Some(started) = &mut self.started {
                conntrack.stats_start = std::mem::take(&mut started.conntrack);
            }
            conntrack
        });
        let addresses = addresses::read(gaps);
        for gap in &mut gaps[first_gap..] {
            gap.netns = Some(name.clone());
        }
        let namespace = Namespace {
            name,
            inode: self.found.inode,
            here: self.found.is_here(),
            holders: std::mem::take(&mut self.found.holders),
            addresses,
            settings,
            counters,
            sockstat,
            processes: std::mem::take(&mut self.processes).processes,
            conntrack,
            ..Namespace::default()
        };
        (namespace, tally)
    }

    fn counters(&mut self, root: &Root, gaps: &mut Vec<Gap>) -> Counters {
        let end = counters::read(root).unwrap_or_else(|error| {
            gaps.push(Gap {
                unseen: Unseen::Counters,
                netns: None,
                because: format!("the counters of this namespace: {error}"),
                how_to_see: "mount /proc".to_owned(),
            });
            BTreeMap::new()
        });
        match &mut self.started {
            None => Counters { interval_ms: 0, start: BTreeMap::new(), end },
            Some(started) => Counters {
                interval_ms: u64::try_from(started.at.elapsed().as_millis()).unwrap_or(u64::MAX).max(1),
                start: std::mem::take(&mut started.counters),
                end,
            },
        }
    }
}

fn no_sockets(error: &std::io::Error) -> Gap {
    Gap {
        unseen: Unseen::Sockets,
        netns: None,
        because: format!("the kernel's socket tables cannot be read: {error}"),
        how_to_see: "load the module tcp_diag (modprobe tcp_diag), or allow NETLINK_SOCK_DIAG in the sandbox"
            .to_owned(),
    }
}

/// Processes, each once.
#[derive(Default)]
struct Roster {
    processes: Vec<Process>,
    places: StdHashMap<u32, u32>,
}

impl Roster {
    fn of(processes: Vec<Process>) -> Self {
        let places = (0..).zip(&processes).map(|(place, process)| (process.pid, place)).collect();
        Self { processes, places }
    }

    fn place_of(&mut self, process: &Process) -> u32 {
        *self.places.entry(process.pid).or_insert_with(|| {
            self.processes.push(process.clone());
            u32::try_from(self.processes.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

/// Looks up the owners of all sockets at once: the open files of a process tell nothing of its namespaces.
fn own(finished: &mut [(Namespace, Option<Tally>)], root: &Root, gaps: &mut Vec<Gap>) {
    let mut wanted: Vec<u32> = finished
        .iter()
        .filter_map(|(_, tally)| tally.as_ref())
        .flat_map(Tally::inodes)
        .filter(|inode| *inode != 0)
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let owners = if wanted.is_empty() { Owners::default() } else { Owners::scan(root, &wanted, gaps) };
    for (namespace, tally) in finished {
        let Some(tally) = tally else { continue };
        let mut roster = Roster::of(std::mem::take(&mut namespace.processes));
        let mut places: Vec<Option<u32>> = vec![None; owners.processes.len()];
        for owner in tally.inodes().filter_map(|inode| owners.process_of(inode)) {
            let owner = owner as usize;
            if places[owner].is_none() {
                places[owner] = Some(roster.place_of(&owners.processes[owner]));
            }
        }
        tally.attribute(|inode| owners.process_of(inode).and_then(|owner| places[owner as usize]));
        namespace.processes = roster.processes;
    }
}

/// How to see who opens connections, after a look of this length.
fn how_to_see_openers(looked: Duration) -> &'static str {
    if looked < LONG_LOOK {
        "look longer while they are made: lastack doctor --for 10s"
    } else {
        "they end sooner than live sockets can be listed; count who connects: \
         bpftrace -e 'kprobe:tcp_connect { @[comm, pid] = count(); }'"
    }
}

/// Takes the groups out of the tally, and says what they cannot tell.
fn complete(
    mut namespace: Namespace,
    tally: Option<Tally>,
    looked: Duration,
    gaps: &mut Vec<Gap>,
) -> Namespace {
    let Some(tally) = tally else { return namespace };
    let mut gap = |unseen, because: String, how_to_see: &str| {
        gaps.push(Gap {
            unseen,
            netns: Some(namespace.name.clone()),
            because,
            how_to_see: how_to_see.to_owned(),
        });
    };
    if tally.live_not_kept() > 0 {
        let because = format!(
            "owners of {} live sockets beyond the first {}",
            tally.live_not_kept(),
            evidence::MAX_LIVE
        );
        gap(Unseen::Owners, because, "ss -tanp");
    }
    let sockets = tally.finish();
    if sockets.folded > 0 {
        let because = format!(
            "{} sockets have more different peers than are kept apart ({}): they are counted by port only",
            sockets.folded,
            evidence::MAX_GROUPS
        );
        gap(Unseen::Sockets, because, "ss -tan");
    }
    let ownerless: u64 = sockets.groups.iter().map(|group| u64::from(group.unowned(State::TimeWait))).sum();
    if ownerless > 0 {
        let because =
            format!("who opened {ownerless} of the sockets in TIME-WAIT: the kernel forgets it at close");
        gap(Unseen::Owners, because, how_to_see_openers(looked));
    }
    namespace.sockets = sockets;
    namespace
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_ends_when_it_is_told_and_not_before_it_began() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let asked = AtomicU32::new(0);
        let options = Options { duration: Duration::from_secs(3_600), ..Options::default() };
        let case = look_while(&options, || asked.fetch_add(1, Ordering::Relaxed) < 3).expect("a look");
        assert_eq!(asked.into_inner(), 4);
        assert!(case.namespaces[0].counters.watched());
    }

    #[test]
    fn nobody_is_told_to_do_what_was_just_done() {
        assert!(how_to_see_openers(Duration::from_secs(1)).contains("--for 10s"));
        assert!(!how_to_see_openers(Duration::from_secs(10)).contains("--for"));
        let gone = not_entered(&NetnsError::Gone("pid:7".to_owned()));
        assert!(gone.because.contains("pid:7") && !gone.how_to_see.contains("root"), "{gone:?}");
        assert_eq!(not_entered(&NetnsError::Denied("pid:7".to_owned())).how_to_see, "run as root");
    }
}
