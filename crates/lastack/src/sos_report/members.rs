//! Names of a tar archive's members. Long ones are members of their own before that which they name (GNU `L` and `K`,
//! POSIX `x`), and are as hostile as the rest: they are read up to a length.

use anyhow::bail;
use std::borrow::Cow;
use std::io::Read;
use tar::{Entry, PaxExtensions};

/// No path that a system takes is longer (`PATH_MAX` is 4,096), and what else stands in a header of POSIX is short.
const LONGEST: u64 = 64 << 10;

/// Names that wait for their member.
#[derive(Default)]
pub(super) struct Names {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

/// What a member is called, and what it leads to if it is a link.
pub(super) struct Named {
    pub(super) path: Vec<u8>,
    pub(super) target: Option<Vec<u8>>,
}

impl Names {
    /// The next member's name; none if it was one for the member behind it.
    pub(super) fn of<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> anyhow::Result<Option<Named>> {
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() {
            self.path = Some(whole(entry)?);
        } else if kind.is_gnu_longlink() {
            self.target = Some(whole(entry)?);
        } else if kind.is_pax_local_extensions() {
            let bytes = whole(entry)?;
            for extension in PaxExtensions::new(&bytes).flatten() {
                match extension.key_bytes() {
                    b"path" => self.path = Some(extension.value_bytes().to_vec()),
                    b"linkpath" => self.target = Some(extension.value_bytes().to_vec()),
                    _ => {}
                }
            }
        } else if !kind.is_pax_global_extensions() {
            let Self { path, target } = std::mem::take(self);
            return Ok(Some(Named {
                path: path.unwrap_or_else(|| entry.path_bytes().into_owned()),
                target: target.or_else(|| entry.link_name_bytes().map(Cow::into_owned)),
            }));
        }
        Ok(None)
    }
}

fn whole(entry: &mut impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        bail!("a name of more than {} KiB: no report of sos", LONGEST >> 10);
    }
    // GNU's end with a zero.
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}
