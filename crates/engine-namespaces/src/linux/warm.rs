//! Sandboxes made ahead of being asked for.
//!
//! ```text
//!            keep_warm (one task)                 create
//!  prepare ──────────────────────► shelf ──────────────────► rename, limits, record, /init ──► adopted
//!                                    │ shutdown, or found at a start
//!                                    └──────────────────────► ended and removed
//! ```
//!
//! Most of what a create costs (a disk, mounts, namespaces, joining control groups, starting the agent) depends on
//! nothing that only the client knows. A sandbox on the shelf has all of it; its agent listens and has no identity
//! yet. Whoever takes one gives it its limits, its name and its tokens, and records it: until then it has no record,
//! so that whatever a killed server leaves of it is removed by the next one.
//!
//! Ownership: the shelf owns what is on it; `create` owns what it took. The directory below `warm/` bears the
//! name of the control groups; the file [`GROUP_FILE`](super::record::GROUP_FILE) keeps that name when the directory
//! gets the sandbox's.
//!
//! Failure: one that cannot be made is tried again after a pause, and creates go the long way meanwhile. One that
//! died on the shelf is thrown away when it would have been taken. If the task fails (the host refuses it a thread) or
//! panics it is started again, and removes first what it was making.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sandscope_engine::{EngineError, LaunchSpec};
use sandscope_model::Rootfs;
use sandscope_tasks::{Phase, Task, Tasks, Watched};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::layout::Layout;
use super::options::WarmOptions;
use super::prepare::{Prepared, Preparer};
use super::removal::Remover;
use super::step::{blocking, spawn_blocking, step};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long creates under way are left alone with the host before the shelf is filled all the same.
const COURTESY: Duration = Duration::from_millis(250);
/// How long the one that is being made at the end may take.
const LAST_ONE: Duration = Duration::from_secs(5);

/// What is ready, and who fills it.
#[derive(Debug)]
pub(super) struct Shelf {
    options: Option<WarmOptions>,
    layout: Arc<Layout>,
    preparer: Arc<Preparer>,
    remover: Remover,
    inside: Mutex<Inside>,
    /// Somebody took one, or the shelf was closed.
    changed: Notify,
    n_creating: tokio::sync::watch::Sender<usize>,
    closed: CancellationToken,
    /// What fills it.
    task: Mutex<Option<Watched>>,
}

#[derive(Debug, Default)]
struct Inside {
    ready: VecDeque<Prepared>,
    /// The name of what is being made.
    making: Option<String>,
    is_closed: bool,
}

/// Counts as a create under way while it lives.
pub(super) struct Creating<'a>(&'a Shelf);

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        self.0.n_creating.send_modify(|n| *n = n.saturating_sub(1));
    }
}

