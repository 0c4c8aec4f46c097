//! `lastack collect`: all there is to see of a host, in one file that can be given away.

use crate::arguments::{Collect, Hidden};
use crate::case_file::{self, Place};
use crate::{Outcome, doctor, pasted_files, progress, screen};
use evidence::{Case, Redaction};
use report::Contents;
use std::hash::RandomState;
use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) fn run(options: &Collect) -> Outcome {
    let file = options.save.clone().unwrap_or_else(unnamed);
    let place = Place::unused(&file)?;
    let mut case = doctor::joined(&options.besides, || read(options))?;
    let mut stand_ins = None;
    if options.redact.contains(&Hidden::Addresses) {
        // Random, and gone when this ends: who has the file cannot find out which address had which stand-in.
        let redaction = Redaction::new(&case, &RandomState::new());
        case = redaction.apply(&case)?;
        stand_ins = Some(redaction.len());
    }
    let bytes = place.save(&case)?;
    let contents = Contents::new(&case, &file.to_string_lossy(), bytes, stand_ins);
    let mut text = Vec::new();
    if options.output.json {
        report::write_json(&contents, &mut text)?;
    } else {
        report::write_contents(&contents, &mut text, screen::style(options.output.color))?;
    }
    screen::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn read(options: &Collect) -> anyhow::Result<Case> {
    if let Some(file) = &options.case {
        return case_file::open(file);
    }
    if !options.from.is_empty() {
        return pasted_files::read(&options.from);
    }
    let look = kernel::Options {
        selection: kernel::Selection::All,
        duration: options.length,
        all_bound_ports: true,
        ..kernel::Options::default()
    };
    Ok(progress::shown_during(options.length, || kernel::look(&look))?)
}

/// A name that says when, and not of which host: that may be left out.
fn unnamed() -> PathBuf {
    jiff::Timestamp::now().strftime("lastack-%Y%m%dT%H%M%SZ.case").to_string().into()
}
