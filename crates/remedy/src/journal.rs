//! The journal of one apply: a line for each thing that happened, written and synced before the next thing happens.
//!
//! A line is the CRC-32 of a JSON text, that text, and a newline. A last line without its end is what a crash leaves;
//! it was never acted upon, and is cut off. Damage before that is said, and what can be read counts.

use crate::failpoint;
use crate::guard::{Guard, Measured};
use crate::program::Worker;
use crate::settle::Reached;
use crate::step::Step;
use kernel::{Root, host};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The journal's name in its folder.
pub(crate) const NAME: &str = "journal";

/// The version of the format. Fields may be added within one.
pub(crate) const VERSION: u32 = 1;

/// The largest journal that is read: far more than any apply writes.
const MAX_JOURNAL: u64 = 16 << 20;

/// Room that is reserved on disk, so that a disk that fills meanwhile does not keep the end of an apply from being
/// written.
const RESERVED: u64 = 64 << 10;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// What is going to be done. Nothing has been touched before this is on disk.
    Begin(Box<Begin>),
    /// The workers of a program that is at rest, before any of its files is touched. Others later have read what was
    /// there since.
    Workers {
        /// The step that lets the program take its files, from 0.
        number: usize,
        /// All of them.
        workers: Vec<Worker>,
    },
    /// A step is about to be taken.
    Doing {
        /// Which, from 0.
        number: usize,
    },
    /// It was taken, and what it did was read back.
    Done {
        /// Which, from 0.
        number: usize,
    },
    /// All steps were taken; the guards are watched.
    Watching,
    /// Whether the changes stay. From here on there is no way but this.
    Decided {
        /// True if they stay.
        keep: bool,
        /// Why.
        because: String,
    },
    /// A step was taken back, or need not be.
    Undone {
        /// Which, from 0.
        number: usize,
        /// What was found.
        outcome: Undone,
    },
    /// Nothing more will happen.
    Ended {
        /// True if the changes stay.
        kept: bool,
        /// What was measured before and during.
        measured: Vec<Measured>,
        /// RFC 3339.
        at: String,
    },
    /// What was measured after that.
    After {
        /// All of it.
        measured: Vec<Measured>,
    },
    /// A kind of record that a later version writes.
    #[serde(other)]
    Later,
}

/// The first record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    /// Version of the format, 1.
    pub version: u32,
    /// The apply's name.
    pub id: String,
    /// RFC 3339.
    pub at: String,
    /// Which boot of the host; settings do not outlive it.
    pub boot_id: String,
    /// What is done, in words: a line for each remedy.
    pub about: Vec<String>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// How many of the steps are taken at once; the others only when it is decided that the changes stay.
    pub at_once: usize,
    /// The apply that this takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_back: Option<String>,
    /// The process that does it.
    pub pid: u32,
    /// What is watched.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub guards: BTreeSet<Guard>,
}

impl Begin {
    /// Whether the host runs since before the apply: what it set, and the processes that it found, do not outlive a
    /// boot.
    pub(crate) fn same_boot(&self, root: &Root) -> bool {
        self.boot_id == host::boot_id(root)
    }

    /// The steps, in the words of this boot.
    pub(crate) fn steps_now(&self, root: &Root) -> Vec<Step> {
        if self.same_boot(root) {
            return self.steps.clone();
        }
        self.steps.iter().map(|step| step.after_boot(root)).collect()
    }

    /// The files that are replaced.
    pub(crate) fn files(&self) -> Vec<&Path> {
        let paths = self.steps.iter().filter_map(|step| match step {
            Step::File { path, .. } => Some(path.as_path()),
            _ => None,
        });
        paths.collect()
    }
}

/// How a step was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum Undone {
    /// What was before is there again.
    Restored,
    /// It was still there.
    Untouched,
    /// Somebody else has changed it meanwhile; it was left alone.
    Left {
        /// What it is.
        now: String,
    },
    /// There is nothing to take back: the namespace is gone, or the host was started anew.
    Gone,
}

/// A journal to be written to.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    /// Bytes up to the end of the last record that is known to be on disk.
    whole: u64,
}

