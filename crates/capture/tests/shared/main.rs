//! The shared captures, held to what tshark says of them.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the captures are files")]
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

mod agreement;
mod oracle;

/// The shared captures, where this machine has them.
fn captures(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LASTACK_CAPTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/captures"),
        PathBuf::from,
    );
    if folder.join("pcaps").is_dir() {
        return Some(folder);
    }
    namespaced::skip(test, "the shared captures are not here (LASTACK_CAPTURES names their folder)");
    None
}
