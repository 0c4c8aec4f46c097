//! What remedies change in the files of programs: from edits by meaning to files before and after.

use super::Change;
use crate::program::Program;
use config::{Edit, Edited, EditedFile, Sources};
use diagnose::ProgramChange;
use evidence::{Case, Configuration};
use kernel::{Root, programs};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a plan finds the files that programs read.
#[derive(Clone, Copy, Debug)]
pub enum Files<'a> {
    /// On this host, which the case was taken of.
    Here(&'a Root),
    /// Nowhere: the case was brought here.
    Elsewhere,
}

/// Why the files cannot be changed, as one clause.
type Why = String;

/// The files of the configurations of a case, read once.
pub(super) struct Told<'a> {
    case: &'a Case,
    files: Files<'a>,
    read: BTreeMap<usize, Result<Sources, Why>>,
}

impl<'a> Told<'a> {
    pub(super) fn new(case: &'a Case, files: Files<'a>) -> Self {
        Self { case, files, read: BTreeMap::new() }
    }

    /// The network namespace of the program that a change is about, by its name in the case.
    pub(super) fn netns(&self, change: &ProgramChange) -> Option<&'a str> {
        let running = self.case.configurations.get(change.configuration)?.running.as_ref();
        running.map(|running| running.netns.as_str())
    }

    /// All that edits make of the files, and what a reviewer should know.
    pub(super) fn changes(&mut self, edits: &[ProgramChange]) -> Result<(Vec<Change>, Vec<String>), Why> {
        let (mut changes, mut notes) = (Vec::new(), Vec::new());
        let mut numbers: Vec<usize> = edits.iter().map(|edit| edit.configuration).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let its: Vec<&ProgramChange> = edits.iter().filter(|edit| edit.configuration == number).collect();
            let Some(program) = its.first().and_then(|edit| Program::named(edit.program)) else { continue };
            let edits: Vec<Edit> = its.iter().map(|edit| edit.edit.clone()).collect();
            let edited = self.sources(number)?.edit(&edits).map_err(|error| error.to_string())?;
            let Edited { files, notes: said } = edited;
            if files.is_empty() {
                return Err("the files say so already".to_owned());
            }
            for file in files {
                changes.push(change(program, file)?);
            }
            notes.extend(said);
        }
        Ok((changes, notes))
    }

    /// The files of a configuration as they are now, if they say what the case says.
    fn sources(&mut self, number: usize) -> Result<&Sources, Why> {
        if !self.read.contains_key(&number) {
            let read = self.read_again(number);
            self.read.insert(number, read);
        }
        match self.read.get(&number) {
            Some(Ok(sources)) => Ok(sources),
            Some(Err(why)) => Err(why.clone()),
            None => Err("its files are not known".to_owned()),
        }
    }

    fn read_again(&self, number: usize) -> Result<Sources, Why> {
        let Files::Here(root) = self.files else {
            return Err("a case does not hold the files: plan it on the host itself".to_owned());
        };
        let known = self.case.configurations.get(number).ok_or("its files are not known")?;
        let sources = programs::sources(root, known).map_err(|error| error.to_string())?;
        let now = sources.evaluate(known.version.as_deref());
        let facts = |one: &Configuration| (one.files.clone(), one.nginx.clone(), one.haproxy.clone());
        if facts(&now) != facts(known) {
            return Err("its files have been changed since: look again".to_owned());
        }
        Ok(sources)
    }
}

fn change(program: Program, file: EditedFile) -> Result<Change, Why> {
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| format!("{} is no UTF-8: a plan cannot hold it", file.path))
    };
    // A link stays what it is: what it leads to is replaced.
    let real: PathBuf = std::fs::canonicalize(Path::new(&file.path)).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("{} is no file: name the main file of the program", file.path)
        }
        _ => format!("{}: {error}", file.path),
    })?;
    Ok(Change::File { file: real, program, from: text(file.before)?, to: text(file.after)? })
}