impl Journal {
    /// Makes the journal in a new folder.
    pub(crate) fn create(folder: &Path) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(folder.join(NAME))?;
        let journal = Self { file, whole: 0 };
        journal.reserve();
        Ok(journal)
    }

    /// Opens it again to write on; what a crash left behind the last whole line is cut off.
    pub(crate) fn reopen(folder: &Path, story: &Story) -> io::Result<Self> {
        let mut file = File::options().read(true).write(true).open(folder.join(NAME))?;
        file.set_len(story.whole)?;
        file.seek(io::SeekFrom::End(0))?;
        Ok(Self { file, whole: story.whole })
    }

    /// Gives back the room that was reserved and is not needed any more.
    pub(crate) fn trim(&self) {
        // Without it the room stays taken, and nothing else is wrong.
        let _ = self.file.metadata().and_then(|about| self.file.set_len(about.len()));
    }

    /// Writes a record, and returns when it is on disk. One that failed is cut off again: it may be there, though it
    /// does not count.
    pub(crate) fn append(&mut self, record: &Record) -> io::Result<()> {
        let line = line(record)?;
        let written = self.write(&line);
        if written.is_ok() {
            self.whole = self.whole.saturating_add(line.len() as u64);
        } else {
            self.cut();
        }
        written
    }

    /// Cuts off what is behind the last record.
    fn cut(&mut self) {
        // A disk that takes nothing any more may not take this either: then the next run reads what is there.
        let cut = self.file.set_len(self.whole).and_then(|()| self.file.seek(io::SeekFrom::End(0)));
        let _ = cut.and_then(|_| self.file.sync_data());
        self.reserve();
    }

    /// Takes room on disk for what is still to come.
    fn reserve(&self) {
        // Where the file system cannot reserve, there is less certainty on a full disk and nothing else.
        let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
        let _ = rustix::fs::fallocate(&self.file, flags, self.whole, RESERVED);
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if cfg!(debug_assertions) {
            // A crash may leave any part of a line.
            let (half, rest) = line.split_at(line.len() / 2);
            self.file.write_all(half)?;
            failpoint::point("record-torn");
            self.file.write_all(rest)?;
        } else {
            self.file.write_all(line)?;
        }
        self.file.sync_data()?;
        failpoint::point("record-written");
        Ok(())
    }
}

/// A record as a line.
pub(crate) fn line(record: &Record) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(record)?;
    let mut line = format!("{:08x} ", crc32fast::hash(&json)).into_bytes();
    line.extend(json);
    line.push(b'\n');
    Ok(line)
}

/// What a journal says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    /// Its records, in order.
    pub records: Vec<Record>,
    /// The first line that is damaged, from 1, other than one that a crash cut off.
    pub damaged: Option<usize>,
    /// Bytes up to the end of the last whole line.
    whole: u64,
}

impl Story {
    /// Reads the journal in a folder.
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(folder.join(NAME))?.take(MAX_JOURNAL).read_to_end(&mut bytes)?;
        Ok(Self::parse(&bytes))
    }

    /// Reads the text of a journal. Any bytes give an answer.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut story = Self::default();
        let (mut place, mut odd) = (0_u64, None);
        for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            place = place.saturating_add(line.len() as u64);
            match record(line) {
                Some(record) => {
                    story.damaged = story.damaged.or(odd);
                    story.records.push(record);
                    story.whole = place;
                }
                None => odd = odd.or(number.checked_add(1)),
            }
        }
        story
    }

    /// The first record, if it is there.
    pub fn begin(&self) -> Option<&Begin> {
        self.records.iter().find_map(|record| match record {
            Record::Begin(begin) => Some(&**begin),
            _ => None,
        })
    }

    /// What was decided last, and why.
    pub fn decision(&self) -> Option<(bool, &str)> {
        self.records.iter().rev().find_map(|record| match record {
            Record::Decided { keep, because } => Some((*keep, because.as_str())),
            _ => None,
        })
    }

    /// Whether the changes stay, if the apply has ended.
    pub fn ended(&self) -> Option<bool> {
        self.records.iter().find_map(|record| match record {
            Record::Ended { kept, .. } => Some(*kept),
            _ => None,
        })
    }

    /// When it ended.
    pub fn ended_at(&self) -> Option<&str> {
        self.records.iter().find_map(|record| match record {
            Record::Ended { at, .. } => Some(at.as_str()),
            _ => None,
        })
    }

    /// What was measured, as far as the apply came.
    pub fn measured(&self) -> &[Measured] {
        let measured = self.records.iter().rev().find_map(|record| match record {
            Record::Ended { measured, .. } | Record::After { measured } => Some(measured.as_slice()),
            _ => None,
        });
        measured.unwrap_or_default()
    }

    /// How far a step came. What a damaged line said of it nobody knows: it may have begun.
    pub(crate) fn reached(&self, number: usize) -> Reached {
        let unknown = if self.damaged.is_some() { Reached::Begun } else { Reached::Nothing };
        let of_step = self.records.iter().map(|record| match record {
            Record::Doing { number: begun } if *begun == number => Reached::Begun,
            Record::Done { number: done } if *done == number => Reached::Done,
            _ => Reached::Nothing,
        });
        of_step.max().unwrap_or_default().max(unknown)
    }

    /// The workers of a program before its files were touched, by the step that lets it take them.
    pub(crate) fn workers(&self, number: usize) -> Option<&[Worker]> {
        self.records.iter().find_map(|record| match record {
            Record::Workers { number: of, workers } if *of == number => Some(workers.as_slice()),
            _ => None,
        })
    }

    /// How steps were taken back, the last word on each.
    pub fn undone(&self) -> impl Iterator<Item = (usize, &Undone)> {
        self.records.iter().filter_map(|record| match record {
            Record::Undone { number, outcome } => Some((*number, outcome)),
            _ => None,
        })
    }
}

