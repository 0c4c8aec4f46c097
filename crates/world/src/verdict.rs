//! Whether a run was as expected, and whether the simulator foretold the kernel.

use crate::scenario::{Relation, Stage, Variant};
use crate::{Measures, Met};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Rules by host.
pub type Findings = BTreeMap<String, BTreeSet<String>>;

/// What one run of one variant showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The rules that fired.
    pub findings: Findings,
    /// The rules that fired on what a host's capture shows of its peers, and that nobody can mend at the host: they are
    /// judged where they can be.
    pub of_peers: Findings,
    /// The rules that could not be decided there, by host, and what the stage does not show that they need.
    pub undecided: BTreeMap<String, BTreeMap<String, String>>,
    /// Its numbers.
    pub measures: Measures,
    /// What the segment of each probe met.
    pub probes: BTreeMap<String, Met>,
    /// The names of the counters that the stage has; empty: that is not known.
    pub counters: BTreeSet<String>,
}

impl Outcome {
    /// The number under a name, or 0 if it was counted and did not happen. None if it was not measured.
    pub fn value(&self, name: &str) -> Option<f64> {
        let counter = name.split_once('.').and_then(|(_, what)| what.strip_prefix("counters."));
        let has = |counter: &str| self.counters.is_empty() || self.counters.contains(counter);
        self.measures.value(name).filter(|_| counter.is_none_or(has))
    }
}

/// A rule at a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fired {
    /// The host.
    pub host: String,
    /// The rule.
    pub rule: String,
}

impl fmt::Display for Fired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.rule, self.host)
    }
}

/// An expected rule that could not be decided on a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undecided {
    /// The host.
    pub host: String,
    /// The rule.
    pub rule: String,
    /// What is not to be seen there.
    pub because: String,
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.rule, self.host, self.because)
    }
}

/// A measure outside its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Outside {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// At least.
    pub min: f64,
    /// At most.
    pub max: f64,
}

/// The findings and numbers of a run, held against what was expected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Expected, and they fired.
    pub right: Vec<Fired>,
    /// Expected, but silent.
    pub missed: Vec<Fired>,
    /// Expected, but the stage does not show what they need.
    pub undecided: Vec<Undecided>,
    /// Not expected, but they fired.
    pub false_alarms: Vec<Fired>,
    /// Measures outside their bounds.
    pub outside: Vec<Outside>,
    /// Probes that did not go as they say, with what came instead: `row-5: reply ACK, expected SYN,ACK`.
    pub astray: Vec<String>,
    /// Measures with bounds that the run does not have: nobody can tell.
    pub unmeasured: Vec<String>,
}

impl Verdict {
    /// Judges a run.
    pub fn new(variant: &Variant, outcome: &Outcome) -> Self {
        let mut verdict = Self::default();
        let expect = &variant.expect;
        let none = BTreeSet::new();
        for host in &variant.world.hosts {
            let expected = expect.findings.get(&host.name).unwrap_or(&none);
            let possible = expect.possible.get(&host.name).unwrap_or(&none);
            let fired = outcome.findings.get(&host.name).unwrap_or(&none);
            let undecided = outcome.undecided.get(&host.name);
            let because = |rule: &String| undecided.and_then(|rules| rules.get(rule));
            let at = |rule: &String| Fired { host: host.name.clone(), rule: rule.clone() };
            verdict.right.extend(expected.intersection(fired).map(at));
            for rule in expected.difference(fired) {
                match because(rule).cloned() {
                    Some(because) => {
                        let Fired { host, rule } = at(rule);
                        verdict.undecided.push(Undecided { host, rule, because });
                    }
                    None => verdict.missed.push(at(rule)),
                }
            }
            verdict.false_alarms.extend(
                fired.iter().filter(|rule| !expected.contains(*rule) && !possible.contains(*rule)).map(at),
            );
        }
        for (name, bounds) in &expect.measures {
            let Some(value) = outcome.value(name) else {
                verdict.unmeasured.push(name.clone());
                continue;
            };
            if !bounds.hold(value) {
                verdict.outside.push(Outside { name: name.clone(), value, min: bounds.min, max: bounds.max });
            }
        }
        for probe in &variant.world.probes {
            let astray = match outcome.probes.get(&probe.name) {
                Some(met) => met.astray(probe),
                None => vec!["nothing was sent".to_owned()],
            };
            if !astray.is_empty() {
                verdict.astray.push(format!("{}: {}", probe.name, astray.join("; ")));
            }
        }
        verdict
    }

