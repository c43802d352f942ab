use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use sandscope_agent_protocol::{Code, ConnectError};

use crate::logs::Logs;
use crate::metrics::{CpuReading, Limits};
use crate::process::ProcessTable;
use crate::reaper::Exits;
use crate::user::User;
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

/// What `/init` said.
pub(crate) struct Settings {
    pub(crate) access_token: Option<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) default_user: String,
    pub(crate) default_workdir: Option<String>,
    pub(crate) limits: Limits,
}

impl Agent {
    pub(crate) fn new(boot_token: String) -> Rc<Self> {
        let exits = Rc::new(Exits::default());
        Rc::new(Self {
            boot_token,
            settings: RefCell::new(None),
            processes: Rc::new(ProcessTable::new(Rc::clone(&exits))),
            watches: Rc::default(),
            exits,
            logs: Logs::new(),
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

impl Settings {
    /// The user called `name`, or the default one where no name is given. Reads the sandbox's `/etc/passwd`.
    pub(crate) fn user(&self, name: Option<&str>) -> Result<User, ConnectError> {
        let name = name.filter(|name| !name.is_empty()).unwrap_or(&self.default_user);
        match crate::user::find(name) {
            Ok(Some(user)) => Ok(user),
            Ok(None) => Err(ConnectError::new(Code::Unauthenticated, format!("invalid username: '{name}'"))),
            Err(error) => Err(ConnectError::new(Code::Internal, format!("cannot read the users: {error}"))),
        }
    }

    /// Where `user`'s processes start that name no directory.
    pub(crate) fn workdir<'a>(&'a self, user: &'a User) -> &'a str {
        match &self.default_workdir {
            Some(workdir) if user.name == self.default_user && !workdir.is_empty() => workdir,
            _ => &user.home,
        }
    }
}
