//! Costs fitted to one variant foretell the rates and latencies of the others, held against recorded runs of the kernel
//! stage: `measured/alone.json` on a machine that did nothing else (release build), `measured/busy.json` while others
//! compiled on its two processors (debug build), `measured/paced.json` twice on a machine whose speed others changed from
//! second to second (release build), with how fast it was.

use serde::Deserialize;
use world::scenario::{Variant, World};
use world::verdict::{self, ENOUGH, TIMING_WITHIN};
use world::{Costs, Measures, collection, simulate};

#[derive(Deserialize)]
struct Recorded {
    scenario: String,
    variant: String,
    measured: Measures,
}

fn recorded(text: &str) -> Vec<Recorded> {
    serde_json::from_str(text).expect("it is JSON")
}

fn variant(scenario: &str, variant: &str) -> Variant {
    collection::scenario(scenario)
        .expect("it comes with lastack")
        .expect("it is read")
        .variant(variant)
        .expect("it has the variant")
        .clone()
}

fn world(scenario: &str, of: &str) -> World {
    variant(scenario, of).world
}

/// How many rates, and processor times and medians of connect(), lie within the limit, of how many.
type Hits = [(usize, usize); 2];

fn hold(hits: &mut Hits, world: &World, measured: &Measures) {
    let foretold = simulate(world).measures;
    for client in &world.clients {
        for (kind, what) in [(0, "per_second"), (1, "cpu_us"), (1, "connect_us.p50")] {
            let name = format!("{}.{what}", client.name);
            let connections = measured.get(&format!("{}.connected", client.name)).unwrap_or(0.0);
            let (Some(was), Some(is)) = (foretold.get(&name), measured.get(&name)) else { continue };
            if kind == 0 || connections >= ENOUGH {
                hits[kind].0 += usize::from((was - is).abs() / was.max(is) <= TIMING_WITHIN);
                hits[kind].1 += 1;
            }
        }
    }
}

/// Each variant but the first of its scenario: with the costs of that, and with the default ones.
fn fitted_and_not(recorded: &[Recorded]) -> [Hits; 2] {
    let (mut with, mut without) = (Hits::default(), Hits::default());
    let mut fitted: Option<(&str, Costs)> = None;
    for run in recorded {
        let mut world = world(&run.scenario, &run.variant);
        match &fitted {
            Some((scenario, costs)) if *scenario == run.scenario => {
                hold(&mut without, &world, &run.measured);
                world.costs = costs.clone();
                hold(&mut with, &world, &run.measured);
            }
            _ => {
                let costs = Costs::default().fitted(&world, &run.measured);
                fitted = Some((&run.scenario, costs.expect("the first says what things cost")));
            }
        }
    }
    [with, without]
}

#[test]
fn on_a_machine_like_that_of_the_defaults_a_fit_does_no_harm() {
    let [with, without] = fitted_and_not(&recorded(include_str!("measured/alone.json")));
    for [(rates, of_rates), (connects, of_connects)] in [with, without] {
        assert!(of_rates >= 25 && of_connects >= 40, "{with:?} {without:?}");
        assert!(rates * 100 >= of_rates * 85, "{with:?} {without:?}");
        assert!(connects * 100 >= of_connects * 85, "{with:?} {without:?}");
    }
}

#[test]
fn on_a_busy_machine_a_fit_foretells_what_the_defaults_do_not() {
    let [with, without] = fitted_and_not(&recorded(include_str!("measured/busy.json")));
    let [(rates, of), _] = with;
    assert!(rates * 100 >= of * 70, "{with:?} {without:?}");
    assert!(rates >= 4 * without[0].0, "{with:?} {without:?}");
}

/// Rates, and processor times and medians of connect(), that lie within the limit, of all: with the default costs, of
/// the pace that the machine had or not. As `lab run` compares them.
fn at_their_pace(recorded: &[Recorded], paced: bool) -> (usize, usize) {
    let (mut within, mut all) = (0, 0);
    for run in recorded {
        let variant = variant(&run.scenario, &run.variant);
        let pace = Costs::pace(&variant.world, &run.measured).filter(|_| paced);
        let costs = Costs::default().at_pace(pace.unwrap_or(1.0));
        let foretold = simulate(&World { costs, ..variant.world.clone() }).measures;
        let compared = verdict::compare(&variant, &foretold, &run.measured);
        let timings: Vec<_> = compared.iter().filter(|one| Measures::is_timing(&one.name)).collect();
        within += timings.iter().filter(|one| one.within).count();
        all += timings.len();
    }
    (within, all)
}

#[test]
fn how_fast_the_machine_was_meanwhile_foretells_most_of_the_rest() {
    let recorded = recorded(include_str!("measured/paced.json"));
    let (with, all) = at_their_pace(&recorded, true);
    let (without, _) = at_their_pace(&recorded, false);
    assert!(all > 200 && with * 100 >= all * 85, "{with} of {all}, and {without} without");
    assert!(without * 2 < with, "{with} of {all}, and {without} without");
}

#[test]
fn without_a_look_there_is_no_pace() {
    let world = world("linger-zero", "fin");
    let of = |values: &[(&str, f64)]| {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value));
        Costs::pace(&world, &Measures(values.collect()))
    };
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[("load.socket_us", 0.0), ("other.socket_us", 3.0)]), None);
    assert!((of(&[("load.socket_us", 2.9)]).unwrap() - 2.0).abs() < 1e-9);
}

#[test]
fn costs_that_made_measures_are_found_again() {
    let world = world("linger-zero", "fin");
    let slow = Costs {
        connect: 15_000,
        accept: 60_000,
        wake: 15_000,
        turn: 54_000,
        connection: 144_000,
        close: 51_000,
        request: 40_500,
        threads: 165_000,
        ..Costs::default()
    };
    let slowly = simulate(&World { costs: slow, ..world.clone() }).measures;
    let fitted = Costs::default().fitted(&world, &slowly).unwrap();
    let again = simulate(&World { costs: fitted.clone(), ..world.clone() }).measures;
    for name in ["load.per_second", "load.cpu_us"] {
        let (was, is) = (slowly.get(name).unwrap(), again.get(name).unwrap());
        assert!((was / is - 1.0).abs() < 0.02, "{name}: {is}, not {was}: {fitted:?}");
    }
    assert_eq!(Costs::default().fitted(&world, &slowly), Some(fitted), "the same measures, the same costs");
}

#[test]
fn of_several_fits_one_that_is_far_off_does_not_count() {
    let with = |connect, wake| Costs { connect, wake, ..Costs::default() };
    assert_eq!(Costs::middle_of(&[]), None);
    assert_eq!(Costs::middle_of(&[with(7, 3)]), Some(with(7, 3)));
    let fits = [with(6_000, 5_000), with(6_400, 80_000), with(90_000, 5_200)];
    assert_eq!(Costs::middle_of(&fits), Some(with(6_400, 5_200)));
    assert_eq!(Costs::middle_of(&fits[..2]), Some(with(6_200, 42_500)));
}

#[test]
fn measures_that_say_nothing_fit_nothing() {
    let world = world("linger-zero", "fin");
    assert_eq!(Costs::default().fitted(&world, &Measures::default()), None);
    let mut few = simulate(&world).measures;
    few.set("load.connected", 20.0);
    few.set("load.requests", 20.0);
    assert_eq!(Costs::default().fitted(&world, &few), None);
    let mut nonsense = simulate(&world).measures;
    nonsense.set("load.per_second", f64::INFINITY);
    nonsense.set("load.cpu_us", f64::NAN);
    assert_eq!(Costs::default().fitted(&world, &nonsense), None);
}
