//! nginx and HAProxy that run, in a network namespace of the test's own: what they are told is found.
#![allow(clippy::unwrap_used, clippy::missing_docs_in_private_items, reason = "a test fails by panicking")]

use evidence::Case;
use evidence::configuration::nginx::Target;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A program of the test, ended with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program and waits until it listens.
fn start(program: &str, arguments: &[&str], port: u16) -> Running {
    let child = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let running = Running(child.unwrap());
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "{program} {arguments:?} does not listen on {port}");
        std::thread::sleep(Duration::from_millis(5));
    }
    running
}

fn is_missing(test: &str, program: &str) -> bool {
    let missing =
        Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err();
    if missing {
        namespaced::skip(test, &format!("no {program}"));
    }
    missing
}

fn look() -> Case {
    kernel::look(&kernel::Options::default()).unwrap()
}

const NGINX: &str = "
daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events {}
http {
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    access_log off;
    include sites/*.conf;
}
";

fn nginx_in(folder: &Path) {
    std::fs::create_dir(folder.join("sites")).unwrap();
    std::fs::write(folder.join("nginx.conf"), NGINX).unwrap();
    let site = "upstream app {\n    server 127.0.0.1:9000;\n    keepalive 8;\n}\n\
                server {\n    listen 127.0.0.1:8080;\n    location / { proxy_pass http://app; }\n}\n";
    std::fs::write(folder.join("sites/app.conf"), site).unwrap();
}

#[test]
fn a_running_nginx_is_found_with_its_files_and_its_version() {
    let name = "a_running_nginx_is_found_with_its_files_and_its_version";
    if is_missing(name, "nginx") {
        return;
    }
    namespaced::in_namespace(name, || {
        let folder = tempfile::tempdir().unwrap();
        nginx_in(folder.path());
        let prefix = folder.path().to_str().unwrap();
        let nginx = start("nginx", &["-e", "stderr", "-p", prefix, "-c", "nginx.conf"], 8080);
        let case = look();
        assert_eq!(case.configurations.len(), 1, "{:?} {:?}", case.configurations, case.gaps);
        let found = &case.configurations[0];
        let running = found.running.as_ref().unwrap();
        assert_eq!((running.pid, running.name.as_str()), (nginx.0.id(), "nginx"));
        assert_eq!(running.netns, case.namespaces[0].name);
        assert!(!running.older_than_files);
        assert_eq!(found.files, [format!("{prefix}/nginx.conf"), format!("{prefix}/sites/app.conf")]);
        let said = Command::new("nginx").arg("-v").output().unwrap();
        let said = String::from_utf8(said.stderr).unwrap();
        let version = found.version.clone().unwrap();
        assert!(said.contains(&version), "{said} {version}");
        let facts = found.nginx.as_ref().unwrap();
        assert_eq!(facts.passes[0].target, Target::Upstream { name: "app".into() });
        assert_eq!(
            found.at(facts.upstreams[0].keepalive.place().unwrap()),
            format!("{prefix}/sites/app.conf:3")
        );

        // A file that was written to since: what runs may be older.
        let later = std::time::SystemTime::now() + Duration::from_secs(100);
        let file = std::fs::File::options().append(true).open(folder.path().join("sites/app.conf")).unwrap();
        file.set_modified(later).unwrap();
        let again = look();
        assert!(again.configurations[0].running.as_ref().unwrap().older_than_files);
        // A case keeps it.
        assert_eq!(Case::from_bytes(&again.to_bytes()).unwrap(), again);
    });
}

#[test]
fn a_running_haproxy_is_found_once_with_its_version() {
    let name = "a_running_haproxy_is_found_once_with_its_version";
    if is_missing(name, "haproxy") {
        return;
    }
    namespaced::in_namespace(name, || {
        let folder = tempfile::tempdir().unwrap();
        let text = "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n\
                    listen web\n    bind 127.0.0.1:8080\n    option http-server-close\n    server a 127.0.0.1:9000\n";
        let file = folder.path().join("h.cfg");
        std::fs::write(&file, text).unwrap();
        // With a master, there are two processes of this name.
        let _haproxy = start("haproxy", &["-W", "-db", "-f", file.to_str().unwrap()], 8080);
        let case = look();
        assert_eq!(case.configurations.len(), 1, "{:?} {:?}", case.configurations, case.gaps);
        let found = &case.configurations[0];
        let version = found.version.as_deref().unwrap();
        assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
        let web = &found.haproxy.as_ref().unwrap().proxies[0];
        assert_eq!(web.connection.value().map(String::as_str), Some("server-close"));
        assert_eq!(found.at(web.connection.place().unwrap()), format!("{}:8", file.display()));
    });
}
