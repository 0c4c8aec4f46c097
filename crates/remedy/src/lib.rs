//! Changes a host by a plan, and back: plan, journal, change, re-read, guard, and then keep or take back.
//!
//! A [`Plan`] is made of findings; it is a text that people read, edit and mail. [`supervise`] carries it out in a
//! process of its own ([`work`]), which takes every change back unless it is confirmed. Whatever is killed meanwhile,
//! the next run settles it ([`recover`]): the host is then as it was before, or as planned.
//!
//! Invariants: nothing is changed before the journal says on disk what will be, with what is there now; what is not
//! as the journal has it, neither before nor after, is somebody else's, and is left alone; nothing that
//! `docs/fix.md` says is never advised is done, whoever asks.

mod draft;
mod durable;
mod event;
mod failpoint;
mod guard;
mod journal;
mod merge;
mod plan;
mod playbook;
mod program;
mod replace;
mod second_watch;
mod settle;
mod step;
mod store;
mod supervise;
mod worker;

pub use durable::FILE as DURABLE_FILE;
pub use event::{Event, Order, Task};
pub use guard::{ALWAYS as ALWAYS_GUARDED, Guard, Measured};
pub use journal::{Begin, Record, Story, Undone};
pub use plan::{Change, Files, MAX_PLAN, Plan, PlanError, Planned, Refusal, SCHEMA, Wishes};
pub use playbook::{PlaybookError, Watch, playbook};
pub use program::{Program, ProgramError, Running, Worker};
pub use replace::ReplaceError;
pub use second_watch::{WatchError, watch_again};
pub use settle::{RecoverError, Recovered, Settled, recover};
pub use step::{Kept, Place, Step, StepError};
pub use store::{Entry, Lock, Store, StoreError};
pub use supervise::{Outcome, SuperviseError, supervise, wait_for_lock};
pub use worker::work;

/// What a plan makes of our file of sysctl.d when it is kept: the file before and after. None if nothing, or if this
/// is not the host that the plan is for.
pub fn lasting(plan: &Plan) -> Option<(String, String)> {
    draft::Draft::of(&kernel::Root::default(), plan).ok()?.lasting()
}

/// Checks what can be checked of a plan without changing anything, and says what somebody should know of it.
pub fn rehearse(plan: &Plan) -> Result<Vec<String>, StepError> {
    let root = kernel::Root::default();
    let draft = draft::Draft::of(&root, plan)?;
    draft.rehearse(&root)?;
    Ok(draft.notes)
}
