//! The test of truth: a model that is fitted to what a real kernel showed of a scenario's first variant foretells what
//! the same kernel showed of the others.
//!
//! `whatif/NAME.case` is the case of one host, with its capture, from `lastack lab run NAME --on kernel --keep DIR`, of
//! the first variant only; `whatif/NAME.json` has what was measured in all variants of that run. docs/whatif.md says
//! how to do the same again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test reads what was recorded")]

use evidence::Case;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use world::cure::Cure;
use world::fit::{Fit, Knowledge, Range, fit};
use world::scenario::{Scenario, Stage, World};
use world::whatif::{Numbers, Worlds, play};
use world::{Measures, collection};

/// So far apart they may be.
const WITHIN: f64 = 0.10;
/// One connection more is no other world.
const SLACK: f64 = 2.0;

/// A variant, and what it is as a remedy.
struct Trial {
    variant: &'static str,
    /// The remedy, as it is written on the command line; `KEY=VALUE` with a dot in KEY is a setting.
    cures: &'static [&'static str],
    /// The load of the variant, where it is another: connections of the scenario, and their rate.
    load: Option<(f64, Option<f64>)>,
    /// Numbers that are not compared, and why.
    except: &'static [(&'static str, &'static str)],
}

const fn trial(variant: &'static str, cures: &'static [&'static str]) -> Trial {
    Trial { variant, cures, load: None, except: &[] }
}

const fn loaded(
    variant: &'static str,
    cures: &'static [&'static str],
    connections: f64,
    rate: Option<f64>,
) -> Trial {
    Trial { variant, cures, load: Some((connections, rate)), except: &[] }
}

struct Recorded {
    scenario: &'static str,
    host: &'static str,
    /// Connections in all of the first variant, for variants with another load.
    connections: f64,
    trials: &'static [Trial],
    /// Variants that are not tried, and why.
    not_tried: &'static [(&'static str, &'static str)],
}

