//! Configurations by the names of their files, as they are given on a command line.

use super::files::{Copy, Files};
use super::{Reader, has_extension};
use config::nginx::Sources;
use evidence::Configuration;
use evidence::configuration::AS_INCLUDED;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What a named configuration says, and which of its files could not be read, and why.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// What it says.
    pub configuration: Configuration,
    /// Files that it includes and that are there, but cannot be read.
    pub refused: Vec<(String, String)>,
}

impl Named {
    fn new(configuration: Configuration, reader: Reader) -> Self {
        Self { configuration, refused: reader.refused }
    }
}

/// Reads a file of nginx, and what it includes. A part that another file is meant to include (`server` or `location`
/// outside all blocks) is read as if it stood there.
pub fn nginx(file: &Path, version: Option<&str>) -> io::Result<Named> {
    let mut reader = Reader::new(Files::ours()?);
    let path = absolute(file)?;
    let has = |bytes: &[u8], names: &[&str]| {
        let tree = config::nginx::Tree::parse(bytes);
        tree.top().any(|directive| names.iter().any(|name| directive.is(name)))
    };
    let is_main = has(&reader.file(&path)?, &["http", "stream", "events", "mail"]);
    let sources = if is_main { reader.nginx(&path)? } else { as_included(&mut reader, &path)? };
    let configuration = config::nginx::evaluate(&sources, version);
    Ok(Named::new(configuration, reader))
}

/// A part of nginx's files, and around it what it is meant to be included in.
pub(super) fn as_included(reader: &mut Reader, path: &str) -> io::Result<Sources> {
    let bytes = reader.file(path)?;
    let tree = config::nginx::Tree::parse(bytes.clone());
    let in_http = ["server", "upstream", "map"];
    let around = if tree.top().any(|directive| in_http.iter().any(|name| directive.is(name))) {
        format!("http {{ include \"{path}\"; }}")
    } else {
        format!("http {{ server {{ include \"{path}\"; }} }}")
    };
    let mut sources = Sources::new(format!("{path}{AS_INCLUDED}"), around);
    // A path with blanks or stars is asked for by its own name.
    for wanted in sources.wanted() {
        sources.provide(&wanted, vec![(path.to_owned(), bytes.clone())]);
    }
    reader.include(&mut sources);
    Ok(sources)
}

/// Reads files of HAProxy, or a directory of them.
pub fn haproxy(files: &[PathBuf], version: Option<&str>) -> io::Result<Named> {
    let mut reader = Reader::new(Files::ours()?);
    let paths = files.iter().map(|file| absolute(file)).collect::<io::Result<Vec<_>>>()?;
    let sources = reader.haproxy(&paths).map_err(|(_, error)| error)?;
    Ok(Named::new(sources.evaluate(version), reader))
}

/// Reads files of settings. Those that lie in no directory that is read at boot are taken as if they lay in
/// `/etc/sysctl.d`: that is where they are meant to go.
pub fn sysctl(files: &[PathBuf]) -> io::Result<Named> {
    let mut reader = Reader::new(Files::ours()?);
    let mut named = Vec::new();
    let mut as_named = BTreeMap::new();
    for file in files {
        let path = absolute(file)?;
        let tree = config::sysctl::Tree::parse(reader.file(&path)?);
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let mut place = path.clone();
        if !config::sysctl::DIRECTORIES.contains(&directory) && path != config::sysctl::SYSCTL_CONF {
            let mut stem = format!("/etc/sysctl.d/{}", name.strip_suffix(".conf").unwrap_or(name));
            // Of two with one name in a directory there would be one only.
            while as_named.contains_key(&format!("{stem}.conf")) {
                stem.push('_');
            }
            place = format!("{stem}.conf");
        }
        as_named.insert(place.clone(), path);
        named.push(config::sysctl::File { path: place, target: None, tree });
    }
    let mut configuration = config::sysctl::evaluate(&named);
    for file in &mut configuration.files {
        if let Some(name) = as_named.remove(file) {
            *file = name;
        }
    }
    Ok(Named::new(configuration, reader))
}

