//! The case: everything seen on one host in one look, as a file.

use crate::{Configuration, Gap, Namespace, System, Traffic};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// Name and version of the file format. Fields may be added to a version; a change of meaning makes a new one.
pub const SCHEMA: &str = "lastack.case/1";

const SCHEMA_NAME: &str = "lastack.case/";
const SCHEMA_VERSION: u32 = 1;

/// The largest case that is read, in bytes after decompression.
pub const MAX_CASE_BYTES: u64 = 512 << 20;

/// Raw evidence from one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Case {
    /// [`SCHEMA`].
    pub schema: String,
    /// Program and version that wrote it.
    pub written_by: String,
    /// The host.
    pub host: Host,
    /// What was seen in each network namespace.
    pub namespaces: Vec<Namespace>,
    /// What captures showed; none if none was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// What the configuration of programs says; empty if none was read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub configurations: Vec<Configuration>,
    /// What could not be seen.
    pub gaps: Vec<Gap>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            written_by: concat!("lastack ", env!("CARGO_PKG_VERSION")).to_owned(),
            host: Host::default(),
            namespaces: Vec::new(),
            traffic: None,
            configurations: Vec::new(),
            gaps: Vec::new(),
        }
    }
}

/// The host a case is from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its operating system.
    #[serde(skip_serializing_if = "System::is_linux")]
    pub system: System,
    /// Kernel release, as `uname -r` prints it. For people: code probes.
    pub kernel: String,
    /// When the look ended: RFC 3339 with nanoseconds.
    pub taken_at: String,
    /// Kernel memory by slab, for the slabs that hold sockets and bind buckets. Host-wide.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub slabs: BTreeMap<String, Slab>,
}

/// One slab cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slab {
    /// Objects in use.
    pub objects: u64,
    /// Bytes of one object with its padding.
    pub object_bytes: u64,
    /// Bytes of all pages of the cache.
    pub total_bytes: u64,
}

/// Why a file is no case that can be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// Not written by lastack.
    #[error("not a lastack case: {0}; make one with `lastack doctor --save FILE`")]
    NotACase(String),
    /// From a newer lastack.
    #[error(
        "written in version {found} of the case format, this lastack reads up to {SCHEMA_VERSION}: use a newer lastack"
    )]
    Newer {
        /// The file's version.
        found: u32,
    },
    /// Ends too early.
    #[error(
        "truncated: the file ends in the middle of the case (after {bytes} bytes of text); copy it again"
    )]
    Truncated {
        /// How much text could be read.
        bytes: usize,
    },
    /// Damaged or edited wrongly.
    #[error("damaged at line {line}, column {column}: {what}")]
    Damaged {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        what: String,
    },
    /// Well-formed, but it contradicts itself.
    #[error("contradicts itself: {0}")]
    Contradiction(String),
    /// Too large.
    #[error("larger than {} MiB when unpacked: not a case of one host", MAX_CASE_BYTES >> 20)]
    TooLarge,
}

#[derive(Deserialize)]
struct SchemaOnly {
    schema: String,
}

