//! From what happened to the queues of watchers, in order.

use std::path::PathBuf;
use std::rc::Rc;

use sandscope_agent_protocol::ConnectError;
use sandscope_agent_protocol::filesystem::{EventType, FilesystemEvent};

use super::failure::lost;
use super::watcher::Watcher;
use crate::entry::describe;
use crate::pool;
use crate::user::Names;

/// Something on its way to a watcher.
pub(super) struct Pending {
    watcher: Rc<Watcher>,
    what: What,
}

enum What {
    Event(PathBuf, EventType),
    /// From here on events are missing.
    Lost(ConnectError),
}

impl Pending {
    /// An event of what the watcher calls `name`.
    pub(super) fn event(watcher: &Rc<Watcher>, name: PathBuf, event_type: EventType) -> Self {
        Self { watcher: Rc::clone(watcher), what: What::Event(name, event_type) }
    }

    /// Events are missing from here on.
    pub(super) fn lost(watcher: &Rc<Watcher>, why: ConnectError) -> Self {
        Self { watcher: Rc::clone(watcher), what: What::Lost(why) }
    }
}

/// Queues events, in their order. Entries are described on the pool, all at once.
pub(super) async fn deliver(pending: Vec<Pending>) {
    let asked = |pending: &Pending| match &pending.what {
        What::Event(_, EventType::Remove | EventType::Rename) | What::Lost(_) => None,
        What::Event(name, _) => pending.watcher.include_entry.then(|| pending.watcher.root.join(name)),
    };
    let paths: Vec<Option<PathBuf>> = pending.iter().map(asked).collect();
    let mut entries = Vec::new();
    if paths.iter().any(Option::is_some) {
        let described = pool::run(move || {
            let names = Names::read();
            // What has gone meanwhile is not described.
            let describe = |path: Option<PathBuf>| path.and_then(|path| describe(&path, &names).ok());
            paths.into_iter().map(describe).collect::<Vec<_>>()
        });
        entries = described.await.unwrap_or_default();
    }
    let mut entries = entries.into_iter();
    for Pending { watcher, what } in pending {
        let entry = entries.next().flatten();
        match what {
            What::Event(name, event_type) => {
                let name = name.to_string_lossy().into_owned();
                let Ok(bytes) = serde_json::to_vec(&FilesystemEvent { name, event_type, entry }) else {
                    continue;
                };
                watcher.queue.push(bytes, || lost("they were taken too slowly"));
            }
            What::Lost(why) => watcher.queue.lose(why),
        }
    }
}
