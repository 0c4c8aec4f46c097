//! Whose configuration a file is, as its text tells.

use crate::{haproxy, nginx, sysctl};
use evidence::configuration::haproxy::SECTIONS;

/// Whose configuration a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// `sysctl.conf` and `sysctl.d`.
    Sysctl,
}

/// So much of a file is enough to tell.
const ENOUGH: usize = 256 << 10;

impl Kind {
    /// What a file is, by its text; where that says nothing (it is empty, or all comments), by its path. None if
    /// neither tells.
    pub fn of(path: &str, bytes: &[u8]) -> Option<Self> {
        let begin = bytes.get(..ENOUGH).unwrap_or(bytes);
        if begin.contains(&0) {
            return None;
        }
        // HAProxy's files begin with a section; `listen 80;` is nginx's.
        let lines = haproxy::Tree::parse(begin);
        if let Some(first) = lines.lines().next()
            && SECTIONS.iter().any(|section| first.begins(&[section]))
            && first.words().all(|word| !word.raw().ends_with(b";") && !word.raw().ends_with(b"{"))
        {
            return Some(Self::Haproxy);
        }
        // A setting of the kernel has a dot or a slash in its name, and no directive of nginx has.
        let assigned = sysctl::Tree::parse(begin);
        // A line that is none may be among many that are.
        let settings = assigned.assignments().count();
        let is_setting = |key: &str| key.contains(['.', '/']) && !key.contains([' ', '\t', '$', ';', '{']);
        if settings > assigned.problems().len() && assigned.assignments().all(|one| is_setting(&one.key())) {
            return Some(Self::Sysctl);
        }
        let directives = nginx::Tree::parse(begin);
        if directives.top().any(|one| one.ending() != nginx::Ending::Missing) {
            return Some(Self::Nginx);
        }
        if path.contains("sysctl") {
            Some(Self::Sysctl)
        } else if path.contains("haproxy") {
            Some(Self::Haproxy)
        } else if path.contains("nginx") {
            Some(Self::Nginx)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_tells_whose_it_is() {
        let kind = |text: &str| Kind::of("x.conf", text.as_bytes());
        assert_eq!(kind("http { server { listen 80; } }"), Some(Kind::Nginx));
        assert_eq!(kind("# a\nupstream a {\n server b;\n}\n"), Some(Kind::Nginx));
        assert_eq!(kind("proxy_pass http://a;"), Some(Kind::Nginx));
        assert_eq!(kind("global\n  maxconn 10\n"), Some(Kind::Haproxy));
        assert_eq!(kind("# x\nbackend b\n  server s 10.0.0.1:80\n"), Some(Kind::Haproxy));
        assert_eq!(kind("net.ipv4.tcp_tw_reuse = 1\n"), Some(Kind::Sysctl));
        assert_eq!(kind("; comment\n-net/ipv4/tcp_tw_reuse=1\n"), Some(Kind::Sysctl));
        let broken = "net.ipv4.tcp_tw_recycle = 1\nvm.swappiness\nvm/overcommit_memory=1\n";
        assert_eq!(kind(broken), Some(Kind::Sysctl), "one line is none");
        assert_eq!(kind("rewrite ^/a.b$ /?c=1;\nlisten 80;\n"), Some(Kind::Nginx));
        assert_eq!(kind("\u{7f}ELF\0;\0"), None);
        assert_eq!(kind("server {\n  listen 80;\n}\n"), Some(Kind::Nginx));
        assert_eq!(kind("listen 80;\nlocation / { }\n"), Some(Kind::Nginx));
        assert_eq!(kind("listen web\n  bind :80\n  acl a path -m beg /x;y\n"), Some(Kind::Haproxy));
        assert_eq!(kind("hello world"), None);
        assert_eq!(kind(""), None);
        assert_eq!(Kind::of("/etc/sysctl.conf", b"# nothing\n"), Some(Kind::Sysctl));
        assert_eq!(Kind::of("/etc/nginx/empty.conf", b""), Some(Kind::Nginx));
    }
}
