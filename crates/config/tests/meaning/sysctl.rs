use config::sysctl::{File, Tree, evaluate};
use evidence::Configuration;
use evidence::configuration::sysctl::Sysctl;

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), target: None, tree: Tree::parse(text) }
}

fn facts(configuration: &Configuration) -> &Sysctl {
    configuration.sysctl.as_ref().unwrap()
}

/// Each setting: what wins, where, and what loses why.
fn lines(configuration: &Configuration) -> Vec<String> {
    facts(configuration)
        .keys
        .iter()
        .map(|key| {
            let winner =
                key.winner.as_ref().map(|value| format!("{} {}", value.value, configuration.at(value.place)));
            let losers: Vec<_> = key
                .overridden
                .iter()
                .map(|lost| {
                    format!(
                        "{:?} {} {}",
                        lost.by,
                        lost.assignment.value,
                        configuration.at(lost.assignment.place)
                    )
                })
                .collect();
            format!("{} = {} [{}]", key.name, winner.unwrap_or_default(), losers.join(", "))
        })
        .collect()
}

#[test]
fn the_last_name_wins_and_the_first_directory_masks() {
    let configuration = evaluate(&[
        file("/usr/lib/sysctl.d/50-default.conf", "a.b = 1\na.c = 1\n"),
        file("/etc/sysctl.d/10-early.conf", "a.b = 2\n"),
        file("/run/sysctl.d/60-late.conf", "a/c = 3\n"),
        file("/usr/lib/sysctl.d/60-late.conf", "a.c = 4\n"),
        file("/etc/sysctl.d/README", "no settings"),
        file("/etc/sysctl.conf", "a.b = 5\n"),
    ]);
    assert_eq!(
        lines(&configuration),
        [
            "a.b = 1 /usr/lib/sysctl.d/50-default.conf:1 \
             [Later 2 /etc/sysctl.d/10-early.conf:1, File 5 /etc/sysctl.conf:1]",
            "a.c = 3 /run/sysctl.d/60-late.conf:1 \
             [Later 1 /usr/lib/sysctl.d/50-default.conf:2, File 4 /usr/lib/sysctl.d/60-late.conf:1]",
        ]
    );
    let unapplied: Vec<_> = facts(&configuration)
        .unapplied
        .iter()
        .map(|file| {
            let name = |index: u32| configuration.files[index as usize].as_str();
            format!("{} {:?}", name(file.file), file.masked_by.map(name))
        })
        .collect();
    assert_eq!(
        unapplied,
        [
            "/usr/lib/sysctl.d/60-late.conf Some(\"/run/sysctl.d/60-late.conf\")",
            "/etc/sysctl.d/README None",
            "/etc/sysctl.conf None",
        ]
    );
    assert_eq!(configuration.problems, [], "a file that is not applied has none");
}

#[test]
fn debians_link_makes_sysctl_conf_the_last_but_few() {
    let mut link = file("/etc/sysctl.d/99-sysctl.conf", "a.b = 1 # mine\n");
    link.target = Some("/etc/sysctl.conf".to_owned());
    let configuration = evaluate(&[
        file("/etc/sysctl.conf", "a.b = 1 # mine\n"),
        file("/etc/sysctl.d/99-zzz.conf", "a.b = 2\n"),
        file("/etc/sysctl.d/70-x.conf", "a.b = 3\n"),
        link,
    ]);
    assert_eq!(
        lines(&configuration),
        ["a.b = 2 /etc/sysctl.d/99-zzz.conf:1 \
          [Later 3 /etc/sysctl.d/70-x.conf:1, Later 1 # mine /etc/sysctl.d/99-sysctl.conf:1]"]
    );
    assert_eq!(facts(&configuration).unapplied, []);
}

#[test]
fn a_pattern_loses_to_a_name_wherever_that_stands() {
    let tuning = String::from_utf8(super::example("sysctl-tuning.conf")).unwrap();
    let configuration = evaluate(&[
        file(
            "/etc/sysctl.d/10-first.conf",
            "net.ipv4.conf.eth0.rp_filter = 1\n-net.ipv4.conf.lo.rp_filter\n",
        ),
        file("/etc/sysctl.d/90-tuning.conf", &tuning),
    ]);
    let sysctl = facts(&configuration);
    let winner = |name: &str| sysctl.winner(name).map(|value| value.value.as_str());
    assert_eq!(winner("net.ipv4.conf.eth0.rp_filter"), Some("1"));
    assert_eq!(winner("net.ipv4.conf.eth1.rp_filter"), Some("2"));
    assert_eq!(winner("net.ipv4.conf.lo.rp_filter"), None);
    assert_eq!(winner("net.ipv4.conf.all.rp_filter"), None);
    assert_eq!(winner("net.ipv4.tcp_tw_reuse"), Some("1"));
    assert_eq!(winner("net.ipv4.tcp_timestamps"), None);
    assert_eq!(winner("net.ipv4.ip_local_port_range"), Some("1024 65000"));
    let recycle = sysctl.winner("net.ipv4.tcp_tw_recycle").unwrap();
    assert_eq!(configuration.at(recycle.place), "/etc/sysctl.d/90-tuning.conf:3");
    assert!(sysctl.winner("net.ipv4.tcp_max_tw_buckets").unwrap().may_fail);
    let named =
        &sysctl.keys.iter().find(|key| key.name == "net.ipv4.conf.eth0.rp_filter").unwrap().overridden[0];
    assert_eq!(configuration.at(named.assignment.place), "/etc/sysctl.d/90-tuning.conf:6");
}

/// Each of so many patterns loses to each of so many settings.
#[test]
fn patterns_times_settings_are_not_all_listed() {
    let patterns = (0..300).map(|number| format!("a.*{number} = 1\n"));
    let settings =
        (0..300).map(|number| format!("a.{} = 1\n", "0123456789".repeat(20) + &number.to_string()));
    let many: String =
        patterns.chain((0..300).map(|number| format!("a.{}* = 1\n", "?".repeat(number)))).collect();
    let configuration = evaluate(&[file("/etc/sysctl.d/1.conf", &(many + &settings.collect::<String>()))]);
    let listed: usize = facts(&configuration).keys.iter().map(|key| key.overridden.len()).sum();
    assert!((1..=10_000).contains(&listed), "{listed}");
}
