//! Settings of connection tracking: how long it keeps what is closed is each namespace's own, how much it keeps the
//! host's.

use crate::sandbox::{State, ends, fix, get, in_sandbox, plan, run, with_program};

const TIME_WAIT: &str = "net.netfilter.nf_conntrack_tcp_timeout_time_wait";
const MAX: &str = "net.netfilter.nf_conntrack_max";

#[test]
fn a_namespace_has_its_own_timeout_and_the_limit_of_the_host() {
    const NAME: &str = "conntrack::a_namespace_has_its_own_timeout_and_the_limit_of_the_host";
    with_program("nft", NAME, in_sandbox, || {
        // Its settings are there when something is tracked.
        run("nft", &["add table ip t; add chain ip t c { type filter hook input priority 0; }"]);
        run("nft", &["add rule ip t c ct state new counter"]);
        let before = State::read();
        let was = get(TIME_WAIT);
        let apply = |order: &str| fix(&["--plan", order, "--apply", "--yes", "--guard", "0"]);
        ends(&mut apply(&plan(&[(TIME_WAIT, &was, "60")])), 0);
        assert_eq!(get(TIME_WAIT), "60");
        ends(&mut fix(&["--rollback", "last"]), 0);
        assert_eq!((get(TIME_WAIT), State::read()), (was, before.clone()));

        let limit: u64 = get(MAX).parse().unwrap();
        let order = plan(&[(MAX, &limit.to_string(), &(limit * 2).to_string())]);
        let said = ends(&mut apply(&order), 2);
        assert!(said.contains(&format!("{MAX}: permission denied")), "{said}");
        assert_eq!((get(MAX), State::read()), (limit.to_string(), before));
    });
}
