//! `lastack man`: one manual page for all commands, made of what `--help` says.

use crate::arguments::{Arguments, Man};
use crate::{Outcome, screen};
use clap::CommandFactory as _;
use serde::Serialize;
use std::io::Write as _;
use std::process::ExitCode;

#[derive(Serialize)]
struct Page<'a> {
    schema: &'static str,
    name: &'static str,
    section: u8,
    roff: &'a str,
}

pub(crate) fn run(options: &Man) -> Outcome {
    let roff = page()?;
    let mut text = Vec::new();
    if options.json {
        let roff = &String::from_utf8_lossy(&roff);
        report::write_json(&Page { schema: "lastack.man/1", name: "lastack", section: 1, roff }, &mut text)?;
    }
    screen::print(if options.json { &text } else { &roff })?;
    Ok(ExitCode::SUCCESS)
}

fn page() -> std::io::Result<Vec<u8>> {
    let mut program = Arguments::command();
    program.build();
    let mut roff = Vec::new();
    let main = clap_mangen::Man::new(program.clone());
    main.render_title(&mut roff)?;
    main.render_name_section(&mut roff)?;
    main.render_synopsis_section(&mut roff)?;
    main.render_description_section(&mut roff)?;
    for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        writeln!(roff, ".SH \"LASTACK {}\"", name.to_uppercase())?;
        let page = clap_mangen::Man::new(command.clone());
        let mut part = Vec::new();
        page.render_synopsis_section(&mut part)?;
        page.render_description_section(&mut part)?;
        page.render_options_section(&mut part)?;
        roff.extend(as_subsections(&part));
    }
    roff.write_all(ENDING.as_bytes())?;
    main.render_version_section(&mut roff)?;
    Ok(roff)
}

/// Turns the sections of a command's own page into parts of its section here.
fn as_subsections(part: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(part.len());
    for line in String::from_utf8_lossy(part).lines() {
        match line.strip_prefix(".SH ") {
            Some("SYNOPSIS" | "DESCRIPTION" | "OPTIONS") => lines.extend(b".PP\n"),
            Some(other) => lines.extend(format!(".SS {other}\n").bytes()),
            // The definitions of roff's macros are at the head of the page already.
            None if line.starts_with(".ie") || line.starts_with(".el") => {}
            None => lines.extend(format!("{line}\n").bytes()),
        }
    }
    lines
}

const ENDING: &str = r#".SH "EXIT STATUS"
.TP
0
Nothing is wrong.
.TP
1
\fBdoctor\fR or \fBread\fR found something: a warning or an error.
.TP
2
A mistake in the arguments, or a failure. One line on stderr names the thing and what to do.
.SH ENVIRONMENT
.TP
NO_COLOR, CLICOLOR, CLICOLOR_FORCE, TERM
Decide about colours where \fB\-\-color\fR is \fIauto\fR.
.TP
COLUMNS
The width of the page where stdout is no terminal.
.SH EXAMPLES
.TP
lastack doctor
What is wrong on this host, and what to do about it.
.TP
lastack doctor \-\-all\-netns \-\-for 10s \-\-save host.case
Every network namespace, for ten seconds, kept to be looked at elsewhere.
.TP
lastack doctor \-\-case host.case \-\-json
The same answer from the saved evidence, on any machine.
.TP
lastack read web.pcap
What is wrong in a capture, and how its connections ended.
.TP
lastack read web.pcap \-\-filter 'ending == reset' \-\-json
The connections that a reset ended, one JSON object a line.
.TP
lastack read web.pcap \-\-connection 12
One connection packet by packet, with the states of both sides.
.TP
lastack fix
What would be changed, why, and how to get back; nothing is changed.
.TP
lastack fix \-\-remedy tw\-reuse \-\-apply \-\-guard 5m
Change it, watch for five minutes, and go back unless it is confirmed.
.TP
lastack explain close\-wait\-leak
What a rule sees, why it hurts, how to prove it, what to do and what not to do.
"#;
