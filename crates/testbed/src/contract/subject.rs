//! The host under test.

use async_trait::async_trait;
use sandscope_engine::{Dial, Engine, LaunchSpec, Readings};
use sandscope_model::{BuildId, SandboxId};

/// A host, and what happens on it without the engine's doing.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The engine under test.
    type Engine: Engine + Readings + Dial;

    /// Starts an engine on this host, as a server does that starts. It has recovered nothing yet.
    async fn start(&mut self) -> Self::Engine;

    /// Lets the engine go, as a server does that ends. Sandboxes live on.
    async fn stop(&mut self, engine: Self::Engine);

    /// What another sandbox is made of: each time another id, no snapshot.
    fn spec(&mut self) -> LaunchSpec;

    /// A layer that nobody used before.
    fn layer(&mut self) -> BuildId;

    /// Keeps a CPU of the sandbox busy from now on.
    async fn keep_busy(&mut self, engine: &Self::Engine, id: &SandboxId);

    /// Lets some time pass: enough for a CPU's use of it to be seen.
    async fn pass_time(&mut self);

    /// Ends the sandbox's first process by SIGKILL.
    async fn end_first_process(&mut self, id: &SandboxId);

    /// Leaves something of a sandbox on the host that no engine holds, and returns the id it carries.
    async fn leave_behind(&mut self) -> SandboxId;

    /// What is left of the sandbox on the host, in words.
    async fn left_of(&mut self, id: &SandboxId) -> Vec<String>;
}
