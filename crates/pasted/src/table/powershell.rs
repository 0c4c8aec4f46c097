//! The sockets that `Get-NetTCPConnection` lists, as a table and as a list of properties. Their names are the same in
//! every language.

use super::{Read, Row, UNNAMED, number};
use crate::address::{NoEnd, from_parts};
use crate::command::Command;
use crate::text::Line;
use std::collections::BTreeMap;
use tcp::{State, StateSet};

/// Its words for states (`Microsoft.PowerShell.Cmdletization.GeneratedTypes.NetTCPConnection.State`).
const STATES: [(&str, State); 12] = [
    ("Listen", State::Listen),
    ("Established", State::Established),
    ("SynSent", State::SynSent),
    ("SynReceived", State::SynReceived),
    ("FinWait1", State::FinWait1),
    ("FinWait2", State::FinWait2),
    ("CloseWait", State::CloseWait),
    ("Closing", State::Closing),
    ("LastAck", State::LastAck),
    ("TimeWait", State::TimeWait),
    ("Closed", State::Closed),
    ("Bound", State::Closed),
];

/// The properties that make a socket.
const NEEDED: [&str; 5] = ["LocalAddress", "LocalPort", "RemoteAddress", "RemotePort", "State"];

/// True for the title of a table: the properties, in whatever order.
pub(crate) fn is_title(line: &str) -> bool {
    line.contains("LocalAddress")
        && line.contains("LocalPort")
        && line.contains("RemoteAddress")
        && !line.contains(" : ")
}

/// True for the first property of a socket in a list.
pub(crate) fn is_property(line: &str) -> bool {
    property(line).is_some_and(|(name, _)| name == "LocalAddress")
}

/// The states that a command asks for: `-State TimeWait,CloseWait`.
pub(super) fn asked(command: &Command) -> StateSet {
    let mut words = command.arguments.iter();
    let named = words.find(|word| word.eq_ignore_ascii_case("-state")).and_then(|_| words.next());
    let Some(named) = named else { return StateSet::of(&State::ALL) };
    named.split(',').filter_map(state).fold(StateSet::EMPTY, StateSet::with)
}

fn state(word: &str) -> Option<State> {
    STATES.iter().find(|(shown, _)| shown.eq_ignore_ascii_case(word.trim())).map(|(_, state)| *state)
}

/// `RemotePort     : 443`.
fn property(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim_end();
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| (name, value.trim()))
}

/// Gives each row of a table, or each socket of a list, to `take`, with the line at which it begins.
pub(super) fn rows<'a>(lines: impl Iterator<Item = Line<'a>>, mut take: impl FnMut(u32, Read<'_>)) {
    let mut columns: Vec<(usize, &str)> = Vec::new();
    let mut listed: BTreeMap<&str, &str> = BTreeMap::new();
    let mut first = 0;
    for Line { number, says, .. } in lines {
        if is_title(says) {
            columns = columns_of(says);
        } else if says.trim_start().starts_with("---") {
            // The line below the title.
        } else if let Some((name, value)) = property(says).filter(|_| columns.is_empty()) {
            if listed.contains_key(name) {
                take(first, socket(&listed));
                listed.clear();
            }
            if listed.is_empty() {
                first = number;
            }
            // As many as the list of one socket has.
            if listed.len() < 64 {
                listed.insert(name, value);
            }
        } else if columns.is_empty() || says.trim().is_empty() {
            let whole = NEEDED.iter().all(|name| listed.contains_key(name));
            if whole {
                take(first, socket(&listed));
                listed.clear();
            } else if !says.trim().is_empty() {
                take(number, Read::Odd);
            }
        } else {
            take(number, socket(&cells(says, &columns)));
        }
    }
    if !listed.is_empty() {
        take(first, socket(&listed));
    }
}

/// The columns of a table: where each begins, counted in signs, and its name.
fn columns_of(title: &str) -> Vec<(usize, &str)> {
    let mut columns = Vec::new();
    let mut before = ' ';
    for (place, (at, sign)) in title.char_indices().enumerate() {
        if before.is_whitespace() && !sign.is_whitespace() && columns.len() < 64 {
            let rest = title.get(at..).unwrap_or_default();
            columns.push((place, rest.split_whitespace().next().unwrap_or_default()));
        }
        before = sign;
    }
    columns
}

