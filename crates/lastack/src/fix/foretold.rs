//! What `whatif` foretells of each remedy of a plan: a model is fitted to the case that the plan is for, and played
//! as it is and under each remedy alone.
//!
//! Who asks for a plan waits for it. So what is played is bounded by the events that happen in it, whatever the load
//! is; the same case gives the same words on every machine.

use crate::whatif::{advised, played};
use diagnose::Diagnosis;
use evidence::Case;
use remedy::{Change, Plan, Planned};
use std::collections::BTreeSet;
use world::cure::{self, Cure};
use world::fit::{Fit, Knowledge, Unfit, fit};
use world::scenario::World;
use world::whatif::{Column, Effect, Kind, Played, Remedy, Worlds, plan};

/// So many events happen in all worlds together: some seconds of one processor.
const MOST_EVENTS: u64 = 8_000_000;
/// Of a fast load so many connections are played, but no less than TIME-WAIT lasts.
const PLAYED: f64 = 60_000.0;
/// A connection is seldom more events than this, if others do not disturb it.
const EVENTS_EACH: u64 = 3;
/// What a world takes besides.
const EVENTS_BESIDES: u64 = 20_000;

/// More are not even tried.
const MOST_TRIED: usize = 24;

/// How a text begins that says why nothing is foretold.
pub(super) const NOT: &str = "not foretold: ";

/// Fills in what is foretold of each remedy, or why nothing is.
pub(super) fn fill(case: &Case, diagnosis: &Diagnosis, to: &mut Plan) {
    let namespaces: BTreeSet<String> = to.remedies.iter().map(|remedy| remedy.netns.clone()).collect();
    let share = MOST_EVENTS / u64::try_from(namespaces.len()).unwrap_or(u64::MAX).max(1);
    for netns in namespaces {
        let mut remedies: Vec<&mut Planned> =
            to.remedies.iter_mut().filter(|remedy| remedy.netns == netns).collect();
        // What may be done at once comes first, if not all can be played.
        remedies.sort_by_key(|remedy| remedy.changes.is_empty());
        fill_namespace(case, diagnosis, &netns, share, &mut remedies);
    }
}

fn fill_namespace(
    case: &Case,
    diagnosis: &Diagnosis,
    netns: &str,
    most_events: u64,
    remedies: &mut [&mut Planned],
) {
    let mut cures = Vec::new();
    for remedy in remedies.iter_mut() {
        match cures_of(remedy) {
            Ok(of) => {
                cures.push((Remedy { name: remedy.name.clone(), host: None, cures: of, only: None }, remedy));
            }
            Err(because) => remedy.predicted = Some(format!("{NOT}{because}")),
        }
    }
    if cures.is_empty() {
        return;
    }
    let knowledge = Knowledge {
        netns: (!netns.is_empty()).then(|| netns.to_owned()),
        played: PLAYED,
        ..Knowledge::default()
    };
    let fit = match fit(case, &knowledge) {
        Ok(fit) => fit,
        Err(unfit) => {
            let because = match unfit {
                Unfit::NoLoad => "no connection ended or was open while it was looked".to_owned(),
                other => other.to_string(),
            };
            for (_, remedy) in cures {
                remedy.predicted = Some(format!("{NOT}{because}"));
            }
            return;
        }
    };
    for (cure, remedy) in &mut cures {
        let asking = diagnosis
            .findings
            .iter()
            .filter(|finding| finding.rule == remedy.rule && remedy.why.contains(&finding.claim));
        cure.only = advised::only(&fit, &cure.cures, asking);
    }
    let (worlds, ends) = affordable(&fit, cures.len(), most_events);
    let mut stage = Stage::new(&fit, worlds, ends, most_events);
    let mut known: Vec<(&Remedy, Result<usize, String>)> = Vec::new();
    let mut places = Vec::new();
    for (cure, _) in &cures {
        let place = match known.iter().find(|(same, _)| *same == cure) {
            Some((_, place)) => place.clone(),
            None if known.len() >= MOST_TRIED => Err(format!(
                "{MOST_TRIED} remedies are played at most; `lastack whatif --remedy {}` does",
                cure.name
            )),
            None => {
                let place = stage.add(cure);
                known.push((cure, place.clone()));
                place
            }
        };
        places.push(place);
    }
    let played = stage.play();
    for ((cure, remedy), place) in cures.into_iter().zip(places) {
        let only =
            cure.only.map_or_else(String::new, |only| format!("only for connections to {}: ", only.to));
        let said = match place {
            Ok(place) => format!("{only}{}", stage.said(&played, place)),
            Err(because) => format!("{NOT}{because}"),
        };
        remedy.predicted = Some(said);
    }
}

/// What a remedy changes in a model, or why that is not known.
fn cures_of(remedy: &Planned) -> Result<Vec<Cure>, String> {
    if let Some(because) = cure::because(&remedy.name) {
        return Err(because.to_owned());
    }
    let settings: Vec<(&str, &str)> = remedy
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Setting { setting, to, .. } => Some((setting.as_str(), to.as_str())),
            Change::AtBoot { .. } | Change::File { .. } => None,
        })
        .collect();
    // A file says what it says in the words of its program: the remedy's name says what that does.
    if settings.is_empty() {
        return remedy
            .name
            .parse()
            .map(|cure| vec![cure])
            .map_err(|_| "the model does not know it".to_owned());
    }
    let cures = settings.into_iter().map(|(setting, to)| Cure::set(None, setting, to));
    cures.collect::<Result<_, _>>().map_err(|_| "the model does not read this setting".to_owned())
}

