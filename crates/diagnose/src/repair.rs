//! What to write into the files of nginx and HAProxy, so that connections to their upstreams are kept.

use crate::Remedy;
use crate::told::{Keeping, Route};
use crate::wording::count;

impl Route<'_> {
    /// What to write into the files so that connections are kept. `at_once` is how many are in use at once, if known.
    pub(crate) fn repair(&self, at_once: Option<u32>) -> Remedy {
        let size = at_once.unwrap_or(32).max(2);
        let summary = match (self.program, &self.keeping) {
            ("nginx", keeping) => {
                let pool = match (self.block, keeping) {
                    (Some(_), Keeping::Off { pool: Some(_), .. }) => String::new(),
                    (Some(block), _) => {
                        format!("set `keepalive {size};` in the block at {}", self.configuration.at(block))
                    }
                    (None, _) => format!(
                        "make a block `upstream` with this server and `keepalive {size};`, and name it in proxy_pass at {}",
                        self.at(None)
                    ),
                };
                let speak = match keeping {
                    Keeping::Off { .. } => format!(
                        "{}set `proxy_http_version 1.1;` and `proxy_set_header Connection \"\";` where {} passes on (a \
                         proxy_set_header there hides all that are inherited)",
                        if pool.is_empty() { "" } else { ", and " },
                        self.at(None)
                    ),
                    _ => String::new(),
                };
                format!("nginx: {pool}{speak}; then `nginx -t` and reload")
            }
            (_, Keeping::Off { place, .. }) => format!(
                "HAProxy: take the option at {} out, so that `http-keep-alive` holds; then check (`haproxy -c -f`) and reload",
                self.at(*place)
            ),
            (_, keeping) => {
                let at = match keeping {
                    Keeping::Unpooled { place, .. } => self.configuration.at(*place),
                    _ => self.at(None),
                };
                format!(
                    "HAProxy: at {at} let connections be kept and shared (`http-reuse safe`, no `pool-max-conn 0`)"
                )
            }
        };
        Remedy::advice(
            "pool-in-the-proxy",
            summary,
            "a kept connection may be closed by the server while idle: let the proxy's idle timeout be the shorter one",
            "about as many connections as requests in work at once, and no TIME-WAIT for each request",
        )
    }

    /// A pool that holds so many, where its size is written.
    pub(crate) fn larger_pool(&self, at_once: u32) -> Remedy {
        let each = match &self.keeping {
            Keeping::Pooled { workers: Some(workers), .. } if *workers > 1 => {
                format!(
                    "{} (each of {workers} workers has its own)",
                    u64::from(at_once).div_ceil(*workers).max(2)
                )
            }
            _ => at_once.max(2).to_string(),
        };
        let place = match &self.keeping {
            Keeping::Pooled { place, .. } => place.or(self.block),
            _ => self.block,
        };
        let directive = if self.program == "nginx" { "keepalive" } else { "pool-max-conn" };
        Remedy::advice(
            "larger-pool",
            format!("Set `{directive}` at {} to at least {each}, and reload", self.at(place)),
            "the upstream holds that many idle connections more, each perhaps with a thread",
            format!("about {} connections, and none closed for want of a slot", count(at_once)),
        )
    }
}