    /// Of several runs of one variant: right is what was right in all of them, wrong what was wrong in one.
    pub fn of_all(verdicts: Vec<Self>) -> Self {
        let mut all: Option<Self> = None;
        for one in verdicts {
            let Some(sum) = &mut all else {
                all = Some(one);
                continue;
            };
            sum.right.retain(|fired| one.right.contains(fired));
            let new = |known: &[Fired], fired: &Fired| !known.contains(fired);
            sum.missed
                .extend(one.missed.into_iter().filter(|fired| new(&sum.missed, fired)).collect::<Vec<_>>());
            sum.undecided.retain(|undecided| one.undecided.contains(undecided));
            let alarms = one.false_alarms.into_iter().filter(|fired| new(&sum.false_alarms, fired));
            sum.false_alarms.extend(alarms.collect::<Vec<_>>());
            for outside in one.outside {
                if sum.outside.iter().all(|known| known.name != outside.name) {
                    sum.outside.push(outside);
                }
            }
            for astray in one.astray {
                if !sum.astray.contains(&astray) {
                    sum.astray.push(astray);
                }
            }
            sum.unmeasured.retain(|name| one.unmeasured.contains(name));
        }
        all.unwrap_or_default()
    }

    /// True if all was as expected.
    pub fn passed(&self) -> bool {
        self.missed.is_empty()
            && self.false_alarms.is_empty()
            && self.outside.is_empty()
            && self.astray.is_empty()
    }
}

/// Two measures of which one should be smaller.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokenRelation {
    /// What should hold.
    pub relation: Relation,
    /// The measure of the variant that should have less.
    pub less: f64,
    /// Of the one that should have more.
    pub more: f64,
}

/// The relations that do not hold on a stage, among the variants that ran there.
pub fn broken_relations(
    relations: &[Relation],
    stage: Stage,
    outcomes: &BTreeMap<String, Outcome>,
) -> Vec<BrokenRelation> {
    let value = |variant: &str, name: &str| outcomes.get(variant).and_then(|outcome| outcome.value(name));
    let broken = relations.iter().filter(|relation| relation.on.is_none_or(|on| on == stage));
    let broken = broken.filter_map(|relation| {
        let less = value(&relation.less, &relation.measure)?;
        let more = value(&relation.more, &relation.measure)?;
        (less > relation.factor * more).then(|| BrokenRelation { relation: relation.clone(), less, more })
    });
    broken.collect()
}

/// True if both variants ran on a stage, and one does not have the measure: nobody can tell whether the relation holds.
pub fn is_untold(relation: &Relation, stage: Stage, outcomes: &BTreeMap<String, Outcome>) -> bool {
    let both = [&relation.less, &relation.more].map(|variant| outcomes.get(variant));
    relation.on.is_none_or(|on| on == stage)
        && both.iter().all(Option::is_some)
        && both.iter().flatten().any(|outcome| outcome.value(&relation.measure).is_none())
}

/// True if it is wrong that a measure is absent: every stage where it could have been has run, and none gave it.
/// Memory is shown to root only.
pub fn is_nowhere(measure: &str, could: &[Stage], absent: &BTreeSet<Stage>) -> bool {
    !Measures::is_memory(measure) && !could.is_empty() && could.iter().all(|stage| absent.contains(stage))
}

/// So far apart a prediction and a measured count may be, as a part of the larger.
pub const COUNT_WITHIN: f64 = 0.05;
/// The same for a rate or a latency.
pub const TIMING_WITHIN: f64 = 0.20;
/// Of fewer turns, and latencies of fewer connections, a single one that waits for its processor is a large part.
pub const ENOUGH: f64 = 100.0;
/// Where a tenth behind the median takes so many times as long as a tenth before it, the median lies in a gap.
const GAP: f64 = 1.25;
/// Counts may differ by so many whatever they are: one connection more is no other world.
pub const SLACK: f64 = 2.0;

/// A measure on both stages.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// What the simulator said.
    pub predicted: f64,
    /// What the kernel showed.
    pub measured: f64,
    /// How far they are apart, as a part of the larger; 0 if equal.
    pub apart: f64,
    /// Within the limit for its kind.
    pub within: bool,
    /// The scenario says that the simulator does not foretell this one, because of this.
    pub excused: Option<String>,
}

