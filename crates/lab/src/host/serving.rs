//! The host's own end: carries out orders.

use super::hop::{self, Delays};
use super::prober::Prober;
use super::programs::{RunningProgram, run};
use super::{Answer, Order, SETTING};
use crate::peer::{Leftover, RunningLoad, RunningServer};
use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::process::ExitCode;
use tcp::Flags;

/// The longest order that is taken.
const MAX_ORDER: u64 = 4 << 20;

/// Takes orders from standard input until it ends. The process is called by `name` from now on, as other
/// programs see it.
pub fn serve(name: &str) -> ExitCode {
    let called = std::ffi::CString::new(name).unwrap_or_default();
    // Only for people who look at a list of processes.
    let _ = rustix::thread::set_name(&called);
    let mut host = Serving::default();
    let mut orders = io::stdin().lock();
    let mut answers = io::stdout().lock();
    let mut answer = Answer::Done;
    loop {
        let Ok(mut line) = serde_json::to_vec(&answer) else { return ExitCode::from(2) };
        line.push(b'\n');
        if answers.write_all(&line).and_then(|()| answers.flush()).is_err() {
            return ExitCode::SUCCESS;
        }
        line.clear();
        match orders.by_ref().take(MAX_ORDER).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return ExitCode::SUCCESS,
            Ok(_) => {}
        }
        answer = match serde_json::from_slice(&line) {
            Ok(order) => host.carry_out(order).unwrap_or_else(|error| Answer::Failed { error }),
            Err(error) => Answer::Failed { error: format!("not an order: {error}") },
        };
    }
}

/// What goes on on this host.
#[derive(Default)]
struct Serving {
    last: u32,
    going_on: BTreeMap<u32, GoingOn>,
    prober: Option<Prober>,
    delays: Delays,
    /// What loads have left open.
    left: Vec<Leftover>,
}

enum GoingOn {
    Server(RunningServer),
    Load(RunningLoad),
    Program(RunningProgram),
}

impl Serving {
    fn carry_out(&mut self, order: Order) -> Result<Answer, String> {
        match order {
            Order::Ip { batch } => run("ip", &["-batch", "-"], &batch).map(|_| Answer::Done),
            Order::Hop { interface, port, ahead_ms } => {
                hop::connect(&interface, &port, ahead_ms, &self.delays)
                    .map(|()| Answer::Done)
                    .map_err(|error| format!("{interface}, a link that is carried here: {error}"))
            }
            Order::HoldBack { number, delay } => {
                self.delays.begin(number, delay);
                Ok(Answer::Done)
            }
            Order::LetGo { number } => {
                self.delays.end(number);
                Ok(Answer::Done)
            }
            Order::Nft { script } => run("nft", &["-f", "-"], &script).map(|_| Answer::Done),
            Order::Set { settings } => set(&settings).map(|()| Answer::Done),
            Order::Run { command } => {
                let (program, arguments) = command.split_first().ok_or("no program is named")?;
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                run(program, &arguments, "").map(|(output, errors)| Answer::Printed { output, errors })
            }
            Order::Serve { server } => {
                let server = RunningServer::start(server)?;
                Ok(self.started(GoingOn::Server(server)))
            }
            Order::Load { load } => {
                let load = RunningLoad::start(load)?;
                Ok(self.started(GoingOn::Load(load)))
            }
            Order::Approach { client, server, timestamps, closes } => {
                self.prober()?.approach(client, server, timestamps, closes).map(|()| Answer::Done)
            }
            Order::Craft { client, flags, seq, timestamp, bytes } => self
                .prober()?
                .craft(client, Flags::from_bits(flags), seq, timestamp, bytes)
                .map(|reply| Answer::Replied { flags: reply.map(Flags::bits) }),
            Order::Start { program } => {
                let program = RunningProgram::start(&program)?;
                Ok(self.started(GoingOn::Program(program)))
            }
            Order::IsDone { id } => match self.going_on.get(&id) {
                Some(GoingOn::Load(load)) => Ok(Answer::IsDone { done: load.is_done() }),
                _ => Err(format!("no load has the number {id}")),
            },
            Order::Wait { id } => self.end(id, false),
            Order::Stop { id } => self.end(id, true),
        }
    }

    fn prober(&mut self) -> Result<&mut Prober, String> {
        if self.prober.is_none() {
            self.prober = Some(Prober::new()?);
        }
        self.prober.as_mut().ok_or_else(|| "no prober".to_owned())
    }

    fn started(&mut self, what: GoingOn) -> Answer {
        self.last += 1;
        self.going_on.insert(self.last, what);
        Answer::Started { id: self.last }
    }

    fn end(&mut self, id: u32, stop: bool) -> Result<Answer, String> {
        let what = self.going_on.remove(&id).ok_or_else(|| format!("nothing with the number {id} runs"))?;
        match what {
            GoingOn::Server(server) => Ok(Answer::Served { result: server.end() }),
            GoingOn::Load(load) => {
                let (result, left) = load.end(stop);
                if !stop {
                    self.left.push(left);
                }
                Ok(Answer::Load { result })
            }
            GoingOn::Program(program) => program.end(stop),
        }
    }
}

/// What others are measured against (net/ipv4/sysctl_net_ipv4.c ipv4_local_port_range()).
const FIRST: &str = "net.ipv4.ip_unprivileged_port_start";

/// Writes settings, each to its file.
fn set(settings: &[(String, String)]) -> Result<(), String> {
    let (first, rest): (Vec<_>, Vec<_>) = settings.iter().partition(|(name, _)| name == FIRST);
    for (name, value) in first.into_iter().chain(rest) {
        // Only a dot separates: names of interfaces with dots are written with slashes, as sysctl(8) takes them.
        let path = if name.contains('/') { name.clone() } else { name.replace('.', "/") };
        if path.split('/').any(|part| part == ".." || part.is_empty()) {
            return Err(format!("{name} is no name of a setting"));
        }
        // All others are the machine's, which is no stage.
        if !path.starts_with("net/") {
            return Err(format!("{name} is no setting of a network namespace: those are below net."));
        }
        std::fs::write(format!("/proc/sys/{path}"), value)
            .map_err(|error| format!("{SETTING} {name} = {value}: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_s_own_settings_are_not_written() {
        // None of them is there, should they be written all the same.
        for name in
            ["vm.no_such_setting", "no_such_setting", "kernel/no_such_setting", "net/../no_such_setting"]
        {
            let error = set(&[(name.to_owned(), "1".to_owned())]).unwrap_err();
            assert!(error.contains("is no"), "{error}");
        }
        let error = set(&[("net.ipv4.no_such_setting".to_owned(), "1".to_owned())]).unwrap_err();
        assert!(error.starts_with(SETTING), "{error}");
    }
}
