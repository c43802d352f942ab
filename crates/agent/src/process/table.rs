use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::Pid;
use sandscope_agent_protocol::process::{ProcessConfig, ProcessInfo, ProcessSelector};
use sandscope_agent_protocol::{Code, ConnectError};
use tokio::time::Instant;

use super::fanout::Fanout;
use super::input::Input;
use crate::connect::invalid;
use crate::logs::{Logs, ProcessLog};
use crate::reaper::Exits;

/// Processes that run, or ended and are still read from because they left somebody behind.
const MAX_PROCESSES: usize = 512;

/// How long an ended process is remembered, for clients that connect late.
const REMEMBER: Duration = Duration::from_secs(30);

/// Ended processes that are remembered; then the oldest are forgotten early.
const MAX_REMEMBERED: usize = 256;

/// One process.
pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// Emptied at the end: an ended process is not listed, and this may be large.
    pub(crate) config: RefCell<ProcessConfig>,
    pub(crate) tag: Option<String>,
    pub(crate) fanout: Fanout,
    pub(crate) input: Input,
    /// What it writes, for the server.
    pub(crate) log: ProcessLog,
    /// The encoded end event, once it ended.
    pub(crate) end: RefCell<Option<Bytes>>,
}

impl Process {
    pub(crate) fn number(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }
}

/// All processes, by id.
pub(crate) struct ProcessTable {
    processes: RefCell<BTreeMap<u32, Rc<Process>>>,
    /// Those of them that ended, the oldest first.
    ended: RefCell<VecDeque<(Instant, Rc<Process>)>>,
    /// Whether a task is there that forgets them in time.
    forgetting: Cell<bool>,
    /// Processes with a driver task; an entry of the table may be replaced while its driver still reads.
    drivers: Rc<Cell<usize>>,
    pub(crate) exits: Rc<Exits>,
    pub(crate) logs: Rc<Logs>,
}

/// Room for one more process; given back when dropped.
pub(crate) struct ProcessPermit(Rc<Cell<usize>>);

impl Drop for ProcessPermit {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl ProcessTable {
    pub(crate) fn new(exits: Rc<Exits>, logs: Rc<Logs>) -> Self {
        Self {
            processes: RefCell::default(),
            ended: RefCell::default(),
            forgetting: Cell::new(false),
            drivers: Rc::default(),
            exits,
            logs,
        }
    }

    pub(crate) fn reserve(&self) -> Result<ProcessPermit, ConnectError> {
        if self.drivers.get() >= MAX_PROCESSES {
            let message = format!("no more than {MAX_PROCESSES} processes can be tracked at a time");
            return Err(ConnectError::new(Code::ResourceExhausted, message));
        }
        self.drivers.set(self.drivers.get() + 1);
        Ok(ProcessPermit(Rc::clone(&self.drivers)))
    }

    /// An ended process whose id the kernel gave away again is forgotten.
    pub(crate) fn insert(&self, process: &Rc<Process>) {
        self.processes.borrow_mut().insert(process.number(), Rc::clone(process));
    }

    /// From now on the process is only remembered, and not for long.
    pub(crate) fn remember(self: &Rc<Self>, process: &Rc<Process>) {
        process.config.take();
        self.ended.borrow_mut().push_back((Instant::now(), Rc::clone(process)));
        self.forget();
        if !self.forgetting.replace(true) {
            let table = Rc::clone(self);
            tokio::task::spawn_local(async move { table.forget_in_time().await });
        }
    }

    /// Ends when nothing is left to forget.
    async fn forget_in_time(&self) {
        loop {
            let Some(next) = self.ended.borrow().front().map(|(at, _)| *at + REMEMBER) else {
                self.forgetting.set(false);
                return;
            };
            tokio::time::sleep_until(next).await;
            self.forget();
        }
    }

    fn forget(&self) {
        let mut ended = self.ended.borrow_mut();
        let mut processes = self.processes.borrow_mut();
        while let Some((at, process)) = ended.front() {
            if at.elapsed() < REMEMBER && ended.len() <= MAX_REMEMBERED {
                return;
            }
            // Unless its id belongs to another by now.
            if processes.get(&process.number()).is_some_and(|known| Rc::ptr_eq(known, process)) {
                processes.remove(&process.number());
            }
            ended.pop_front();
        }
    }

    /// A process that runs.
    pub(crate) fn running(&self, selector: Option<&ProcessSelector>) -> Result<Rc<Process>, ConnectError> {
        self.find(selector, |process| self.exits.expects(process.pid))
    }

    /// A process that runs, or ended a moment ago.
    pub(crate) fn known(&self, selector: Option<&ProcessSelector>) -> Result<Rc<Process>, ConnectError> {
        self.forget();
        self.running(selector).or_else(|_| self.find(selector, |_| true))
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
        let running = processes.values().filter(|process| self.exits.expects(process.pid));
        running
            .map(|process| ProcessInfo {
                config: process.config.borrow().clone(),
                pid: process.number(),
                tag: process.tag.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(number: i32) -> Rc<Process> {
        Rc::new(Process {
            log: ProcessLog::new(&crate::logs::Logs::new(), 1, false),
            pid: Pid::from_raw(number).unwrap(),
            config: RefCell::default(),
            tag: Some(format!("t{number}")),
            fanout: Fanout::default(),
            input: Input::new(None, None),
            end: RefCell::new(Some(Bytes::new())),
        })
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn what_ended_is_remembered_for_a_while_and_then_really_gone() {
        let body = async {
            let table = Rc::new(ProcessTable::new(Rc::default(), Logs::new()));
            let process = ended(7);
            table.insert(&process);
            table.remember(&process);
            tokio::time::sleep(REMEMBER - Duration::from_millis(1)).await;
            let by_tag = ProcessSelector::Tag("t7".to_owned());
            for selector in [&ProcessSelector::Pid(7), &by_tag] {
                assert!(Rc::ptr_eq(&table.known(Some(selector)).unwrap(), &process));
                assert_eq!(table.running(Some(selector)).err().unwrap().code, Code::NotFound);
            }
            assert!(table.list().is_empty());
            // Nobody looks, and still it goes.
            let held = Rc::downgrade(&process);
            drop(process);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(held.upgrade().is_none(), "kept by nobody's leave");
            let gone = table.known(Some(&ProcessSelector::Pid(7))).err().unwrap();
            assert_eq!(gone.message, "process with pid 7 not found");
            assert!(!table.forgetting.get());
        };
        tokio::task::LocalSet::new().run_until(body).await;
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn of_many_that_ended_the_last_ones_are_remembered() {
        let body = async {
            let table = Rc::new(ProcessTable::new(Rc::default(), Logs::new()));
            let count = i32::try_from(MAX_REMEMBERED).unwrap() + 5;
            for number in 1..=count {
                let process = ended(number);
                table.insert(&process);
                table.remember(&process);
            }
            assert_eq!(table.processes.borrow().len(), MAX_REMEMBERED);
            assert!(table.known(Some(&ProcessSelector::Pid(5))).is_err());
            assert!(table.known(Some(&ProcessSelector::Pid(6))).is_ok());
        };
        tokio::task::LocalSet::new().run_until(body).await;
    }
}