const RECORDED: &[Recorded] = &[
    Recorded {
        scenario: "port-exhaustion",
        host: "client",
        connections: 1_200.0,
        trials: &[
            trial("default", &[]),
            trial("pool", &["keep-connections=8"]),
            trial("peer-closes-first", &["let-the-peer-close"]),
            loaded("wider-range", &["net.ipv4.ip_local_port_range=40000 43999"], 4_100.0, None),
            loaded("more-destinations", &["more-destinations=4"], 4_100.0, None),
            loaded("more-destination-addresses", &["more-destinations=4"], 4_100.0, None),
            loaded("more-sources", &["more-source-addresses=4"], 4_100.0, None),
            loaded("bind-address-no-port", &["more-destinations=4"], 4_100.0, None),
            loaded("tw-reuse", &["net.ipv4.tcp_tw_reuse=1"], 3_000.0, Some(600.0)),
            loaded(
                "tw-reuse-without-timestamps",
                &["net.ipv4.tcp_tw_reuse=1", "peer-1:net.ipv4.tcp_timestamps=0"],
                1_500.0,
                Some(500.0),
            ),
            loaded("tw-reuse-loopback", &["net.ipv4.tcp_tw_reuse=2"], 1_500.0, Some(500.0)),
            loaded("past-the-knee", &["net.ipv4.ip_local_port_range=32768 60999"], 16_000.0, None),
        ],
        not_tried: &[
            (
                "bind-address",
                "it is no remedy: the program calls bind(), and there are three destinations more",
            ),
            ("tw-reuse-on-loopback", "it is no remedy here: the server moves to the client's host"),
            ("poisoned", "it is no remedy: another program is added"),
            ("own-ranges", "it is no remedy: two programs keep to ranges of their own"),
            ("ipv6", "it is no remedy: the same over IPv6"),
            ("advised-range", "it is wider-range with other numbers"),
        ],
    },
    Recorded {
        scenario: "upstream-keepalive",
        host: "proxy",
        connections: 8.0,
        trials: &[
            trial("http-1-0", &[]),
            trial("http-1-1", &["upstream-http-1-1"]),
            trial("keepalive-32", &["pool-in-the-proxy=32"]),
        ],
        not_tried: &[
            (
                "keepalive-2",
                "how often more than two of eight are idle at once is a race, and its users think 3 ms",
            ),
            ("keepalive-32-ipv6", "it is the remedy that is tried, over IPv6"),
            ("keepalive-8", "it is keepalive-32 with a slot for each of its users, who think 3 ms"),
            ("haproxy", "another program: haproxy-pool, below"),
            ("haproxy-server-close", "another program: haproxy-pool, below"),
            ("haproxy-reuse-always", "another program, and other users"),
        ],
    },
    Recorded {
        scenario: "haproxy-pool",
        host: "proxy",
        connections: 4.0,
        trials: &[trial("server-close", &[]), trial("keep-alive", &["pool-in-the-proxy"])],
        not_tried: &[],
    },
    Recorded {
        scenario: "time-wait-overflow",
        host: "server",
        connections: 300.0,
        trials: &[trial("peer-closes-at-once", &[]), trial("raised", &["net.ipv4.tcp_max_tw_buckets=8192"])],
        not_tried: &[("peer-closes-later", "it is no remedy: clients wait 300 ms before they close")],
    },
    Recorded {
        scenario: "goodbye",
        host: "server",
        connections: 100.0,
        trials: &[trial("server-closes", &[]), trial("goodbye", &["let-the-client-close"])],
        not_tried: &[("goodbye-ignored", "it is no remedy: clients never close")],
    },
    Recorded {
        scenario: "linger-zero",
        host: "client",
        connections: 200.0,
        trials: &[trial("fin", &[]), trial("client-resets", &["linger-zero"])],
        not_tried: &[
            ("server-resets", "it is another program at the server, which waits 20 ms and resets"),
            ("linger", "it is no remedy: close() comes back later, and that is all"),
            ("linger-in-vain", "it is no remedy: FINs are lost"),
        ],
    },
    Recorded {
        scenario: "time-wait-memory",
        host: "client",
        connections: 13_000.0,
        trials: &[trial("at-the-client", &[]), trial("at-the-server", &["let-the-peer-close"])],
        not_tried: &[],
    },
    Recorded {
        scenario: "fin-timeout",
        host: "client",
        connections: 100.0,
        trials: &[
            trial("two-seconds", &[]),
            trial("default", &["net.ipv4.tcp_fin_timeout=60"]),
            trial("sixty-one", &["net.ipv4.tcp_fin_timeout=61"]),
        ],
        not_tried: &[
            ("twenty", "it looks 20 s later"),
            ("shutdown", "it is another program at the client, which holds the socket"),
        ],
    },
    Recorded {
        scenario: "steady",
        host: "client",
        connections: 9_000.0,
        trials: &[
            trial("as-it-is", &[]),
            Trial {
                variant: "pool",
                cures: &["keep-connections=64"],
                load: None,
                except: &[(
                    "connects",
                    "sockets were listed when all connections had failed for long: none was open",
                )],
            },
            trial("peer-closes-first", &["let-the-peer-close"]),
            trial("wider-range", &["net.ipv4.ip_local_port_range=40000 49999"]),
            trial("tw-reuse", &["net.ipv4.tcp_tw_reuse=1"]),
            trial("two-destinations", &["more-destinations=2"]),
            trial("three-sources", &["more-source-addresses=3"]),
        ],
        not_tried: &[],
    },
    Recorded {
        scenario: "idle-timeout-race",
        host: "client",
        connections: 40.0,
        trials: &[
            Trial {
                variant: "server-shorter",
                cures: &[],
                load: None,
                except: &[
                    (
                        "time_wait_at_peers",
                        "ten connections were never asked for again: the model takes them out of the pool and closes them",
                    ),
                    ("unclosed", "these ten"),
                ],
            },
            trial("server-longer", &["longer-idle-timeout-at-the-server"]),
        ],
        not_tried: &[
            ("slow-path", "it is no remedy: the way takes 0.4 s"),
            ("proxy-shorter", "it is no remedy alone: nginx is put between, and other users ask it"),
        ],
    },
    Recorded {
        scenario: "idle-pool",
        host: "client",
        connections: 100.0,
        trials: &[
            Trial {
                variant: "server-shorter",
                cures: &[],
                load: None,
                except: &[(
                    "unclosed",
                    "which connections of the pool are asked for next, and so found to be closed, is not known",
                )],
            },
            trial("server-longer", &["longer-idle-timeout-at-the-server"]),
            trial("client-shorter", &["shorter-idle-timeout-at-the-client"]),
        ],
        not_tried: &[],
    },
    Recorded {
        scenario: "unread-data",
        host: "server",
        connections: 100.0,
        trials: &[trial("unread", &[]), trial("read", &["read-before-close"])],
        not_tried: &[],
    },
    Recorded {
        scenario: "close-wait-leak",
        host: "server",
        connections: 50.0,
        trials: &[trial("leak", &[]), trial("closes", &["close-after-end-of-file"])],
        not_tried: &[("leak-ipv6", "it is no remedy: the leak over IPv6")],
    },
];

