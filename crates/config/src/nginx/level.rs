//! What is in force at a level: `http`, `server`, `location` and what lies within it.

use super::sources::Item;
use super::value::{Version, milliseconds};
use evidence::{FilePlace, Said};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Directives with one value that the inner level takes from the outer one unless it has its own,
/// in order.
const INHERITED: [&str; 29] = [
    "fastcgi_bind",
    "fastcgi_connect_timeout",
    "fastcgi_keep_conn",
    "fastcgi_read_timeout",
    "fastcgi_send_timeout",
    "grpc_bind",
    "grpc_connect_timeout",
    "grpc_read_timeout",
    "grpc_send_timeout",
    "keepalive_requests",
    "keepalive_timeout",
    "memcached_bind",
    "memcached_connect_timeout",
    "memcached_read_timeout",
    "memcached_send_timeout",
    "proxy_bind",
    "proxy_connect_timeout",
    "proxy_http_version",
    "proxy_read_timeout",
    "proxy_send_timeout",
    "proxy_ssl",
    "proxy_timeout",
    "scgi_bind",
    "scgi_connect_timeout",
    "scgi_read_timeout",
    "scgi_send_timeout",
    "uwsgi_connect_timeout",
    "uwsgi_read_timeout",
    "uwsgi_send_timeout",
];

/// What is in force at a level.
#[derive(Clone, Default)]
pub(super) struct Level<'s> {
    said: BTreeMap<&'static str, Item<'s>>,
    headers: Option<Headers<'s>>,
}

/// The `proxy_set_header` of the innermost level that has any: they hide those of the levels around it.
#[derive(Clone)]
pub(super) struct Headers<'s> {
    /// The block they are in.
    pub(super) block: Option<Item<'s>>,
    /// They themselves.
    pub(super) set: Rc<[Item<'s>]>,
}

impl<'s> Level<'s> {
    /// The level within this one that has these directives. Which stands first does not matter.
    pub(super) fn within(&self, block: Option<Item<'s>>, items: &[Item<'s>]) -> Self {
        let mut said = self.said.clone();
        for item in items {
            let found = INHERITED.binary_search(&&*item.directive.name());
            if let Some(name) = found.ok().and_then(|at| INHERITED.get(at)) {
                said.insert(name, *item);
            }
        }
        let set: Rc<[_]> =
            items.iter().copied().filter(|item| item.directive.is("proxy_set_header")).collect();
        let headers = if set.is_empty() { self.headers.clone() } else { Some(Headers { block, set }) };
        Self { said, headers }
    }

    /// The directive in force.
    pub(super) fn find(&self, name: &str) -> Option<Item<'s>> {
        self.said.get(name).copied()
    }

    /// The headers in force.
    pub(super) fn headers(&self) -> Option<&Headers<'s>> {
        self.headers.as_ref()
    }

    /// What the directive in force says, or the default.
    pub(super) fn said<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>, default: Said<T>) -> Said<T> {
        self.find(name).map_or(default, |item| first_argument(item, read))
    }

    /// A time in milliseconds.
    pub(super) fn time(&self, name: &str, default: u64) -> Said<u64> {
        self.said(name, milliseconds, Said::Default { value: default })
    }
}

/// Directives that say how a server is chosen. Before nginx 1.29.7 each takes the place of a `keepalive` before it:
/// both set `peer.init_upstream` ("load balancing method redefined").
const METHODS: [&str; 5] = ["hash", "ip_hash", "least_conn", "least_time", "random"];

/// The pool of a block `upstream`.
#[derive(Clone, Copy)]
pub(super) struct PoolLine<'s> {
    /// The directive `keepalive`.
    pub(super) keepalive: Item<'s>,
    /// The last directive behind it that says how a server is chosen.
    pub(super) method: Option<Item<'s>>,
}

impl<'s> PoolLine<'s> {
    /// The one among the directives of a block, in order.
    pub(super) fn among(items: &[Item<'s>]) -> Option<Self> {
        let at = items.iter().rposition(|item| item.directive.is("keepalive"))?;
        let behind = items.get(at..)?;
        let method = behind.iter().rev().find(|item| METHODS.contains(&&*item.directive.name())).copied();
        Some(Self { keepalive: *behind.first()?, method })
    }
}

/// Where a directive is.
pub(super) fn place(item: Item<'_>) -> FilePlace {
    let place = item.directive.place();
    FilePlace { file: item.file, line: place.line, column: place.column }
}

/// What the first argument of a directive says.
pub(super) fn first_argument<T>(item: Item<'_>, read: impl Fn(&str) -> Option<T>) -> Said<T> {
    let text = item.directive.argument(0).map(super::Word::text).unwrap_or_default();
    if let Some(value) = read(&text) {
        return Said::Written { value, place: place(item) };
    }
    let because = format!("`{}` is not understood", super::sources::shown(&text));
    Said::Unknown { because, place: Some(place(item)) }
}

/// A whole number.
pub(super) fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// `on` or `off`.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("on") => Some(true),
        _ if text.eq_ignore_ascii_case("off") => Some(false),
        _ => None,
    }
}

/// A default that changed with a version; unknown where the version is.
pub(super) fn since<T>(
    version: Option<Version>,
    changed: Version,
    before: T,
    after: T,
    said: &str,
) -> Said<T> {
    match version {
        Some(version) if version < changed => Said::Default { value: before },
        Some(_) => Said::Default { value: after },
        None => {
            let because = format!("the default depends on the version of nginx, which is not known: {said}");
            Said::Unknown { because, place: None }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_in_order() {
        assert!(super::INHERITED.is_sorted());
    }
}
