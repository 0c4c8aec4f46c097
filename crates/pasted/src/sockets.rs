//! From the tables of one namespace to its sockets: of several tables, each kind of socket is taken from the one that
//! tells most of it, so that a socket is counted once.

use crate::kind::Kind;
use crate::sections::{Section, Strays};
use crate::table::{self, Read, Row, selected};
use evidence::{Process, Settings, Sockets, Tally, TallyOptions};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use tcp::{State, StateSet};

/// So many processes are kept apart; sockets of further ones have no owner.
const MOST_PROCESSES: usize = 65_536;

/// So many listeners are kept; a host has hundreds.
const MOST_LISTENERS: u64 = 100_000;

/// The longest name of a process that is kept; the kernel has 15 bytes.
const LONGEST_NAME: usize = 64;

/// A table, and what it tells.
pub(crate) struct Table<'a> {
    pub(crate) section: &'a Section<'a>,
    text: &'a str,
    /// The states that it would show if there were such sockets.
    covers: StateSet,
    /// The same of families: IPv4, IPv6.
    families: [bool; 2],
    /// True if lines may be left out: it tells least, whatever it has.
    filtered: bool,
    pub(crate) seen: Seen,
}

/// What was seen in a table.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    sockets: u64,
    states: StateSet,
    families: [bool; 2],
    pub(crate) time_wait: u64,
    pub(crate) time_wait_timed: u64,
    /// Sockets that a process may own.
    pub(crate) live: u64,
    pub(crate) owned: u64,
    /// Sockets in the middle of closing, and those whose idle time is told.
    pub(crate) waiting: u64,
    pub(crate) idle_known: u64,
    /// Sockets whose addresses may be cut off.
    pub(crate) clipped: u64,
    pub(crate) odd: Strays,
    pub(crate) named: Strays,
    /// Sockets whose addresses somebody hid, or that are shown by names.
    pub(crate) masked: Strays,
    pub(crate) stateless: Strays,
    pub(crate) cut: Strays,
    pub(crate) left_out: Strays,
    /// Rows of a table that has no column for the protocol, and none of TCP's states but those that UDP has as well.
    pub(crate) of_udp: Strays,
    /// Local ports of connections, a bit each: Windows shows the port of each that was opened here as bound, too.
    connected: Vec<u64>,
}

/// Words of 64 bits for all ports.
const PORT_WORDS: usize = 65_536 / 64;

impl Seen {
    fn of(text: &str, section: &Section<'_>) -> Self {
        let mut seen = Self {
            sockets: 0,
            states: StateSet::EMPTY,
            families: [false; 2],
            time_wait: 0,
            time_wait_timed: 0,
            live: 0,
            owned: 0,
            waiting: 0,
            idle_known: 0,
            clipped: 0,
            odd: Strays::default(),
            named: Strays::default(),
            masked: Strays::default(),
            stateless: Strays::default(),
            cut: Strays::default(),
            left_out: Strays::default(),
            of_udp: Strays::default(),
            connected: Vec::new(),
        };
        let doubles = matches!(section.kind, Kind::Windows | Kind::PowerShell);
        let mut of_udp = Strays::default();
        table::rows(text, section, |line, read| match read {
            Read::Socket(row) => {
                if doubles && !matches!(row.state, State::Closed | State::Listen) {
                    seen.connects(row.local.port);
                }
                of_udp.add(line);
                seen.add(line, &row);
            }
            Read::Aside => {}
            Read::Named => seen.named.add(line),
            Read::Stateless => seen.stateless.add(line),
            Read::Cut => seen.cut.add(line),
            Read::LeftOut => seen.left_out.add(line),
            Read::Odd => seen.odd.add(line),
        });
        // ss shows no protocol if it was asked for one; TCP's has listeners or more states than these two.
        let both = StateSet::of(&[State::Closed, State::Established]);
        let alike = seen.states.has(State::Closed) && seen.states.minus(both).is_empty();
        let untold = section.kind == Kind::Ss && section.command.is_none();
        if untold && alike && !table::has_protocol(text, section) {
            seen.of_udp = of_udp;
            seen.sockets = 0;
        }
        seen
    }

    fn connects(&mut self, port: u16) {
        if self.connected.is_empty() {
            self.connected.resize(PORT_WORDS, 0);
        }
        if let Some(word) = self.connected.get_mut(usize::from(port / 64)) {
            *word |= 1 << (port % 64);
        }
    }

