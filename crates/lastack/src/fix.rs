//! `lastack fix`.

mod foretold;
mod log;
mod pages;

use crate::arguments::{Fix, Form};
use crate::{Outcome, case_file, doctor, screen};
use anyhow::{Context as _, bail};
use diagnose::Severity;
use remedy::{Event, Files, Order, Plan, Store, Task, Wishes};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Counters are watched before a change as long as after it, but not longer than this.
const LONGEST_BEFORE: Duration = Duration::from_secs(10);

pub(crate) fn run(options: &Fix) -> Outcome {
    if options.log {
        return log::run(options);
    }
    if let Some(id) = &options.rollback {
        return roll_back(options, id);
    }
    if let Some(id) = &options.watch {
        return watch(options, id);
    }
    let (plan, mut notes, is_problem) = match &options.plan {
        Some(file) if file.exists() || options.apply => (kept(file, options)?, Vec::new(), true),
        _ => look(options)?,
    };
    if options.apply {
        return apply(options, &plan, is_problem);
    }
    if let Some(Form::Ansible) = options.form {
        return as_playbook(options, &plan);
    }
    notes.extend(unfinished(options));
    let refusal = plan.check().err().map(|refusal| refusal.to_string());
    let next = refusal.is_none().then(|| asked(options));
    notes.extend(refusal.map(|refusal| format!("Not as it is: {refusal}")));
    if let Some(file) = options.plan.as_deref().filter(|file| !file.exists()) {
        save(file, &plan)?;
        notes.push(format!("The plan is in {}", file.display()));
    }
    let lasting = if options.case.is_none() { remedy::lasting(&plan) } else { None };
    let mut text = Vec::new();
    if options.output.json {
        report::write_json(&pages::PlanJson::new(&plan, lasting.as_ref(), &notes), &mut text)?;
    } else {
        let page = pages::plan(&plan, lasting.as_ref(), notes, options.plan.as_deref(), next);
        report::write_plan(&page, &mut text, screen::style(options.output.color))?;
    }
    screen::print(&text)?;
    let wanted = plan.remedies.iter().any(|remedy| remedy.apply || !remedy.changes.is_empty());
    Ok(ExitCode::from(u8::from(is_problem && (wanted || options.plan.is_none()))))
}

/// Is the process that makes a change.
pub(crate) fn work() -> Outcome {
    remedy::work()?;
    Ok(ExitCode::SUCCESS)
}

/// What was looked at, and where the journal is to be, in the words of the command line: with them the same is found
/// again. A plan has what was found in it.
fn asked(options: &Fix) -> Vec<String> {
    let (look, besides) = (&options.look, &options.besides);
    let names = |flag: &'static str, names: &mut dyn Iterator<Item = String>| -> Vec<String> {
        names.flat_map(|name| [flag.to_owned(), report::shell_quoted(&name).into_owned()]).collect()
    };
    let files =
        |flag, files: &[PathBuf]| names(flag, &mut files.iter().map(|file| file.display().to_string()));
    let all = look.all_netns.then(|| "--all-netns".to_owned());
    let mut asked = Vec::new();
    if options.plan.is_none() {
        asked.extend(names("--netns", &mut look.netns.iter().cloned()));
        asked.extend(all);
        asked.extend(files("--nginx", &besides.nginx));
        asked.extend(files("--haproxy", &besides.haproxy));
        asked.extend(files("--capture", &besides.capture));
    }
    asked.extend(files("--state-dir", options.state_dir.as_slice()));
    asked
}

/// A plan for what is found, what somebody should know of it, and whether what is found is a warning or worse.
fn look(options: &Fix) -> anyhow::Result<(Plan, Vec<String>, bool)> {
    let case = doctor::joined(&options.besides, || match &options.case {
        Some(file) => case_file::open(file),
        None => doctor::look(&options.look),
    })?;
    let diagnosis = diagnose::diagnose(&case);
    let wishes = Wishes { rules: options.finding.clone(), remedies: options.remedy.clone() };
    let root = kernel::Root::default();
    let files = if options.case.is_some() { Files::Elsewhere } else { Files::Here(&root) };
    let (mut plan, notes) = Plan::new(&case, &diagnosis, &wishes, files)?;
    // Who has confirmed beforehand reads no plan.
    if !options.yes {
        foretold::fill(&case, &diagnosis, &mut plan);
    }
    let wanted = |rule: &str| wishes.rules.is_empty() || wishes.rules.iter().any(|name| name == rule);
    let mut findings = diagnosis.findings.iter().filter(|finding| wanted(finding.rule));
    let is_problem = findings.any(|finding| finding.severity > Severity::Note);
    Ok((plan, notes, is_problem))
}