/// Scenarios of the kernel's stage that nothing was recorded of, and why: what their variants change is not a part of a
/// fitted load (docs/whatif.md).
const NOT_RECORDED: &[(&str, &str)] = &[
    ("abort-on-overflow", "what was not let in is left out: queues of listeners are not fitted"),
    ("accept-queue-full", "what was not let in is left out: queues of listeners are not fitted"),
    ("half-open-queue", "the simulator has no SYN cookies"),
    ("healthy", "it has one variant"),
    ("last-ack-lost", "what is lost between hosts is not fitted"),
    ("listener-in-ephemeral-range", "a restart is not a part of a load"),
    ("lvs-direct-routing", "it has one variant"),
    ("lvs-nat", "translation between hosts is not fitted"),
    ("nat-timestamps", "translation between hosts is not fitted"),
    ("restart-bind", "a restart is not a part of a load"),
    ("snat-exhaustion", "translation between hosts is not fitted"),
    (
        "somaxconn",
        "what waited for a queue is not told from what was slow: queues of listeners are not fitted",
    ),
    ("syn-into-fin-wait-2", "it has one variant, of crafted segments"),
    ("syn-into-time-wait", "its segments are crafted"),
];

fn file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/whatif/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn cure(text: &str) -> Cure {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if !name.contains('.') {
        return text.parse().unwrap();
    }
    let (host, name) = name.split_once(':').map_or((None, name), |(host, name)| (Some(host), name));
    Cure::set(host, name, value).unwrap()
}

/// What was measured, under the names of [`Numbers`].
fn measured(measures: &Measures, world: &World, here: &str) -> Vec<(&'static str, f64)> {
    let get = |name: String| measures.get(&name).unwrap_or(0.0);
    let sum = |end: &str| -> f64 {
        measures.0.iter().filter(|(name, _)| name.ends_with(end)).map(|(_, value)| *value).sum()
    };
    let peers = world.hosts.iter().filter(|host| host.name != here);
    let failed: f64 = measures
        .0
        .iter()
        .filter(|(name, _)| name.contains(".failed.connect.") || name.contains(".failed.bind."))
        .map(|(_, value)| *value)
        .sum();
    let lost: f64 =
        measures.0.iter().filter(|(name, _)| name.contains(".failed.")).map(|(_, count)| *count).sum();
    let lost = lost - failed;
    let leaked_there: f64 = peers.clone().map(|host| get(format!("{}.sockets.CLOSE-WAIT", host.name))).sum();
    let closed_here = get(format!("{here}.sockets.FIN-WAIT-2"));
    let unclosed = get(format!("{here}.sockets.CLOSE-WAIT")) + closed_here.max(leaked_there);
    let mut all = vec![
        ("time_wait", get(format!("{here}.sockets.TIME-WAIT"))),
        ("time_wait_at_peers", peers.map(|host| get(format!("{}.sockets.TIME-WAIT", host.name))).sum()),
        ("unclosed", unclosed),
        ("failed", failed),
        ("connects", sum(".connected") + sum(".upstream") + failed),
        ("lost", lost),
        ("answered", sum(".requests")),
        ("resets", sum(".OutRsts")),
        ("overflows", sum(".TCPTimeWaitOverflow")),
    ];
    if let Some(bytes) = measures.get(&format!("{here}.bytes.time_wait")) {
        all.push(("memory_bytes", bytes));
    }
    all
}

fn foretold(numbers: &Numbers, name: &str) -> Range {
    match name {
        "time_wait" => numbers.time_wait,
        "time_wait_at_peers" => numbers.time_wait_at_peers,
        "unclosed" => numbers.unclosed,
        "failed" => numbers.failed,
        "connects" => numbers.connects,
        "lost" => numbers.lost,
        "answered" => numbers.answered,
        "resets" => numbers.resets,
        "overflows" => numbers.overflows,
        "memory_bytes" => numbers.memory_bytes,
        other => panic!("{other}"),
    }
}

