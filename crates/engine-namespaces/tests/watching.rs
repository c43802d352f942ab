//! A watcher that fails is followed by another: no sandbox dies unseen.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test may stop at the unexpected, and says what it skips"
)]
#![allow(clippy::allow_attributes, reason = "not every test binary does all of that")]

mod support;

use std::pin::pin;

use sandscope_engine::{Engine as _, Notice};
use sandscope_engine_namespaces::linux::NamespacesEngine;
use sandscope_model::{Cause, ExitStatus, SandboxId};
use sandscope_tasks::{TaskState, TaskStatus, Tasks};
use sandscope_testbed::wait_poisoned;
use tokio::sync::mpsc;

use support::{PATIENCE, State, User, can_run, ended, eventually, init_pid, kill_process, run};

const KILLED: Option<ExitStatus> = Some(ExitStatus::Signal(9));

fn watchers(tasks: &Tasks) -> TaskStatus {
    tasks.statuses().into_iter().find(|status| status.name == "sandbox-watchers").unwrap()
}

/// Makes the watcher that has news next break by telling them; `happen` makes the news.
async fn fail(
    tasks: &Tasks,
    notices: &mut mpsc::Receiver<Notice>,
    id: &SandboxId,
    happen: impl Future<Output = ()>,
) {
    let n_before = watchers(tasks).n_restarts;
    assert!(wait_poisoned(pin!(notices.recv())).is_pending());
    happen.await;
    eventually("it has failed", async || watchers(tasks).n_restarts > n_before).await;
    let status = watchers(tasks);
    assert_eq!((status.state, status.n_restarts), (TaskState::Running, n_before + 1));
    assert_eq!(status.last_exit.unwrap().failure, Some(format!("{id} panicked: planned, at a waking")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_fails_is_seen_and_the_end_of_its_sandbox_is_told() {
    if !can_run() {
        return;
    }
    let (state, tasks) = (State::new(), support::tasks());
    let runtime = NamespacesEngine::start(support::options(state.dir.path()), tasks.clone()).await.unwrap();
    assert_eq!(runtime.recover().await.unwrap(), []);
    let mut notices = runtime.take_notices().unwrap();
    let (lives, dies) = (state.new_id(), state.new_id());
    for id in [&lives, &dies] {
        runtime.create(&support::spec(id.clone())).await.unwrap();
    }
    // It tells of a process that was killed for lack of memory, while the sandbox lives on.
    let lose_a_process = async {
        let ran = run(&runtime, &lives, User::User, "tail /dev/zero; echo $?").await;
        assert_eq!(ran.stdout, "137\n", "{ran:?}");
    };
    fail(&tasks, &mut notices, &lives, lose_a_process).await;
    let told = tokio::time::timeout(PATIENCE, notices.recv()).await.unwrap();
    assert_eq!(told, Some(Notice::OutOfMemory { id: lives.clone(), n_oom_kills: 1 }));
    // While nobody watches.
    kill_process(init_pid(state.dir.path(), &lives));
    let exit = ended(&mut notices, &lives).await;
    assert_eq!((exit.status, exit.cause, exit.n_oom_kills), (KILLED, Some(Cause::AgentSignalled), Some(1)));
    // It tells of the end itself: once more rather than never.
    let pid = init_pid(state.dir.path(), &dies);
    fail(&tasks, &mut notices, &dies, async { kill_process(pid) }).await;
    for _ in 0..2 {
        let exit = ended(&mut notices, &dies).await;
        assert_eq!((exit.status, exit.cause), (KILLED, Some(Cause::AgentSignalled)));
    }
    for id in [&lives, &dies] {
        assert_eq!(runtime.kill(id).await.unwrap().unwrap().status, KILLED);
    }
    runtime.shutdown().await;
}
