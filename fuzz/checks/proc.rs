//! Text below /proc is read without trust: the root may be a copy, and kernels differ.

use evidence::proc;
use kernel::slabs;

/// Any text is read to an end, and gives no name twice, none that is empty, and none that it does not hold.
pub(crate) fn proc(text: &[u8]) {
    for values in [proc::counters(text), proc::sockstat(text), proc::conntrack_stats(text)] {
        assert!(values.len() <= text.len());
        assert!(values.keys().all(|name| !name.is_empty() && !name.contains(['\n', ' '])), "{values:?}");
    }
    let slabs = slabs::parse(text, 4096);
    assert!(slabs.keys().all(|name| !name.is_empty()), "{slabs:?}");
}
