//! Which watchers see which watched directory, and under what name. No I/O.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sandscope_agent_protocol::filesystem::EventType;

use super::watcher::Watcher;

/// The views of each watched directory, by the kernel's number of its watch.
#[derive(Default)]
pub(super) struct Views(HashMap<i32, Vec<View>>);

/// How one watcher sees a directory.
pub(super) struct View {
    watcher: Rc<Watcher>,
    /// Relative to its root; empty for the root.
    at: PathBuf,
    /// Reported already, because the directory was listed when its watch was new: the kernel may report them again.
    listed: HashSet<OsString>,
}

impl View {
    pub(super) fn is_of(&self, watcher: &Rc<Watcher>) -> bool {
        Rc::ptr_eq(&self.watcher, watcher)
    }

    pub(super) fn at(&self) -> &Path {
        &self.at
    }

    fn is_root(&self) -> bool {
        self.at.as_os_str().is_empty()
    }
}

impl Views {
    /// How many directories are watched.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Lets `watcher` see a directory as `at`. False where it sees it already, by another way, as below a mount of
    /// itself: once is enough, and ends circles.
    pub(super) fn add(&mut self, watch: i32, watcher: &Rc<Watcher>, at: &Path) -> bool {
        let views = self.0.entry(watch).or_default();
        let is_new = !views.iter().any(|view| view.is_of(watcher));
        if is_new {
            views.push(View { watcher: Rc::clone(watcher), at: at.to_owned(), listed: HashSet::new() });
        }
        is_new
    }

    /// The kernel has dropped the watch.
    pub(super) fn forget(&mut self, watch: i32) {
        self.0.remove(&watch);
    }

    /// Every watcher, once for each root.
    pub(super) fn roots(&self) -> Vec<Rc<Watcher>> {
        let views = self.0.values().flatten().filter(|view| view.is_root());
        views.map(|view| Rc::clone(&view.watcher)).collect()
    }

    /// The watchers that have this directory as their root.
    pub(super) fn roots_at(&self, watch: i32) -> impl Iterator<Item = &Rc<Watcher>> {
        let views = self.0.get(&watch).into_iter().flatten().filter(|view| view.is_root());
        views.map(|view| &view.watcher)
    }

    /// The watchers that an event of `name` in this directory goes to, and what they call it.
    pub(super) fn of_name(
        &mut self,
        watch: i32,
        name: &OsStr,
        event_type: EventType,
    ) -> Vec<(Rc<Watcher>, PathBuf)> {
        let fresh = |view: &mut View| match event_type {
            EventType::Create => !view.listed.remove(name),
            EventType::Remove | EventType::Rename => {
                view.listed.remove(name);
                true
            }
            _ => true,
        };
        let views = self.0.get_mut(&watch).into_iter().flatten();
        views.filter_map(|view| fresh(view).then(|| (Rc::clone(&view.watcher), view.at.join(name)))).collect()
    }

    /// Notes `names` as reported to `watcher`, until [`Views::settle`].
    pub(super) fn remember<'a>(
        &mut self,
        watch: i32,
        watcher: &Rc<Watcher>,
        names: impl Iterator<Item = &'a OsString>,
    ) {
        let mut views = self.0.get_mut(&watch).into_iter().flatten();
        if let Some(view) = views.find(|view| view.is_of(watcher)) {
            view.listed.extend(names.cloned());
        }
    }

    /// The kernel has nothing more to say for now: what was listed is old news.
    pub(super) fn settle(&mut self) {
        for view in self.0.values_mut().flatten() {
            view.listed = HashSet::new();
        }
    }

    /// A directory that `watcher` sees has moved within its tree.
    pub(super) fn rename_below(&mut self, watcher: &Rc<Watcher>, from: &Path, to: &Path) {
        for view in self.0.values_mut().flatten() {
            if view.is_of(watcher)
                && let Ok(rest) = view.at.strip_prefix(from)
            {
                // Joining nothing would add a slash.
                view.at = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            }
        }
    }

    /// Ends the views that are `left`; `unseen` gets the watches whose directory nobody sees any more.
    pub(super) fn leave(&mut self, left: impl Fn(&View) -> bool, mut unseen: impl FnMut(i32)) {
        self.0.retain(|watch, views| {
            views.retain(|view| !left(view));
            if views.is_empty() {
                unseen(*watch);
            }
            !views.is_empty()
        });
    }
}