impl Compared {
    /// True if it counts against the simulator: a count out of bounds that nothing excuses. Rates and latencies are
    /// shown, but a busy machine moves them.
    pub fn counts(&self) -> bool {
        !self.within && self.excused.is_none() && !Measures::is_timing(&self.name)
    }
}

/// Holds what the simulator said against what the kernel showed.
///
/// Peaks are compared for TIME-WAIT only: states that live shorter than the time between two looks are seen by chance.
/// Of counters and conntrack only what the simulator gives at all is compared, of memory only what the kernel gives
/// (its slabs are the host's, and are read where few sockets do not drown in them); of sockets and clients all.
/// Of rates and latencies: what one run after the other gives again on a machine that has nothing else to do, with how
/// much is in `docs/scenarios.md`: the rate, the processor time of connect() and its median, of clients with
/// [`ENOUGH`] turns or connections. A median in a gap is left out: where half of all connects find a port at once and
/// half walk, it is one or the other by chance.
pub fn compare(variant: &Variant, predicted: &Measures, measured: &Measures) -> Vec<Compared> {
    let both_ways = |name: &str| {
        let family = name.split('.').nth(1).unwrap_or_default();
        let host = name.split('.').next().and_then(|host| variant.world.host(host)).is_some();
        !host || family == "sockets"
    };
    let is_chance = |name: &str| {
        let mut parts = name.split('.').skip(1);
        parts.next() == Some("peak") && parts.next() != Some("TIME-WAIT")
    };
    let foretold = predicted.0.keys().filter(|name| !is_chance(name));
    let names: BTreeSet<&String> = foretold.chain(measured.0.keys().filter(|name| both_ways(name))).collect();
    let names =
        names.into_iter().filter(|name| !Measures::is_timing(name) || repeats(name, predicted, measured));
    let compared = names.filter_map(|name| {
        let (predicted, measured) = (predicted.value(name)?, measured.value(name)?);
        let (difference, larger) = ((predicted - measured).abs(), predicted.abs().max(measured.abs()));
        let apart = if larger > 0.0 { difference / larger } else { 0.0 };
        let within = if Measures::is_timing(name) {
            apart <= TIMING_WITHIN
        } else {
            apart <= COUNT_WITHIN || difference <= SLACK
        };
        let excused = variant.expect.excuse(name).map(str::to_owned);
        Some(Compared { name: name.clone(), predicted, measured, apart, within, excused })
    });
    compared.collect()
}

