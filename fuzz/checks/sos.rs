//! Paths of an archive come from anyone.

use pasted::sos::{self, Part};

/// Whatever is taken lies where it was looked for, and its command is one that is known.
pub(crate) fn sos(bytes: &[u8]) {
    let versions = [
        sos::nginx_version(bytes),
        sos::haproxy_version(bytes),
        sos::packaged_version(bytes, &["nginx", "haproxy"]),
    ];
    for version in versions.into_iter().flatten() {
        assert!(
            version.len() <= 32 && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'),
            "{version}"
        );
    }
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    match sos::part(path) {
        Some(Part::Configuration { path: on_host }) => {
            assert_eq!(on_host, format!("/{path}"));
            assert!(!path.split('/').any(|name| name == ".."), "{path}");
        }
        Some(Part::Output { command }) => {
            assert!(!command.contains([';', '|', '&', '\n', '$', '`']), "{command}");
        }
        Some(Part::NginxBuild | Part::HaproxyTest | Part::Packages) | None => {}
    }
    if sos::part(path).is_some() {
        let mut directory = path;
        while let Some((up, _)) = directory.rsplit_once('/') {
            assert!(sos::may_hold(up), "{up} of {path}");
            directory = up;
        }
    }
}