/// The versions of programs, where they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Of nginx: `1.22.1`.
    pub nginx: Option<String>,
    /// Of HAProxy: `2.6.12`.
    pub haproxy: Option<String>,
}

/// What copies of a host's files say, which somebody made, by their paths on that host: of nginx and HAProxy what their
/// packages begin with, and what is set at boot. What is not among them is left out.
pub fn copied(files: BTreeMap<String, Copy>, versions: &Versions) -> Vec<Named> {
    const NGINX: &str = "/etc/nginx/nginx.conf";
    const HAPROXY: &str = "/etc/haproxy/haproxy.cfg";
    let has_nginx = files.contains_key(NGINX);
    // The unit of Red Hat's package names this directory, too.
    let more =
        files.keys().filter(|path| path.starts_with("/etc/haproxy/conf.d/") && has_extension(path, "cfg"));
    let haproxy: Vec<String> = files.keys().filter(|path| *path == HAPROXY).chain(more).cloned().collect();
    let mut reader = Reader::new(Files::Copied(files));
    let mut all = Vec::new();
    let mut take = |configuration: Option<Configuration>, reader: &mut Reader| {
        let refused = std::mem::take(&mut reader.refused);
        all.extend(configuration.map(|configuration| Named { configuration, refused }));
    };
    if has_nginx {
        let sources = reader.nginx(NGINX).ok();
        take(
            sources.map(|sources| config::nginx::evaluate(&sources, versions.nginx.as_deref())),
            &mut reader,
        );
    }
    if !haproxy.is_empty() {
        let sources = reader.haproxy(&haproxy).ok();
        take(sources.map(|sources| sources.evaluate(versions.haproxy.as_deref())), &mut reader);
    }
    let boot = Some(reader.sysctl()).filter(|configuration| !configuration.files.is_empty());
    take(boot, &mut reader);
    all
}

