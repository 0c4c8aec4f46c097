//! Paths of an archive come from anyone.

use pasted::sos::{self, Part};

/// Whatever is taken lies where it was looked for, and its command is one that is known.
pub(crate) fn sos(bytes: &[u8]) {
    let _ = sos::nginx_version(bytes).map(|version| assert!(version.len() <= 32));
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    match sos::part(path) {
        Some(Part::Configuration { path: on_host }) => {
            assert_eq!(on_host, format!("/{path}"));
            assert!(!path.split('/').any(|name| name == ".."), "{path}");
        }
        Some(Part::Output { command }) => {
            assert!(!command.contains([';', '|', '&', '\n', '$', '`']), "{command}");
        }
        Some(Part::NginxBuild) | None => {}
    }
    if sos::part(path).is_some() {
        let mut directory = path;
        while let Some((up, _)) = directory.rsplit_once('/') {
            assert!(sos::may_hold(up), "{up} of {path}");
            directory = up;
        }
    }
}
