use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::inotify::ReadFlags;
use sandscope_agent_protocol::ConnectError;
use sandscope_agent_protocol::filesystem::EventType;

use super::delivery::{Pending, deliver};
use super::failure::{exhausted, lost};
use super::inotify::{BUFFER_BYTES, Inotify, Raw};
use super::tree::{self, Kind};
use super::views::{View, Views};
use super::watcher::Watcher;
use crate::pool;

/// Directories watched at a time, by all watchers together. Each keeps a kilobyte and its inode in the kernel.
pub(super) const MAX_DIRECTORIES: usize = if cfg!(test) { 64 } else { 8192 };

/// Reads one inotify instance for all watchers.
pub(super) struct Hub {
    inotify: Inotify,
    views: RefCell<Views>,
}

/// A directory on its way from one name to another, if the other one is watched as well.
struct Moving {
    cookie: u32,
    from: Vec<(Rc<Watcher>, PathBuf)>,
}

impl Hub {
    pub(super) fn new() -> Result<Rc<Self>, ConnectError> {
        Ok(Rc::new(Self { inotify: Inotify::new()?, views: RefCell::default() }))
    }

    /// Begins to watch for `watcher`; whatever happens from now on is reported.
    pub(super) async fn add(&self, watcher: &Rc<Watcher>) -> Result<(), ConnectError> {
        let result = self.enter(watcher, PathBuf::new(), None).await;
        if result.is_err() {
            self.remove(watcher);
        }
        result
    }

    pub(super) fn remove(&self, watcher: &Rc<Watcher>) {
        self.leave(|view| view.is_of(watcher));
    }

    /// Until dropped.
    pub(super) async fn run(self: Rc<Self>) {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        let mut moving = Vec::new();
        loop {
            let mut batch = Vec::new();
            let Some(drained) = self.inotify.read(&mut buffer, &mut batch).await else { return };
            let mut pending = Vec::new();
            for raw in batch {
                self.take(&raw, &mut moving, &mut pending).await;
            }
            deliver(pending).await;
            if drained {
                self.settle(&mut moving);
            }
        }
    }

    /// The kernel has nothing more to say for now: what moved away stays away, and what was listed is old news.
    fn settle(&self, moving: &mut Vec<Moving>) {
        for (watcher, from) in moving.drain(..).flat_map(|moving| moving.from) {
            self.leave_below(&watcher, &from);
        }
        self.views.borrow_mut().settle();
    }

