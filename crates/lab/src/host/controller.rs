//! The stage's end of a host.

use super::{Answer, Order};
use crate::peer::{Load, LoadResult, Server, ServerResult};
use crate::sandbox;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// The longest answer that is taken: a load's latencies and what a program printed fit.
const MAX_ANSWER: u64 = 4 << 20;

/// How long a host may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The process cannot be started.
    #[error("host {host} cannot be started: {source}")]
    Start {
        /// Which.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// It does not answer any more.
    #[error("host {host} has gone while it was told to {order}")]
    Gone {
        /// Which.
        host: String,
        /// What it should do.
        order: String,
    },
    /// It refused, or something it ran did.
    #[error("host {host}: {error}")]
    Failed {
        /// Which.
        host: String,
        /// In its words.
        error: String,
    },
}

/// A host that runs. It ends when this is dropped.
#[derive(Debug)]
pub struct Host {
    name: String,
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Host {
    /// Starts a host: `executable ARGUMENTS NAME` must call [`serve`](super::serve).
    pub fn start(name: &str, executable: &Path, arguments: &[&str]) -> Result<Self, HostError> {
        let failed = |source| HostError::Start { host: name.to_owned(), source };
        let mut child = sandbox::in_new_network(executable, arguments)
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
        };
        let answers = BufReader::new(answers);
        let mut host = Self { name: name.to_owned(), child, orders: Some(orders), answers };
        // Its first answer says that it is in its namespace.
        host.answer("start").map(|_| host)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process, which stands for its network namespace.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it something and waits for the answer.
    pub fn order(&mut self, order: &Order) -> Result<Answer, HostError> {
        self.tell(order)?;
        self.answer(&described(order))
    }

    /// Tells it something; the answer is still to be read with [`hear`](Self::hear).
    pub fn tell(&mut self, order: &Order) -> Result<(), HostError> {
        let gone = || HostError::Gone { host: self.name.clone(), order: described(order) };
        let mut line = serde_json::to_vec(order).map_err(|_| gone())?;
        line.push(b'\n');
        let sent = self.orders.as_mut().map(|orders| orders.write_all(&line));
        if matches!(sent, Some(Ok(()))) { Ok(()) } else { Err(gone()) }
    }

    /// Waits for the answer to what it was told.
    pub fn hear(&mut self) -> Result<Answer, HostError> {
        self.answer("answer")
    }

    fn answer(&mut self, order: &str) -> Result<Answer, HostError> {
        let mut line = Vec::new();
        let read = self.answers.by_ref().take(MAX_ANSWER).read_until(b'\n', &mut line);
        match (read, serde_json::from_slice(&line)) {
            (Ok(1..), Ok(Answer::Failed { error })) => {
                Err(HostError::Failed { host: self.name.clone(), error })
            }
            (Ok(1..), Ok(answer)) => Ok(answer),
            _ => Err(HostError::Gone { host: self.name.clone(), order: order.to_owned() }),
        }
    }

    fn unexpected(&self, answer: &Answer) -> HostError {
        HostError::Failed { host: self.name.clone(), error: format!("answered {answer:?}") }
    }

    /// Starts something; gives its number.
    pub fn begin(&mut self, order: &Order) -> Result<u32, HostError> {
        match self.order(order)? {
            Answer::Started { id } => Ok(id),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Starts a server; gives its number.
    pub fn serve(&mut self, server: Server) -> Result<u32, HostError> {
        self.begin(&Order::Serve { server })
    }

    /// Stops a server, or waits for it if it ends by itself.
    pub fn served(&mut self, id: u32) -> Result<ServerResult, HostError> {
        match self.order(&Order::Stop { id })? {
            Answer::Served { result } => Ok(result),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Starts a load, and waits for its end.
    pub fn load(&mut self, load: Load) -> Result<LoadResult, HostError> {
        let id = self.begin(&Order::Load { load })?;
        self.loaded(id)
    }

    /// Waits for the end of a load.
    pub fn loaded(&mut self, id: u32) -> Result<LoadResult, HostError> {
        match self.order(&Order::Wait { id })? {
            Answer::Load { result } => Ok(result),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Stops a load before its end.
    pub fn cut_short(&mut self, id: u32) -> Result<LoadResult, HostError> {
        match self.order(&Order::Stop { id })? {
            Answer::Load { result } => Ok(result),
            other => Err(self.unexpected(&other)),
        }
    }

    /// True if every turn of a load is over.
    pub fn is_done(&mut self, id: u32) -> Result<bool, HostError> {
        match self.order(&Order::IsDone { id })? {
            Answer::IsDone { done } => Ok(done),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Sends a crafted segment; gives the flags of the answer.
    pub fn craft(&mut self, order: &Order) -> Result<Option<u8>, HostError> {
        match self.order(order)? {
            Answer::Replied { flags } => Ok(flags),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Stops a program; gives its standard error.
    pub fn stopped(&mut self, id: u32) -> Result<String, HostError> {
        match self.order(&Order::Stop { id })? {
            Answer::Printed { errors, .. } => Ok(errors),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Tells it something that has no result.
    pub fn make(&mut self, order: &Order) -> Result<(), HostError> {
        match self.order(order)? {
            Answer::Done => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Runs a program to its end; gives its standard output.
    pub fn run(&mut self, command: &[&str]) -> Result<String, HostError> {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        match self.order(&Order::Run { command })? {
            Answer::Printed { output, .. } => Ok(output),
            other => Err(self.unexpected(&other)),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The end of its input is what ends it; what hangs all the same is killed.
        drop(self.orders.take());
        let patient = Instant::now();
        while patient.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An order in a few words.
fn described(order: &Order) -> String {
    match order {
        Order::Ip { .. } => "set up links and addresses".to_owned(),
        Order::Hop { interface, .. } => format!("carry the link {interface}"),
        Order::HoldBack { .. } | Order::LetGo { .. } => "hold segments back".to_owned(),
        Order::Nft { .. } => "load nft rules".to_owned(),
        Order::Set { .. } => "write settings".to_owned(),
        Order::Run { command } => format!("run {}", command.join(" ")),
        Order::Serve { server } => format!("serve on {:?}", server.listen),
        Order::Load { .. } => "run a load".to_owned(),
        Order::Start { program } => format!("start {}", program.command.join(" ")),
        Order::Approach { client, .. } => format!("play the client {client}"),
        Order::Craft { client, .. } => format!("send a segment from {client}"),
        Order::IsDone { id } => format!("say whether {id} is done"),
        Order::Wait { id } => format!("wait for {id}"),
        Order::Stop { id } => format!("stop {id}"),
    }
}