    fn is_connected(&self, port: u16) -> bool {
        self.connected.get(usize::from(port / 64)).is_some_and(|word| word >> (port % 64) & 1 == 1)
    }

    fn add(&mut self, line: u32, row: &Row<'_>) {
        self.sockets += 1;
        if row.is_masked() {
            self.masked.add(line);
        }
        self.states = self.states.with(row.state);
        self.families[usize::from(row.is_wide())] = true;
        self.clipped += u64::from(row.clipped);
        if row.state == State::TimeWait {
            self.time_wait += 1;
            self.time_wait_timed += u64::from(row.timer.is_some_and(|timer| timer.time_wait));
        } else if !row.is_mini() {
            self.live += u64::from(row.inode != Some(0));
            self.owned += u64::from(row.process.is_some());
        }
        if row.is_closing() {
            self.waiting += 1;
            self.idle_known += u64::from(row.idle_ms.is_some());
        }
    }
}

impl<'a> Table<'a> {
    /// Reads a table for the first time: what it tells.
    pub(crate) fn new(text: &'a str, section: &'a Section<'a>) -> Self {
        let seen = Seen::of(text, section);
        let command = section.command.as_ref();
        let filtered = command.is_some_and(|command| command.filtered);
        let covers = if filtered {
            seen.states
        } else {
            // A line above it that looks like a command is none if the table has what that would not show: a heading
            // says `ss`.
            let asked = table::asked(section).filter(|asked| seen.states.minus(*asked).is_empty());
            asked.unwrap_or_else(|| guessed(section.kind, seen.states))
        };
        let families = match (section.kind, command) {
            (Kind::ProcTcp, _) => seen.families,
            (kind, Some(command)) => selected::families(kind, command),
            (_, None) => [true; 2],
        };
        Self { section, text, covers, families, filtered, seen }
    }

    /// How much it tells of a socket in a state: of TIME-WAIT how old it is, of the others who owns them, and for how long
    /// they have waited.
    fn score(&self, state: State) -> u8 {
        if self.filtered {
            return 0;
        }
        let seen = &self.seen;
        let tells = if state == State::TimeWait {
            4 * u8::from(seen.time_wait_timed > 0)
        } else {
            2 * u8::from(seen.idle_known > 0) + 4 * u8::from(seen.owned > 0)
        };
        1 + u8::from(self.section.kind == Kind::Ss) + tells
    }

    /// True for a row of IPv6. A table of one family has no others: older releases of ss write `*` for each.
    fn is_wide(&self, row: &Row<'_>) -> bool {
        match self.families {
            [true, false] => false,
            [false, true] => true,
            _ => row.is_wide(),
        }
    }

    /// True if its rows are no sockets that can be used.
    pub(crate) fn is_empty(&self) -> bool {
        self.seen.sockets == 0
    }
}

/// What a table shows whose command is not known: with listeners and others it is one of all sockets.
fn guessed(kind: Kind, seen: StateSet) -> StateSet {
    let all = StateSet::of(&State::ALL);
    let listens = seen.has(State::Listen);
    if listens && seen.without(State::Listen).without(State::Closed).is_empty() {
        return StateSet::of(&[State::Listen, State::Closed]);
    }
    match kind {
        Kind::Ss if !listens && seen.only().is_some() => seen,
        Kind::Ss if !listens && !seen.has(State::TimeWait) => {
            all.without(State::Listen).without(State::TimeWait).without(State::Closed)
        }
        Kind::Netstat if !listens => all.without(State::Listen),
        _ => all,
    }
}

/// The sockets of a namespace.
pub(crate) struct Found {
    pub(crate) sockets: Sockets,
    pub(crate) processes: Vec<Process>,
    /// The tables that they come from.
    pub(crate) taken: Vec<usize>,
    /// States that no table shows.
    pub(crate) uncovered: StateSet,
    pub(crate) listeners_left_out: u64,
    choice: Choice,
    /// Sockets of which only the ports are known.
    pub(crate) masked: u64,
    pub(crate) live_not_kept: u64,
}

impl Found {
    /// True if sockets of one of these states come from this table.
    pub(crate) fn takes(&self, table: usize, of: StateSet) -> bool {
        self.choice.takes(table, of)
    }
}