/// Prints a playbook; a plan that is not in its file yet is put there, too.
fn as_playbook(options: &Fix, plan: &Plan) -> Outcome {
    check_watch(options)?;
    let baseline = baseline(options);
    let text = remedy::playbook(plan, remedy::Watch { guard: options.guard, baseline })?;
    if let Some(file) = options.plan.as_deref().filter(|file| !file.exists()) {
        save(file, plan)?;
    }
    screen::print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// How long counters are watched before a change.
fn baseline(options: &Fix) -> Duration {
    options.baseline.unwrap_or(options.guard.min(LONGEST_BEFORE))
}

/// A plan that somebody kept.
fn kept(file: &Path, options: &Fix) -> anyhow::Result<Plan> {
    let shown = file.display();
    if !options.finding.is_empty()
        || !options.remedy.is_empty()
        || options.case.is_some()
        || !options.look.netns.is_empty()
        || options.look.all_netns
        || !options.besides.nginx.is_empty()
        || !options.besides.haproxy.is_empty()
        || !options.besides.capture.is_empty()
    {
        bail!(
            "{shown}: is there already, and says what is to be done: edit `apply` in it, or name another file"
        );
    }
    let bytes = case_file::bounded_file(file, remedy::MAX_PLAN).with_context(|| format!("{shown}"))?;
    let text =
        String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{shown}: not a plan of lastack: no text"))?;
    Plan::from_text(&text).with_context(|| format!("{shown}"))
}

/// Writes a plan to a new file.
fn save(file: &Path, plan: &Plan) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let mut to = std::fs::File::options().write(true).create_new(true).open(file)?;
        to.write_all(plan.to_text().as_bytes())?;
        to.sync_all()
    };
    write().map_err(|error| {
        anyhow::anyhow!("{}: cannot write the plan: {}", file.display(), case_file::said(&error))
    })
}

fn store(options: &Fix) -> anyhow::Result<Store> {
    Ok(match &options.state_dir {
        Some(folder) => {
            Store::at(std::path::absolute(folder).with_context(|| format!("{}", folder.display()))?)
        }
        None => Store::usual()?,
    })
}

/// What somebody should know who only looks.
fn unfinished(options: &Fix) -> Vec<String> {
    let Ok(entries) = store(options).and_then(|store| Ok(store.entries()?)) else { return Vec::new() };
    let open = entries.iter().filter(|entry| entry.story.ended().is_none());
    open.map(|entry| {
        format!(
            "The apply {} is not finished: `lastack fix --log` settles it, or says who is at it",
            entry.id
        )
    })
    .collect()
}

/// Whether what is asked for can be watched: a guard is held against what was usual before.
fn check_watch(options: &Fix) -> anyhow::Result<()> {
    if baseline(options).is_zero() && !options.guard.is_zero() {
        bail!(
            "--baseline 0 measures nothing that a guard could be held against: leave it out, or write --guard 0 to watch none"
        );
    }
    Ok(())
}

/// Carries out what is chosen. If nothing is, what `is_problem` says is still wrong.
fn apply(options: &Fix, plan: &Plan, is_problem: bool) -> Outcome {
    check_watch(options)?;
    plan.check()?;
    if !options.any_host {
        plan.check_host(&kernel::host::read(&kernel::Root::default()).name)?;
    }
    if plan.chosen().next().is_none() {
        let page = pages::nothing(plan, options.plan.as_deref().filter(|file| file.exists()));
        let remains = is_problem && !plan.remedies.is_empty();
        let done = finish(options, &remedy::Outcome { notes: page, ..remedy::Outcome::default() })?;
        return Ok(if remains { ExitCode::from(1) } else { done });
    }
    let notes = remedy::rehearse(plan)?;
    if !options.yes {
        if !io::stdin().is_terminal() {
            bail!("nobody is here to confirm: standard input is no terminal; --yes confirms beforehand");
        }
        let mut text = Vec::new();
        let page = pages::plan(plan, remedy::lasting(plan).as_ref(), notes, None, None);
        report::write_plan(&page, &mut text, screen::style(options.output.color))?;
        io::stderr().write_all(&text)?;
        if !confirmed("\nApply it? [y/N] ")? {
            return Err(anyhow::anyhow!("not applied; nothing was changed"));
        }
    }
    carry_out(options, Task::Apply(plan.to_text()))
}

