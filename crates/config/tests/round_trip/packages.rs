//! Every configuration file of Debian's packages of nginx and HAProxy, and of `sysctl.d`, with the documentation that
//! comes with them.

use crate::{haproxy_config::haproxy_config, nginx_config::nginx_config, sysctl_config::sysctl_config};
use config::{Problem, haproxy, nginx, sysctl};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

fn skip(name: &str, reason: &str) {
    eprintln!("SKIP {name}: {reason}");
    if let Some(path) = std::env::var_os("LASTACK_SKIP_LOG") {
        let mut log = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        log.write_all(format!("{name}\t{reason}\n").as_bytes()).unwrap();
    }
}

/// The files of the installed packages whose names match; none if there is no dpkg, or no such package.
fn files_of(packages: &[&str]) -> Vec<PathBuf> {
    let list = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    let query = [&["-W", "-f", "${db:Status-Abbrev} ${Package}\n"], packages].concat();
    let found = list("dpkg-query", &query);
    let installed: Vec<_> =
        found.lines().filter_map(|line| line.strip_prefix("ii ")).map(str::trim).collect();
    let mut files: Vec<_> = installed
        .iter()
        .flat_map(|package| list("dpkg", &["-L", package]).lines().map(PathBuf::from).collect::<Vec<_>>())
        .collect();
    files.retain(|file| file.is_file());
    files.sort();
    files.dedup();
    files
}

fn read(file: &Path) -> Option<Vec<u8>> {
    let bytes = std::fs::read(file).ok()?;
    if file.extension().is_some_and(|extension| extension == "gz") {
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).take(16 << 20).read_to_end(&mut unpacked).ok()?;
        return Some(unpacked);
    }
    Some(bytes)
}

/// Reads every file with the check, and those for which `is_configuration` also without a problem. How many both were.
fn hold(
    files: &[PathBuf],
    is_configuration: impl Fn(&Path) -> bool,
    check: fn(&[u8]),
    problems: impl Fn(Vec<u8>) -> Vec<Problem>,
) -> (usize, usize) {
    let mut counted = (0, 0);
    for file in files {
        // A setting's file may be readable by root only.
        let Some(bytes) = read(file) else { continue };
        println!("{}", file.display());
        check(&bytes);
        counted.0 += 1;
        if is_configuration(file) {
            counted.1 += 1;
            assert_eq!(problems(bytes), [], "{}", file.display());
        }
    }
    counted
}

/// Programs and libraries are no text; everything else of a package is read, whatever it is.
fn texts(mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    files.retain(|file| {
        ["/etc", "/usr/share", "/usr/lib/sysctl.d", "/lib/systemd", "/usr/lib/tmpfiles.d"]
            .iter()
            .any(|root| file.starts_with(root))
    });
    files
}

/// Where Debian has the examples of nginx's documentation.
const EXAMPLES: &str = "/usr/share/doc/nginx/examples";

#[test]
fn files_of_the_package_nginx_survive() {
    let files = texts(files_of(&["nginx*", "libnginx*"]));
    if files.is_empty() {
        return skip("files_of_the_package_nginx_survive", "the package nginx is not installed");
    }
    // Beside them lies a program that switches sites on.
    let is_example = |file: &Path| file.starts_with(EXAMPLES) && !file.ends_with("nginx_modsite");
    if !files.iter().any(|file| is_example(file)) {
        skip(
            "examples_of_nginxs_documentation_survive",
            "the examples of the package nginx-doc are not there",
        );
    }
    let (read, configuration) = hold(
        &files,
        |file| {
            file.starts_with("/etc/nginx")
                || file.starts_with("/usr/share/nginx/modules-available")
                || is_example(file)
        },
        nginx_config,
        |bytes| nginx::Tree::parse(bytes).problems().to_vec(),
    );
    println!("{read} files, {configuration} of them configuration");
    assert!(configuration >= 10, "{configuration}");
}

#[test]
fn files_of_the_package_haproxy_survive() {
    let files = texts(files_of(&["haproxy*"]));
    if files.is_empty() {
        return skip("files_of_the_package_haproxy_survive", "the package haproxy is not installed");
    }
    let (read, configuration) = hold(
        &files,
        |file| file.extension().is_some_and(|extension| extension == "cfg"),
        haproxy_config,
        |bytes| haproxy::Tree::parse(bytes).problems().to_vec(),
    );
    // The manual's examples are paragraphs of it.
    let manual = files.iter().find(|file| file.ends_with("doc/haproxy/configuration.txt.gz"));
    let manual = manual.and_then(|file| self::read(file)).unwrap_or_default();
    if manual.is_empty() {
        skip("examples_of_haproxys_manual_survive", "the manual of the package haproxy is not there");
    }
    let manual = String::from_utf8_lossy(&manual).into_owned();
    manual.split("\n\n").for_each(|paragraph| haproxy_config(paragraph.as_bytes()));
    println!(
        "{read} files, {configuration} of them configuration, {} paragraphs",
        manual.split("\n\n").count()
    );
    assert!(configuration >= 1);
}

#[test]
fn files_of_sysctl_d_survive() {
    let folders = ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d"];
    let entries =
        folders.into_iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.extend(Some(PathBuf::from("/etc/sysctl.conf")).filter(|file| file.is_file()));
    if files.is_empty() {
        return skip("files_of_sysctl_d_survive", "there is no sysctl.d here");
    }
    let conf = |file: &Path| {
        file.starts_with("/usr/lib") && file.extension().is_some_and(|extension| extension == "conf")
    };
    let (read, _) = hold(&files, conf, sysctl_config, |bytes| sysctl::Tree::parse(bytes).problems().to_vec());
    println!("{read} files");
}
