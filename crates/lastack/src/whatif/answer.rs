//! The answer, for the page, for JSON and for the plot.

use super::source::{Of, Source};
use report::{
    Assumed, LoadRow, ModelHost, NotSimulated, OutcomeRow, OverTimeRow, Span, WHATIF_SCHEMA, WhatIf,
};
use world::fit::{Ends, Fit, Range};
use world::scenario::World;
use world::whatif::{Kind, Plan, Played, Point};

pub(super) fn answer(source: &Source, plan: &Plan, played: Vec<Played>) -> WhatIf {
    let outcomes = plan.columns.iter().zip(played).map(|(column, played)| {
        let kind = match column.kind {
            Kind::AsItIs => "as-it-is",
            Kind::Alone => "alone",
            Kind::Together => "together",
        };
        OutcomeRow {
            kind,
            remedies: column.remedies.clone(),
            changes: column.changes.clone(),
            ..row(&played)
        }
    });
    let mut answer = WhatIf {
        schema: WHATIF_SCHEMA,
        source: source.kind,
        name: source.name.clone(),
        host: source.worlds.here.clone(),
        outcomes: outcomes.collect(),
        not_simulated: plan
            .left_out
            .iter()
            .map(|(remedy, because)| NotSimulated { remedy: remedy.clone(), because: because.clone() })
            .collect(),
        ..WhatIf::default()
    };
    match &source.of {
        Of::Case(_, fit) => of_fit(&mut answer, fit),
        Of::Scenario(_) => of_scenario(&mut answer, source),
    }
    answer
}

fn of_fit(answer: &mut WhatIf, fit: &Fit) {
    answer.lasts = fit.lasts;
    answer.played_s = fit.for_ms as f64 / 1e3;
    answer.hosts = fit
        .names
        .iter()
        .map(|(name, stands_for)| ModelHost { name: name.clone(), stands_for: stands_for.clone() })
        .collect();
    answer.assumptions = fit
        .assumptions
        .iter()
        .map(|one| Assumed { assumed: one.assumed.clone(), because: one.because.clone() })
        .collect();
    let parts = fit.clients.iter().zip(&fit.servers);
    let rows = fit.talkers.iter().zip(parts).map(|(talker, (clients, server))| {
        let (ends, ends_text) = ends(talker.ends);
        LoadRow {
            client: talker.client.to_string(),
            server: talker.destination(),
            model: clients.iter().chain(server).cloned().collect(),
            process: talker.process.clone(),
            connections: talker.connections,
            per_second: span(talker.per_second),
            at_once: talker.at_once,
            open_ms: talker.open_ms,
            requests: talker.requests,
            ends: ends.to_owned(),
            ends_text,
            lasts: talker.lasts(),
        }
    });
    answer.load = rows.collect();
}

fn of_scenario(answer: &mut WhatIf, source: &Source) {
    let Some(world) = source.worlds.worlds.first() else { return };
    answer.played_s = length_s(world);
    answer.hosts = world
        .hosts
        .iter()
        .map(|host| ModelHost { name: host.name.clone(), stands_for: "as the scenario says".to_owned() })
        .collect();
    answer.assumptions = vec![Assumed {
        assumed: "the load is the first variant's".to_owned(),
        because: "the scenario says so; nothing was fitted".to_owned(),
    }];
}

/// How long connections are begun, as far as they are paced.
fn length_s(world: &World) -> f64 {
    let paced =
        world.clients.iter().filter_map(|client| Some(f64::from(client.connections) / client.per_second?));
    paced.fold(0.0, f64::max)
}

const fn ends(ends: Ends) -> (&'static str, &'static str) {
    match ends {
        Ends::ClientCloses => ("client-closes", "the client closes first"),
        Ends::ServerCloses => ("server-closes", "the server closes first"),
        Ends::ClientResets => ("client-resets", "the client resets them"),
        Ends::ServerResets => ("server-resets", "the server resets them"),
        Ends::ServerNeverCloses => ("server-never-closes", "the client closes, the server never does"),
        Ends::ClientNeverCloses => ("client-never-closes", "the server closes, the client never does"),
        Ends::ServerClosesIdle => ("server-closes-idle", "the server closes what is idle"),
        Ends::StaysOpen => ("stays-open", "they stay open"),
    }
}

fn span(range: Range) -> Span {
    Span { low: range.low, high: range.high }
}

fn row(played: &Played) -> OutcomeRow {
    let numbers = played.numbers;
    OutcomeRow {
        time_wait: span(numbers.time_wait),
        time_wait_peak: span(numbers.time_wait_peak),
        time_wait_at_peers: span(numbers.time_wait_at_peers),
        unclosed: span(numbers.unclosed),
        ports_left: numbers.ports_left.map(span),
        connects: span(numbers.connects),
        failed: span(numbers.failed),
        failed_per_second: span(numbers.failed_per_second),
        lost: span(numbers.lost),
        answered: span(numbers.answered),
        resets: span(numbers.resets),
        overflows: span(numbers.overflows),
        connect_p50_us: span(numbers.connect_p50_us),
        connect_p99_us: span(numbers.connect_p99_us),
        latency_us: numbers.latency_us.map(span),
        memory_bytes: span(numbers.memory_bytes),
        connect_cpu: span(numbers.connect_cpu),
        over_time: course(&played.over_time),
        over_time_low: played.over_time_low.as_deref().map(course),
        ..OutcomeRow::default()
    }
}

fn course(points: &[Point]) -> OverTimeRow {
    OverTimeRow {
        at_s: points.iter().map(|point| point.at_s).collect(),
        time_wait: points.iter().map(|point| point.time_wait).collect(),
        time_wait_at_peers: points.iter().map(|point| point.time_wait_at_peers).collect(),
        ports_left: points.iter().map(|point| point.ports_left).collect(),
        failed_per_second: points.iter().map(|point| point.failed_per_second).collect(),
        lost_per_second: points.iter().map(|point| point.lost_per_second).collect(),
    }
}