/// Puts the tables of one namespace together. `seed` is random, because peers choose the addresses that are hashed.
pub(crate) fn merge(tables: &[Table<'_>], settings: &Settings, seed: u64) -> Found {
    let choice = Choice::new(tables);
    let mut tally = Tally::new(TallyOptions {
        range: settings.local_port_range(),
        reserved: settings.reserved_ports(),
        owners_by_cookie: HashMap::default(),
        seed,
    });
    let mut roster = Roster::new(seed);
    let (mut listeners, mut listeners_left_out, mut masked) = (0_u64, 0_u64, 0_u64);
    // The listeners come first: they decide which end of a connection this host is.
    for listening in [true, false] {
        for (index, table) in tables.iter().enumerate() {
            if !choice.takes(index, if listening { LISTEN } else { StateSet::ALL.minus(LISTEN) }) {
                continue;
            }
            table::rows(table.text, table.section, |_, read| {
                let Read::Socket(row) = read else { return };
                let chosen = choice.of(table.is_wide(&row), row.state);
                if (row.state == State::Listen) != listening || chosen != Some(index) {
                    return;
                }
                let owner = row.process.and_then(|(pid, name)| roster.place_of(pid, name));
                let socket = row.seen(owner);
                match row.state {
                    State::Listen if listeners >= MOST_LISTENERS => listeners_left_out += 1,
                    State::Listen => {
                        listeners += 1;
                        tally.add_listener(&socket, None);
                    }
                    State::Closed if tables.iter().any(|table| table.seen.is_connected(row.local.port)) => {}
                    State::Closed => tally.add_idle_bound(row.local.port),
                    _ if row.is_masked() => {
                        masked += 1;
                        tally.add_masked(&socket, !row.local.masked);
                    }
                    _ => {
                        tally.add(&socket);
                        if let Some(idle_ms) = row.idle_ms.filter(|_| row.is_closing()) {
                            tally.add_idle(&socket, idle_ms);
                        }
                    }
                }
            });
        }
    }
    tally.attribute(|inode| inode.checked_sub(1).filter(|place| (*place as usize) < roster.processes.len()));
    Found {
        live_not_kept: tally.live_not_kept(),
        sockets: tally.finish(),
        processes: roster.processes,
        taken: (0..tables.len()).filter(|index| choice.takes(*index, StateSet::ALL)).collect(),
        uncovered: choice.uncovered(),
        choice,
        listeners_left_out,
        masked,
    }
}

const LISTEN: StateSet = StateSet::one(State::Listen);

/// Which table each kind of socket is taken from, by family and state.
struct Choice([[Option<usize>; State::COUNT]; 2]);

impl Choice {
    fn new(tables: &[Table<'_>]) -> Self {
        let best = |wide: usize, state: State| {
            let covering = tables
                .iter()
                .enumerate()
                .filter(|(_, table)| !table.is_empty() && table.families[wide] && table.covers.has(state));
            // Of two that tell as much, the later.
            covering.max_by_key(|(index, table)| (table.score(state), *index)).map(|(index, _)| index)
        };
        Self([0, 1].map(|wide| State::ALL.map(|state| best(wide, state))))
    }

    fn of(&self, wide: bool, state: State) -> Option<usize> {
        self.0[usize::from(wide)][state.index()]
    }

    fn takes(&self, table: usize, of: StateSet) -> bool {
        of.states().any(|state| self.0.iter().any(|chosen| chosen[state.index()] == Some(table)))
    }

    /// The states that no table shows. Sockets that are only bound hardly any does.
    fn uncovered(&self) -> StateSet {
        let shown = |state: State| self.0.iter().any(|chosen| chosen[state.index()].is_some());
        let hidden = State::ALL.into_iter().filter(|state| *state != State::Closed && !shown(*state));
        hidden.fold(StateSet::EMPTY, StateSet::with)
    }
}

/// Processes, each once.
struct Roster {
    processes: Vec<Process>,
    places: HashMap<u32, u32, FixedState>,
}

impl Roster {
    fn new(seed: u64) -> Self {
        Self { processes: Vec::new(), places: HashMap::with_hasher(FixedState::with_seed(seed)) }
    }

    fn place_of(&mut self, pid: u32, name: &str) -> Option<u32> {
        if let Some(place) = self.places.get(&pid) {
            return Some(*place);
        }
        if self.processes.len() >= MOST_PROCESSES {
            return None;
        }
        let place = u32::try_from(self.processes.len()).ok()?;
        let name = name.chars().take(LONGEST_NAME).collect();
        self.processes.push(Process { pid, name, ..Process::default() });
        self.places.insert(pid, place);
        Some(place)
    }
}
