//! `lastack lab`.

mod answer;
mod foretold;
mod found;
mod kernel;
mod numbers;
mod progress;
mod repair;
mod several;
mod show;
mod simulator;

pub(crate) use found::scenario as find;

use crate::Outcome;
use crate::arguments::{Lab, LabCommand};

pub(crate) fn run(options: &Lab) -> Outcome {
    match &options.command {
        LabCommand::List(options) => show::list(options),
        LabCommand::Show(options) => show::show(options),
        LabCommand::Run(options) => answer::run(options),
        LabCommand::Stage => Ok(::lab::stage::serve(&kernel::HOST)),
        LabCommand::Host { name } => Ok(::lab::host::serve(name)),
    }
}
