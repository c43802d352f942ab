use sandscope_model::{Cause, Exit, SandboxId};

/// Something happened to a sandbox although nobody asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It ended. Reported again where whoever reported it failed over that.
    Ended {
        /// The sandbox.
        id: SandboxId,
        /// What is known about its end, the cause included.
        exit: Exit,
    },
    /// Processes of it were killed for lack of memory, and it lives on. May be reported more than once.
    OutOfMemory {
        /// The sandbox.
        id: SandboxId,
        /// How many, over the sandbox's whole life.
        n_oom_kills: u64,
    },
}

/// What is wrong with a sandbox that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ailment {
    /// Its agent did not answer in time, or not as an agent does. It may be overloaded.
    #[error("its agent does not answer")]
    Silent,
    /// Nothing on the host holds it to its limits any more.
    #[error("its limits do not hold any more")]
    LimitsLost,
}

impl Ailment {
    /// What it dies of, if it does.
    pub const fn cause(self) -> Cause {
        match self {
            Self::Silent => Cause::AgentSilent,
            // The stored name of the first engine's case.
            Self::LimitsLost => Cause::ControlGroupsRemoved,
        }
    }
}