impl Case {
    /// The case as a file: JSON, compressed with gzip (`zcat x.case | jq` shows it).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        // Writing to memory cannot fail, and every type here serialises.
        serde_json::to_writer(&mut packed, self)
            .map_err(std::io::Error::from)
            .and_then(|()| packed.write_all(b"\n"))
            .and_then(|()| packed.finish())
            .unwrap_or_default()
    }

    /// Reads a case file, compressed or not.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CaseError> {
        let mut text = Vec::new();
        let mut cut = false;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let unpacked = flate2::read::GzDecoder::new(bytes);
            match unpacked.take(MAX_CASE_BYTES + 1).read_to_end(&mut text) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => cut = true,
                Err(error) => return Err(CaseError::NotACase(format!("damaged gzip ({error})"))),
            }
        } else {
            text.extend_from_slice(bytes);
        }
        if text.len() as u64 > MAX_CASE_BYTES {
            return Err(CaseError::TooLarge);
        }
        if cut {
            return Err(CaseError::Truncated { bytes: text.len() });
        }
        Self::from_json(&text)
    }

    fn from_json(text: &[u8]) -> Result<Self, CaseError> {
        let schema = serde_json::from_slice::<SchemaOnly>(text).map_err(|error| {
            if error.is_eof() && text.contains(&b'{') {
                CaseError::Truncated { bytes: text.len() }
            } else if error.is_data() {
                CaseError::NotACase("it has no \"schema\"".to_owned())
            } else {
                CaseError::NotACase("it is neither JSON nor gzip".to_owned())
            }
        })?;
        let version = schema.schema.strip_prefix(SCHEMA_NAME).and_then(|version| version.parse::<u32>().ok());
        match version {
            Some(SCHEMA_VERSION) => {}
            Some(found) if found > SCHEMA_VERSION => return Err(CaseError::Newer { found }),
            _ => {
                let shown: String = schema.schema.chars().take(60).flat_map(char::escape_default).collect();
                return Err(CaseError::NotACase(format!("its schema is \"{shown}\", not \"{SCHEMA}\"")));
            }
        }
        let mut case: Self = serde_json::from_slice(text).map_err(|error| CaseError::Damaged {
            line: error.line(),
            column: error.column(),
            what: error.to_string().chars().take(200).flat_map(char::escape_default).collect(),
        })?;
        case.check()?;
        case.set_system(case.host.system);
        Ok(case)
    }

    /// Says which system the case is from: settings are read by what they mean there.
    pub fn set_system(&mut self, system: System) {
        self.host.system = system;
        for namespace in &mut self.namespaces {
            namespace.settings.system = system;
        }
    }

    /// What serde cannot see: indexes that point nowhere.
    fn check(&self) -> Result<(), CaseError> {
        for namespace in &self.namespaces {
            let processes = namespace.processes.len();
            let sockets = &namespace.sockets;
            let owners = sockets.groups.iter().flat_map(|group| &group.owners).map(|owner| owner.process);
            let listeners = sockets.listeners.iter().map(|listener| listener.process);
            if let Some(wrong) = owners.chain(listeners).flatten().find(|index| *index as usize >= processes)
            {
                let name: String = namespace.name.chars().take(60).flat_map(char::escape_default).collect();
                return Err(CaseError::Contradiction(format!(
                    "namespace {name} names process {wrong} of {processes}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Case, CaseError> {
        Case::from_bytes(text.as_bytes())
    }

    #[test]
    fn a_case_survives_its_file() {
        let case = Case { host: Host { name: "web1".into(), ..Host::default() }, ..Case::default() };
        assert_eq!(Case::from_bytes(&case.to_bytes()).unwrap(), case);
        assert_eq!(read(&serde_json::to_string(&case).unwrap()).unwrap(), case);
    }

    #[test]
    fn every_cut_of_a_case_is_called_truncated() {
        let mut case = Case::default();
        case.namespaces.push(Namespace { name: "host".into(), ..Namespace::default() });
        let packed = case.to_bytes();
        for length in 20..packed.len() {
            assert!(
                matches!(Case::from_bytes(&packed[..length]), Err(CaseError::Truncated { .. })),
                "cut at {length}"
            );
        }
        let text = serde_json::to_string(&case).unwrap();
        for length in 2..text.len() {
            assert!(matches!(read(&text[..length]), Err(CaseError::Truncated { .. })), "cut at {length}");
        }
    }

    #[test]
    fn other_files_and_newer_cases_are_told_apart() {
        assert!(matches!(read(""), Err(CaseError::NotACase(_))));
        assert!(matches!(read("hello"), Err(CaseError::NotACase(_))));
        assert!(matches!(read("{}"), Err(CaseError::NotACase(_))));
        assert!(matches!(read(r#"{"schema":"other/1"}"#), Err(CaseError::NotACase(_))));
        assert_eq!(read(r#"{"schema":"lastack.case/2"}"#), Err(CaseError::Newer { found: 2 }));
        assert!(matches!(
            read(r#"{"schema":"lastack.case/1","namespaces":7}"#),
            Err(CaseError::Damaged { line: 1, .. })
        ));
    }

    #[test]
    fn an_index_that_points_nowhere_is_a_contradiction() {
        let text = r#"{"schema":"lastack.case/1","namespaces":[{"name":"host",
            "sockets":{"listeners":[{"address":"*:80","process":0}]}}]}"#;
        assert!(matches!(read(text), Err(CaseError::Contradiction(_))));
    }
}