fn confirmed(question: &str) -> anyhow::Result<bool> {
    io::stderr().write_all(question.as_bytes())?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn roll_back(options: &Fix, id: &str) -> Outcome {
    carry_out(options, Task::TakeBack(in_force(&store(options)?, id)?))
}

/// Watches an apply once more.
fn watch(options: &Fix, id: &str) -> Outcome {
    let store = store(options)?;
    let id = in_force(&store, id)?;
    let tripped = remedy::watch_again(&store, &id, options.guard)?;
    let mut text = Vec::new();
    if options.output.json {
        report::write_json(&pages::WatchJson::new(&id, &tripped), &mut text)?;
    } else if tripped.is_empty() {
        writeln!(text, "The guards of the apply {id} hold.")?;
    } else {
        for line in &tripped {
            writeln!(text, "{}", report::visible(line))?;
        }
    }
    screen::print(&text)?;
    Ok(ExitCode::from(u8::from(!tripped.is_empty())))
}

/// The name of an apply that was kept and is not taken back.
fn in_force(store: &Store, id: &str) -> anyhow::Result<String> {
    let entries = store.entries()?;
    let taken_back: Vec<&str> = entries
        .iter()
        .filter(|entry| entry.story.ended() == Some(true))
        .filter_map(|entry| entry.story.begin()?.takes_back.as_deref())
        .collect();
    let stays = |entry: &&remedy::Entry| {
        let made = entry.story.begin().is_some_and(|begin| begin.takes_back.is_none());
        made && entry.story.ended() == Some(true) && !taken_back.contains(&entry.id.as_str())
    };
    let found = if id == "last" {
        let found = entries.iter().rev().find(stays);
        found
            .with_context(|| "there is no apply that was kept and not taken back; see `lastack fix --log`")?
    } else {
        let found = entries.iter().find(|entry| entry.id == id);
        let found = found
            .with_context(|| format!("there is no apply {}; see `lastack fix --log`", report::visible(id)))?;
        if !stays(&found) {
            bail!(
                "the apply {id} is not in force: it was taken back, or is one that takes back; see `lastack fix --log`"
            );
        }
        found
    };
    Ok(found.id.clone())
}

/// Gives the order to a process of its own, and says what came of it.
fn carry_out(options: &Fix, task: Task) -> Outcome {
    let store = store(options)?;
    let ms = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let order = Order {
        state: store.root().to_owned(),
        task,
        before_ms: ms(baseline(options)),
        guard_ms: ms(options.guard),
        answer_ms: ms(options.confirm_within),
        confirmed: options.yes || options.rollback.is_some(),
    };
    let mut worker = Command::new(std::env::current_exe().context("where lastack itself is")?);
    worker.arg("fix-worker");
    let outcome =
        remedy::supervise(&store, &order, worker, &mut |event| tell(event, options.rollback.is_some()))?;
    finish(options, &outcome)
}

/// Says on stderr what happens.
fn tell(event: &Event, back: bool) {
    let Some(line) = pages::progress(event, back) else { return };
    let end = if matches!(event, Event::Asking { .. }) { "" } else { "\n" };
    // A terminal that went away is noticed elsewhere.
    let _ = write!(io::stderr(), "{}{end}", report::visible(&line));
}

fn finish(options: &Fix, outcome: &remedy::Outcome) -> Outcome {
    if outcome.refused {
        bail!("{}; nothing was changed", outcome.because);
    }
    let mut text = Vec::new();
    if options.output.json {
        report::write_json(&pages::OutcomeJson::new(outcome), &mut text)?;
    } else {
        report::write_outcome(
            &pages::outcome(outcome, options.rollback.is_some(), options.state_dir.as_deref()),
            &mut text,
            screen::style(options.output.color),
        )?;
    }
    screen::print(&text)?;
    Ok(ExitCode::from(match outcome {
        outcome if !outcome.failed.is_empty() => 2,
        outcome if outcome.kept == Some(false) => 1,
        outcome if options.rollback.is_some() && !outcome.left.is_empty() => 1,
        _ => 0,
    }))
}