/// True for a rate or a latency that a second run would give again.
fn repeats(name: &str, predicted: &Measures, measured: &Measures) -> bool {
    let Some((client, what)) = name.split_once('.') else { return false };
    let count = |what: &str| measured.value(&format!("{client}.{what}")).unwrap_or(0.0);
    match what {
        "per_second" => count("connected").max(count("requests")) >= ENOUGH,
        "cpu_us" => count("connected") >= ENOUGH,
        "connect_us.p50" => {
            let part = |part| predicted.get(&format!("{client}.connect_us.{part}"));
            let in_a_gap = part("p40").zip(part("p60")).is_some_and(|(before, behind)| behind > before * GAP);
            count("connected") >= ENOUGH && !in_a_gap
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;

    const SCENARIO: &str = r#"
        name = "s"
        title = "t"
        [[host]]
        name = "a"
        [[host]]
        name = "b"
        [[variant]]
        name = "v"
        [variant.expect]
        findings = { a = ["one", "two"] }
        possible = { b = ["chance"] }
        measures = { "a.sockets.TIME-WAIT" = [10, 20], "b.sockets.TIME-WAIT" = 0 }
        unpredicted = { "a.sockets.CLOSING" = "a race", "b.*" = "another" }
        [[variant]]
        name = "w"
        [[relation]]
        less = "v"
        more = "w"
        measure = "a.sockets.TIME-WAIT"
        factor = 0.5
    "#;

    fn outcome(findings: &[(&str, &[&str])], measures: &[(&str, f64)]) -> Outcome {
        let rules = |rules: &[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect();
        Outcome {
            findings: findings.iter().map(|(host, fired)| ((*host).to_owned(), rules(fired))).collect(),
            measures: Measures(measures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()),
            ..Outcome::default()
        }
    }

    fn said(fired: &[Fired]) -> Vec<String> {
        fired.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn missed_false_and_outside_are_told_apart() {
        let scenario = Scenario::parse(SCENARIO).unwrap();
        let variant = &scenario.variants[0];
        let good = outcome(&[("a", &["one", "two"]), ("b", &["chance"])], &[("a.sockets.TIME-WAIT", 10.0)]);
        let verdict = Verdict::new(variant, &good);
        assert!(verdict.passed());
        assert_eq!(said(&verdict.right), ["one at a", "two at a"]);

        let bad = outcome(
            &[("a", &["one"]), ("b", &["two"])],
            &[("a.sockets.TIME-WAIT", 21.0), ("b.sockets.TIME-WAIT", 1.0)],
        );
        let verdict = Verdict::new(variant, &bad);
        assert!(!verdict.passed());
        assert_eq!(said(&verdict.missed), ["two at a"]);
        assert_eq!(said(&verdict.false_alarms), ["two at b"]);
        let blind = Outcome {
            undecided: [("a", [("two".to_owned(), "it is dark".to_owned())])]
                .map(|(host, rules)| (host.to_owned(), rules.into_iter().collect()))
                .into_iter()
                .collect(),
            ..bad.clone()
        };
        let unseen = Verdict::new(variant, &blind);
        assert!(unseen.missed.is_empty());
        let unseen: Vec<String> = unseen.undecided.iter().map(ToString::to_string).collect();
        assert_eq!(unseen, ["two at a: it is dark"]);
        assert_eq!(verdict.outside.iter().map(|outside| outside.value).collect::<Vec<_>>(), [21.0, 1.0]);
    }

    #[test]
    fn of_several_runs_one_that_is_wrong_is_enough() {
        let scenario = Scenario::parse(SCENARIO).unwrap();
        let variant = &scenario.variants[0];
        let judge = |rules: &[&str], time_wait| {
            Verdict::new(variant, &outcome(&[("a", rules)], &[("a.sockets.TIME-WAIT", time_wait)]))
        };
        let good = judge(&["one", "two"], 10.0);
        assert_eq!(Verdict::of_all(vec![good.clone(), good.clone()]), good);
        let all = Verdict::of_all(vec![good, judge(&["one"], 9.0), judge(&["one", "three"], 8.0)]);
        assert_eq!(said(&all.right), ["one at a"]);
        assert_eq!(said(&all.missed), ["two at a"]);
        assert_eq!(said(&all.false_alarms), ["three at a"]);
        assert_eq!(all.outside.iter().map(|outside| outside.value).collect::<Vec<_>>(), [9.0]);
    }

    #[test]
    fn what_was_not_measured_is_not_zero() {
        let text = SCENARIO.replace("\"b.sockets.TIME-WAIT\" = 0", "\"b.bytes.time_wait\" = [1000, 2000]");
        let scenario = Scenario::parse(
            &text.replace("measure = \"a.sockets.TIME-WAIT\"", "measure = \"b.bytes.time_wait\""),
        )
        .unwrap();
        let seen = outcome(&[("a", &["one", "two"])], &[("a.sockets.TIME-WAIT", 10.0)]);
        let verdict = Verdict::new(&scenario.variants[0], &seen);
        assert!(verdict.passed());
        assert_eq!(verdict.unmeasured, ["b.bytes.time_wait"]);
        let wrong = Verdict::new(
            &scenario.variants[0],
            &outcome(&[("a", &["one", "two"])], &[("b.bytes.time_wait", 9.0)]),
        );
        assert_eq!(
            wrong.outside.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
            ["a.sockets.TIME-WAIT", "b.bytes.time_wait"]
        );
        let outcomes = [("v", seen.clone()), ("w", seen)]
            .into_iter()
            .map(|(name, seen)| (name.to_owned(), seen))
            .collect();
        assert!(broken_relations(&scenario.relations, Stage::Kernel, &outcomes).is_empty());
        assert!(is_untold(&scenario.relations[0], Stage::Kernel, &outcomes));
    }

    #[test]
    fn what_no_stage_gives_is_told_from_what_one_cannot_give() {
        let text = SCENARIO.replace("\"b.sockets.TIME-WAIT\" = 0", "\"b.counters.PAWSPassive\" = 0");
        let scenario = Scenario::parse(&text).unwrap();
        let mut seen = outcome(&[("a", &["one", "two"])], &[("a.sockets.TIME-WAIT", 10.0)]);
        assert!(Verdict::new(&scenario.variants[0], &seen).unmeasured.is_empty());
        seen.counters.insert("TW".to_owned());
        assert_eq!(Verdict::new(&scenario.variants[0], &seen).unmeasured, ["b.counters.PAWSPassive"]);
        seen.counters.insert("PAWSPassive".to_owned());
        assert!(Verdict::new(&scenario.variants[0], &seen).unmeasured.is_empty());

        let both = [Stage::Kernel, Stage::Simulator];
        let nowhere = |measure: &str, could: &[Stage], absent: &[Stage]| {
            is_nowhere(measure, could, &absent.iter().copied().collect())
        };
        assert!(nowhere("b.counters.PAWSPassive", &both, &both));
        assert!(nowhere("b.counters.PAWSPassive", &both[..1], &both[..1]));
        assert!(!nowhere("b.counters.PAWSPassive", &both, &both[..1]));
        assert!(!nowhere("b.bytes.time_wait", &both, &both));
    }

    #[test]
    fn relations_hold_between_variants_that_ran() {
        let scenario = Scenario::parse(SCENARIO).unwrap();
        let run = |v, w| {
            let outcomes =
                [("v", v), ("w", w)].into_iter().filter_map(|(name, value): (&str, Option<f64>)| {
                    Some((name.to_owned(), outcome(&[], &[("a.sockets.TIME-WAIT", value?)])))
                });
            broken_relations(&scenario.relations, Stage::Kernel, &outcomes.collect()).len()
        };
        assert_eq!((run(Some(5.0), Some(10.0)), run(Some(6.0), Some(10.0)), run(Some(6.0), None)), (0, 1, 0));
    }

    #[test]
    fn a_prediction_is_held_to_five_percent() {
        let scenario = Scenario::parse(SCENARIO).unwrap();
        let variant = &scenario.variants[0];
        let of = |name: &str, predicted: f64, measured: f64| {
            let one = |value| Measures([(name.to_owned(), value)].into_iter().collect());
            compare(variant, &one(predicted), &one(measured)).remove(0)
        };
        assert!(!of("a.sockets.TIME-WAIT", 1_000.0, 951.0).counts());
        assert!(of("a.sockets.TIME-WAIT", 1_000.0, 949.0).counts());
        assert!(!of("a.sockets.TIME-WAIT", 2.0, 0.0).counts());
        assert!(of("a.sockets.TIME-WAIT", 3.0, 0.0).counts());
        assert!(!of("a.sockets.CLOSING", 100.0, 0.0).counts());
        assert!(!of("b.counters.InSegs", 100.0, 0.0).counts());
        assert!(!of("a.sockets.LAST-ACK", 0.0, 9.0).within);
        let load = |connected, p50| {
            outcome(
                &[],
                &[("load.connected", connected), ("load.connect_us.p50", p50), ("load.connect_us.p99", p50)],
            )
        };
        let slow = compare(variant, &load(100.0, 10.0).measures, &load(100.0, 20.0).measures);
        let slow = slow.iter().find(|compared| compared.name == "load.connect_us.p50").unwrap();
        assert!(!slow.within && !slow.counts());
        let few = compare(variant, &load(99.0, 10.0).measures, &load(99.0, 20.0).measures);
        assert_eq!(few.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["load.connected"]);
        let parts = |p40, p60| {
            let parts = [
                ("connected", 100.0),
                ("connect_us.p40", p40),
                ("connect_us.p50", p40),
                ("connect_us.p60", p60),
            ];
            let parts = parts.map(|(name, value)| (format!("load.{name}"), value));
            compare(variant, &Measures(parts.into_iter().collect()), &load(100.0, 20.0).measures).len()
        };
        assert_eq!(
            (parts(10.0, 12.0), parts(10.0, 30.0)),
            (2, 1),
            "half of them find a port at once, half walk"
        );
        // A counter that the simulator does not know says nothing about it; a socket does.
        let measured = outcome(&[], &[("a.counters.InSegs", 5_000.0), ("a.sockets.LAST-ACK", 9.0)]).measures;
        let compared = compare(variant, &Measures::default(), &measured);
        assert_eq!(compared.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a.sockets.LAST-ACK"]);
        assert!(compared[0].counts());
    }
}
