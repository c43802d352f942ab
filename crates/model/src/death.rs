//! How sandboxes end: the reason that clients see, the cause behind it, and what the kernel said at the end.

use serde::{Deserialize, Serialize};

use crate::{MetricField, Sample, Timestamp};

/// An enum of which every variant has a name: the list of all and the names cannot forget one.
macro_rules! named {
    ($(#[$about:meta])* pub enum $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$about])*
        pub enum $type {
            $($(#[$doc])* $variant,)*
        }

        impl $type {
            /// Every one, in the order of the documentation.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The wire's name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

named! {
    /// Why a sandbox ended.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum KillReason {
        /// A client asked for it.
        Request = "request",
        /// Its time was up.
        Timeout = "timeout",
        /// The operator asked for it.
        Admin = "admin",
        /// It was recorded as alive, but nothing of it was left on the host.
        Orphaned = "orphaned",
        /// Its first process ended by itself or by a signal nobody here sent.
        Crashed = "crashed",
        /// The kernel killed its first process for lack of memory.
        Oom = "oom",
        /// It took more of the kernel's own memory, or of what the kernel has for the whole host, than one sandbox may.
        KernelMemory = "kernel_memory",
        /// Its agent no longer answers.
        AgentLost = "agent_lost",
        /// The host was restarted under it.
        HostRestart = "host_restart",
        /// It could not be resumed.
        ResumeFailed = "resume_failed",
        /// Its root filesystem is gone from the host.
        BaseTemplateMissing = "base_template_missing",
        /// The data directory is a copy: the sandbox stayed with the server it was copied from.
        Elsewhere = "elsewhere",
    }
}

impl KillReason {
    /// What a sandbox dies of by its own doing: what repeats when it is made again as it was.
    pub const CRASHES: [Self; 5] =
        [Self::Crashed, Self::Oom, Self::KernelMemory, Self::AgentLost, Self::ResumeFailed];
}

named! {
    /// What lies behind a death nobody asked for, as exactly as it was seen. Each belongs to one [`KillReason`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Cause {
        /// Its first process, the agent, returned a code.
        AgentExited = "agent_exited",
        /// A signal nobody here sent ended its first process.
        AgentSignalled = "agent_signalled",
        /// The kernel killed its first process for lack of memory.
        OutOfMemory = "out_of_memory",
        /// Its locks of files took too much of the kernel's memory.
        FileLocks = "file_locks",
        /// What waits in its sockets took too much of the kernel's memory.
        SocketBuffers = "socket_buffers",
        /// It had too many of the host's open files, or these took too much of the kernel's memory.
        OpenFiles = "open_files",
        /// The kernel's own memory grew too much while it kept the kernel busy; nobody saw what for.
        KernelMemory = "kernel_memory",
        /// The process on the host that looks after it was killed, and it with that.
        SupervisorKilled = "supervisor_killed",
        /// Its control groups were removed from the host underneath it.
        ControlGroupsRemoved = "control_groups_removed",
        /// Its agent lives but did not answer for too long.
        AgentSilent = "agent_silent",
        /// It could neither be frozen nor thawed any more.
        Stuck = "stuck",
        /// The host was restarted.
        HostRestarted = "host_restarted",
        /// Nothing of it was left on the host.
        Vanished = "vanished",
        /// Its disk is gone from the host.
        DiskMissing = "disk_missing",
        /// The data directory was copied, moved to another host or restored, and adopted there.
        DirectoryAdopted = "directory_adopted",
    }
}

impl Cause {
    /// The reason that clients see for it.
    pub const fn reason(self) -> KillReason {
        match self {
            Self::AgentExited
            | Self::AgentSignalled
            | Self::SupervisorKilled
            | Self::ControlGroupsRemoved => KillReason::Crashed,
            Self::OutOfMemory => KillReason::Oom,
            Self::FileLocks | Self::SocketBuffers | Self::OpenFiles | Self::KernelMemory => {
                KillReason::KernelMemory
            }
            Self::AgentSilent | Self::Stuck => KillReason::AgentLost,
            Self::HostRestarted => KillReason::HostRestart,
            Self::Vanished => KillReason::Orphaned,
            Self::DiskMissing => KillReason::BaseTemplateMissing,
            Self::DirectoryAdopted => KillReason::Elsewhere,
        }
    }
}

/// What is known about the end of a sandbox. Whatever could not be seen is `None`, never zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How its first process ended.
    pub status: Option<ExitStatus>,
    /// What lies behind it, if nobody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Processes of this sandbox the kernel killed for lack of memory, over its whole life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_oom_kills: Option<u64>,
    /// The most memory it ever used at once, page cache included, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// CPU time all its processes used together, over its whole life, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_time_usec: Option<u64>,
}

impl Exit {
    /// An end of which nothing but its cause is known.
    pub fn of_cause(cause: Cause) -> Self {
        Self { cause: Some(cause), ..Self::default() }
    }

    /// The cause that the status speaks for, where nothing more exact is known.
    pub const fn plain_cause(&self) -> Option<Cause> {
        match self.status {
            Some(ExitStatus::Code(_)) => Some(Cause::AgentExited),
            Some(ExitStatus::Signal(_)) => Some(Cause::AgentSignalled),
            None => None,
        }
    }
}

/// Code or signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// The last samples taken of a sandbox, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleSummary {
    /// How many samples these are.
    pub n_samples: u32,
    /// When the first of them was taken.
    pub first_at: Timestamp,
    /// When the last of them was taken.
    pub last_at: Timestamp,
    /// CPU used, in hundredths of a percent of all its CPUs together.
    pub cpu_used_centi_pct: LastAndMax,
    /// Memory in use without reclaimable cache, in bytes.
    pub mem_used_bytes: LastAndMax,
    /// Used part of the writable layer, in bytes.
    pub disk_used_bytes: LastAndMax,
}

/// One value of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastAndMax {
    /// In the last sample.
    pub last: u64,
    /// The largest.
    pub max: u64,
}

impl SampleSummary {
    /// Sums up samples of one sandbox, oldest first. `None` if there are none.
    pub fn of(samples: &[Sample]) -> Option<Self> {
        let (first, last) = (samples.first()?, samples.last()?);
        let sum_up = |field| LastAndMax {
            last: last.or_zero(field),
            max: samples.iter().map(|sample| sample.or_zero(field)).max().unwrap_or_default(),
        };
        Some(Self {
            n_samples: u32::try_from(samples.len()).unwrap_or(u32::MAX),
            first_at: first.at,
            last_at: last.at,
            cpu_used_centi_pct: sum_up(MetricField::CpuUsed),
            mem_used_bytes: sum_up(MetricField::MemUsed),
            disk_used_bytes: sum_up(MetricField::DiskUsed),
        })
    }
}

/// Processes the kernel killed for lack of memory while the sandbox lived on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomKills {
    /// Since the last event of this kind, or the sandbox's creation.
    pub n_new: u64,
    /// Over the sandbox's whole life.
    pub n_total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Values;

    #[test]
    fn every_name_is_the_stored_one() {
        for cause in Cause::ALL {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.as_str());
            assert_eq!(serde_json::to_value(cause.reason()).unwrap(), cause.reason().as_str());
        }
    }

    #[test]
    fn an_end_recorded_by_an_earlier_version_is_understood() {
        let exit: Exit = serde_json::from_str(r#"{"status":{"signal":9},"n_oom_kills":2}"#).unwrap();
        let expected = Exit { status: Some(ExitStatus::Signal(9)), n_oom_kills: Some(2), ..Exit::default() };
        assert_eq!(exit, expected);
        assert_eq!(serde_json::from_str::<Exit>(r#"{"status":null}"#).unwrap(), Exit::default());
    }

    #[test]
    fn samples_are_summed_up_to_last_and_largest() {
        let sample = |second, cpu, memory| Sample {
            sandbox_id: "i0123456789abcdefghij".parse().unwrap(),
            at: Timestamp::from_second(second).unwrap(),
            values: Values::NONE
                .with(MetricField::CpuUsed, cpu)
                .with(MetricField::MemUsed, memory)
                .with(MetricField::DiskUsed, 7),
        };
        assert_eq!(SampleSummary::of(&[]), None);
        let summary = SampleSummary::of(&[sample(1, 9_950, 1), sample(6, 0, 5)]).unwrap();
        assert_eq!(summary.n_samples, 2);
        assert_eq!((summary.first_at.as_second(), summary.last_at.as_second()), (1, 6));
        assert_eq!(summary.cpu_used_centi_pct, LastAndMax { last: 0, max: 9_950 });
        assert_eq!(summary.mem_used_bytes, LastAndMax { last: 5, max: 5 });
    }
}