/// From the working directory on.
fn absolute(file: &Path) -> io::Result<String> {
    let path = std::path::absolute(file)?;
    let text = path.into_os_string().into_string();
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "its name is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::configuration::nginx::Target;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn passes(named: &Named) -> Vec<String> {
        let configuration = &named.configuration;
        let passes = &configuration.nginx.as_ref().unwrap().passes;
        let one = |pass: &evidence::configuration::nginx::Pass| {
            let to = match &pass.target {
                Target::Upstream { name } => name.clone(),
                other => format!("{other:?}"),
            };
            format!("{} {to}", configuration.at(pass.place).rsplit('/').next().unwrap())
        };
        passes.iter().map(one).collect()
    }

    #[test]
    fn includes_are_read_from_the_directory_of_the_main_file() {
        let folder = folder(&[
            ("nginx.conf", "http { include sites/*.conf; include missing.conf; upstream a { server b; } }"),
            ("sites/1.conf", "server { location / { proxy_pass http://a; } }"),
            ("sites/2.conf", "server {\n location / { proxy_pass http://a; } }"),
            ("sites/3.txt", "server { location / { proxy_pass http://a; } }"),
        ]);
        let named = nginx(&folder.path().join("nginx.conf"), Some("1.22.1")).unwrap();
        assert_eq!(passes(&named), ["1.conf:1 a", "2.conf:2 a"]);
        assert_eq!(named.refused, []);
        assert_eq!(named.configuration.problems.len(), 1, "{:?}", named.configuration.problems);
    }

    #[test]
    fn a_part_is_read_as_if_it_were_included() {
        let folder = folder(&[
            ("a site [1].conf", "upstream a { server b; }\nserver { location / {\n proxy_pass http://a; } }"),
            ("place.conf", "location / { proxy_pass http://b; }"),
        ]);
        assert_eq!(
            passes(&nginx(&folder.path().join("a site [1].conf"), None).unwrap()),
            ["a site [1].conf:3 a"]
        );
        assert_eq!(passes(&nginx(&folder.path().join("place.conf"), None).unwrap()).len(), 1);
    }

    #[test]
    fn a_directory_of_haproxy_is_read_by_name() {
        let folder = folder(&[
            ("conf/2.cfg", "backend b\n server s 10.0.0.1:80\n"),
            ("conf/1.cfg", "defaults\n mode http\n"),
            ("conf/3.txt", "backend c\n"),
        ]);
        let named = haproxy(&[folder.path().join("conf")], None).unwrap();
        let facts = named.configuration.haproxy.unwrap();
        assert_eq!(named.configuration.files.len(), 2);
        assert_eq!(facts.proxies.len(), 1);
        assert_eq!(facts.proxies[0].mode.value().map(String::as_str), Some("http"));
    }

    #[test]
    fn settings_of_any_folder_are_taken_as_applied() {
        let folder = folder(&[
            ("one/10-a.conf", "net.ipv4.tcp_fin_timeout = 15\n"),
            ("two/10-a.conf", "net.ipv4.tcp_fin_timeout = 30\n"),
        ]);
        let files = ["one/10-a.conf", "two/10-a.conf"].map(|file| folder.path().join(file));
        let configuration = sysctl(&files).unwrap().configuration;
        let winner = configuration.sysctl.as_ref().unwrap().winner("net.ipv4.tcp_fin_timeout").unwrap();
        assert_eq!(winner.value, "30");
        assert!(
            configuration.at(winner.place).ends_with("two/10-a.conf:1"),
            "{}",
            configuration.at(winner.place)
        );
    }

    #[test]
    fn copies_of_a_hosts_files_say_what_they_said_there() {
        let file = |text: &str| Copy::File(text.as_bytes().to_vec());
        let copies = BTreeMap::from([
            (
                "/etc/nginx/nginx.conf".to_owned(),
                file("http { include sites-enabled/*; upstream a { server b; } }"),
            ),
            ("/etc/nginx/sites-enabled/s".to_owned(), Copy::Link("/etc/nginx/sites-available/s".to_owned())),
            ("/etc/nginx/sites-enabled/up".to_owned(), Copy::Link("../../../../etc/passwd".to_owned())),
            ("/etc/nginx/sites-enabled/round".to_owned(), Copy::Link("round".to_owned())),
            (
                "/etc/nginx/sites-available/s".to_owned(),
                file("server { location / { proxy_pass http://a; } }"),
            ),
            ("/etc/haproxy/haproxy.cfg".to_owned(), file("defaults\n mode http\n")),
            ("/etc/haproxy/conf.d/b.cfg".to_owned(), file("backend b\n server s 10.0.0.1:80\n")),
            ("/etc/sysctl.d/99-sysctl.conf".to_owned(), Copy::Link("../sysctl.conf".to_owned())),
            ("/etc/sysctl.conf".to_owned(), file("net.ipv4.tcp_fin_timeout = 15\n")),
        ]);
        let versions = Versions { nginx: Some("1.22.1".to_owned()), haproxy: Some("2.6.12".to_owned()) };
        let all = copied(copies, &versions);
        let [nginx, haproxy, boot] = &all[..] else { panic!("{all:?}") };
        assert_eq!(passes(nginx), ["s:1 a"]);
        assert_eq!(nginx.refused.len(), 1, "a link in a circle: {:?}", nginx.refused);
        assert_eq!(haproxy.configuration.haproxy.as_ref().unwrap().proxies.len(), 1);
        let told = [nginx, haproxy].map(|named| named.configuration.version.clone());
        assert_eq!(told, [versions.nginx.clone(), versions.haproxy.clone()]);
        let winner = boot.configuration.sysctl.as_ref().unwrap().winner("net.ipv4.tcp_fin_timeout").unwrap();
        assert_eq!(boot.configuration.at(winner.place), "/etc/sysctl.d/99-sysctl.conf:1");
        assert_eq!(copied(BTreeMap::new(), &versions).len(), 0);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        assert_eq!(
            nginx(Path::new("/nonexistent/n.conf"), None).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(haproxy(&["/nonexistent/h".into()], None).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(nginx(Path::new("/dev/zero"), None).is_err());
    }
}