/// The values of a row by their columns. Where a word does not begin in its column, because another was wider, words
/// are counted instead; a column that is empty cannot be told then, but none that is needed is ever empty.
fn cells<'r>(row: &'r str, columns: &[(usize, &'r str)]) -> BTreeMap<&'r str, &'r str> {
    let words: Vec<(usize, &str)> = columns_of(row);
    let mut cells = BTreeMap::new();
    let in_place = |place: usize| columns.iter().position(|(begins, _)| *begins == place);
    let aligned = words.iter().all(|(place, word)| in_place(*place).is_some() || is_number(word));
    for (index, (place, word)) in words.iter().enumerate() {
        // Numbers stand at the right of their column.
        let end = place + word.chars().count();
        let column = if aligned {
            in_place(*place).or_else(|| columns.iter().rposition(|(begins, _)| *begins < end))
        } else if index + 1 == words.len() && is_number(word) {
            columns.len().checked_sub(1)
        } else {
            Some(index)
        };
        if let Some((_, name)) = column.and_then(|column| columns.get(column)) {
            cells.entry(*name).or_insert(*word);
        }
    }
    cells
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

fn socket<'r>(cells: &BTreeMap<&str, &'r str>) -> Read<'r> {
    let [local, local_port, remote, remote_port, state_name] =
        NEEDED.map(|name| cells.get(name).copied().unwrap_or_default());
    let is_cut = |address: &str| address.ends_with("...") || address.ends_with('…');
    if is_cut(local) || is_cut(remote) {
        return Read::Cut;
    }
    let Some(state) = state(state_name) else { return Read::Odd };
    let end = |address: &str, port: &str| from_parts(address, port.parse().map_err(|_| NoEnd::Odd)?);
    let (local, remote) = match (end(local, local_port), end(remote, remote_port)) {
        (Ok(local), Ok(remote)) => (local, remote),
        (Err(no), _) | (_, Err(no)) => return no.into(),
    };
    let pid = cells.get("OwningProcess").copied().and_then(number);
    Read::Socket(Row {
        // Process 0 is nobody's: a socket in TIME-WAIT.
        inode: pid.filter(|pid| *pid == 0).map(|_| 0),
        process: pid.filter(|pid| *pid != 0).map(|pid| (pid, UNNAMED)),
        ..Row::new(state, local, remote)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::lines;

    fn read(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        rows(lines(text, 0, 1), |line, read| {
            all.push(match read {
                Read::Socket(row) => {
                    format!(
                        "{line}: {} {} {} {:?}",
                        row.state,
                        row.local.port,
                        row.remote.port,
                        row.process.map(|(pid, _)| pid)
                    )
                }
                other => format!("{line}: {other:?}"),
            });
        });
        all
    }

    #[test]
    fn a_table_is_read_by_its_columns() {
        let text = "\
LocalAddress                        LocalPort RemoteAddress                       RemotePort State       AppliedSetting OwningProcess
------------                        --------- -------------                       ---------- -----       -------------- -------------
::                                  49669     ::                                  0          Listen                     700
10.0.0.5                            49720     10.0.0.9                            443        Established Internet       4321
10.0.0.5                            49721     10.0.0.9                            443        TimeWait                   0
fe80::1c3d:a8b2:91ff:...            50000     fe80::2                             445        Established Internet       4
10.0.0.5                            49722     10.0.0.9                            443        Tanzend                    0

";
        let known = [
            "3: LISTEN 49669 0 Some(700)",
            "4: ESTABLISHED 49720 443 Some(4321)",
            "5: TIME-WAIT 49721 443 None",
        ];
        assert_eq!(read(text)[..3], known);
        assert_eq!(read(text)[3..], ["6: Cut", "7: Odd"]);
        // Of a narrow window, and pasted through something that makes one blank of many.
        let narrow =
            text.split('\n').map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n");
        assert_eq!(read(&narrow.collect::<String>())[..3], known);
    }

    #[test]
    fn a_list_is_read_by_its_names() {
        let text = "\
LocalAddress   : 10.0.0.5
LocalPort      : 49720
RemoteAddress  : 2001:db8::9
RemotePort     : 443
State          : CloseWait
AppliedSetting : Internet
OwningProcess  : 4321
CreationTime   : 11/21/2026 9:29:23 AM

LocalAddress   : 10.0.0.5
LocalPort      : 49721
RemoteAddress  : 10.0.0.9
RemotePort     : 443
State          : TimeWait

LocalAddress   : 10.0.0.5
";
        assert_eq!(
            read(text),
            ["1: CLOSE-WAIT 49720 443 Some(4321)", "10: TIME-WAIT 49721 443 None", "16: Odd"]
        );
    }
}
