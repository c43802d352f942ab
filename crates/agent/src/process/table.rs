use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use rustix::process::Pid;
use sandscope_agent_protocol::process::{ProcessConfig, ProcessInfo, ProcessSelector};
use sandscope_agent_protocol::{Code, ConnectError};

use super::fanout::Fanout;
use super::input::Input;
use crate::connect::invalid;
use crate::reaper::Exits;

/// Processes that run or linger (ended, and still known or still read from).
const MAX_PROCESSES: usize = 512;

/// One process.
pub(crate) struct Process {
    pub(crate) pid: Pid,
    pub(crate) config: ProcessConfig,
    pub(crate) tag: Option<String>,
    pub(crate) fanout: Fanout,
    pub(crate) input: Input,
    /// The encoded end event, once it ended.
    pub(crate) end: RefCell<Option<Bytes>>,
    /// Whether its id still is its own: not once it has been waited for.
    pub(crate) reaped: Cell<bool>,
}

impl Process {
    pub(crate) fn number(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    fn runs(&self) -> bool {
        !self.reaped.get()
    }
}

/// All processes, by id.
pub(crate) struct ProcessTable {
    processes: RefCell<BTreeMap<u32, Rc<Process>>>,
    /// Processes with a driver task; an entry of the table may be replaced while its driver still reads.
    drivers: Rc<Cell<usize>>,
    pub(crate) exits: Rc<Exits>,
}

/// Room for one more process; given back when dropped.
pub(crate) struct Place(Rc<Cell<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl ProcessTable {
    pub(crate) fn new(exits: Rc<Exits>) -> Self {
        Self { processes: RefCell::default(), drivers: Rc::default(), exits }
    }

    pub(crate) fn reserve(&self) -> Result<Place, ConnectError> {
        if self.drivers.get() >= MAX_PROCESSES {
            let message = format!("no more than {MAX_PROCESSES} processes can be tracked at a time");
            return Err(ConnectError::new(Code::ResourceExhausted, message));
        }
        self.drivers.set(self.drivers.get() + 1);
        Ok(Place(Rc::clone(&self.drivers)))
    }

    /// An ended process whose id the kernel gave away again is forgotten.
    pub(crate) fn insert(&self, process: &Rc<Process>) {
        self.processes.borrow_mut().insert(process.number(), Rc::clone(process));
    }

    pub(crate) fn remove(&self, process: &Rc<Process>) {
        let mut processes = self.processes.borrow_mut();
        if processes.get(&process.number()).is_some_and(|known| Rc::ptr_eq(known, process)) {
            processes.remove(&process.number());
        }
    }

    /// A process that runs.
    pub(crate) fn running(&self, selector: Option<&ProcessSelector>) -> Result<Rc<Process>, ConnectError> {
        self.find(selector, Process::runs)
    }

    /// A process that runs, or ended a moment ago.
    pub(crate) fn known(&self, selector: Option<&ProcessSelector>) -> Result<Rc<Process>, ConnectError> {
        self.find(selector, Process::runs).or_else(|_| self.find(selector, |_| true))
    }

    fn find(
        &self,
        selector: Option<&ProcessSelector>,
        wanted: impl Fn(&Process) -> bool,
    ) -> Result<Rc<Process>, ConnectError> {
        let processes = self.processes.borrow();
        let (found, named) = match selector {
            Some(ProcessSelector::Pid(pid)) => {
                (processes.get(pid).filter(|process| wanted(process)), format!("pid {pid}"))
            }
            Some(ProcessSelector::Tag(tag)) => {
                let tagged = |process: &&Rc<Process>| process.tag.as_ref() == Some(tag) && wanted(process);
                (processes.values().find(tagged), format!("tag {tag}"))
            }
            None => return Err(invalid("the request names no process")),
        };
        found
            .cloned()
            .ok_or_else(|| ConnectError::new(Code::NotFound, format!("process with {named} not found")))
    }

    pub(crate) fn list(&self) -> Vec<ProcessInfo> {
        let processes = self.processes.borrow();
        let running = processes.values().filter(|process| process.runs());
        running
            .map(|process| ProcessInfo {
                config: process.config.clone(),
                pid: process.number(),
                tag: process.tag.clone(),
            })
            .collect()
    }
}
