//! The files of a program, or of the settings of the kernel, and changes of them.

use crate::edit::{CannotEdit, EditedFile};
use crate::{haproxy, nginx, sysctl};
use evidence::Configuration;

/// A change of what a program is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Of nginx.
    Nginx(nginx::Change),
    /// Of HAProxy.
    Haproxy(haproxy::Change),
    /// Of what is set at boot.
    Sysctl(sysctl::Change),
}

/// The files of one configuration.
#[derive(Clone, Debug)]
pub enum Sources {
    /// Of nginx.
    Nginx(nginx::Sources),
    /// Of HAProxy, in the order in which it reads them.
    Haproxy(Vec<(String, haproxy::Tree)>),
    /// Of `sysctl.d`, in the order in which they are applied.
    Sysctl(Vec<(String, sysctl::Tree)>),
}

/// Files that were changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// Files that are not what they were.
    pub files: Vec<EditedFile>,
    /// What whoever reviews the change should know.
    pub notes: Vec<String>,
}

impl Sources {
    /// What they say, to this version of the program.
    pub fn evaluate(&self, version: Option<&str>) -> Configuration {
        match self {
            Self::Nginx(sources) => nginx::evaluate(sources, version),
            Self::Haproxy(files) => haproxy::evaluate(files, version),
            Self::Sysctl(files) => {
                let files: Vec<_> = files
                    .iter()
                    .map(|(path, tree)| sysctl::File { path: path.clone(), target: None, tree: tree.clone() })
                    .collect();
                sysctl::evaluate(&files)
            }
        }
    }

    /// Makes changes, one after another; places are those before all of them. One of another program is none of these
    /// files.
    ///
    /// ```
    /// use config::{Edit, Sources, haproxy};
    /// let tree = haproxy::Tree::parse("backend app\n    option httpclose\n    server a 10.0.0.1:80\n");
    /// let sources = Sources::Haproxy(vec![("/etc/haproxy/haproxy.cfg".to_owned(), tree)]);
    /// let section = sources.evaluate(None).haproxy.unwrap().proxies[0].place;
    /// let edited = sources.edit(&[Edit::Haproxy(haproxy::Change::KeepAlive { section })]).unwrap();
    /// assert_eq!(edited.files[0].after, b"backend app\n    server a 10.0.0.1:80\n");
    /// ```
    pub fn edit(&self, edits: &[Edit]) -> Result<Edited, CannotEdit> {
        let other = || CannotEdit::Missing("what another program is told".to_owned());
        match self {
            Self::Nginx(sources) => {
                let changes = edits.iter().map(|edit| match edit {
                    Edit::Nginx(change) => Ok(change.clone()),
                    _ => Err(other()),
                });
                let edited = nginx::edit(sources, &changes.collect::<Result<Vec<_>, _>>()?)?;
                Ok(Edited { files: edited.files, notes: edited.notes })
            }
            Self::Haproxy(files) => {
                let changes = edits.iter().map(|edit| match edit {
                    Edit::Haproxy(change) => Ok(change.clone()),
                    _ => Err(other()),
                });
                let edited = haproxy::edit(files, &changes.collect::<Result<Vec<_>, _>>()?)?;
                Ok(Edited { files: edited.files, notes: Vec::new() })
            }
            Self::Sysctl(files) => {
                let changes = edits.iter().map(|edit| match edit {
                    Edit::Sysctl(change) => Ok(change.clone()),
                    _ => Err(other()),
                });
                let edited = sysctl::edit(files, &changes.collect::<Result<Vec<_>, _>>()?)?;
                Ok(Edited { files: edited, notes: Vec::new() })
            }
        }
    }
}
