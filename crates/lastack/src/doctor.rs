//! `lastack doctor`.

use crate::arguments::{Besides, Doctor, Look};
use crate::case_file::{self, Place};
use crate::{Outcome, lint, pasted_files, progress, read, screen};
use evidence::Case;
use report::Report;
use std::process::ExitCode;

pub(crate) fn run(options: &Doctor) -> Outcome {
    let place = options.save.as_deref().map(Place::new).transpose()?;
    let case = joined(&options.besides, || match &options.case {
        Some(file) => case_file::open(file),
        None if !options.from.is_empty() => pasted_files::read(&options.from),
        None => look(&options.look),
    })?;
    // The report comes first: it is there even if the case cannot be saved.
    let report = Report::new(&case, &diagnose::diagnose(&case));
    let mut text = Vec::new();
    if options.output.json {
        report::write_json(&report, &mut text)?;
    } else {
        report::page::write(&report, &mut text, screen::style(options.output.color))?;
    }
    screen::print(&text)?;
    place.map(|place| place.save(&case)).transpose()?;
    Ok(ExitCode::from(u8::from(report.has_problems())))
}

/// A case, with the captures and configurations that were named besides.
pub(crate) fn joined(besides: &Besides, case: impl FnOnce() -> anyhow::Result<Case>) -> anyhow::Result<Case> {
    // Before the look: a file that is no capture costs no time.
    let captured = (!besides.capture.is_empty()).then(|| read::traffic(&besides.capture)).transpose()?;
    let mut case = case()?;
    if let Some(captured) = captured {
        case.traffic = Some(captured.traffic);
        case.gaps.extend(captured.gaps);
    }
    lint::add_named(&mut case, &besides.nginx, &besides.haproxy)?;
    Ok(case)
}

/// This host, with a sign of life while it is looked at.
pub(crate) fn look(at: &Look) -> anyhow::Result<Case> {
    Ok(progress::shown_during(at.length, || kernel::look(&at.options()))?)
}