/// A line as a record; none if it is damaged or has no end.
fn record(line: &[u8]) -> Option<Record> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, json) = line.split_at_checked(9)?;
    let sum = std::str::from_utf8(sum.strip_suffix(b" ")?).ok()?;
    let plain = sum.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
    let sum = u32::from_str_radix(sum, 16).ok().filter(|_| plain)?;
    if crc32fast::hash(json) == sum { serde_json::from_slice(json).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records() -> Vec<Record> {
        vec![
            Record::Doing { number: 0 },
            Record::Done { number: 0 },
            Record::Decided { keep: false, because: "nobody confirmed".into() },
            Record::Undone { number: 0, outcome: Undone::Left { now: "7".into() } },
        ]
    }

    fn text() -> Vec<u8> {
        records().iter().flat_map(|record| line(record).unwrap()).collect()
    }

    #[test]
    fn a_journal_reads_back() {
        let story = Story::parse(&text());
        assert_eq!((story.records.clone(), story.damaged), (records(), None));
        assert_eq!(story.decision(), Some((false, "nobody confirmed")));
        assert_eq!(story.ended(), None);
    }

    #[test]
    fn a_torn_end_is_cut_off_wherever_it_tore_and_writing_goes_on() {
        let text = text();
        let folder = tempfile::tempdir().unwrap();
        for cut in 0..=text.len() {
            std::fs::write(folder.path().join(NAME), &text[..cut]).unwrap();
            let story = Story::read(folder.path()).unwrap();
            let whole = text[..cut].split(|byte| *byte == b'\n').count() - 1;
            assert_eq!(
                (story.records.as_slice(), story.damaged),
                (&records()[..whole], None),
                "cut at {cut}"
            );
            Journal::reopen(folder.path(), &story).unwrap().append(&Record::Watching).unwrap();
            let story = Story::read(folder.path()).unwrap();
            assert_eq!((story.records.len(), story.damaged), (whole + 1, None), "cut at {cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_said_and_the_rest_counts() {
        let mut text = text();
        text[12] ^= 1;
        let story = Story::parse(&text);
        assert_eq!((story.records.as_slice(), story.damaged), (&records()[1..], Some(1)));
        assert_eq!((story.reached(0), story.reached(1)), (Reached::Done, Reached::Begun));
        assert_eq!(Story::parse(&self::text()).reached(1), Reached::Nothing);
    }

    #[test]
    fn a_record_that_failed_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path()).unwrap();
        journal.append(&Record::Watching).unwrap();
        // As if it had been written, and could not be made to last.
        let line = line(&Record::Decided { keep: true, because: String::new() }).unwrap();
        journal.file.write_all(&line).unwrap();
        assert_eq!(Story::read(folder.path()).unwrap().decision(), Some((true, "")));
        journal.cut();
        assert_eq!(Story::read(folder.path()).unwrap().records, [Record::Watching]);
        journal.append(&Record::Decided { keep: false, because: String::new() }).unwrap();
        assert_eq!(Story::read(folder.path()).unwrap().decision(), Some((false, "")));
    }

    #[test]
    fn what_a_later_version_writes_is_passed_over() {
        let json = br#"{"record":"slept","for_ms":3}"#;
        let mut text = format!("{:08x} ", crc32fast::hash(json)).into_bytes();
        text.extend(json);
        text.push(b'\n');
        assert_eq!(Story::parse(&text).records, [Record::Later]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Story::parse(&bytes);
        }

        #[test]
        fn one_flipped_bit_is_found(bit in 0_usize..8 * 100) {
            let mut text = text();
            text[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Story::parse(&text).records.len() < records().len());
        }
    }
}
