//! The numbers of a run that its table shows.

use super::show;
use report::{Apart, ApartRow, Failed, Probes, StageRow};
use std::collections::BTreeMap;
use tcp::State;
use world::Measures;
use world::scenario::{Probe, Stage, World};
use world::verdict::{COUNT_WITHIN, Compared, Outcome};

/// States of a connection that ends, or that never quite began; TIME-WAIT has a column of its own.
const CLOSING: [State; 6] =
    [State::SynReceived, State::FinWait1, State::FinWait2, State::CloseWait, State::Closing, State::LastAck];

/// The memory of fewer is not worth a line; on the kernel it is not even measured.
const MANY: f64 = 5_000.0;

/// The numbers of a run that its table shows.
pub(super) fn row(stage: Stage, world: &World, outcome: &Outcome) -> StageRow {
    let measures = &outcome.measures;
    let sum = |names: &mut dyn Iterator<Item = String>| {
        names
            .filter_map(|name| measures.get(&name))
            .fold(None, |sum: Option<f64>, value| Some(sum.unwrap_or(0.0) + value))
    };
    let most = |key: &str| {
        let values =
            world.clients.iter().filter_map(|client| measures.get(&format!("{}.{key}", client.name)));
        values.fold(None, |most: Option<f64>, value| Some(most.map_or(value, |most| most.max(value))))
    };
    let mut failed: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for (name, count) in &measures.0 {
        let mut words = name.split('.').skip(1);
        if words.next() == Some("failed")
            && let (Some(call), Some(errno)) = (words.next(), words.next())
        {
            *failed.entry((call, errno)).or_default() += count;
        }
    }
    let failed = failed.into_iter().map(|((call, errno), count)| Failed {
        call: call.to_owned(),
        errno: errno.to_owned(),
        count,
    });
    let closing = world.hosts.iter().flat_map(|host| {
        CLOSING.iter().filter_map(|state| {
            let count = measures.get(&format!("{}.sockets.{}", host.name, state.name()))?;
            (count > 0.0).then(|| (format!("{} {}", host.name, state.name()), count))
        })
    });
    let memory = world.hosts.iter().filter_map(|host| {
        let of = |what: &str| measures.get(&format!("{}.bytes.{what}", host.name));
        let time_wait = measures.get(&format!("{}.sockets.TIME-WAIT", host.name)).unwrap_or(0.0);
        (time_wait >= MANY).then_some((host.name.clone(), of("time_wait")?, of("a_time_wait")?))
    });
    let time_wait = world.hosts.iter().map(|host| {
        let count = measures.get(&format!("{}.sockets.TIME-WAIT", host.name)).unwrap_or(0.0);
        (host.name.clone(), count)
    });
    StageRow {
        on: show::name(stage).to_owned(),
        time_wait: time_wait.collect(),
        closing: closing.collect(),
        ok: sum(&mut world.clients.iter().map(|client| format!("{}.ok", client.name))),
        failed: failed.collect(),
        resets: sum(&mut world.hosts.iter().map(|host| format!("{}.counters.OutRsts", host.name))),
        per_second: sum(&mut world.clients.iter().map(|client| format!("{}.per_second", client.name))),
        p50_us: most("connect_us.p50"),
        p99_us: most("connect_us.p99"),
        cpu_us: most("cpu_us"),
        memory: memory.collect(),
        probes: probes(world, outcome),
    }
}

/// How many probes went as they say; what came instead is among what is wrong.
fn probes(world: &World, outcome: &Outcome) -> Option<Probes> {
    let good =
        |probe: &&Probe| outcome.probes.get(&probe.name).is_some_and(|met| met.astray(probe).is_empty());
    let probes = &world.probes;
    (!probes.is_empty()).then(|| Probes { as_expected: probes.iter().filter(good).count(), of: probes.len() })
}

/// How far the stages are apart in each column of the table; of several clients the one that is the farthest off.
pub(super) fn apart(world: &World, all: &[Compared]) -> ApartRow {
    let of_hosts = |states: &[State], named: &dyn Fn(&str, State) -> String| {
        let mut parts = Vec::new();
        for host in &world.hosts {
            for state in states {
                let name = format!("{}.sockets.{}", host.name, state.name());
                let held = all.iter().find(|one| one.name == name);
                parts.extend(held.map(|held| Apart { of: named(&host.name, *state), ..one(held) }));
            }
        }
        parts
    };
    let farthest = |is_it: &dyn Fn(&str) -> bool| {
        let of_column =
            all.iter().filter(|one| one.name.split_once('.').is_some_and(|(_, what)| is_it(what)));
        // What counts against the simulator first.
        let off = |one: &&Compared| (is_far(one), one.apart);
        let most = of_column.max_by(|a, b| {
            let ((a_far, a), (b_far, b)) = (off(a), off(b));
            a_far.cmp(&b_far).then(a.total_cmp(&b))
        });
        most.map(one)
    };
    ApartRow {
        time_wait: of_hosts(&[State::TimeWait], &|host, _| host.to_owned()),
        closing: of_hosts(&CLOSING, &|host, state| format!("{host} {}", state.name())),
        ok: farthest(&|what| what == "ok"),
        failed: farthest(&|what| what.starts_with("failed.")),
        resets: farthest(&|what| what == "counters.OutRsts"),
        per_second: farthest(&|what| what == "per_second"),
        p50_us: farthest(&|what| what == "connect_us.p50"),
        cpu_us: farthest(&|what| what == "cpu_us"),
    }
}

/// Farther off than a prediction may be, and the scenario does not say why.
fn is_far(held: &Compared) -> bool {
    !held.within && held.excused.is_none()
}

