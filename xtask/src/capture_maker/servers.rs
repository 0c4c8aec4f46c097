//! The servers: nginx, and two that close as they should not.

use super::load::{ABORTS, KEEPS, LEAVES_UNREAD, REFUSES, SAVES_PACKETS};
use super::network;
use anyhow::{Context as _, ensure};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Bytes of an answer's body.
const BODY: usize = 1_000;
/// nginx is there sooner, or not at all.
const START: Duration = Duration::from_secs(10);

/// nginx, which ends with this value.
pub(super) struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts all; each listens when this returns.
pub(super) fn start(directory: &Path) -> anyhow::Result<Nginx> {
    odd(ABORTS, abort)?;
    odd(LEAVES_UNREAD, leave_unread)?;
    let path = directory.display().to_string();
    ensure!(!path.contains(['"', '$', '\\', '\n']), "nginx cannot be told of {path}");
    std::fs::write(directory.join("1k"), vec![b'x'; BODY])?;
    std::fs::write(directory.join("nginx.conf"), configuration(&path))?;
    let mut command = network::ending_with_us("nginx")?;
    command.args(["-p", &path, "-c", "nginx.conf", "-e", "stderr"]).stdin(Stdio::null());
    let mut nginx = Nginx(command.spawn()?);
    let start = Instant::now();
    while TcpStream::connect((network::server(0), KEEPS)).is_err() {
        ensure!(nginx.0.try_wait()?.is_none(), "nginx ended");
        ensure!(start.elapsed() < START, "nginx does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(nginx)
}

/// One process, so that nothing of it can stay. With tcp_nopush the FIN travels with the last data.
fn configuration(path: &str) -> String {
    format!(
        r#"user root root; daemon off; master_process off; pid "{path}/nginx.pid"; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; root "{path}"; default_type text/plain; sendfile on;
    client_body_temp_path "{path}/body"; proxy_temp_path "{path}/proxy"; fastcgi_temp_path "{path}/fastcgi";
    uwsgi_temp_path "{path}/uwsgi"; scgi_temp_path "{path}/scgi";
    server {{ listen {KEEPS}; }}
    server {{ listen {SAVES_PACKETS}; tcp_nopush on; }}
}}
"#
    )
}

/// A server of one thread, which ends with the process.
fn odd(port: u16, answer: fn(TcpStream) -> std::io::Result<()>) -> anyhow::Result<()> {
    const { assert!(REFUSES != ABORTS && REFUSES != LEAVES_UNREAD) };
    let listener =
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).with_context(|| format!("port {port}"))?;
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // A client that has gone first is no loss.
            let _ =
                connection.set_read_timeout(Some(Duration::from_secs(2))).and_then(|()| answer(connection));
        }
    });
    Ok(())
}

/// Answers and resets: `SO_LINGER` of zero.
fn abort(mut connection: TcpStream) -> std::io::Result<()> {
    if connection.read(&mut [0; 2048])? > 0 {
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")?;
    }
    Ok(rustix::net::sockopt::set_socket_linger(&connection, Some(Duration::ZERO))?)
}

/// Answers before it has read the request, and closes: what is unread makes the kernel reset.
fn leave_unread(mut connection: TcpStream) -> std::io::Result<()> {
    if connection.peek(&mut [0; 1])? > 0 {
        connection.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    }
    Ok(())
}
