//! What a sandbox leaves on the host, as this engine knows it and as the rest of the server sees it.

use std::path::PathBuf;

use sandscope_engine::Stray;
use sandscope_model::SandboxId;

use super::profile::NAME;

const CONTROL_GROUPS: &str = "control groups of";
const DIRECTORY: &str = "the directory of";
const LOOP_DEVICE: &str = "the loop device";
const MOUNT: &str = "a mount on";
const TRASH: &str = "the discarded file";

/// Something of a sandbox's on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trace {
    /// Its control groups, by this engine's own name.
    ControlGroups(SandboxId),
    /// Its directory, with its disk.
    Directory(SandboxId),
    /// A loop device that shows a file below the state directory.
    LoopDevice(u32),
    /// Something mounted below the state directory.
    Mount(PathBuf),
    /// A file or directory that was to be removed.
    Trash(PathBuf),
}

impl Trace {
    pub(super) fn stray(&self) -> Stray {
        let (kind, name, sandbox) = match self {
            Self::ControlGroups(id) => (CONTROL_GROUPS, id.to_string(), Some(id)),
            Self::Directory(id) => (DIRECTORY, id.to_string(), Some(id)),
            Self::LoopDevice(number) => (LOOP_DEVICE, number.to_string(), None),
            Self::Mount(path) => (MOUNT, path.to_string_lossy().into_owned(), None),
            Self::Trash(path) => (TRASH, path.to_string_lossy().into_owned(), None),
        };
        Stray { engine: NAME, kind, name, sandbox: sandbox.cloned() }
    }

    /// What `stray` refers to. `None` if it is of another engine, or this one never reported it.
    pub(super) fn of(stray: &Stray) -> Option<Self> {
        if stray.engine != NAME {
            return None;
        }
        match stray.kind {
            CONTROL_GROUPS => stray.sandbox.clone().map(Self::ControlGroups),
            DIRECTORY => stray.sandbox.clone().map(Self::Directory),
            LOOP_DEVICE => stray.name.parse().ok().map(Self::LoopDevice),
            MOUNT => Some(Self::Mount(PathBuf::from(&stray.name))),
            TRASH => Some(Self::Trash(PathBuf::from(&stray.name))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reported_is_understood_when_it_is_to_be_removed() {
        let id: SandboxId = "i0123456789abcdefghij".parse().unwrap();
        let traces = [
            Trace::ControlGroups(id.clone()),
            Trace::Directory(id.clone()),
            Trace::LoopDevice(7),
            Trace::Mount(PathBuf::from("/state/sandboxes/a")),
            Trace::Trash(PathBuf::from("/state/trash/a-1")),
        ];
        for trace in traces {
            let stray = trace.stray();
            assert_eq!(Trace::of(&stray), Some(trace));
            assert_eq!(Trace::of(&Stray { engine: "another", ..stray }), None);
        }
        assert_eq!(Trace::ControlGroups(id.clone()).stray().to_string(), format!("control groups of {id}"));
    }
}