impl Shelf {
    pub(super) fn new(
        options: Option<WarmOptions>,
        layout: Arc<Layout>,
        preparer: Arc<Preparer>,
        remover: Remover,
    ) -> Self {
        Self {
            options,
            layout,
            preparer,
            remover,
            inside: Mutex::default(),
            changed: Notify::new(),
            n_creating: tokio::sync::watch::Sender::default(),
            closed: CancellationToken::new(),
            task: Mutex::default(),
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn creating(&self) -> Creating<'_> {
        self.n_creating.send_modify(|n| *n += 1);
        Creating(self)
    }

    /// Gives it back if the shelf has been closed.
    fn put(&self, prepared: Prepared) -> Result<(), Box<Prepared>> {
        let mut inside = self.inside();
        inside.making = None;
        if inside.is_closed {
            return Err(Box::new(prepared));
        }
        inside.ready.push_back(prepared);
        Ok(())
    }

    fn take(&self) -> Option<Prepared> {
        let taken = self.inside().ready.pop_front();
        self.changed.notify_one();
        taken
    }

    fn is_closed(&self) -> bool {
        self.inside().is_closed
    }

    fn len(&self) -> usize {
        self.inside().ready.len()
    }

    fn empty_for_good(&self) -> VecDeque<Prepared> {
        let mut inside = self.inside();
        inside.is_closed = true;
        self.changed.notify_one();
        std::mem::take(&mut inside.ready)
    }

    /// One that fits, if there is one that lives.
    pub(super) fn take_fitting(self: &Arc<Self>, spec: &LaunchSpec) -> Option<Prepared> {
        let options = self.options.as_ref()?;
        let fits = matches!(spec.rootfs, Rootfs::Host)
            && spec.memory_mb == options.memory_mb
            && spec.disk_mb == options.disk_mb;
        while let Some(prepared) = fits.then(|| self.take()).flatten() {
            if !prepared.live.has_ended() {
                return Some(prepared);
            }
            tracing::warn!(group = prepared.cgroup.name(), "a sandbox ended before anybody wanted it");
            let shelf = Arc::clone(self);
            let _nobody_waits = self.remover.away(move || shelf.end(prepared));
        }
        None
    }

    /// Starts to keep the shelf full, where that is wanted.
    pub(super) fn start(self: &Arc<Self>, tasks: &Tasks) {
        if let Some(options) = self.options.filter(|options| options.n > 0) {
            let shelf = Arc::clone(self);
            let task = Task::restart("warm-shelf", Phase::Engine).stopped_by(self.closed.clone());
            let task = tasks.start(task, move || Arc::clone(&shelf).keep_warm(options));
            *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        }
    }

    /// Removes what the task was making when it failed.
    async fn remove_unfinished(&self) {
        let name = self.inside().making.take();
        if let Some(name) = name {
            let dir = self.layout.warm_dir().join(&name);
            self.remover.remove_named(name, dir, None).await;
        }
    }

    async fn keep_warm(self: Arc<Self>, options: WarmOptions) -> Result<(), String> {
        self.remove_unfinished().await;
        let mut pause = FIRST_PAUSE;
        while !self.is_closed() {
            if self.len() >= options.n {
                self.changed.notified().await;
                continue;
            }
            let mut creating = self.n_creating.subscribe();
            let quiet = async { creating.wait_for(|n| *n == 0).await.is_ok() };
            let _enough_courtesy = tokio::time::timeout(COURTESY, quiet).await;
            // One that was made to try the host out may have come meanwhile.
            if self.len() >= options.n {
                continue;
            }
            let under_way = self.remover.begin();
            let made = self.prepare(options).await;
            drop(under_way);
            match made {
                Ok(()) => pause = FIRST_PAUSE,
                // That is no full host but a broken one: the supervisor reports it everywhere.
                Err(error) if spawn_blocking(|| ()).is_none() => {
                    return Err(format!("got no thread from the host: {error}"));
                }
                Err(error) => {
                    tracing::warn!(%error, "no sandbox can be made ahead; trying again");
                    let _closed = tokio::time::timeout(pause, self.changed.notified()).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        Ok(())
    }

    /// Makes one and puts it on the shelf. What a failure leaves is removed.
    async fn prepare(self: &Arc<Self>, options: WarmOptions) -> Result<(), EngineError> {
        let drawn = sandscope_agent_link::draw_boot_token().map_err(step("draw a name"))?;
        let drawn = format!("w{}", drawn.expose().get(..20).unwrap_or_default());
        let name = self.preparer.cgroups.own_name(&drawn);
        self.inside().making = Some(name.clone());
        let made = self.make(name, options).await;
        let Ok(prepared) = made else {
            self.remove_unfinished().await;
            return made.map(drop);
        };
        if let Err(late) = self.put(prepared) {
            let shelf = Arc::clone(self);
            let _nobody_waits = self.remover.away(move || shelf.end(*late));
        }
        Ok(())
    }

    /// Makes one for real and waits for its agent, as for any sandbox: what keeps this host from making sandboxes shows
    /// here. It goes on the shelf if that is short of one of this size, and is ended otherwise.
    pub(super) async fn try_out(self: &Arc<Self>, memory_mb: u32, disk_mb: u32) -> Result<(), EngineError> {
        let _under_way = self.remover.begin();
        let drawn = sandscope_agent_link::draw_boot_token().map_err(step("draw a name"))?;
        let name = format!("w{}", drawn.expose().get(..20).unwrap_or_default());
        let options = WarmOptions { n: 1, memory_mb, disk_mb };
        let prepared = match self.make(name.clone(), options).await {
            Ok(prepared) => prepared,
            Err(error) => {
                let dir = self.layout.warm_dir().join(&name);
                self.remover.remove_named(name, dir, None).await;
                return Err(error);
            }
        };
        let wanted = self.options.filter(|own| own.memory_mb == memory_mb && own.disk_mb == disk_mb);
        let mut inside = self.inside();
        let n_coming = inside.ready.len() + usize::from(inside.making.is_some());
        if !inside.is_closed && wanted.is_some_and(|own| n_coming < own.n) {
            inside.ready.push_back(prepared);
            return Ok(());
        }
        drop(inside);
        let shelf = Arc::clone(self);
        let _nobody_waits = self.remover.away(move || shelf.end(prepared));
        Ok(())
    }

    async fn make(&self, name: String, options: WarmOptions) -> Result<Prepared, EngineError> {
        let dir = self.layout.warm_dir().join(&name);
        let _until_made = self.preparer.room.take(0)?;
        let image = self.preparer.pristine(options.disk_mb).await?;
        // The limits of its taker come with it.
        let limits = self.preparer.limits(1, options.memory_mb);
        let prepared = self.preparer.prepare(name, dir, image, options.memory_mb, limits).await?;
        self.preparer.wait_for_agent(&prepared.live).await?;
        Ok(prepared)
    }

    fn end(&self, prepared: Prepared) {
        let (name, dir) = (prepared.cgroup.name().to_owned(), prepared.dir.clone());
        drop(prepared);
        self.remover.remove_both(&name, &dir);
    }

    /// Ends what is on the shelf, for good.
    pub(super) async fn close(self: &Arc<Self>) {
        self.closed.cancel();
        let (shelf, rest) = (Arc::clone(self), self.empty_for_good());
        // A server that ends because the host refuses threads has none for an empty shelf either.
        if !rest.is_empty()
            && let Some(ended) = self.remover.away(move || rest.into_iter().for_each(|one| shelf.end(one)))
        {
            let _only_tells_of_panics = ended.await;
        }
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        // It ends what it is making; what takes longer is removed half made.
        if let Some(mut task) = task
            && tokio::time::timeout(LAST_ONE, task.ended()).await.is_err()
        {
            tracing::warn!("a sandbox that nobody asked for is still being made");
            task.abort();
        }
        self.remove_unfinished().await;
    }

    /// Ends what a server that was killed left on its shelf.
    pub(super) async fn sweep(self: &Arc<Self>) -> Result<(), EngineError> {
        let shelf = Arc::clone(self);
        blocking("sweep the shelf", move || {
            let entries = std::fs::read_dir(shelf.layout.warm_dir()).map_err(step("sweep the shelf"))?;
            for entry in entries {
                let entry = entry.map_err(step("sweep the shelf"))?;
                match entry.file_name().to_str() {
                    Some(name) => shelf.remover.remove_both(name, &entry.path()),
                    None => shelf.remover.throw_away(&entry.path()),
                }
            }
            Ok(())
        })
        .await
    }
}