/// Both ends of what the evidence leaves open if there is time for that, else the one with more connections.
fn affordable(fit: &Fit, remedies: usize, most_events: u64) -> (Worlds, bool) {
    let both = Worlds::from(fit);
    let columns = u64::try_from(remedies).unwrap_or(u64::MAX).saturating_add(1);
    let all = both.worlds.iter().map(events).fold(0, u64::saturating_add);
    if all.saturating_mul(columns) <= most_events || both.worlds.len() < 2 {
        return (both, true);
    }
    (Worlds { worlds: vec![fit.high.clone()], here: fit.here.clone() }, false)
}

/// How many events happen in a world, if connections do not disturb each other.
fn events(world: &World) -> u64 {
    let connections = world.clients.iter().map(|client| u64::from(client.connections));
    let requests = world.clients.iter().map(|client| u64::from(client.requests.max(1)));
    let all: u64 = connections.zip(requests).map(|(count, requests)| count.saturating_mul(requests)).sum();
    all.saturating_mul(EVENTS_EACH).saturating_add(EVENTS_BESIDES)
}

/// The worlds of a namespace that are played: as it is, and under remedies.
struct Stage<'f> {
    fit: &'f Fit,
    worlds: Worlds,
    /// Both ends of what is not known are played.
    both_ends: bool,
    columns: Vec<Column>,
    expected: u64,
    most_events: u64,
}

impl<'f> Stage<'f> {
    fn new(fit: &'f Fit, worlds: Worlds, both_ends: bool, most_events: u64) -> Self {
        let expected = worlds.worlds.iter().map(events).fold(0, u64::saturating_add);
        let columns = plan(&worlds, &[]).columns;
        Self { fit, worlds, both_ends, columns, expected, most_events }
    }

    /// Adds a remedy; the column that shows it, or why it is not played.
    fn add(&mut self, remedy: &Remedy) -> Result<usize, String> {
        let tried = plan(&self.worlds, std::slice::from_ref(remedy));
        if let Some((_, because)) = tried.left_out.into_iter().next() {
            return Err(because);
        }
        let column = tried.columns.into_iter().find(|column| column.kind == Kind::Alone);
        let column = column.ok_or_else(|| "the model does not know it".to_owned())?;
        if let Some(same) = self.columns.iter().position(|known| known.worlds == column.worlds) {
            return Ok(same);
        }
        let more = column.worlds.iter().map(events).fold(0, u64::saturating_add);
        if self.expected.saturating_add(more) > self.most_events {
            return Err(format!(
                "to play so many connections takes longer; `lastack whatif --remedy {}` does",
                remedy.name
            ));
        }
        self.expected = self.expected.saturating_add(more);
        self.columns.push(column);
        Ok(self.columns.len().saturating_sub(1))
    }

    /// Plays them all; none where more happened than there is time for.
    fn play(&self) -> Vec<Option<Played>> {
        let worlds: usize = self.columns.iter().map(|column| column.worlds.len()).sum();
        let each = self.most_events / u64::try_from(worlds).unwrap_or(u64::MAX).max(1);
        played::within(&self.columns, &self.worlds.here, each)
    }

    fn said(&self, played: &[Option<Played>], place: usize) -> String {
        let of = |place: usize| played.get(place).and_then(Option::as_ref);
        let (Some(before), Some(after)) = (of(0), of(place)) else {
            return format!(
                "{NOT}connections disturb each other, and to play that takes longer; `lastack whatif` does"
            );
        };
        let effect = Effect { before: before.numbers, after: after.numbers, lasts: self.fit.lasts };
        let differences = effect.differences();
        let said = if differences.is_empty() {
            format!("nothing that counts: {} as before", effect.stays())
        } else {
            differences.join("; ")
        };
        let ends = if self.both_ends { "" } else { ", only the most that it may be" };
        format!("{said} (a model of the load that was seen{ends}; docs/whatif.md)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use remedy::Wishes;

    fn case(name: &str) -> Case {
        let file = format!("{}/../world/tests/whatif/{name}.case", env!("CARGO_MANIFEST_DIR"));
        Case::from_bytes(&std::fs::read(file).unwrap()).unwrap()
    }

    fn filled(case: &Case) -> Plan {
        let diagnosis = diagnose::diagnose(case);
        let (mut plan, _) =
            Plan::new(case, &diagnosis, &Wishes::default(), remedy::Files::Elsewhere).unwrap();
        fill(case, &diagnosis, &mut plan);
        plan
    }

    /// All that is foretold, a line for each remedy.
    fn lines(plan: &Plan) -> String {
        let lines = plan.remedies.iter().map(|remedy| {
            format!(
                "{} ({}): {}\n",
                remedy.name,
                remedy.rule,
                remedy.predicted.as_deref().unwrap_or_default()
            )
        });
        lines.collect()
    }

    #[test]
    fn every_remedy_has_its_effect_or_why_not_and_the_plan_keeps_it() {
        let plan = filled(&case("steady"));
        insta::assert_snapshot!(lines(&plan));
        assert!(plan.remedies.iter().all(|remedy| remedy.predicted.is_some()));
        assert_eq!(Plan::from_text(&plan.to_text()), Ok(plan));
    }

    #[test]
    fn a_load_that_was_over_is_told_in_all_and_not_by_the_second() {
        insta::assert_snapshot!(lines(&filled(&case("time-wait-overflow"))));
    }
}
