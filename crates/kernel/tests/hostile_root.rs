//! Files below /proc that hold garbage, never end, or are something else: they are read as nothing.

use evidence::{Gap, Settings};
use kernel::netns::{self, Selection};
use kernel::{Root, conntrack, counters, host, settings, slabs, sockstat};
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn garbage_is_read_as_what_little_sense_it_makes() {
    let root = Root::below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proc-hostile"));
    let mut gaps: Vec<Gap> = Vec::new();
    let expected = [("net.core.somaxconn", ""), ("net.ipv4.tcp_fin_timeout", "\u{fffd}\u{fffd}")];
    assert_eq!(settings::read(&root, &mut gaps), Settings::from_iter(expected));
    assert_eq!(counters::read(&root).unwrap(), BTreeMap::from([("TcpExtB".to_owned(), 2)]));
    assert_eq!(sockstat::read(&root), BTreeMap::new(), "sockstat6 never ends");
    assert_eq!(slabs::read(&root, &mut gaps), BTreeMap::new());
    assert_eq!(conntrack::stats(&root), BTreeMap::new());
    assert_eq!(host::read(&root), evidence::Host::default());
    let found = netns::find(&root, &Selection::All, &mut gaps).unwrap();
    assert_eq!(found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["here"]);
    assert_eq!(gaps, []);
}