fn one(held: &Compared) -> Apart {
    let difference = held.predicted - held.measured;
    let sign = if difference < 0.0 { '-' } else { '+' };
    let percent = held.apart * 100.0;
    // One of two is half of them: a few are said as what they are.
    let few = held.within && held.apart > COUNT_WITHIN && !Measures::is_timing(&held.name);
    // Without a space, at which a narrow column would break it.
    let by = if few {
        format!("{sign}{}", difference.abs())
    } else if percent < 1.0 {
        format!("{sign}{percent:.1}%")
    } else {
        format!("{sign}{percent:.0}%")
    };
    Apart { of: String::new(), by: (held.apart > 0.0).then_some(by), far: is_far(held) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use world::verdict;
    use world::{Met, Scenario};

    const SCENARIO: &str = r#"
        name = "s"
        title = "t"
        [[host]]
        name = "a"
        [[host]]
        name = "b"
        [[server]]
        name = "app"
        host = "b"
        port = 80
        close = { when = "requests" }
        [[client]]
        name = "load"
        host = "a"
        to = ["app"]
        connections = 100
        close = { when = "peer" }
        [[variant]]
        name = "v"
        [variant.expect]
        unpredicted = { "b.sockets.LAST-ACK" = "a race" }
    "#;

    fn measures(of: &[(&str, f64)]) -> Measures {
        Measures(of.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
    }

    /// What is said, and whether it is too far.
    fn said(apart: &Apart) -> (Option<&str>, bool) {
        (apart.by.as_deref(), apart.far)
    }

    #[test]
    fn what_is_compared_is_told_in_its_column_and_nothing_else() {
        let scenario = Scenario::parse(SCENARIO).unwrap();
        let variant = &scenario.variants[0];
        let of = |time_wait, last_ack, connected, p50, rate| {
            measures(&[
                ("a.sockets.TIME-WAIT", time_wait),
                ("b.sockets.LAST-ACK", last_ack),
                ("load.connected", connected),
                ("load.ok", connected),
                ("load.connect_us.p50", p50),
                ("load.connect_us.p99", p50),
                ("load.per_second", rate),
            ])
        };
        let held = |predicted: &Measures, measured: &Measures| {
            apart(&variant.world, &verdict::compare(variant, predicted, measured))
        };
        let row = held(&of(90.0, 50.0, 1_000.0, 20.0, 990.0), &of(100.0, 10.0, 1_000.0, 10.0, 1_000.0));
        assert_eq!(row.time_wait.iter().map(said).collect::<Vec<_>>(), [(Some("-10%"), true)]);
        assert_eq!(row.time_wait[0].of, "a");
        // The scenario says why.
        assert_eq!(
            (row.closing[0].of.as_str(), said(&row.closing[0])),
            ("b LAST-ACK", (Some("+80%"), false))
        );
        assert_eq!(row.ok.as_ref().map(said), Some((None, false)));
        assert_eq!(row.p50_us.as_ref().map(said), Some((Some("+50%"), true)));
        assert_eq!(row.per_second.as_ref().map(said), Some((Some("-1%"), false)));
        assert_eq!((&row.failed, &row.cpu_us), (&None, &None));
        // Of 99 connections no timing is compared; one of two is one, not a half.
        let few = held(&of(2.0, 0.0, 99.0, 20.0, 990.0), &of(1.0, 0.0, 99.0, 10.0, 10.0));
        assert_eq!((&few.p50_us, &few.per_second), (&None, &None));
        assert_eq!(said(&few.time_wait[0]), (Some("+1"), false));
    }

    #[test]
    fn a_row_has_other_states_calls_memory_and_probes() {
        let probe = "[[probe]]\nname = \"NAME\"\nhost = \"a\"\nto = \"app\"\ninto = \"TIME-WAIT\"\n\
                     reply = \"ACK\"\nafter = \"TIME-WAIT\"\n[probe.send]\nflags = \"SYN\"\n";
        let probes = ["one", "two", "three"].map(|name| probe.replace("NAME", name)).concat();
        let scenario =
            Scenario::parse(&SCENARIO.replace("[[variant]]", &format!("{probes}[[variant]]"))).unwrap();
        let met = |reply: &str| {
            let [before, after] = ["TIME-WAIT"; 2].map(str::to_owned);
            Met { before, reply: reply.to_owned(), after, restarted: false }
        };
        let outcome = Outcome {
            measures: measures(&[
                ("b.sockets.CLOSE-WAIT", 50.0),
                ("b.sockets.ESTABLISHED", 7.0),
                ("a.sockets.TIME-WAIT", 10_000.0),
                ("a.bytes.time_wait", 5_120_000.0),
                ("a.bytes.a_time_wait", 512.0),
                ("load.failed.connect.ETIMEDOUT", 31.0),
                ("load.failed.answer.ETIMEDOUT", 9.0),
            ]),
            probes: [("one", "ACK"), ("two", "RST")]
                .map(|(name, reply)| (name.to_owned(), met(reply)))
                .into_iter()
                .collect(),
            ..Outcome::default()
        };
        let row = row(Stage::Kernel, &scenario.variants[0].world, &outcome);
        assert_eq!(row.closing, [("b CLOSE-WAIT".to_owned(), 50.0)]);
        let failed: Vec<_> = row.failed.iter().map(|failed| (failed.call.as_str(), failed.count)).collect();
        assert_eq!(failed, [("answer", 9.0), ("connect", 31.0)]);
        assert_eq!(row.memory, [("a".to_owned(), 5_120_000.0, 512.0)]);
        // Of the third nothing was sent.
        assert_eq!(row.probes, Some(Probes { as_expected: 1, of: 3 }));
    }
}
