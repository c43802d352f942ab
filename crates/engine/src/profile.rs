/// What an engine is and can do on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineProfile {
    /// Its name, for people and for stored rows.
    pub engine: &'static str,
    /// Its version, or the kernel's where the kernel is the engine.
    pub version: String,
    /// The boundary between a sandbox and the host.
    pub isolation: Isolation,
    /// What it can do.
    pub can: Capabilities,
    /// What this host lacks for it to do more.
    pub lacking: Vec<Lack>,
    /// Version of the envd protocol that its agent speaks.
    pub envd_version: &'static str,
}

/// The boundary between a sandbox and the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// The host's kernel serves the sandbox's system calls.
    SharedKernel,
    /// A kernel in user space serves them.
    UserspaceKernel,
    /// A kernel of its own on virtual hardware.
    VirtualMachine,
}

/// What an engine can do beyond making, pausing, capturing (files) and ending sandboxes, which every engine can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Write a paused sandbox's memory to disk, and take it from memory: [`Engine::store`](crate::Engine::store) and
    /// [`Engine::evict`](crate::Engine::evict).
    pub store_memory: bool,
    /// Start several sandboxes from one sandbox's memory.
    pub fork_memory: bool,
    /// Capture memory together with the writable layer.
    pub memory_snapshot: bool,
    /// Take unused memory of a sandbox back.
    pub reclaim: bool,
    /// Start a stopped sandbox anew from its files.
    pub reboot: bool,
    /// Change the limits of a live sandbox.
    pub live_resize: bool,
    /// Lose one process of a sandbox for lack of memory, not the whole sandbox, and report it.
    pub oom_of_one_process: bool,
    /// Read how long processes of a sandbox are stalled.
    pub pressures: bool,
}

/// Something this host lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What would be possible.
    pub capability: &'static str,
    /// What is missing.
    pub why: String,
    /// What the operator can do about it.
    pub remedy: String,
}
