use std::cell::RefCell;
use std::rc::Rc;

use crate::logs::Logs;
use crate::metrics::CpuReading;
use crate::process::ProcessTable;
use crate::reaper::Exits;
use crate::settings::Settings;
use crate::watch::Watches;

/// Everything the agent knows. One thread owns it; no borrow is held across an await.
pub(crate) struct Agent {
    pub(crate) boot_token: String,
    settings: RefCell<Option<Rc<Settings>>>,
    pub(crate) exits: Rc<Exits>,
    pub(crate) processes: Rc<ProcessTable>,
    pub(crate) watches: Rc<Watches>,
    pub(crate) logs: Rc<Logs>,
    pub(crate) last_cpu: RefCell<Option<CpuReading>>,
}

impl Agent {
    pub(crate) fn new(boot_token: String) -> Rc<Self> {
        let exits = Rc::new(Exits::default());
        let logs = Logs::new();
        Rc::new(Self {
            boot_token,
            settings: RefCell::new(None),
            processes: Rc::new(ProcessTable::new(Rc::clone(&exits), Rc::clone(&logs))),
            watches: Rc::default(),
            exits,
            logs,
            last_cpu: RefCell::new(None),
        })
    }

    /// `None` until the first `/init`.
    pub(crate) fn settings(&self) -> Option<Rc<Settings>> {
        self.settings.borrow().clone()
    }

    pub(crate) fn configure(&self, settings: Settings) {
        *self.settings.borrow_mut() = Some(Rc::new(settings));
    }
}