fn fitted(recorded: &Recorded, variants: &BTreeMap<String, Measures>, first: &str) -> Fit {
    let case = Case::from_bytes(&file(&format!("{}.case", recorded.scenario))).unwrap();
    // What the program logged.
    let failed = variants[first].get("load.failed.connect.EADDRNOTAVAIL").unwrap_or(0.0);
    let failed = format!("{failed:.0}").parse().unwrap();
    // A list of sockets tells what starves by itself; a burst that fails does not show in it.
    let (failed, for_ms) = match recorded.scenario {
        "steady" => (0, Some(30_000)),
        // It would go on; the scenario ends then.
        "idle-pool" => (0, Some(5_650)),
        _ => (failed, None),
    };
    fit(&case, &Knowledge { failed, for_ms, ..Knowledge::default() }).unwrap()
}

/// The load of the variant, where it is put under another one.
fn reload(world: &mut World, factor: f64, rate: Option<f64>) {
    for client in &mut world.clients {
        client.connections = format!("{:.0}", f64::from(client.connections) * factor).parse().unwrap();
        client.per_second = rate.or(client.per_second);
    }
}

#[test]
fn what_a_real_kernel_showed_of_the_other_variants_is_foretold_within_ten_percent() {
    let mut wrong = String::new();
    let mut compared = 0;
    for recorded in RECORDED {
        let own = || String::from_utf8(file(&format!("{}.toml", recorded.scenario))).unwrap();
        let scenario = collection::text(recorded.scenario).map_or_else(own, str::to_owned);
        let scenario = Scenario::parse(&scenario).unwrap();
        let variants: BTreeMap<String, Measures> =
            serde_json::from_slice(&file(&format!("{}.json", recorded.scenario))).unwrap();
        let fit = fitted(recorded, &variants, &scenario.variants[0].name);
        for trial in recorded.trials {
            let mut worlds = Worlds::from(&fit);
            for world in &mut worlds.worlds {
                world.settle_ms = scenario.variants[0].world.settle_ms;
                world.limit_ms = world.limit_ms.max(120_000);
                if let Some((connections, rate)) = trial.load {
                    reload(world, connections / recorded.connections, rate);
                }
                for text in trial.cures {
                    if let Err(error) = cure(text).apply(world, &fit.here) {
                        writeln!(wrong, "{}, {}: {text}: {error}", recorded.scenario, trial.variant).unwrap();
                    }
                }
            }
            let variant = scenario.variant(trial.variant).unwrap();
            let real = measured(&variants[trial.variant], &variant.world, recorded.host);
            let numbers: Vec<Numbers> =
                worlds.worlds.iter().map(|world| play(world, &fit.here).numbers).collect();
            for (name, real) in &real {
                let each: Vec<f64> = numbers.iter().map(|numbers| foretold(numbers, name).low).collect();
                let said = each.iter().sum::<f64>() / each.len() as f64;
                let apart = (said - real).abs();
                compared += 1;
                if apart > SLACK
                    && apart > WITHIN * said.abs().max(real.abs())
                    && !trial.except.iter().any(|(excepted, _)| excepted == name)
                {
                    let (scenario, variant) = (recorded.scenario, trial.variant);
                    writeln!(wrong, "{scenario}, {variant}: {name} was foretold as {each:?}, and was {real}")
                        .unwrap();
                }
            }
        }
        let all = scenario.variants.iter().map(|variant| variant.name.as_str());
        for variant in all {
            assert!(
                recorded.trials.iter().any(|trial| trial.variant == variant)
                    || recorded.not_tried.iter().any(|(name, _)| *name == variant),
                "{}: {variant} is neither tried nor excepted",
                recorded.scenario
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(compared > 340, "{compared}");
}

#[test]
fn every_scenario_of_the_kernel_is_recorded_or_has_its_reason() {
    for name in collection::names() {
        let scenario = Scenario::parse(collection::text(name).unwrap()).unwrap();
        let is_recorded = RECORDED.iter().any(|recorded| recorded.scenario == name);
        let is_excepted = NOT_RECORDED.iter().any(|(excepted, _)| *excepted == name);
        assert!(is_recorded != (is_excepted || !scenario.on.contains(&Stage::Kernel)), "{name}");
    }
}
