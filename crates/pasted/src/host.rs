//! Which host the texts are of: what `uname -a`, `hostname` and the settings `kernel.*` say.

use crate::case::PastedError;
use crate::clock;
use crate::kind::Kind;
use crate::opening::ansible_host;
use crate::sections::Section;
use crate::settings::setting;
use crate::text::quoted;
use evidence::{Host, System};
use jiff::Timestamp;

/// The longest name of a host or a release that is kept.
const LONGEST_NAME: usize = 256;

/// What was said of the host so far.
#[derive(Default)]
pub(crate) struct HostFound {
    /// Its name, and where that stands.
    name: Option<(String, String)>,
    /// What an inventory calls it.
    inventory: Option<(String, String)>,
    /// The last time that a clock showed.
    taken_at: Option<Timestamp>,
    kernel: Option<String>,
    /// Its system, and where that shows.
    system: Option<(System, String)>,
}

impl HostFound {
    /// Takes what an output says. Containers have names of their own.
    pub(crate) fn take(&mut self, section: &Section<'_>, text: &str) -> Result<(), PastedError> {
        if let Some(host) = section.command.as_ref().and_then(|command| command.host.as_deref()) {
            one_host(&mut self.name, host, section, section.first_line)?;
        }
        if section.netns().is_some() {
            return Ok(());
        }
        let mut lines = section.lines(text);
        match section.kind {
            // Linux web1 6.1.0-18-amd64 #1 SMP ...
            Kind::Uname => {
                let mut words = lines.next().map_or("", |line| line.says).split_whitespace().skip(1);
                self.named(words.next().unwrap_or_default(), section, section.first_line)?;
                self.kernel(words.next().unwrap_or_default());
            }
            Kind::Hostname => {
                if let Some(line) = lines.next() {
                    self.named(line.says.trim(), section, line.number)?;
                }
            }
            // An inventory may call a host as it likes, but two of its names are two hosts.
            Kind::Ansible => {
                let host = lines.next().and_then(|line| ansible_host(line.says.trim()));
                if let Some(host) = host {
                    one_host(&mut self.inventory, host, section, section.first_line)?;
                }
            }
            Kind::Date => {
                let last = lines.filter_map(|line| clock::instant(line.says)).max();
                self.taken_at = self.taken_at.max(last);
            }
            Kind::Sysctl => {
                for line in lines.filter(|line| line.says.trim_start().starts_with("kernel.")) {
                    match setting(line.says.trim()) {
                        Some((name, value)) if name == "kernel.hostname" => {
                            self.named(value, section, line.number)?;
                        }
                        Some((name, value)) if name == "kernel.osrelease" => self.kernel(value),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the system whose tool wrote an output.
    pub(crate) fn is_of(&mut self, section: &Section<'_>, text: &str) -> Result<(), PastedError> {
        let says =
            |begins: &str| section.lines(text).next().is_some_and(|line| line.says.starts_with(begins));
        let system = match section.kind {
            Kind::Sysctl if says("net.inet") => Some(System::Macos),
            Kind::Uname if says("Darwin") => Some(System::Macos),
            Kind::Uname => Some(System::Linux),
            kind => kind.system(),
        };
        match (system, &self.system) {
            (Some(system), Some((other, at))) if system != *other => Err(PastedError::OtherSystem {
                name: section.name.to_owned(),
                line: section.first_line,
                system: system.name(),
                other: at.clone(),
                other_system: other.name(),
            }),
            (Some(system), None) => {
                self.system = Some((system, format!("{},", section.place())));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The system; Linux if nothing says otherwise.
    pub(crate) fn system(&self) -> System {
        self.system.as_ref().map_or(System::Linux, |(system, _)| *system)
    }

    fn named(&mut self, name: &str, section: &Section<'_>, line: u32) -> Result<(), PastedError> {
        one_host(&mut self.name, name, section, line)
    }
    fn kernel(&mut self, release: &str) {
        if self.kernel.is_none() && !release.is_empty() {
            self.kernel = Some(release.chars().take(LONGEST_NAME).collect());
        }
    }

    /// The host.
    pub(crate) fn finish(self) -> Host {
        Host {
            name: self.name.or(self.inventory).map(|(name, _)| name).unwrap_or_default(),
            taken_at: self.taken_at.map(|at| format!("{at:.9}")).unwrap_or_default(),
            kernel: self.kernel.unwrap_or_default(),
            ..Host::default()
        }
    }
}

/// Takes a name of the host, which must be the one that is known already.
fn one_host(
    known: &mut Option<(String, String)>,
    name: &str,
    section: &Section<'_>,
    line: u32,
) -> Result<(), PastedError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
        return Ok(());
    }
    match known {
        Some((other_host, other)) if !same_host(name, other_host) => Err(PastedError::OtherHost {
            name: section.name.to_owned(),
            line,
            host: quoted(name),
            other: other.clone(),
            other_host: quoted(other_host),
        }),
        Some(_) => Ok(()),
        None => {
            *known = Some((name.to_owned(), format!("{}, line {line},", section.name)));
            Ok(())
        }
    }
}

/// True for two names of one host, one of which may have its domain.
fn same_host(one: &str, other: &str) -> bool {
    let first = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    first(one) == first(other)
}