    /// Makes one of the kernel's events one of each watcher of its directory.
    async fn take(&self, raw: &Raw, moving: &mut Vec<Moving>, pending: &mut Vec<Pending>) {
        if raw.flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.begin_again(pending).await;
            return;
        }
        if raw.flags.contains(ReadFlags::IGNORED) {
            self.views.borrow_mut().forget(raw.watch);
            return;
        }
        let Some(name) = &raw.name else {
            self.take_own(raw, pending);
            return;
        };
        let Some(event_type) = raw.event_type() else { return };
        let mut known = self.views.borrow_mut().of_name(raw.watch, name, event_type);
        pending.extend(known.iter().map(|(watcher, name)| Pending::event(watcher, name.clone(), event_type)));
        if !raw.flags.contains(ReadFlags::ISDIR) {
            return;
        }
        known.retain(|(watcher, _)| watcher.recursive);
        if raw.flags.contains(ReadFlags::MOVED_FROM) {
            moving.push(Moving { cookie: raw.cookie, from: known });
        } else if raw.flags.contains(ReadFlags::MOVED_TO) {
            let here = moving.iter_mut().find(|moving| moving.cookie == raw.cookie);
            let mut from = here.map(|moving| std::mem::take(&mut moving.from)).unwrap_or_default();
            for (watcher, to) in known {
                match from.iter().position(|(other, _)| Rc::ptr_eq(other, &watcher)) {
                    // Its watches go with it, under the new name.
                    Some(at) => {
                        let (_, from) = from.swap_remove(at);
                        self.views.borrow_mut().rename_below(&watcher, &from, &to);
                    }
                    None => self.enter_new(&watcher, to, false, pending).await,
                }
            }
            for (watcher, from) in from {
                self.leave_below(&watcher, &from);
            }
        } else if raw.flags.contains(ReadFlags::CREATE) {
            for (watcher, at) in known {
                self.enter_new(&watcher, at, true, pending).await;
            }
        }
    }

    /// The kernel had more to say than it could keep. What is missing may be new directories: trees are gone through
    /// once more.
    async fn begin_again(&self, pending: &mut Vec<Pending>) {
        let watchers = self.views.borrow().roots();
        for watcher in watchers {
            pending.push(Pending::lost(&watcher, lost("changes came faster than they could be read")));
            if watcher.recursive {
                self.remove(&watcher);
                self.enter_new(&watcher, PathBuf::new(), false, pending).await;
            }
        }
    }

    /// An event of a watched directory itself. Those below the root are reported by the directory above.
    fn take_own(&self, raw: &Raw, pending: &mut Vec<Pending>) {
        let Some(event_type) = raw.own_event_type() else { return };
        let views = self.views.borrow();
        let roots = views.roots_at(raw.watch);
        pending.extend(roots.map(|watcher| Pending::event(watcher, PathBuf::from("."), event_type)));
    }

    /// A directory that has come into a watched tree; what is in it is reported if it is a new one.
    async fn enter_new(&self, watcher: &Rc<Watcher>, at: PathBuf, is_new: bool, pending: &mut Vec<Pending>) {
        let result = self.enter(watcher, at, is_new.then_some(&mut *pending)).await;
        if let Err(why) = result {
            pending.push(Pending::lost(watcher, why));
        }
    }

    /// Watches the directory, and those below it for a recursive watcher. Each watch comes before the listing, so that
    /// between them nothing is missed. Where `pending` is given the directory is new, and what is found is reported.
    async fn enter(
        &self,
        watcher: &Rc<Watcher>,
        at: PathBuf,
        mut pending: Option<&mut Vec<Pending>>,
    ) -> Result<(), ConnectError> {
        let mut ahead = vec![at];
        while let Some(at) = ahead.pop() {
            let Some(watch) = self.watch(watcher, &at)? else { continue };
            if !watcher.recursive {
                continue;
            }
            let is_root = at.as_os_str().is_empty();
            let path = watcher.root.join(&at);
            // The root may be a link; what it leads to is meant.
            let path = if is_root { path.join(".") } else { path };
            let with_others = pending.is_some();
            let scanned = pool::run(move || tree::scan(&path, with_others)).await;
            let Ok(Ok(found)) = scanned else {
                // Gone again, or something else by now.
                continue;
            };
            let enters = match found.kind {
                Kind::Ordinary => true,
                Kind::MadeUp => is_root,
                Kind::Network => watcher.allow_network || is_root,
            };
            if !enters {
                self.leave(|view| view.is_of(watcher) && view.at() == at);
                continue;
            }
            if found.cut_off {
                return Err(exhausted("a directory has too many entries to be looked through"));
            }
            if let Some(pending) = pending.as_deref_mut() {
                let names = found.directories.iter().chain(&found.others);
                let created = |name| Pending::event(watcher, at.join(name), EventType::Create);
                pending.extend(names.clone().map(created));
                self.views.borrow_mut().remember(watch, watcher, names);
            }
            ahead.extend(found.directories.iter().map(|name| at.join(name)));
        }
        Ok(())
    }

    /// Adds one watch. `None` where there is nothing new to watch: the directory has gone, or is watched already.
    fn watch(&self, watcher: &Rc<Watcher>, at: &Path) -> Result<Option<i32>, ConnectError> {
        let mut views = self.views.borrow_mut();
        if views.len() >= MAX_DIRECTORIES {
            let message = format!("more than {MAX_DIRECTORIES} directories are to be watched");
            return Err(exhausted(message));
        }
        let watch = self.inotify.add(watcher, at)?;
        Ok(watch.filter(|watch| views.add(*watch, watcher, at)))
    }

    fn leave_below(&self, watcher: &Rc<Watcher>, from: &Path) {
        self.leave(|view| view.is_of(watcher) && view.at().starts_with(from));
    }

    /// Ends views, and the watches of directories that nobody sees any more.
    fn leave(&self, left: impl Fn(&View) -> bool) {
        self.views.borrow_mut().leave(left, |watch| self.inotify.remove(watch));
    }
}
